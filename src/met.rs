//! [`Met`]: what a step-up brought.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Response};

use crate::dialect::{Remedy, RemedyKind};
use crate::error::{Kind, StepUpError};
use crate::event::SteppedUp;
use crate::layer::Config;
use crate::request::RequestHead;
use crate::subject::{differs_by, differs_from};
use crate::token::{AccessToken, TokenSet};

/// What a step-up brought, and what to tell the caller of it.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) outcome: Outcome,
    pub(crate) stepped_up: SteppedUp,
    /// When the token ends that the retry carries, if it said so.
    expires_at: Option<SystemTime>,
    /// The `authorization` of the request for which the token was found to be the same user's.
    checked_for: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The request is sent again, with another `authorization`.
    Token(HeaderValue),
    /// The request is sent again, with these headers: once, since they hold a code.
    Headers(HeaderMap),
    /// This is the answer.
    Answer(Response<Bytes>),
}

impl Met {
    pub(crate) fn new(remedy: Remedy, attempts: u32) -> Result<Self, StepUpError> {
        let (kind, factor, tokens) = remedy.into_parts();
        let token = tokens.as_ref().map(TokenSet::access_token);
        let expires_at = token.and_then(AccessToken::expires_at);
        let outcome = match kind {
            RemedyKind::Bearer => {
                let value = token.and_then(AccessToken::to_header_value);
                Outcome::Token(value.ok_or_else(|| {
                    StepUpError::new(
                        Kind::Protocol,
                        "the authorization server issued an access token that no header can carry",
                    )
                })?)
            }
            RemedyKind::Headers(headers) => Outcome::Headers(headers),
            RemedyKind::Response(response) => Outcome::Answer(response),
        };
        Ok(Self {
            outcome,
            stepped_up: SteppedUp::new(factor, attempts, tokens),
            expires_at,
            checked_for: None,
        })
    }

    /// What was brought by somebody else's step-up: a token, and nothing to tell.
    pub(crate) fn by_token(authorization: HeaderValue) -> Self {
        Self {
            outcome: Outcome::Token(authorization),
            stepped_up: SteppedUp::new(None, 0, None),
            expires_at: None,
            checked_for: None,
        }
    }

    /// Remembers for which request it was checked that the token is not another user's.
    pub(crate) fn checked_for(mut self, request: &RequestHead) -> Self {
        self.checked_for = request.headers().get(AUTHORIZATION).cloned();
        self
    }

    pub(crate) fn ending_at(mut self, expires_at: SystemTime) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// The token, if that is what was brought: it can be used again.
    pub(crate) fn token(&self) -> Option<(&HeaderValue, Option<SystemTime>)> {
        match &self.outcome {
            Outcome::Token(authorization) => Some((authorization, self.expires_at)),
            Outcome::Headers(_) | Outcome::Answer(_) => None,
        }
    }

    /// Whether the token is another user's than the one that a request carries.
    pub(crate) fn is_another_users(&self, old: &HeaderMap) -> bool {
        let Outcome::Token(authorization) = &self.outcome else {
            return false;
        };
        // by default all who wait for a step-up have the same `authorization`: it takes long to read two JWTs for each of them
        let is_checked =
            self.checked_for.is_some() && self.checked_for.as_ref() == old.get(AUTHORIZATION);
        !is_checked && differs_by(old, authorization)
    }

    /// Puts what was brought on the head of a retry: overwrites, never adds a second value to what was there.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        match &self.outcome {
            Outcome::Token(authorization) => {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            Outcome::Headers(new) => {
                for name in new.keys() {
                    let mut values = new.get_all(name).into_iter().cloned();
                    // `insert` keeps the header's place, which removing and adding would not
                    if let Some(first) = values.next() {
                        headers.insert(name, first);
                    }
                    for value in values {
                        headers.append(name, value);
                    }
                }
            }
            Outcome::Answer(_) => {}
        }
    }
}

/// Whether a token may take the place of the one that was refused: it is the same user's, and the caller's hook has nothing
/// against it.
pub(crate) fn check(config: &Config, request: &RequestHead, met: &Met) -> Result<(), StepUpError> {
    let Some(tokens) = met.stepped_up.tokens() else {
        return Ok(());
    };
    let id_token = tokens.id_token();
    if met.is_another_users(request.headers())
        || id_token.is_some_and(|jwt| differs_from(request.headers(), jwt.expose()))
    {
        return Err(subject_mismatch());
    }
    let old = request.headers().get(AUTHORIZATION);
    if !config.accepts(old, tokens) {
        return Err(StepUpError::new(
            Kind::NotAccepted,
            "the hook given to `accept(..)` refused the new token",
        ));
    }
    Ok(())
}

pub(crate) fn subject_mismatch() -> StepUpError {
    StepUpError::new(
        Kind::SubjectMismatch,
        "the step-up brought a token of another user than the one of the refused request; check whose `mfa_token` the service relays",
    )
}
