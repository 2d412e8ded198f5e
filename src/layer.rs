//! [`MfaLayer`]: every setting, with its default and the reason for it.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, request};
use tower_layer::Layer;

use crate::code::{CodeProvider, ErasedCodeProvider};
use crate::cooperation;
use crate::demand::Demand;
use crate::dialect::{Dialect, ErasedDialect};
use crate::elevation::Elevations;
use crate::error::{BoxError, ConfigError};
use crate::event::Event;
use crate::flight::Flights;
use crate::origin::{Origin, Trusted};
use crate::principal::Principal;
use crate::prompt_limit::PromptLimit;
use crate::request::RequestHead;
use crate::service::Mfa;
use crate::statuses::Statuses;
use crate::store::{ErasedStore, Lease, TokenStore};
use crate::subject::differs_by;
use crate::time::{Clock, SystemClock};
use crate::token::TokenSet;
use crate::unique::unique;

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
type PrincipalOf = Arc<dyn Fn(&request::Parts) -> Option<Principal> + Send + Sync>;
type TakesPart = Arc<dyn Fn(&request::Parts) -> bool + Send + Sync>;
type Accept = Arc<dyn Fn(Option<&HeaderValue>, &TokenSet) -> bool + Send + Sync>;
type RetryIf = Arc<dyn Fn(&RequestHead) -> bool + Send + Sync>;
type OnEvent = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// What all services of one layer share.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) dialect: Arc<dyn ErasedDialect>,
    pub(crate) codes: Arc<dyn ErasedCodeProvider>,
    pub(crate) code_headers: Vec<HeaderName>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) statuses: Statuses,
    pub(crate) max_replay_bytes: usize,
    pub(crate) max_peek_bytes: usize,
    pub(crate) max_code_attempts: u32,
    pub(crate) deadline: Duration,
    pub(crate) max_step_ups: usize,
    pub(crate) hold_off: Duration,
    pub(crate) flights: Arc<Flights>,
    pub(crate) elevations: Arc<Elevations>,
    pub(crate) prompt_limit: Arc<PromptLimit>,
    pub(crate) store: Option<Arc<dyn ErasedStore>>,
    /// Says to a store that it is this instance which prompts. One for all its step-ups: no two of them have the same key, and one
    /// that was dropped must not hold up the next.
    pub(crate) lease: Lease,
    /// Whether the store's failure was told.
    store_is_down: Arc<AtomicBool>,
    trusted_origins: Vec<Trusted>,
    principal: Option<PrincipalOf>,
    accept: Option<Accept>,
    takes_part: Option<TakesPart>,
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
                statuses: Statuses::from_iter([
                    StatusCode::BAD_REQUEST,
                    StatusCode::UNAUTHORIZED,
                    StatusCode::FORBIDDEN,
                    StatusCode::PRECONDITION_REQUIRED,
                ]),
                max_replay_bytes: 64 * 1024,
                max_peek_bytes: 16 * 1024,
                max_code_attempts: 3,
                deadline: Duration::from_secs(5 * 60),
                max_step_ups: 1000,
                hold_off: Duration::from_secs(2),
                flights: Arc::default(),
                elevations: Arc::new(Elevations::new(10_000)),
                prompt_limit: Arc::new(PromptLimit::new(5, Duration::from_secs(10 * 60))),
                store: None,
                lease: Lease::new(unique()),
                store_is_down: Arc::default(),
                trusted_origins: Vec::new(),
                principal: None,
                accept: None,
                takes_part: None,
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
        let origin = Trusted::parse(origin)?;
        Ok(self.edit(|config| config.trusted_origins.push(origin)))
    }

    /// Shares elevations with other instances by a store, and lets only one of them prompt at a time.
    ///
    /// Defaults to none: each process remembers its own. The store is asked only when a step-up is about to happen. If it fails or
    /// takes longer than a second, the step-up goes on without it; one warning says so.
    #[must_use]
    pub fn store(self, store: impl TokenStore) -> Self {
        self.edit(|config| config.store = Some(Arc::new(store)))
    }

    /// Tells for whom a request is made; see [`Principal`].
    ///
    /// Defaults to the value of its `authorization` header, if it has exactly one. `None` is nobody: the elevation is neither
    /// remembered nor shared with other requests. The function is called for every request while anything is remembered: it must
    /// be quick.
    ///
    /// ```
    /// # use tower_mfa::{Auth0, Code, MfaLayer, Principal, code_fn};
    /// # fn main() -> Result<(), tower_mfa::ConfigError> {
    /// # let mfa = MfaLayer::new(
    /// #     Auth0::new("https://tenant.example.com/", "example-client")?,
    /// #     code_fn(|_challenge| async { Ok(Code::new("123456")) }),
    /// # );
    /// let mfa = mfa.principal(|head| head.headers.get("x-session-id").map(Principal::new));
    /// # let _ = mfa;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Whatever it gives has to be verified already: two requests of one principal use the same elevated token.
    #[must_use]
    pub fn principal(
        self,
        principal: impl Fn(&request::Parts) -> Option<Principal> + Send + Sync + 'static,
    ) -> Self {
        self.edit(|config| config.principal = Some(Arc::new(principal)))
    }

    /// Decides for each request, by its head, whether it takes part. One that does not passes through, whatever comes back, and costs
    /// next to nothing; so does one that carries [`NoStepUp`](crate::NoStepUp).
    ///
    /// Defaults to yes for all. Say no where there are never demands: the public part of an API, what a browser loads to show a
    /// page. The function is called for every request: it must be quick.
    ///
    /// ```
    /// # use tower_mfa::{Auth0, Code, MfaLayer, code_fn};
    /// # fn main() -> Result<(), tower_mfa::ConfigError> {
    /// # let mfa = MfaLayer::new(
    /// #     Auth0::new("https://tenant.example.com/", "example-client")?,
    /// #     code_fn(|_challenge| async { Ok(Code::new("123456")) }),
    /// # );
    /// let mfa = mfa.step_up_if(|head| !head.uri.path().starts_with("/static/"));
    /// # let _ = mfa;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn step_up_if(
        self,
        takes_part: impl Fn(&request::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.edit(|config| config.takes_part = Some(Arc::new(takes_part)))
    }

    /// May refuse a new token, by the `authorization` of the refused request and what was issued.
    ///
    /// Defaults to accepting every token; that its `sub` is the old one's, where both are JWTs, is checked in any case.
    #[must_use]
    pub fn accept(
        self,
        accept: impl Fn(Option<&HeaderValue>, &TokenSet) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.edit(|config| config.accept = Some(Arc::new(accept)))
    }

    /// Sets how many elevations this process remembers; with zero it remembers none.
    ///
    /// Defaults to 10,000: some 25 MB with tokens of a kilobyte. When it is full, the one that ends soonest makes room.
    #[must_use]
    pub fn max_remembered(self, elevations: usize) -> Self {
        self.edit(|config| config.elevations = Arc::new(Elevations::new(elevations)))
    }

    /// Sets how many step-ups may be under way at a time; further demands go back to their callers.
    ///
    /// Defaults to 1000, which bounds what people who do not answer can hold.
    #[must_use]
    pub fn max_step_ups(self, step_ups: usize) -> Self {
        self.edit(|config| config.max_step_ups = step_ups)
    }

    /// Sets how often one principal may be prompted within a time.
    ///
    /// Defaults to 5 in 10 minutes: enough for somebody who works, too little to tire anybody into approving. It holds for code
    /// providers that [ask a person](crate::CodeProvider::is_interactive).
    #[must_use]
    pub fn prompt_limit(self, prompts: u32, window: Duration) -> Self {
        self.edit(|config| config.prompt_limit = Arc::new(PromptLimit::new(prompts, window)))
    }

    /// Sets how long a principal is not prompted again for the same after a person declined or used up their attempts; who comes
    /// within that time gets the same error.
    ///
    /// Defaults to 2 seconds: a client that repeats itself is held off, a person who changed their mind is not.
    #[must_use]
    pub fn hold_off(self, time: Duration) -> Self {
        self.edit(|config| config.hold_off = time)
    }

    /// How many step-ups are under way.
    #[must_use]
    pub fn step_ups_under_way(&self) -> usize {
        self.config.flights.len()
    }

    /// Forgets what was remembered for a principal, here and in the store: at a log-out, or when somebody's access has changed.
    ///
    /// The default principal of a request is `Principal::new` of its `authorization` header's value. This process forgets at
    /// once, before the future is polled; the store when it answers. A step-up that is under way goes on for those who wait for it; what it
    /// brings is not remembered.
    pub fn forget(&self, principal: &Principal) -> impl Future<Output = ()> + Send + 'static {
        // first, so that what is under way is not remembered when it ends
        self.config.flights.forget(principal);
        let forgotten = self.config.elevations.forget(principal);
        let config = Arc::clone(&self.config);
        async move {
            for elevation in forgotten {
                cooperation::forget(&config, &elevation).await;
            }
        }
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
            || Origin::of(uri).is_some_and(|origin| {
                self.trusted_origins
                    .iter()
                    .any(|trusted| trusted.includes(&origin))
            })
    }

    /// The same by text, and without an allocation; not for what decides about a step-up, since an unusual spelling is not trusted.
    pub(crate) fn plainly_trusts(&self, scheme: &str, authority: &str) -> bool {
        let mut trusted = self.trusted_origins.iter();
        authority.is_empty() || trusted.any(|trusted| trusted.is_plainly(scheme, authority))
    }

    /// The bytes of a request's principal.
    pub(crate) fn principal_id<'a>(&self, head: &'a request::Parts) -> Option<Cow<'a, [u8]>> {
        match &self.principal {
            Some(principal) => principal(head).map(|principal| Cow::Owned(principal.id().to_vec())),
            None => default_principal(&head.headers).map(Cow::Borrowed),
        }
    }

    /// The `authorization` that a request should carry in place of its own: what an earlier step-up has brought. Not for a layer
    /// that has its own [`principal`](MfaLayer::principal).
    #[inline(never)]
    pub(crate) fn elevated<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        // it was got for this very `authorization`
        let principal = default_principal(request.headers())?;
        self.attach(principal, request.method(), request.uri())
    }

    /// The same for every layer.
    pub(crate) fn elevated_by_head(&self, head: &request::Parts) -> Option<HeaderValue> {
        if self.elevations.is_empty() {
            return None;
        }
        let principal = self.principal_id(head)?;
        let authorization = self.attach(&principal, &head.method, &head.uri)?;
        // a principal of the caller's own may have several tokens, and be several users
        (self.principal.is_none() || !differs_by(&head.headers, &authorization))
            .then_some(authorization)
    }

    fn attach(&self, principal: &[u8], method: &Method, uri: &Uri) -> Option<HeaderValue> {
        let authorization = self.elevations.attach(principal, uri, self.clock.now())?;
        // what asks for tokens shows the credentials of a client
        let is_token_request = self.dialect.is_token_request(method, uri);
        (!is_token_request).then_some(authorization)
    }

    /// Whether a function of the caller's own has to see the head of every request.
    #[inline]
    pub(crate) fn shows_heads(&self) -> bool {
        self.takes_part.is_some() || self.principal.is_some() && !self.elevations.is_empty()
    }

    pub(crate) fn takes_part(&self, head: &request::Parts) -> bool {
        self.takes_part.as_ref().is_none_or(|takes| takes(head))
    }

    pub(crate) fn accepts(&self, old: Option<&HeaderValue>, new: &TokenSet) -> bool {
        self.accept.as_ref().is_none_or(|accept| accept(old, new))
    }

    /// Says once that the store fails, until it works again.
    pub(crate) fn store_failed(&self, error: &BoxError) {
        if !self.store_is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error = %error,
                "the token store fails: elevations are not shared with other instances until it works again"
            );
        }
    }

    pub(crate) fn store_works(&self) {
        self.store_is_down.store(false, Ordering::Relaxed);
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

/// The value of the `authorization`, if there is exactly one. An empty one is no credentials: everybody may have it.
fn default_principal(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?;
    (!value.is_empty() && values.next().is_none()).then(|| value.as_bytes())
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
