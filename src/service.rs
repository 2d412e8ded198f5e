//! [`Mfa`]: checkpoints the request and starts the first attempt.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::{BodyFactory, Replay, ReplayBody, ResponseBody};
use crate::error::BoxError;
use crate::future::ResponseFuture;
use crate::kept::KeptHead;
use crate::layer::{Config, MfaLayer};
use crate::request::RefusedHead;

/// In a request's extensions: pass this request through, whatever comes back.
///
/// ```
/// use tower_mfa::NoStepUp;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(NoStepUp);
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a marker, which callers construct"
)]
pub struct NoStepUp;

/// The service that [`MfaLayer`] makes.
///
/// It gives the inner service a [`ReplayBody`] and the caller a [`ResponseBody`]. The error is the inner service's: an
/// `Infallible` one stays so. See the [crate's front page](crate) for what happens when a step-up fails.
///
/// A client with a body or with request types of its own gets an adapter between it and the layer. Around axum, and around
/// tonic's channel, that is `map_request(|request| request.map(Body::new))`; around reqwest:
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Layer, service_fn};
/// use tower_mfa::{Auth0, Code, MfaLayer, body::ReplayBody, code_fn};
///
/// # fn main() -> Result<(), tower_mfa::BoxError> {
/// # let mfa = MfaLayer::new(
/// #     Auth0::new("https://tenant.example.com/", "example-client")?,
/// #     code_fn(|_challenge| async { Ok(Code::new("123456")) }),
/// # );
/// let reqwest = reqwest::Client::new();
/// let client = mfa.layer(service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
///     let reqwest = reqwest.clone();
///     async move {
///         let request = request.map(reqwest::Body::wrap).try_into()?;
///         reqwest.execute(request).await.map(Response::from)
///     }
/// }));
/// # fn is_a_client<S: tower::Service<Request<Full<Bytes>>, Error = reqwest::Error>>(_: S) {}
/// # is_a_client(client);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping the response future drops the attempt, and the step-up if one is under way: the code provider's future is dropped,
/// polling stops. A code that was just sent to the authorization server is then spent without a result.
#[derive(Clone)]
pub struct Mfa<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Mfa<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// Wraps a service by a layer's settings.
    #[must_use]
    pub fn with_layer(inner: S, layer: &MfaLayer) -> Self {
        layer.layer(inner)
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, to write to.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the inner service back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<B>> for Mfa<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone,
    S::Error: 'static,
    B: Body + Unpin + 'static,
    B::Error: Into<BoxError>,
    R: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let config = &self.config;
        let codes = match config.code_headers.is_empty() {
            true => None,
            false => take_code_headers(&config.code_headers, request.headers_mut()),
        };
        if passes(&request) {
            return ResponseFuture::passed(self.inner.call(request.map(ReplayBody::once)));
        }
        let elevated;
        // a head is large: it is moved only where somebody has to see it
        if config.shows_heads() {
            let (head, body) = request.into_parts();
            if !config.takes_part(&head) {
                let request = Request::from_parts(head, ReplayBody::once(body));
                return ResponseFuture::passed(self.inner.call(request));
            }
            elevated = config.elevated_by_head(&head);
            request = Request::from_parts(head, body);
        } else if !config.elevations.is_empty() {
            elevated = config.elevated(&request);
        } else {
            elevated = None;
        }
        let Some(kept) = KeptHead::keep(&mut request, elevated) else {
            return ResponseFuture::passed(self.inner.call(request.map(ReplayBody::once)));
        };
        // the service that was polled ready takes this call; its clone is polled ready before the next one
        let clone = self.inner.clone();
        let mut service = std::mem::replace(&mut self.inner, clone);
        let limit = config.max_replay_bytes;
        let factory = request.extensions().get::<BodyFactory<B>>().cloned();
        let config = Arc::clone(config);
        let (head, body) = request.into_parts();
        let (body, replay) = ReplayBody::new(body, limit, factory);
        let future = service.call(Request::from_parts(head, body));
        let checkpoint = Checkpoint {
            head: kept,
            codes,
            refused: None,
            replay,
            service,
            config,
        };
        ResponseFuture::attempt(future, checkpoint)
    }
}

/// Whether a request takes no part: its caller opted out, or it asks for a tunnel, after which there is no request left to send
/// again. So is it with one that asks for another protocol, which shows when its headers are kept.
fn passes<B>(request: &Request<B>) -> bool {
    request.extensions().get::<NoStepUp>().is_some() || request.method() == Method::CONNECT
}

/// Takes the headers that carry codes off a request; most requests have none.
fn take_code_headers(names: &[HeaderName], headers: &mut HeaderMap) -> Option<Box<HeaderMap>> {
    if !names.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    // not `remove`, which puts the last header in the place of the removed one: the others keep their order
    let mut taken = HeaderMap::new();
    let mut current = None;
    for (name, mut value) in std::mem::take(headers) {
        current = name.or(current);
        let Some(name) = current.clone() else {
            continue;
        };
        if names.contains(&name) {
            value.set_sensitive(true);
            taken.append(name, value);
        } else {
            headers.append(name, value);
        }
    }
    Some(Box::new(taken))
}

/// What is kept of a request while an attempt is under way: all that it takes to send it again. `H` is its head; small in a future
/// that nearly always ends with the first attempt, restored once there is a demand.
pub(crate) struct Checkpoint<S, B, H = KeptHead> {
    pub(crate) head: H,
    /// The elevated token that was refused.
    pub(crate) refused: Option<Box<HeaderValue>>,
    codes: Option<Box<HeaderMap>>,
    pub(crate) replay: Replay<B>,
    pub(crate) service: S,
    pub(crate) config: Arc<Config>,
}

/// The same, once there may be a demand.
pub(crate) type Restored<S, B> = Checkpoint<S, B, RefusedHead>;

impl<S, B, H> Checkpoint<S, B, H> {
    fn with_head<T>(self, change: impl FnOnce(H) -> T) -> Checkpoint<S, B, T> {
        Checkpoint {
            head: change(self.head),
            refused: self.refused,
            codes: self.codes,
            replay: self.replay,
            service: self.service,
            config: self.config,
        }
    }
}

impl<S, B> Checkpoint<S, B> {
    /// `None` if the request cannot be sent again.
    pub(crate) fn restore(mut self) -> Option<Restored<S, B>> {
        let head = RefusedHead::new(self.head.restore()?, self.codes.as_deref());
        Some(self.with_head(|_kept| head))
    }

    /// Lets the dialect get ready for a demand, if the request's origin is trusted.
    pub(crate) fn anticipate(&self) {
        let (scheme, authority) = self.head.origin();
        if self.config.plainly_trusts(scheme, authority) {
            self.config.dialect.anticipate();
        }
    }
}

impl<S, B> Restored<S, B> {
    /// The other way round, for another attempt or because there was no demand.
    pub(crate) fn keep(self) -> Checkpoint<S, B> {
        self.with_head(|head| KeptHead::plain(head.into_restored()))
    }
}

impl<S: fmt::Debug> fmt::Debug for Mfa<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mfa")
            .field("inner", &self.inner)
            .field("config", &self.config)
            .finish()
    }
}
