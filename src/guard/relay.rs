//! [`MfaRequired`]: the answer of Auth0's token endpoint, passed on to clients that know only that.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::error::ConfigError;
use crate::guard::requirement::Shortfall;
use crate::guard::token::VerifiedToken;
use crate::token::Secret;

/// An `mfa_required` answer, for [`Guard::relay_mfa_required`](super::Guard::relay_mfa_required).
///
/// `Debug` shows nothing of it: it carries a handle.
#[derive(Clone)]
pub struct MfaRequired {
    json: Bytes,
}

impl MfaRequired {
    /// One that says no more than that, with the handle by which the authorization server knows the transaction.
    #[must_use]
    pub fn new(mfa_token: impl Into<Secret>) -> Self {
        let mfa_token: Secret = mfa_token.into();
        let members = Map::from_iter([
            ("error".to_owned(), "mfa_required".into()),
            (
                "error_description".to_owned(),
                "Multifactor authentication required".into(),
            ),
            ("mfa_token".to_owned(), mfa_token.expose().into()),
        ]);
        Self {
            json: Value::Object(members).to_string().into(),
        }
    }

    /// The body of the authorization server's answer, passed on as it is.
    ///
    /// # Errors
    ///
    /// If it is not a JSON object whose `error` is `mfa_required`.
    pub fn from_json(body: impl Into<Bytes>) -> Result<Self, ConfigError> {
        let json = body.into();
        match serde_json::from_slice::<Map<String, Value>>(&json) {
            Ok(members) if members.get("error") == Some(&Value::from("mfa_required")) => {
                Ok(Self { json })
            }
            _ => Err(ConfigError::new(
                "only an answer whose `error` is `mfa_required` can be relayed; give `None` for any other",
            )),
        }
    }

    pub(crate) fn into_json(self) -> Bytes {
        self.json
    }
}

impl fmt::Debug for MfaRequired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MfaRequired").finish_non_exhaustive()
    }
}

pub(crate) type Relaying = Pin<Box<dyn Future<Output = Option<MfaRequired>> + Send>>;
pub(crate) type Relay = Arc<dyn Fn(VerifiedToken, Shortfall) -> Relaying + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_mfa_required_answer_can_be_relayed() {
        assert!(MfaRequired::from_json(r#"{"error":"mfa_required","mfa_token":"test"}"#).is_ok());
        for body in ["", "[]", "{}", r#"{"error":"invalid_grant"}"#, "\u{feff}{}"] {
            assert!(MfaRequired::from_json(body).is_err(), "{body}");
        }
    }

    #[test]
    fn debug_never_shows_the_handle() {
        let answer = MfaRequired::new("test-handle");
        assert!(!format!("{answer:?}").contains("test-handle"));
    }
}
