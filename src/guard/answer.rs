//! What a refused request is answered: RFC 6750, RFC 9470, RFC 9728.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use crate::error::ConfigError;
use crate::guard::ready::ReadyAnswers;
use crate::guard::reason::Reason;
use crate::guard::requirement::Shortfall;
use crate::www_authenticate::Challenge;

/// Why a request is refused, and what it takes.
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) shortfall: Option<Shortfall>,
    pub(crate) retry_after: Option<Duration>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            shortfall: None,
            retry_after: None,
        }
    }
}

impl From<Shortfall> for Refusal {
    fn from(shortfall: Shortfall) -> Self {
        Self {
            reason: shortfall.reason,
            shortfall: Some(shortfall),
            retry_after: None,
        }
    }
}

/// What every answer of a guard says besides the reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wording {
    pub(crate) realm: Option<String>,
    /// Of each answer; `resource_metadata` is one of them.
    pub(crate) extra: Vec<(String, String)>,
    ready: ReadyAnswers,
}

impl Wording {
    /// Adds a member, if a header can carry it.
    pub(crate) fn add(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        const OURS: [&str; 6] = [
            "acr_values",
            "error",
            "error_description",
            "max_age",
            "realm",
            "scope",
        ];
        if OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            return Err(ConfigError::new(format!(
                "the guard sets `{name}` itself; give the extra member another name"
            )));
        }
        let repeated = self
            .extra
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name));
        if repeated {
            return Err(ConfigError::new(format!(
                "`{name}` was given twice; once is enough"
            )));
        }
        Challenge::bearer().with_parameter(name, value)?;
        self.extra.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// The answer to a refused request.
    pub(crate) fn answer(&self, refusal: &Refusal) -> Response<Bytes> {
        match refusal {
            Refusal {
                reason,
                shortfall: None,
                retry_after: None,
            } => self.ready.get(*reason, || self.write(refusal)),
            _ => self.write(refusal),
        }
    }

    fn write(&self, refusal: &Refusal) -> Response<Bytes> {
        let reason = refusal.reason;
        let (status, error) = classify(reason);
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        let mut body = Map::new();
        let mut challenge = Challenge::bearer();
        // what does not fit a header was refused when it was configured; what is left out here is in the body all the same
        let mut say = |name: &str, value: &str, json: Option<Value>| {
            if let Ok(more) = challenge.clone().with_parameter(name, value) {
                challenge = more;
            }
            if let Some(json) = json {
                body.insert(name.to_owned(), json);
            }
        };
        if let Some(realm) = &self.realm {
            say("realm", realm, None);
        }
        // RFC 6750 section 3.1: no error code and no other error information where there were no credentials
        if let Some(error) = error {
            say("error", error, Some(error.into()));
            let description = describe(reason);
            say("error_description", description, Some(description.into()));
        }
        if let Some(shortfall) = &refusal.shortfall {
            if let Some(acr_values) = &shortfall.acr_values {
                say("acr_values", acr_values, Some(acr_values.as_ref().into()));
            }
            if let Some(max_age) = shortfall.max_age {
                say("max_age", &max_age.to_string(), Some(max_age.into()));
            }
            if let Some(scope) = &shortfall.scope {
                say("scope", scope, Some(scope.as_ref().into()));
            }
        }
        for (name, value) in &self.extra {
            say(name, value, Some(value.as_str().into()));
        }
        let headers = response.headers_mut();
        // a server that cannot verify anything has nothing to ask the client for
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || reason == Reason::MalformedRequest
        {
            headers.insert(WWW_AUTHENTICATE, challenge.to_header_value());
        }
        if let Some(wait) = refusal.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, seconds.max(1).into());
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *response.body_mut() = Value::Object(body).to_string().into();
        }
        response
    }
}

/// The status, and the error code of RFC 6750 section 3.1 or RFC 9470 section 3.
fn classify(reason: Reason) -> (StatusCode, Option<&'static str>) {
    match reason {
        Reason::AmbiguousPath | Reason::MalformedRequest => {
            (StatusCode::BAD_REQUEST, Some("invalid_request"))
        }
        Reason::KeysUnavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some("temporarily_unavailable"),
        ),
        Reason::Missing => (StatusCode::UNAUTHORIZED, None),
        Reason::Scope => (StatusCode::FORBIDDEN, Some("insufficient_scope")),
        Reason::Stale | Reason::Weak => (
            StatusCode::UNAUTHORIZED,
            Some("insufficient_user_authentication"),
        ),
        Reason::Bound
        | Reason::Expired
        | Reason::MalformedToken
        | Reason::NotYetValid
        | Reason::Revoked
        | Reason::Signature
        | Reason::UnknownKey
        | Reason::UnsupportedAlgorithm
        | Reason::WrongAudience
        | Reason::WrongIssuer
        | Reason::WrongType => (StatusCode::UNAUTHORIZED, Some("invalid_token")),
    }
}

/// What the developer of a client reads. Of what is wrong with a token it says no more than the client can act on.
fn describe(reason: Reason) -> &'static str {
    match reason {
        Reason::AmbiguousPath => "The path can be read in more than one way",
        Reason::Bound => "The access token is bound to a key and is no plain bearer token",
        Reason::Expired => "The access token has expired",
        Reason::KeysUnavailable => "The access token cannot be verified at the moment",
        Reason::MalformedRequest => "Send one authorization header with one bearer token",
        Reason::Missing => "An access token is needed",
        Reason::NotYetValid => "The access token is not valid yet",
        Reason::Revoked => "The access token was revoked",
        Reason::Scope => "The access token lacks a scope",
        Reason::Stale => "A more recent authentication is needed",
        Reason::Weak => "A stronger authentication is needed",
        Reason::WrongAudience => "The access token is for another audience",
        Reason::MalformedToken
        | Reason::Signature
        | Reason::UnknownKey
        | Reason::UnsupportedAlgorithm
        | Reason::WrongIssuer
        | Reason::WrongType => "The access token is invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASONS: [Reason; 18] = [
        Reason::AmbiguousPath,
        Reason::Bound,
        Reason::Expired,
        Reason::KeysUnavailable,
        Reason::MalformedRequest,
        Reason::MalformedToken,
        Reason::Missing,
        Reason::NotYetValid,
        Reason::Revoked,
        Reason::Scope,
        Reason::Signature,
        Reason::Stale,
        Reason::UnknownKey,
        Reason::UnsupportedAlgorithm,
        Reason::Weak,
        Reason::WrongAudience,
        Reason::WrongIssuer,
        Reason::WrongType,
    ];

    fn assert_same(one: &Response<Bytes>, other: &Response<Bytes>) {
        assert_eq!(one.status(), other.status());
        assert_eq!(one.headers(), other.headers());
        assert_eq!(one.body(), other.body());
    }

    #[test]
    fn an_answer_that_was_made_before_is_the_same() {
        let mut wording = Wording::default();
        for round in 0..2 {
            for reason in REASONS {
                let mut refusal = Refusal::from(reason);
                let written = wording.write(&refusal);
                for _ in 0..2 {
                    assert_same(&wording.answer(&refusal), &written);
                }
                // what only this request is answered is written for it, and not kept
                refusal.retry_after = Some(Duration::from_secs(7));
                assert_same(&wording.answer(&refusal), &wording.write(&refusal));
                assert_ne!(wording.answer(&refusal).headers(), written.headers());
                refusal.retry_after = None;
                refusal.shortfall = Some(Shortfall {
                    reason,
                    acr_values: Some("gold".into()),
                    max_age: Some(60),
                    scope: Some("read".into()),
                });
                assert_same(&wording.answer(&refusal), &wording.write(&refusal));
                assert_same(&wording.answer(&Refusal::from(reason)), &written);
            }
            // a copy with other words has none of the old answers
            assert_eq!(round > 0, wording.realm.is_some());
            wording = wording.clone();
            wording.realm = Some("example".to_owned());
        }
    }
}
