//! [`Code`] and [`CodeError`]: what a code provider answers.

use std::error::Error;
use std::fmt;

use crate::error::BoxError;
use crate::token::Secret;

/// The answer to a challenge: the code that was asked for, or a recovery code in its place.
///
/// It is wiped when dropped and never printed.
#[derive(Clone, Debug)]
pub struct Code {
    secret: Secret,
    recovery: bool,
}

impl Code {
    /// The code that was asked for. White space is left out: authenticator apps show `123 456`.
    #[must_use]
    pub fn new(code: impl AsRef<str>) -> Self {
        Self {
            secret: Secret::new(
                code.as_ref()
                    .split_whitespace()
                    .fold(String::new(), |all, part| all + part),
            ),
            recovery: false,
        }
    }

    /// A recovery code, in place of the code that was asked for.
    ///
    /// It is dead once used. The one that replaces it comes through [`CodeProvider::new_recovery_code`] and
    /// [`SteppedUp::recovery_code`](crate::SteppedUp::recovery_code).
    ///
    /// [`CodeProvider::new_recovery_code`]: crate::CodeProvider::new_recovery_code
    #[must_use]
    pub fn recovery(code: impl AsRef<str>) -> Self {
        Self {
            secret: Secret::new(code.as_ref().trim()),
            recovery: true,
        }
    }

    /// The code itself: for the wire, not for logs.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.secret.expose()
    }

    /// Whether this is a recovery code.
    #[must_use]
    pub fn is_recovery(&self) -> bool {
        self.recovery
    }
}

impl From<&str> for Code {
    fn from(code: &str) -> Self {
        Self::new(code)
    }
}

impl From<String> for Code {
    fn from(code: String) -> Self {
        // the string that came in is wiped too
        Self::new(Secret::new(code).expose())
    }
}

/// Why a code provider has no code. It ends the step-up at once.
#[derive(Debug)]
#[non_exhaustive]
pub enum CodeError {
    /// The user does not want to.
    Declined,
    /// Nobody is there to ask.
    NotInteractive,
    /// The provider itself failed.
    Other(BoxError),
}

impl CodeError {
    /// The provider itself failed, for this reason. The reason must not contain a code.
    pub fn other(error: impl Into<BoxError>) -> Self {
        Self::Other(error.into())
    }
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declined => "the user declined to give a code",
            Self::NotInteractive => "nobody is there to give a code",
            Self::Other(_) => "the code provider failed",
        })
    }
}

impl Error for CodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Other(source) => Some(&**source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_in_a_code_is_left_out() {
        assert_eq!(Code::new(" 123 456\n").expose(), "123456");
        assert_eq!(Code::recovery(" ABC\n").expose(), "ABC");
    }

    #[test]
    fn debug_never_shows_a_code() {
        assert!(!format!("{:?}", Code::new("123456")).contains("123456"));
        assert!(!format!("{:?}", Code::recovery("TESTCODE")).contains("TESTCODE"));
    }
}
