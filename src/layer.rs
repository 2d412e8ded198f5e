//! [`MfaLayer`]: every setting, with its default and the reason for it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use tower_layer::Layer;

use crate::code::{CodeProvider, ErasedCodeProvider};
use crate::demand::Demand;
use crate::dialect::{Dialect, ErasedDialect};
use crate::error::ConfigError;
use crate::event::Event;
use crate::origin::Origin;
use crate::request::RequestHead;
use crate::service::Mfa;
use crate::time::{Clock, SystemClock};

/// Makes any HTTP service answer "multi-factor authentication required" by itself.
///
/// It takes the [`Dialect`] that the refusing side speaks and the [`CodeProvider`] that has the codes. Everything else has a
/// default. See the [crate's front page](crate) for where to put it in a stack.
///
/// ```
/// use tower_mfa::{Auth0, Code, MfaLayer, code_fn};
///
/// # fn main() -> Result<(), tower_mfa::ConfigError> {
/// let mfa = MfaLayer::new(
///     Auth0::new("https://tenant.example.com/", "example-client")?,
///     code_fn(|_challenge| async { Ok(Code::new("123456")) }),
/// )
/// .trust_origin("https://api.example.com")?;
/// # let _ = mfa;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MfaLayer {
    config: Arc<Config>,
}

type DetectError = Arc<dyn Fn(&dyn Any) -> Option<Demand> + Send + Sync>;
type RetryIf = Arc<dyn Fn(&RequestHead) -> bool + Send + Sync>;
type OnEvent = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// What all services of one layer share.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) dialect: Arc<dyn ErasedDialect>,
    pub(crate) codes: Arc<dyn ErasedCodeProvider>,
    pub(crate) code_headers: Vec<HeaderName>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) statuses: Vec<StatusCode>,
    pub(crate) max_replay_bytes: usize,
    pub(crate) max_peek_bytes: usize,
    pub(crate) max_code_attempts: u32,
    pub(crate) deadline: Duration,
    trusted_origins: Vec<Origin>,
    detect_error: Option<DetectError>,
    retry_if: Option<RetryIf>,
    on_event: Option<OnEvent>,
}

impl MfaLayer {
    /// A layer with the default settings.
    #[must_use]
    pub fn new(dialect: impl Dialect, code_provider: impl CodeProvider) -> Self {
        Self {
            config: Arc::new(Config {
                dialect: Arc::new(dialect),
                code_headers: code_provider.code_headers(),
                codes: Arc::new(code_provider),
                clock: Arc::new(SystemClock::new()),
                statuses: vec![
                    StatusCode::BAD_REQUEST,
                    StatusCode::UNAUTHORIZED,
                    StatusCode::FORBIDDEN,
                    StatusCode::PRECONDITION_REQUIRED,
                ],
                max_replay_bytes: 64 * 1024,
                max_peek_bytes: 16 * 1024,
                max_code_attempts: 3,
                deadline: Duration::from_secs(5 * 60),
                trusted_origins: Vec::new(),
                detect_error: None,
                retry_if: None,
                on_event: None,
            }),
        }
    }

    fn edit(mut self, edit: impl FnOnce(&mut Config)) -> Self {
        edit(Arc::make_mut(&mut self.config));
        self
    }

    /// Trusts an origin, such as `https://api.example.com`, to demand a step-up and to get the new token.
    ///
    /// Defaults to none: a request whose URI names a host is stepped up only if that origin was trusted here, so that no server
    /// can make users type codes because somebody was led to it. Requests without a host in their URI go to a service in this
    /// process, such as an axum router behind HTTP/1.1, and need no trust; nor do requests to the token endpoint that the dialect
    /// is set to.
    ///
    /// The port of the scheme is filled in; the path must be empty.
    ///
    /// # Errors
    ///
    /// If it is not an origin: no scheme, a path, a wildcard.
    pub fn trust_origin(self, origin: &str) -> Result<Self, ConfigError> {
        let origin = Origin::parse(origin)?;
        Ok(self.edit(|config| config.trusted_origins.push(origin)))
    }

    /// Detects a demand in the service's own error, for services that answer `mfa_required` with an `Err`.
    ///
    /// Defaults to looking at responses only. `E` is the inner service's error type; for another type the function is never
    /// called. If the step-up then fails, the caller gets that error, and the reason is in the log and in
    /// [`on_event`](Self::on_event).
    ///
    /// ```
    /// use tower_mfa::{Auth0, Code, Demand, MfaLayer, code_fn};
    ///
    /// #[derive(Debug)]
    /// enum ApiError {
    ///     MfaRequired { mfa_token: String },
    ///     Other,
    /// }
    ///
    /// # fn main() -> Result<(), tower_mfa::ConfigError> {
    /// let mfa = MfaLayer::new(
    ///     Auth0::new("https://tenant.example.com/", "example-client")?,
    ///     code_fn(|_challenge| async { Ok(Code::new("123456")) }),
    /// )
    /// .on_error(|error: &ApiError| match error {
    ///     ApiError::MfaRequired { mfa_token } => Some(Demand::new().with_handle(mfa_token.as_str())),
    ///     ApiError::Other => None,
    /// });
    /// # let _ = (mfa, ApiError::Other, ApiError::MfaRequired { mfa_token: String::new() });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_error<E: 'static>(
        self,
        detect: impl Fn(&E) -> Option<Demand> + Send + Sync + 'static,
    ) -> Self {
        self.edit(|config| {
            config.detect_error = Some(Arc::new(move |error: &dyn Any| {
                error.downcast_ref::<E>().and_then(&detect)
            }));
        })
    }

    /// Sets how many bytes of a request's body are remembered for the retry.
    ///
    /// Defaults to 64 KiB, which holds the body of nearly every JSON call and bounds what a thousand requests in flight may keep
    /// to 64 MiB. A longer body streams through untouched; its request is just not sent again, unless it carries a
    /// [`BodyFactory`](crate::body::BodyFactory).
    #[must_use]
    pub fn max_replay_bytes(self, bytes: usize) -> Self {
        self.edit(|config| config.max_replay_bytes = bytes)
    }

    /// Sets how many bytes of a refusal's body are read to find a demand.
    ///
    /// Defaults to 16 KiB: a demand is a small JSON object. A longer body is handed on as it is.
    #[must_use]
    pub fn max_peek_bytes(self, bytes: usize) -> Self {
        self.edit(|config| config.max_peek_bytes = bytes)
    }

    /// Decides for each refused request whether it may be sent again; where not, nobody is asked and the caller gets the refusal.
    ///
    /// Defaults to yes, whatever the method: a refusal says that nothing was done. Say no for a service of which that is not
    /// true, such as a proxy that answers `mfa_required` after it has acted.
    ///
    /// ```
    /// # use tower_mfa::{Auth0, Code, MfaLayer, code_fn};
    /// # fn main() -> Result<(), tower_mfa::ConfigError> {
    /// # let mfa = MfaLayer::new(
    /// #     Auth0::new("https://tenant.example.com/", "example-client")?,
    /// #     code_fn(|_challenge| async { Ok(Code::new("123456")) }),
    /// # );
    /// let mfa = mfa.retry_if(|request| request.uri().path() != "/legacy/charge");
    /// # let _ = mfa;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn retry_if(
        self,
        may_retry: impl Fn(&RequestHead) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.edit(|config| config.retry_if = Some(Arc::new(may_retry)))
    }

    /// Sets the statuses that may carry a demand.
    ///
    /// Defaults to 400, 401, 403 and 428, where demands have been seen. Responses of all other statuses pass at the cost of this
    /// comparison; so do those of gRPC servers, which answer 200 with a `grpc-status`.
    #[must_use]
    pub fn statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.edit(|config| config.statuses = statuses.into_iter().collect())
    }

    /// Sets how long a step-up may take, the person included.
    ///
    /// Defaults to five minutes: what Auth0 sends by text message or email is worth nothing after that.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        self.edit(|config| config.deadline = deadline)
    }

    /// Sets how many codes may be tried in one step-up.
    ///
    /// Defaults to 3: people mistype, and Auth0 locks a user's codes after ten failures. Zero is taken as one.
    #[must_use]
    pub fn max_code_attempts(self, attempts: u32) -> Self {
        self.edit(|config| config.max_code_attempts = attempts.max(1))
    }

    /// Sets the clock. Defaults to the system's.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.edit(|config| config.clock = Arc::new(clock))
    }

    /// Calls a function at the beginning and the end of each step-up: for metrics, and to store rotated refresh tokens.
    ///
    /// Defaults to none. It is called inside the request's future: it must not block.
    #[must_use]
    pub fn on_event(self, on_event: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.edit(|config| config.on_event = Some(Arc::new(on_event)))
    }
}

impl Config {
    /// Whether a step-up may be made on behalf of a request to this URI.
    pub(crate) fn trusts(&self, uri: &http::Uri) -> bool {
        uri.authority().is_none()
            || Origin::of(uri).is_some_and(|origin| self.trusted_origins.contains(&origin))
    }

    /// Whether a request may be sent again.
    pub(crate) fn may_retry(&self, request: &RequestHead) -> bool {
        self.retry_if.as_ref().is_none_or(|may| may(request))
    }

    /// The demand in a service's own error.
    pub(crate) fn detect_error<E: 'static>(&self, error: &E) -> Option<Demand> {
        self.detect_error.as_ref()?(error)
    }

    pub(crate) fn emit(&self, event: &Event<'_>) {
        if let Some(on_event) = &self.on_event {
            on_event(event);
        }
    }
}

impl<S> Layer<S> for MfaLayer {
    type Service = Mfa<S>;

    fn layer(&self, inner: S) -> Mfa<S> {
        Mfa::new(inner, Arc::clone(&self.config))
    }
}

impl fmt::Debug for MfaLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MfaLayer")
            .field("dialect", &self.dialect.name())
            .field("trusted_origins", &self.trusted_origins)
            .field("statuses", &self.statuses)
            .field("max_replay_bytes", &self.max_replay_bytes)
            .field("max_peek_bytes", &self.max_peek_bytes)
            .field("max_code_attempts", &self.max_code_attempts)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
