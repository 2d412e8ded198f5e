//! [`CodeProvider`], the trait; [`code_fn`], which makes one of a closure; and the erased twin the layer holds.

use std::fmt;
use std::future::{Future, pending, ready};
use std::pin::Pin;

use http::HeaderName;

use crate::challenge::{Authenticator, Challenge, Factor};
use crate::code::{Code, CodeError};
use crate::error::BoxError;
use crate::request::RequestHead;
use crate::token::Secret;

/// Gives the code that answers a challenge: a prompt, a page that waits for the user, a secret store, a test.
///
/// Only [`code`](Self::code) has to be written, as a plain `async fn` if you like; the other methods are hooks with defaults.
/// Use [`code_fn`] where a closure is enough.
///
/// # Wrapping a provider
///
/// A provider that wraps another one, to count or to log, has to hand on every method, not only `code`: without
/// [`code_headers`](Self::code_headers) codes would be forwarded upstream, without
/// [`wants_to_choose`](Self::wants_to_choose) the user would not be asked.
///
/// # Cancel safety
///
/// The layer drops these futures when the step-up ends without them: the deadline passed, the caller went away, a push was
/// approved. A provider must be able to lose them at any await point.
///
/// ```
/// use tower_mfa::{Challenge, Code, CodeError, CodeProvider};
///
/// struct AskSupport;
///
/// impl CodeProvider for AskSupport {
///     async fn code(&self, challenge: Challenge) -> Result<Code, CodeError> {
///         if challenge.attempt() > 1 {
///             return Err(CodeError::Declined);
///         }
///         Ok(Code::new("123456"))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a code provider",
    note = "wrap a closure in `tower_mfa::code_fn(|challenge| async move {{ .. }})`, or implement `CodeProvider`"
)]
pub trait CodeProvider: Send + Sync + 'static {
    /// Answers a challenge. It is asked again when the code was wrong; see [`Challenge::attempt`] and
    /// [`Challenge::last_rejection`].
    ///
    /// # Errors
    ///
    /// [`CodeError::Declined`] and the others end the step-up at once; the caller gets the original refusal.
    fn code(&self, challenge: Challenge) -> impl Future<Output = Result<Code, CodeError>> + Send;

    /// Whether a person is asked. Defaults to `true`: step-ups are then limited for each user, and not repeated for a moment after one
    /// was declined, so that nobody is tired into approving.
    fn is_interactive(&self) -> bool {
        true
    }

    /// Whether there is anybody to ask on behalf of this request. Defaults to `true`.
    ///
    /// Where it says no, the caller gets the refusal at once with
    /// [`is_not_interactive`](crate::StepUpError::is_not_interactive), and the authorization server is not called.
    fn is_available(&self, request: &RequestHead) -> bool {
        let _ = request;
        true
    }

    /// Whether this provider can answer such a factor for such a request. Defaults to `true`.
    ///
    /// Where it says no, another factor is taken; where none is left, nobody is challenged and no message is sent.
    fn supports(&self, factor: Factor, request: &RequestHead) -> bool {
        let _ = (factor, request);
        true
    }

    /// Whether [`choose`](Self::choose) wants to be asked. Defaults to `false`, which saves the call that lists what the
    /// user has enrolled whenever the demand says enough.
    fn wants_to_choose(&self) -> bool {
        false
    }

    /// Chooses one of the authenticators that can be used, by its place in the list, which is in the order of preference.
    /// Asked only if [`wants_to_choose`](Self::wants_to_choose), and if there are two or more. Defaults to the first.
    ///
    /// # Errors
    ///
    /// As [`code`](Self::code).
    fn choose(
        &self,
        authenticators: Vec<Authenticator>,
        request: RequestHead,
    ) -> impl Future<Output = Result<usize, CodeError>> + Send {
        let _ = (authenticators, request);
        ready(Ok(0))
    }

    /// "Approve on your device": runs while an approval is awaited and is dropped when it is there. Defaults to doing nothing.
    ///
    /// Show a notice (with [`Challenge::number`] where there is one) and wait, or return `Ok` at once: the layer polls in
    /// either case.
    ///
    /// # Errors
    ///
    /// An error stops the waiting and ends the step-up, as in [`code`](Self::code): the user pressed "cancel".
    fn awaiting_approval(
        &self,
        challenge: Challenge,
    ) -> impl Future<Output = Result<(), CodeError>> + Send {
        let _ = challenge;
        ready(Ok(()))
    }

    /// The recovery code that replaces the one just used: show or store it. Defaults to doing nothing.
    ///
    /// It is also in [`SteppedUp::recovery_code`](crate::SteppedUp::recovery_code).
    ///
    /// # Errors
    ///
    /// An error is logged; the step-up goes on, since the old code is dead in any case.
    fn new_recovery_code(&self, code: Secret) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = code;
        ready(Ok(()))
    }

    /// The request headers that carry codes. The layer takes them off every request before anything is forwarded; providers
    /// still see them in [`Challenge::request`]. Defaults to none.
    fn code_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }
}

impl<P: CodeProvider + ?Sized> CodeProvider for std::sync::Arc<P> {
    fn code(&self, challenge: Challenge) -> impl Future<Output = Result<Code, CodeError>> + Send {
        (**self).code(challenge)
    }
    fn is_interactive(&self) -> bool {
        (**self).is_interactive()
    }
    fn is_available(&self, request: &RequestHead) -> bool {
        (**self).is_available(request)
    }
    fn supports(&self, factor: Factor, request: &RequestHead) -> bool {
        (**self).supports(factor, request)
    }
    fn wants_to_choose(&self) -> bool {
        (**self).wants_to_choose()
    }
    fn choose(
        &self,
        authenticators: Vec<Authenticator>,
        request: RequestHead,
    ) -> impl Future<Output = Result<usize, CodeError>> + Send {
        (**self).choose(authenticators, request)
    }
    fn awaiting_approval(
        &self,
        challenge: Challenge,
    ) -> impl Future<Output = Result<(), CodeError>> + Send {
        (**self).awaiting_approval(challenge)
    }
    fn new_recovery_code(&self, code: Secret) -> impl Future<Output = Result<(), BoxError>> + Send {
        (**self).new_recovery_code(code)
    }
    fn code_headers(&self) -> Vec<HeaderName> {
        (**self).code_headers()
    }
}

/// Makes a [`CodeProvider`] of a closure that takes the [`Challenge`] and gives a future.
///
/// ```
/// use tower_mfa::{Code, code_fn};
///
/// let provider = code_fn(|_challenge| async { Ok(Code::new("123456")) });
/// # let _ = provider;
/// ```
pub fn code_fn<F, Fut>(f: F) -> CodeFn<F>
where
    F: Fn(Challenge) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Code, CodeError>> + Send,
{
    CodeFn { f }
}

/// The provider that [`code_fn`] makes.
#[derive(Clone, Copy)]
pub struct CodeFn<F> {
    f: F,
}

impl<F> fmt::Debug for CodeFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CodeFn")
            .field(&format_args!("{}", std::any::type_name::<F>()))
            .finish()
    }
}

impl<F, Fut> CodeProvider for CodeFn<F>
where
    F: Fn(Challenge) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Code, CodeError>> + Send,
{
    fn code(&self, challenge: Challenge) -> impl Future<Output = Result<Code, CodeError>> + Send {
        (self.f)(challenge)
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`CodeProvider`] for a trait object: the layer has no type parameter for it.
pub(crate) trait ErasedCodeProvider: Send + Sync {
    fn code(&self, challenge: Challenge) -> Boxed<'_, Result<Code, CodeError>>;
    fn is_interactive(&self) -> bool;
    fn is_available(&self, request: &RequestHead) -> bool;
    fn supports(&self, factor: Factor, request: &RequestHead) -> bool;
    fn wants_to_choose(&self) -> bool;
    fn choose(
        &self,
        authenticators: Vec<Authenticator>,
        request: RequestHead,
    ) -> Boxed<'_, Result<usize, CodeError>>;
    /// Ends only to say that the waiting should stop.
    fn awaiting_approval(&self, challenge: Challenge) -> Boxed<'_, CodeError>;
    fn new_recovery_code(&self, code: Secret) -> Boxed<'_, Result<(), BoxError>>;
}

impl<P: CodeProvider> ErasedCodeProvider for P {
    fn code(&self, challenge: Challenge) -> Boxed<'_, Result<Code, CodeError>> {
        Box::pin(CodeProvider::code(self, challenge))
    }
    fn is_interactive(&self) -> bool {
        CodeProvider::is_interactive(self)
    }
    fn is_available(&self, request: &RequestHead) -> bool {
        CodeProvider::is_available(self, request)
    }
    fn supports(&self, factor: Factor, request: &RequestHead) -> bool {
        CodeProvider::supports(self, factor, request)
    }
    fn wants_to_choose(&self) -> bool {
        CodeProvider::wants_to_choose(self)
    }
    fn choose(
        &self,
        authenticators: Vec<Authenticator>,
        request: RequestHead,
    ) -> Boxed<'_, Result<usize, CodeError>> {
        Box::pin(CodeProvider::choose(self, authenticators, request))
    }
    fn awaiting_approval(&self, challenge: Challenge) -> Boxed<'_, CodeError> {
        Box::pin(async move {
            match CodeProvider::awaiting_approval(self, challenge).await {
                Err(error) => error,
                Ok(()) => pending().await,
            }
        })
    }
    fn new_recovery_code(&self, code: Secret) -> Boxed<'_, Result<(), BoxError>> {
        Box::pin(CodeProvider::new_recovery_code(self, code))
    }
}
