//! [`StepUpError`]: why a demand could not be met.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::code::CodeError;

/// A boxed error, as the whole tower ecosystem passes them on.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a demand for stronger authentication was not met.
///
/// When a step-up fails, the caller gets the original refusal with this value in the response's extensions. It is opaque:
/// ask it with the `is_*` methods, print it for whoever runs the program, walk [`source`](Error::source) for the cause. The
/// text says what to do next, may change in any release, and never contains a code or a token. It addresses developers; say it
/// in your own words to users.
///
/// Cloning is cheap: everybody who waited for the same step-up gets the same error.
///
/// ```
/// use tower_mfa::StepUpError;
///
/// # fn show<B>(response: http::Response<B>) {
/// if let Some(error) = response.extensions().get::<StepUpError>() {
///     if error.is_declined() {
///         println!("as you wish");
///     } else {
///         eprintln!("could not step up: {error}");
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct StepUpError {
    inner: Arc<Inner>,
}

struct Inner {
    kind: Kind,
    message: String,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ChainTooLong,
    Configuration,
    Declined,
    EnrollmentRequired,
    Expired,
    HandedBack,
    MissingHandle,
    NotInteractive,
    NotAccepted,
    NotReplayable,
    Other,
    Overloaded,
    Panicked,
    Protocol,
    Provider,
    RateLimited(Option<Duration>),
    Rejected,
    SubjectMismatch,
    Timeout,
    Transport,
    UnsupportedFactor,
    UntrustedOrigin,
    Vetoed,
    WrongCode,
}

impl StepUpError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            inner: Arc::new(Inner {
                kind,
                message: message.into(),
                source: None,
            }),
        }
    }

    pub(crate) fn with_source(kind: Kind, message: impl Into<String>, source: BoxError) -> Self {
        Self {
            inner: Arc::new(Inner {
                kind,
                message: message.into(),
                source: Some(source),
            }),
        }
    }

    /// The approval was refused on the user's device: for dialects outside this crate.
    #[must_use]
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(Kind::Rejected, message)
    }

    /// What the demand or the challenge named is too old: for dialects outside this crate.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Kind::Expired, message)
    }

    /// No factor is both allowed and answerable: for dialects outside this crate.
    #[must_use]
    pub fn unsupported_factor(message: impl Into<String>) -> Self {
        Self::new(Kind::UnsupportedFactor, message)
    }

    /// The authorization server could not be reached: for dialects outside this crate.
    #[must_use]
    pub fn transport(message: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::with_source(Kind::Transport, message, source.into())
    }

    /// Anything else that ends a step-up: for dialects outside this crate.
    ///
    /// The message must not contain a code or a token.
    #[must_use]
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(Kind::Other, message)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// A word for logs and metrics; of a small fixed set.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self.inner.kind {
            Kind::ChainTooLong => "chain_too_long",
            Kind::Configuration => "configuration",
            Kind::Declined => "declined",
            Kind::EnrollmentRequired => "enrollment_required",
            Kind::Expired => "expired",
            Kind::HandedBack => "handed_back",
            Kind::MissingHandle => "missing_handle",
            Kind::NotInteractive => "not_interactive",
            Kind::NotAccepted => "not_accepted",
            Kind::NotReplayable => "not_replayable",
            Kind::Other => "other",
            Kind::Overloaded => "overloaded",
            Kind::Panicked => "panicked",
            Kind::Protocol => "protocol",
            Kind::Provider => "provider",
            Kind::RateLimited(_) => "rate_limited",
            Kind::Rejected => "rejected",
            Kind::SubjectMismatch => "subject_mismatch",
            Kind::Timeout => "timeout",
            Kind::Transport => "transport",
            Kind::UnsupportedFactor => "unsupported_factor",
            Kind::UntrustedOrigin => "untrusted_origin",
            Kind::Vetoed => "vetoed",
            Kind::WrongCode => "wrong_code",
        }
    }

    /// Whether the demand was passed over: nobody was asked and the authorization server was not called, because the
    /// origin is not trusted, the dialect hands its demands back, or the request cannot or must not be sent again.
    #[must_use]
    pub fn is_passed_over(&self) -> bool {
        self.is_untrusted_origin()
            || self.is_handed_back()
            || self.is_not_replayable()
            || self.is_vetoed()
    }

    /// Whether the user declined to give a code.
    #[must_use]
    pub fn is_declined(&self) -> bool {
        self.inner.kind == Kind::Declined
    }

    /// Whether nobody is there to give a code: a background job, a missing code header.
    #[must_use]
    pub fn is_not_interactive(&self) -> bool {
        self.inner.kind == Kind::NotInteractive
    }

    /// Whether the code provider failed; its error is the [`source`](Error::source).
    #[must_use]
    pub fn is_code_provider(&self) -> bool {
        self.inner.kind == Kind::Provider
    }

    /// Whether every allowed attempt was a wrong code.
    #[must_use]
    pub fn is_wrong_code(&self) -> bool {
        self.inner.kind == Kind::WrongCode
    }

    /// Whether the handle of the demand or the challenge was too old, malformed or meant for somebody else: the request
    /// that was refused has to be made anew.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.inner.kind == Kind::Expired
    }

    /// Whether the user rejected the approval on their device.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.inner.kind == Kind::Rejected
    }

    /// Whether the new token is another user's than the one of the refused request. It was thrown away.
    #[must_use]
    pub fn is_subject_mismatch(&self) -> bool {
        self.inner.kind == Kind::SubjectMismatch
    }

    /// Whether [`accept`](crate::MfaLayer::accept) refused the new token. It was thrown away.
    #[must_use]
    pub fn is_not_accepted(&self) -> bool {
        self.inner.kind == Kind::NotAccepted
    }

    /// Whether as many step-ups were under way as [`max_step_ups`](crate::MfaLayer::max_step_ups) allows.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.inner.kind == Kind::Overloaded
    }

    /// Whether the code provider or the dialect panicked.
    #[must_use]
    pub fn is_panicked(&self) -> bool {
        self.inner.kind == Kind::Panicked
    }

    /// Whether the authorization server, or [`prompt_limit`](crate::MfaLayer::prompt_limit), limits the rate of challenges or codes; see [`retry_after`](Self::retry_after).
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        matches!(self.inner.kind, Kind::RateLimited(_))
    }

    /// How long the authorization server asked to wait, if it said.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.inner.kind {
            Kind::RateLimited(wait) => wait,
            _ => None,
        }
    }

    /// Whether no factor was both allowed by the demand and answerable by the code provider.
    #[must_use]
    pub fn is_unsupported_factor(&self) -> bool {
        self.inner.kind == Kind::UnsupportedFactor
    }

    /// Whether the user has to enroll a factor first.
    #[must_use]
    pub fn is_enrollment_required(&self) -> bool {
        self.inner.kind == Kind::EnrollmentRequired
    }

    /// Whether the demand came without the handle (`mfa_token`) that the authorization server needs.
    #[must_use]
    pub fn is_missing_handle(&self) -> bool {
        self.inner.kind == Kind::MissingHandle
    }

    /// Whether the demand came from an origin that was not trusted by
    /// [`MfaLayer::trust_origin`](crate::MfaLayer::trust_origin).
    #[must_use]
    pub fn is_untrusted_origin(&self) -> bool {
        self.inner.kind == Kind::UntrustedOrigin
    }

    /// Whether the dialect only finds demands and has no way to a token, as [`Rfc9470`](crate::Rfc9470): to meet the demand is up to
    /// the caller.
    #[must_use]
    pub fn is_handed_back(&self) -> bool {
        self.inner.kind == Kind::HandedBack
    }

    /// Whether the request could not have been sent again: its body is larger than
    /// [`max_replay_bytes`](crate::MfaLayer::max_replay_bytes) and has no [`BodyFactory`](crate::body::BodyFactory), or failed.
    #[must_use]
    pub fn is_not_replayable(&self) -> bool {
        self.inner.kind == Kind::NotReplayable
    }

    /// Whether [`retry_if`](crate::MfaLayer::retry_if) said that the request must not be sent again.
    #[must_use]
    pub fn is_vetoed(&self) -> bool {
        self.inner.kind == Kind::Vetoed
    }

    /// Whether the step-up took longer than [`deadline`](crate::MfaLayer::deadline).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.inner.kind == Kind::Timeout
    }

    /// Whether the authorization server does not accept this client: its credentials, its grants.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        self.inner.kind == Kind::Configuration
    }

    /// Whether the authorization server could not be reached or answered with a fault.
    #[must_use]
    pub fn is_transport(&self) -> bool {
        self.inner.kind == Kind::Transport
    }

    /// Whether the authorization server answered something that is not part of its protocol.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        self.inner.kind == Kind::Protocol
    }

    /// Whether the authorization server demanded one factor after the other, more than three.
    #[must_use]
    pub fn is_chain_too_long(&self) -> bool {
        self.inner.kind == Kind::ChainTooLong
    }
}

impl fmt::Debug for StepUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepUpError")
            .field("kind", &self.inner.kind)
            .field("message", &self.inner.message)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl fmt::Display for StepUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl Error for StepUpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.inner.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

impl From<CodeError> for StepUpError {
    fn from(error: CodeError) -> Self {
        match error {
            CodeError::Declined => Self::new(
                Kind::Declined,
                "the user declined to give a code; ask again only when they act",
            ),
            CodeError::NotInteractive => Self::new(
                Kind::NotInteractive,
                "nobody is there to give a code; let a person run this, or use a code provider that needs none",
            ),
            CodeError::Other(source) => Self::with_source(
                Kind::Provider,
                "the code provider failed; its error is the source of this one",
                source,
            ),
        }
    }
}

/// A setting that cannot work, found while it was made.
#[derive(Debug)]
pub struct ConfigError {
    message: String,
    source: Option<BoxError>,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    #[cfg(any(feature = "client", feature = "totp"))]
    pub(crate) fn with_source(message: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self {
            message: message.into(),
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
