//! How long ago the user may have logged in.

use std::time::Duration;

use crate::guard::VerifiedToken;

#[derive(Clone, Debug, Default)]
pub(super) struct Freshness {
    max_age: Option<u64>,
}

impl Freshness {
    /// Takes the shorter one of two ages: both have to be kept.
    pub(super) fn limit(&mut self, max_age: Duration) {
        self.limit_seconds(max_age.as_secs());
    }

    fn limit_seconds(&mut self, max_age: u64) {
        let shorter = self.max_age.map_or(max_age, |set| set.min(max_age));
        self.max_age = Some(shorter);
    }

    pub(super) fn and(&mut self, other: &Self) {
        if let Some(max_age) = other.max_age {
            self.limit_seconds(max_age);
        }
    }

    pub(super) fn max_age(&self) -> Option<u64> {
        self.max_age
    }

    /// The leeway is for clocks that differ, and so for a login that seems to be in the future; it makes no login younger.
    pub(super) fn is_met_by(&self, token: &VerifiedToken, now: u64, leeway: u64) -> bool {
        let Some(max_age) = self.max_age else {
            return true;
        };
        let Some(auth_time) = token.fields().auth_time else {
            return false;
        };
        auth_time <= now.saturating_add(leeway) && now.saturating_sub(auth_time) <= max_age
    }
}
