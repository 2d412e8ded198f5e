//! [`Secret`], [`AccessToken`] and [`TokenSet`]: what must never be printed.

use std::fmt;
use std::time::SystemTime;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// A code, a token or a handle: readable on purpose only, and wiped from memory when dropped.
///
/// It has no `Display`, and its `Debug` prints `[redacted]`.
///
/// ```
/// use tower_mfa::Secret;
///
/// let secret = Secret::from("test-token");
/// assert_eq!(format!("{secret:?}"), "[redacted]");
/// assert_eq!(secret.expose(), "test-token");
/// ```
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(SecretString::from(secret.into()))
    }

    /// The secret itself: for the wire, not for logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self::new(secret)
    }
}

/// A bearer token and the time at which it ends.
#[derive(Clone, Debug)]
pub struct AccessToken {
    secret: Secret,
    expires_at: Option<SystemTime>,
}

impl AccessToken {
    /// A token; `expires_at` is `None` where the authorization server did not say (RFC 6749 section 5.1 allows it).
    #[must_use]
    pub fn new(secret: impl Into<Secret>, expires_at: Option<SystemTime>) -> Self {
        Self {
            secret: secret.into(),
            expires_at,
        }
    }

    /// The token itself: for the wire, not for logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.secret.expose()
    }

    /// When the token ends.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// `Bearer …` (RFC 6750 section 2.1), marked sensitive; `None` if the token has bytes that no header may carry.
    #[must_use]
    pub fn to_header_value(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.expose())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// What the token endpoint issued (RFC 6749 section 5.1), and Auth0's replacement of a used recovery code.
///
/// A refresh token in here has *replaced* the one that was used before: store it, or the authorization server may
/// revoke the whole family when the old one is used again.
#[derive(Clone, Debug)]
pub struct TokenSet {
    access_token: AccessToken,
    refresh_token: Option<Secret>,
    id_token: Option<Secret>,
    recovery_code: Option<Secret>,
    scope: Option<String>,
}

impl TokenSet {
    /// A set of nothing but an access token.
    #[must_use]
    pub fn new(access_token: AccessToken) -> Self {
        Self {
            access_token,
            refresh_token: None,
            id_token: None,
            recovery_code: None,
            scope: None,
        }
    }

    /// Adds a refresh token.
    #[must_use]
    pub fn with_refresh_token(mut self, token: impl Into<Secret>) -> Self {
        self.refresh_token = Some(token.into());
        self
    }

    /// Adds an ID token.
    #[must_use]
    pub fn with_id_token(mut self, token: impl Into<Secret>) -> Self {
        self.id_token = Some(token.into());
        self
    }

    /// Adds a new recovery code.
    #[must_use]
    pub fn with_recovery_code(mut self, code: impl Into<Secret>) -> Self {
        self.recovery_code = Some(code.into());
        self
    }

    /// Adds the granted scope.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// The token that the retried request carries.
    #[must_use]
    pub fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    /// The refresh token that replaces the one used before, if one came.
    #[must_use]
    pub fn refresh_token(&self) -> Option<&Secret> {
        self.refresh_token.as_ref()
    }

    /// The ID token, if one came.
    #[must_use]
    pub fn id_token(&self) -> Option<&Secret> {
        self.id_token.as_ref()
    }

    /// The recovery code that replaces the one just used; the old one is dead.
    #[must_use]
    pub fn recovery_code(&self) -> Option<&Secret> {
        self.recovery_code.as_ref()
    }

    /// The granted scope, space separated, where the server named it.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_a_token() {
        let tokens = TokenSet::new(AccessToken::new("test-access", None))
            .with_refresh_token("test-refresh")
            .with_id_token("test-id")
            .with_recovery_code("test-recovery");
        let shown = format!("{tokens:?}");
        assert!(!shown.contains("test-"), "{shown}");
    }

    #[test]
    fn header_value_is_sensitive() {
        let value = AccessToken::new("test-access", None)
            .to_header_value()
            .unwrap();
        assert!(value.is_sensitive());
        assert_eq!(value, "Bearer test-access");
    }

    #[test]
    fn a_token_that_no_header_may_carry_is_refused() {
        assert!(AccessToken::new("a\nb", None).to_header_value().is_none());
    }
}
