//! [`Statuses`]: a set of status codes, asked for every response.

use std::fmt;

use http::StatusCode;

/// One bit for each status from 0 to 1023; there are none above 999.
#[derive(Clone, Default)]
pub(crate) struct Statuses([u64; 16]);

impl Statuses {
    #[inline]
    pub(crate) fn contains(&self, status: StatusCode) -> bool {
        let status = usize::from(status.as_u16());
        self.0
            .get(status / 64)
            .is_some_and(|bits| bits >> (status % 64) & 1 == 1)
    }
}

impl FromIterator<StatusCode> for Statuses {
    fn from_iter<I: IntoIterator<Item = StatusCode>>(statuses: I) -> Self {
        let mut set = Self::default();
        for status in statuses {
            let status = usize::from(status.as_u16());
            if let Some(bits) = set.0.get_mut(status / 64) {
                *bits |= 1 << (status % 64);
            }
        }
        set
    }
}

impl fmt::Debug for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = (100..=999).filter_map(|status| StatusCode::from_u16(status).ok());
        f.debug_set()
            .entries(all.filter(|status| self.contains(*status)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let every = |status: &StatusCode| status.as_u16().is_multiple_of(7);
        let all = || (100..=999).map(|status| StatusCode::from_u16(status).unwrap());
        let set = Statuses::from_iter(all().filter(every));
        assert!(all().all(|status| set.contains(status) == every(&status)));
    }
}
