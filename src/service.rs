//! [`Mfa`]: checkpoints the request and starts the first attempt.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, request};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::{BodyFactory, Replay, ReplayBody, ResponseBody};
use crate::error::BoxError;
use crate::future::ResponseFuture;
use crate::layer::{Config, MfaLayer};
use crate::request::RequestHead;

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
        let codes = take_code_headers(&self.config.code_headers, request.headers_mut());
        if passes(&request) {
            return ResponseFuture::passed(self.inner.call(request.map(ReplayBody::once)));
        }
        // the service that was polled ready takes this call; its clone is polled ready before the next one
        let clone = self.inner.clone();
        let mut service = std::mem::replace(&mut self.inner, clone);
        let factory = request.extensions().get::<BodyFactory<B>>().cloned();
        let (mut head, body) = request.into_parts();
        let (body, replay) = ReplayBody::new(body, self.config.max_replay_bytes, factory);
        let checkpoint_head = head.clone();
        let elevated = self.config.elevated(&head);
        if let Some(authorization) = elevated.clone() {
            // `insert` would make room for one more header first, even where it only replaces
            match head.headers.get_mut(AUTHORIZATION) {
                Some(value) => *value = authorization,
                None => _ = head.headers.insert(AUTHORIZATION, authorization),
            }
        }
        let future = service.call(Request::from_parts(head, body));
        let checkpoint = Checkpoint {
            head: checkpoint_head,
            elevated,
            refused: None,
            codes,
            replay,
            service,
            config: Arc::clone(&self.config),
        };
        ResponseFuture::attempt(future, checkpoint)
    }
}

/// Whether a request takes no part: its caller opted out, or it asks for a tunnel or another protocol, after which there is no
/// request left to send again.
fn passes<B>(request: &Request<B>) -> bool {
    request.extensions().get::<NoStepUp>().is_some()
        || request.method() == Method::CONNECT
        || request.headers().contains_key(UPGRADE)
}

/// Takes the headers that carry codes off a request; most requests have none.
fn take_code_headers(names: &[HeaderName], headers: &mut HeaderMap) -> Option<HeaderMap> {
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
    Some(taken)
}

/// What is kept of a request while its first attempt is under way: all that it takes to send it again.
pub(crate) struct Checkpoint<S, B> {
    pub(crate) head: request::Parts,
    /// The elevated token that the attempt under way carries in place of the request's own.
    pub(crate) elevated: Option<HeaderValue>,
    /// The elevated token that was refused.
    pub(crate) refused: Option<HeaderValue>,
    codes: Option<HeaderMap>,
    pub(crate) replay: Replay<B>,
    pub(crate) service: S,
    pub(crate) config: Arc<Config>,
}

impl<S, B> Checkpoint<S, B> {
    /// The head as the layer got it, headers with codes included.
    pub(crate) fn request_head(&self) -> RequestHead {
        let mut headers = self.head.headers.clone();
        headers.extend(self.codes.clone().unwrap_or_default());
        RequestHead::from_parts(
            self.head.method.clone(),
            self.head.uri.clone(),
            headers,
            self.head.extensions.clone(),
        )
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
