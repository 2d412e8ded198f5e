//! [`ApprovalOnly`]: no code, only an approval on the user's device.

use crate::challenge::{Challenge, Factor};
use crate::code::{Code, CodeError, CodeProvider};
use crate::request::RequestHead;

/// Answers no challenge that wants a code: the user approves on their device, and the layer polls.
///
/// ```
/// use tower_mfa::{Auth0, MfaLayer, code::ApprovalOnly};
///
/// # fn main() -> Result<(), tower_mfa::ConfigError> {
/// let mfa = MfaLayer::new(
///     Auth0::new("https://tenant.example.com/", "example-client")?,
///     ApprovalOnly::new(),
/// );
/// # let _ = mfa;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ApprovalOnly;

impl ApprovalOnly {
    /// A provider without codes.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl CodeProvider for ApprovalOnly {
    async fn code(&self, _challenge: Challenge) -> Result<Code, CodeError> {
        Err(CodeError::NotInteractive)
    }

    fn supports(&self, factor: Factor, _request: &RequestHead) -> bool {
        factor == Factor::Push
    }
}
