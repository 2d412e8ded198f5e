//! [`KnownHeader`]: the header that an issuer's tokens have.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use super::header::{self, Header};
use super::{Rules, json};
use crate::guard::reason::Reason;

/// The header of the last token that was verified, and what it says. Until an issuer changes its key, all of its tokens have the
/// same header to the letter: a tenth of what a new token costs besides its signature.
///
/// Of tokens that were not verified nothing is kept. To be used with the same rules always.
#[derive(Default)]
pub(crate) struct KnownHeader {
    known: RwLock<Option<(Box<str>, Header)>>,
}

impl KnownHeader {
    /// What this header says, as it is in the token.
    pub(super) fn read(&self, encoded: &str, rules: &Rules) -> Result<Header, Reason> {
        match self.get(encoded) {
            Some(header) => Ok(header),
            None => header::read(&json(encoded)?, rules),
        }
    }

    fn get(&self, encoded: &str) -> Option<Header> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (text, header) = known.as_ref()?;
        (**text == *encoded).then(|| header.clone())
    }

    /// Keeps what the header of a token says that was verified.
    pub(crate) fn keep(&self, encoded: &str, header: &Header) {
        if self.get(encoded).is_none() {
            let kept = Some((encoded.into(), header.clone()));
            // it is written in one go: a panic leaves nothing half-way
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = kept;
        }
    }
}

impl fmt::Debug for KnownHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownHeader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn what_is_known_is_what_would_be_read() {
        let rules = Rules::new("issuer".to_owned(), "audience".to_owned());
        let encoded = [
            r#"{"alg":"ES256","typ":"at+jwt","kid":"one"}"#,
            r#"{"alg":"ES256","typ":"at+jwt","kid":"two"}"#,
            r#"{"alg":"RS256","typ":"at+jwt"}"#,
            r#"{"alg":"RS256","typ":"at+jwt" }"#,
            r#"{"alg":"RS256","typ":"JWT"}"#,
            r#"{"alg":"none","typ":"at+jwt"}"#,
            r#"{"alg":"RS256","alg":"RS256","typ":"at+jwt"}"#,
            "{",
        ]
        .map(|header| BASE64_URL_SAFE_NO_PAD.encode(header));
        let known = KnownHeader::default();
        let mut kept = 0;
        for keep in &encoded {
            for encoded in &encoded {
                let read = KnownHeader::default().read(encoded, &rules);
                assert_eq!(known.read(encoded, &rules), read, "{encoded}");
            }
            if let Ok(header) = known.read(keep, &rules) {
                known.keep(keep, &header);
                assert_eq!(known.get(keep), Some(header));
                kept += 1;
            }
            assert_eq!(known.get(&format!("{keep}A")), None);
            assert_eq!(known.get(&keep[1..]), None);
        }
        assert_eq!(kept, 4);
    }
}
