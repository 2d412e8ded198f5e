//! [`Proxy`]: sends requests on to the upstream, and its responses back.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::uri::{Authority, InvalidUri, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use crate::fields;

/// What the gateway says itself, or the upstream's body as it comes.
type Outgoing = Either<Full<Bytes>, Incoming>;

/// An upstream in the local network answers in milliseconds; a client should not wait long to hear that it is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A service that answers with what the upstream answers.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    upstream: Authority,
    client: HttpClient<HttpConnector, Incoming>,
}

impl Proxy {
    pub(crate) fn new(upstream: SocketAddr) -> Result<Self, InvalidUri> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // small pieces are passed on as they come
        connector.set_nodelay(true);
        Ok(Self {
            upstream: upstream.to_string().parse()?,
            client: HttpClient::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .build(connector),
        })
    }

    async fn forward(self, request: Request<Incoming>) -> Response<Outgoing> {
        let (mut head, body) = request.into_parts();
        if let Err((status, why)) = self.readdress(&mut head) {
            return answer(status, why);
        }
        match self.client.request(Request::from_parts(head, body)).await {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                // nobody asked it to change the protocol, or to compress on the way
                if head.status == StatusCode::SWITCHING_PROTOCOLS
                    || fields::has_odd_framing(&head.headers)
                {
                    return answer(
                        StatusCode::BAD_GATEWAY,
                        "the upstream's answer makes no sense",
                    );
                }
                fields::for_client(&mut head);
                Response::from_parts(head, Either::Right(body))
            }
            Err(error) if error.is_connect() => {
                answer(StatusCode::BAD_GATEWAY, "the upstream cannot be reached")
            }
            // it went away, or the client did, who then does not read this
            Err(_) => answer(StatusCode::BAD_GATEWAY, "the upstream gave no answer"),
        }
    }

    /// Turns the head of a request into one for the upstream, or says why it is not sent there.
    fn readdress(&self, head: &mut request::Parts) -> Result<(), (StatusCode, &'static str)> {
        // what is said through a tunnel, no guard would see
        if head.method == Method::CONNECT || fields::wants_upgrade(&head.headers) {
            return Err((
                StatusCode::NOT_IMPLEMENTED,
                "this gateway makes no tunnels and no upgrades",
            ));
        }
        if fields::has_odd_framing(&head.headers) {
            return Err((
                StatusCode::NOT_IMPLEMENTED,
                "give the body one content-length, or no transfer coding but chunked",
            ));
        }
        let bad = |why| (StatusCode::BAD_REQUEST, why);
        let host = fields::host(head).ok_or(bad("name one host"))?;
        // passed on byte for byte: whatever the upstream makes of it, the guard has seen the same
        let path = head.uri.path_and_query();
        let path = path.filter(|path| path.as_str().starts_with('/'));
        let path = path.ok_or(bad("name a path"))?;
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.upstream.clone())
            .path_and_query(path.clone());
        head.uri = uri.build().map_err(|_| bad("name a path"))?;

        let peer = head.extensions.get::<SocketAddr>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip);
        fields::for_upstream(head, peer.to_canonical(), &host);
        head.version = Version::HTTP_11;
        Ok(())
    }
}

impl Service<Request<Incoming>> for Proxy {
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move { Ok(proxy.forward(request).await) })
    }
}

/// An answer of the gateway's own.
fn answer(status: StatusCode, why: &str) -> Response<Outgoing> {
    let mut answer = Response::new(Either::Left(Full::from(format!("{why}\n"))));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}
