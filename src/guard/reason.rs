//! [`Reason`]: why a request was refused.

use std::fmt;

/// Why a request was refused: what is logged and counted. It says nothing of the token's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The path can be read in more than one way, so no rule can be chosen by it. 400.
    AmbiguousPath,
    /// The token is bound to a key (`cnf`) and was sent as a plain bearer token. 401 `invalid_token`.
    Bound,
    /// The token's `exp` has passed. 401 `invalid_token`.
    Expired,
    /// The keys could not be fetched yet. 503.
    KeysUnavailable,
    /// The `authorization` header is repeated or is no `Bearer` credential. 400 `invalid_request`.
    MalformedRequest,
    /// The token is no JWT of the kind that is taken. 401 `invalid_token`.
    MalformedToken,
    /// There are no credentials. 401 without an error code.
    Missing,
    /// The token's `nbf`, `iat` or `auth_time` is in the future. 401 `invalid_token`.
    NotYetValid,
    /// The token was revoked. 401 `invalid_token`.
    Revoked,
    /// A scope is missing. 403 `insufficient_scope`.
    Scope,
    /// The signature does not match. 401 `invalid_token`.
    Signature,
    /// The login is too old, or the token does not say when it was. 401 `insufficient_user_authentication`.
    Stale,
    /// No key fits the token. 401 `invalid_token`.
    UnknownKey,
    /// The token's algorithm is not allowed. 401 `invalid_token`.
    UnsupportedAlgorithm,
    /// The login was not strong enough. 401 `insufficient_user_authentication`.
    Weak,
    /// The token is for another audience. 401 `invalid_token`.
    WrongAudience,
    /// The token is from another issuer. 401 `invalid_token`.
    WrongIssuer,
    /// The token is of another type: an ID token, a logout token, a proof. 401 `invalid_token`.
    WrongType,
}

impl Reason {
    /// A word for logs and metrics; of a small fixed set.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AmbiguousPath => "ambiguous_path",
            Self::Bound => "bound",
            Self::Expired => "expired",
            Self::KeysUnavailable => "keys_unavailable",
            Self::MalformedRequest => "malformed_request",
            Self::MalformedToken => "malformed_token",
            Self::Missing => "missing",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::Scope => "scope",
            Self::Signature => "signature",
            Self::Stale => "stale",
            Self::UnknownKey => "unknown_key",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::Weak => "weak",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongType => "wrong_type",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
