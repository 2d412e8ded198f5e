//! [`Error`]: what went wrong, in words that hold no key, token or password.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use redis::RedisError;

/// Why the store could not do what it was asked.
///
/// What Redis answered is reduced to its code: some of its messages repeat the command with its arguments, a password among
/// them.
#[derive(Clone, Debug)]
pub(super) struct Error {
    message: Cow<'static, str>,
}

impl Error {
    pub(super) const CRYPTO: Self = Self {
        message: Cow::Borrowed("the cryptography library failed to encrypt"),
    };

    pub(super) fn unreadable(why: impl fmt::Display) -> Self {
        Self {
            message: format!("a token in Redis cannot be read: {why}").into(),
        }
    }

    pub(super) fn too_slow(limit: Duration) -> Self {
        Self {
            message: format!("Redis did not answer within {limit:?}").into(),
        }
    }

    pub(super) fn paused(last: &Self) -> Self {
        Self {
            message: format!("{last}, a moment ago; not asked again yet").into(),
        }
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        let message = if error.is_timeout() {
            "Redis did not answer in time".to_owned()
        } else if error.is_io_error() {
            format!("Redis cannot be reached: {error}")
        } else if let Some(code) = error.code() {
            format!("Redis refused: {code}")
        } else {
            format!("Redis cannot be used: {}", error.category())
        };
        Self {
            message: message.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
