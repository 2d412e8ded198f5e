//! [`serve`]: a service on a port.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::{Service, ServiceExt};
use tower_mfa::BoxError;

/// What [`serve`] takes. It has to be `Clone`: each connection gets one.
pub(crate) trait Serve:
    Service<
        Request<Incoming>,
        Response = Response<Self::Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> Serve for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Body = B;
}

/// Serves HTTP/1.1 and HTTP/2 (with prior knowledge). Each request carries the address of its peer in its extensions.
pub(crate) async fn serve(listener: TcpListener, service: impl Serve) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, service.clone()));
            }
            // mostly no free descriptor, which does not pass at once
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, service: impl Serve) -> Result<(), BoxError> {
    let peer = stream.peer_addr()?;
    // small pieces are passed on as they come
    stream.set_nodelay(true)?;
    let service = service.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // with a timer, a client gets 30 seconds to send the head of a request
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    // without upgrades: a connection that changed its protocol would get past the guard
    builder
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .await
}
