//! What the benchmarks share: requests, layers, and a dialect that meets demands at once.

#![allow(dead_code, reason = "no benchmark needs all of it")]

use std::convert::Infallible;
use std::future::Ready;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::retry::Policy;
use tower::{Layer, ServiceExt, service_fn};
use tower_mfa::body::ReplayBody;
use tower_mfa::dialect::{self, Detection, Dialect, Remedy, ResponseHead};
use tower_mfa::{AccessToken, Auth0, Code, Demand, MfaLayer, StepUpError, TokenSet, code_fn};

pub(crate) type Body = Full<Bytes>;

/// Names as requests have them, some of them not known to `http`, and what their values are: `Owned` is memory of its own, as
/// what differs from request to request is; the others are constants.
const HEADERS: [(&str, Kind); 19] = [
    ("accept", Kind::Constant),
    ("content-type", Kind::Constant),
    ("user-agent", Kind::Constant),
    ("x-request-id", Kind::Constant),
    ("x-tenant", Kind::Constant),
    ("cookie", Kind::Owned),
    ("traceparent", Kind::Owned),
    ("idempotency-key", Kind::Owned),
    ("x-forwarded-for", Kind::Owned),
    ("accept-encoding", Kind::Constant),
    ("accept-language", Kind::Constant),
    ("origin", Kind::Constant),
    ("referer", Kind::Constant),
    ("x-forwarded-proto", Kind::Constant),
    ("cache-control", Kind::Constant),
    ("x-client-version", Kind::Constant),
    ("dnt", Kind::Constant),
    ("pragma", Kind::Constant),
    ("via", Kind::Constant),
];

#[derive(Clone, Copy)]
enum Kind {
    Constant,
    Owned,
}

const VALUE: &str = "a value of usual length";

/// A request without a body, with a bearer token of 1 kB among its headers.
pub(crate) fn request(headers: usize) -> Request<Body> {
    request_of(headers, 'x')
}

/// The same with another token.
pub(crate) fn request_of(headers: usize, letter: char) -> Request<Body> {
    let mut request = Request::post("https://api.example.com/transfer?draft=false")
        .header("authorization", token(letter));
    for (name, kind) in HEADERS.into_iter().take(headers - 1) {
        let value = match kind {
            Kind::Constant => HeaderValue::from_static(VALUE),
            Kind::Owned => HeaderValue::from_str(VALUE).expect("a value"),
        };
        request = request.header(HeaderName::from_static(name), value);
    }
    request.body(Full::default()).expect("a request")
}

/// As a server gets it: every value is a part of the buffer that was read from the connection.
pub(crate) fn received() -> Request<Body> {
    let mut request = request(6);
    let buffer = Bytes::from(vec![b'x'; 1200]);
    for (at, value) in request.headers_mut().values_mut().enumerate() {
        let part = match at {
            0 => buffer.slice(..1000),
            _ => buffer.slice(1000 + at * 24..1023 + at * 24),
        };
        *value = HeaderValue::from_maybe_shared(part).expect("a value");
    }
    request
}

fn token(letter: char) -> HeaderValue {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("Bearer test-{:x<1000}", ""));
    let mut text = TEXT.clone();
    text.pop();
    text.push(letter);
    text.try_into().expect("a value")
}

pub(crate) fn mfa() -> MfaLayer {
    MfaLayer::new(
        Auth0::new("https://tenant.example.com/", "example-client").expect("an issuer"),
        code_fn(|_challenge| async { Ok(Code::new("123456")) }),
    )
    .trust_origin("https://api.example.com")
    .expect("an origin")
}

/// A layer that remembers an elevation for the requests.
pub(crate) fn remembering() -> MfaLayer {
    let mfa = MfaLayer::new(
        AtOnce,
        code_fn(|_challenge| async { Ok(Code::new("123456")) }),
    )
    .trust_origin("https://api.example.com")
    .expect("an origin");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let refuse = service_fn(|_request: Request<ReplayBody<Body>>| async {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::FORBIDDEN;
        Ok::<_, Infallible>(response)
    });
    let _ = runtime.block_on(mfa.layer(refuse).oneshot(request(6)));
    mfa
}

/// Takes every refusal for a demand, and meets it at once.
pub(crate) struct AtOnce;

impl Dialect for AtOnce {
    fn name(&self) -> &'static str {
        "at once"
    }

    fn detect(&self, _response: ResponseHead<'_>) -> Detection {
        Detection::Demand(Demand::new())
    }

    async fn resolve(
        &self,
        _demand: Demand,
        context: dialect::Context,
    ) -> Result<Remedy, StepUpError> {
        let end = context.now() + Duration::from_secs(86_400);
        let token = AccessToken::new(format!("test-{}", "y".repeat(1000)), Some(end));
        Ok(Remedy::bearer(TokenSet::new(token)))
    }
}

/// A policy that keeps a copy of every request and never retries.
#[derive(Clone)]
pub(crate) struct Copy;

impl Policy<Request<Body>, Response<Body>, Infallible> for Copy {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _request: &mut Request<Body>,
        _result: &mut Result<Response<Body>, Infallible>,
    ) -> Option<Ready<()>> {
        None
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}
