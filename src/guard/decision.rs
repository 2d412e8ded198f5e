//! [`Decision`]: what became of a request.

use std::fmt;

use http::{Method, Uri};

use crate::guard::answer::Refusal;
use crate::guard::reason::Reason;
use crate::guard::requirement::Shortfall;
use crate::guard::token::VerifiedToken;

/// What a guard decided, for [`Guard::on_decision`](super::Guard::on_decision): for audit logs and counters.
///
/// `Debug` shows the method, the path and the reason; nothing of the token.
#[derive(Clone, Copy)]
pub struct Decision<'a> {
    method: &'a Method,
    uri: &'a Uri,
    token: Option<&'a VerifiedToken>,
    refusal: Option<&'a Refusal>,
}

impl<'a> Decision<'a> {
    /// The request goes on.
    pub(crate) fn new(method: &'a Method, uri: &'a Uri, token: Option<&'a VerifiedToken>) -> Self {
        Self {
            method,
            uri,
            token,
            refusal: None,
        }
    }

    pub(crate) fn refused(self, refusal: &'a Refusal) -> Self {
        Self {
            refusal: Some(refusal),
            ..self
        }
    }

    /// Whether the request goes on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.refusal.is_none()
    }

    /// Why the request was refused; `None` if it goes on.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.refusal.map(|refusal| refusal.reason)
    }

    /// What was demanded, if the token was good but did not have it.
    #[must_use]
    pub fn shortfall(&self) -> Option<&'a Shortfall> {
        self.refusal.and_then(|refusal| refusal.shortfall.as_ref())
    }

    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The request's URI, as the guard got it.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The token, if it was verified: also where it was not strong, fresh or wide enough.
    #[must_use]
    pub fn token(&self) -> Option<&'a VerifiedToken> {
        self.token
    }
}

impl fmt::Debug for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}
