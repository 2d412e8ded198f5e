//! [`Context`]: what a dialect works with while it resolves a demand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use crate::challenge::{Authenticator, Challenge, CodeRejection, Factor};
use crate::code::{Code, CodeError, ErasedCodeProvider};
use crate::error::{Kind, StepUpError};
use crate::request::RequestHead;
use crate::time::Clock;

/// What a dialect works with while it resolves a demand: the code provider, the clock, the refused request, and the count of
/// attempts, which is kept here so that every dialect keeps the same budget.
pub struct Context {
    codes: Arc<dyn ErasedCodeProvider>,
    clock: Arc<dyn Clock>,
    request: RequestHead,
    max_code_attempts: u32,
    /// Codes that were not accepted, in the whole step-up.
    rejected: u32,
    last_rejection: Option<CodeRejection>,
    /// Codes that were asked for; the layer reports it when the step-up is over.
    asked: Arc<AtomicU32>,
}

impl Context {
    pub(crate) fn new(
        codes: Arc<dyn ErasedCodeProvider>,
        clock: Arc<dyn Clock>,
        request: RequestHead,
        max_code_attempts: u32,
        asked: Arc<AtomicU32>,
    ) -> Self {
        Self {
            codes,
            clock,
            request,
            max_code_attempts,
            rejected: 0,
            last_rejection: None,
            asked,
        }
    }

    /// The head of the request that was refused.
    #[must_use]
    pub fn request(&self) -> &RequestHead {
        &self.request
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Which attempt the next code is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.rejected + 1
    }

    /// Whether the code provider can answer such a factor for this request.
    #[must_use]
    pub fn supports(&self, factor: Factor) -> bool {
        self.codes.supports(factor, &self.request)
    }

    /// Whether the code provider wants to choose among the user's authenticators.
    #[must_use]
    pub fn wants_to_choose(&self) -> bool {
        self.codes.wants_to_choose()
    }

    /// Lets the code provider choose one of the authenticators, which are in the order of preference.
    ///
    /// # Errors
    ///
    /// If the provider refuses, or names one that is not there.
    pub async fn choose(
        &self,
        authenticators: Vec<Authenticator>,
    ) -> Result<Authenticator, StepUpError> {
        let choice = self
            .codes
            .choose(authenticators.clone(), self.request.clone())
            .await?;
        authenticators.into_iter().nth(choice).ok_or_else(|| {
            StepUpError::new(
                Kind::Provider,
                "the code provider chose an authenticator that is not in the list it was given",
            )
        })
    }

    /// Asks the code provider for a code. An empty one is not worth a call to the server: it counts as rejected and is asked
    /// for again.
    ///
    /// # Errors
    ///
    /// If the provider has none, or the attempts are used up.
    pub async fn ask(&mut self, challenge: Challenge) -> Result<Code, StepUpError> {
        loop {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let challenge = challenge.clone().with_attempt(
                self.attempt(),
                self.max_code_attempts,
                self.last_rejection,
            );
            let code = match self.codes.code(challenge).await {
                // it had one code, and that was wrong
                Err(CodeError::NotInteractive) if self.rejected > 0 => {
                    return Err(self.no_more_codes());
                }
                result => result?,
            };
            if !code.expose().is_empty() {
                return Ok(code);
            }
            self.reject(CodeRejection::Empty)?;
        }
    }

    /// Says that the last code was not accepted, so that [`ask`](Self::ask) can be called again.
    ///
    /// # Errors
    ///
    /// If that was the last attempt.
    pub fn reject(&mut self, reason: CodeRejection) -> Result<(), StepUpError> {
        self.rejected += 1;
        self.last_rejection = Some(reason);
        if self.rejected < self.max_code_attempts {
            return Ok(());
        }
        Err(self.no_more_codes())
    }

    /// Says that the last code was accepted, and that another factor is asked for: nothing is held against its first code.
    pub fn accept(&mut self) {
        self.last_rejection = None;
    }

    fn no_more_codes(&self) -> StepUpError {
        let why = self
            .last_rejection
            .map(|why| format!(", the last because {why}"));
        StepUpError::new(
            Kind::WrongCode,
            format!(
                "{} of {} possible codes were not accepted{}; make the request again for a new challenge",
                self.rejected,
                self.max_code_attempts,
                why.unwrap_or_default()
            ),
        )
    }

    /// Shows the code provider's "approve on your device", for a dialect to run beside its polling.
    ///
    /// It ends only if the provider stops the waiting, with the error to return; drop it when the approval is there.
    pub async fn awaiting_approval(&self, challenge: Challenge) -> StepUpError {
        self.codes.awaiting_approval(challenge).await.into()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("request", &self.request)
            .field("attempt", &self.attempt())
            .field("max_code_attempts", &self.max_code_attempts)
            .finish_non_exhaustive()
    }
}
