//! [`Upstream`]: a service that knows nothing of tokens, and answers with what it got.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower::Service;

/// A field of the connection to the gateway only.
pub(crate) const HOP: HeaderName = HeaderName::from_static("x-upstream-hop");

/// Streams the body back for `/echo`, and lists the head of the request for any other path.
#[derive(Clone, Default)]
pub(crate) struct Upstream {
    requests: Arc<AtomicUsize>,
}

impl Upstream {
    /// How many requests it got.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

impl Service<Request<Incoming>> for Upstream {
    type Response = Response<Either<Full<Bytes>, Incoming>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.requests.fetch_add(1, Relaxed);
        let body = if request.uri().path() == "/echo" {
            Either::Right(request.into_body())
        } else {
            Either::Left(Full::from(list(&request)))
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_name(HOP));
        headers.insert(HOP, HeaderValue::from_static("for the gateway"));
        ready(Ok(response))
    }
}

/// The request line and the fields, one a line. Values of `authorization` are not shown.
fn list(request: &Request<Incoming>) -> String {
    let mut list = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        let value = match name {
            &header::AUTHORIZATION => "[hidden]".into(),
            _ => String::from_utf8_lossy(value.as_bytes()),
        };
        // writing to a string cannot fail
        let _ = writeln!(list, "{name}: {value}");
    }
    list
}
