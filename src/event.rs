//! [`Event`] and [`SteppedUp`]: what the layer tells about a step-up.

use std::sync::Arc;

use crate::challenge::Factor;
use crate::error::StepUpError;
use crate::request::RequestHead;
use crate::token::{Secret, TokenSet};

/// Something that happened in a step-up, for [`MfaLayer::on_event`](crate::MfaLayer::on_event).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A demand was passed over, or the step-up failed; the caller gets the original refusal.
    #[non_exhaustive]
    Failed {
        /// The request that was refused.
        request: &'a RequestHead,
        /// Why.
        error: &'a StepUpError,
    },
    /// A step-up begins.
    #[non_exhaustive]
    Started {
        /// The request that was refused.
        request: &'a RequestHead,
    },
    /// A step-up succeeded, and the request is about to be sent again.
    ///
    /// This is the moment to store a rotated refresh token: it comes before the retry, so it is not lost if the retry fails.
    #[non_exhaustive]
    Succeeded {
        /// The request that was refused.
        request: &'a RequestHead,
        /// What the step-up brought.
        stepped_up: &'a SteppedUp,
    },
}

/// In the extensions of a response whose request was stepped up and sent again.
///
/// ```
/// use tower_mfa::SteppedUp;
///
/// # fn show<B>(response: http::Response<B>) {
/// if let Some(stepped_up) = response.extensions().get::<SteppedUp>() {
///     println!("stepped up by {:?}, codes asked: {}", stepped_up.factor(), stepped_up.attempts());
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SteppedUp {
    factor: Option<Factor>,
    attempts: u32,
    /// The same for all who waited for them.
    tokens: Option<Arc<TokenSet>>,
}

impl SteppedUp {
    pub(crate) fn new(factor: Option<Factor>, attempts: u32, tokens: Option<TokenSet>) -> Self {
        Self {
            factor,
            attempts,
            tokens: tokens.map(Arc::new),
        }
    }

    /// The factor that did it, if the dialect said.
    #[must_use]
    pub fn factor(&self) -> Option<Factor> {
        self.factor
    }

    /// How many codes were asked for; 0 where an approval needed none.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The tokens that were issued, if the remedy was a token.
    #[must_use]
    pub fn tokens(&self) -> Option<&TokenSet> {
        self.tokens.as_deref()
    }

    /// The recovery code that replaces the one just used: show it to the user or store it; the old one is dead.
    #[must_use]
    pub fn recovery_code(&self) -> Option<&Secret> {
        self.tokens.as_ref()?.recovery_code()
    }
}
