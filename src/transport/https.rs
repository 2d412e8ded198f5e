//! The client behind [`Transport::https`].

use std::error::Error as _;
use std::sync::Arc;

use http::Request;
use hyper::rt::{Read, Write};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::service_fn;
use tower_service::Service;

use super::early::Early;
use super::{RequestBody, Transport};
use crate::error::BoxError;

/// `None` if rustls refuses the provider, as it does one that supports no TLS version; this one does.
pub(super) fn transport() -> Option<Transport> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(provider)
        .ok()?;
    let mut http = HttpConnector::new();
    // plain http is for loopback only, which `Auth0` checks when an endpoint is set
    http.enforce_http(false);
    // these are short requests that somebody waits for: nothing is gained by collecting them
    http.set_nodelay(true);
    Some(over(
        builder
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http),
    ))
}

pub(super) fn over<C>(connector: C) -> Transport
where
    C: Service<http::Uri> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError> + Send,
    C::Future: Send + 'static,
{
    let early = Early::new(connector);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(early.clone());
    let held = early.clone();
    let service = service_fn(move |request: Request<RequestBody>| {
        let spare = held.holds_one().then(|| (client.clone(), request.clone()));
        let answer = client.request(request);
        async move {
            match (answer.await, spare) {
                // the client itself does this only on a connection that it has used before
                (Err(error), Some((client, request))) if was_not_sent(&error) => {
                    client.request(request).await
                }
                (answer, _) => answer,
            }
        }
    });
    Transport {
        open_ahead: Some(Arc::new(move |uri| early.open_ahead(uri))),
        ..Transport::new(service)
    }
}

/// Whether the connection was closed before any of the request was written: before the request was given to it, in which case the error
/// is not one of a connection, or before it got to it.
fn was_not_sent(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    let is_unsent = cause.is_some_and(hyper::Error::is_canceled);
    is_unsent || !error.is_connect() && error.connect_info().is_none()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Response, Uri};
    use hyper::body::Incoming;
    use hyper::service::service_fn as answer;
    use hyper_util::rt::TokioIo;
    use hyper_util::server::conn::auto;
    use tokio::io::{AsyncReadExt as _, DuplexStream};
    use tokio::task::yield_now;
    use tower_test::mock::{self, Handle, SendResponse};

    use super::*;
    use crate::transport::wire::Wire;

    fn token_endpoint() -> Uri {
        Uri::from_static("https://tenant.example.com/oauth/token")
    }

    fn serve(server: DuplexStream) {
        tokio::spawn(async {
            let answer = answer(|request: Request<Incoming>| async move {
                Ok::<_, Infallible>(Response::new(format!("{:?}", request.version())))
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let served = builder.serve_connection(TokioIo::new(server), answer);
            served.await
        });
    }

    async fn wanted(network: &mut Handle<Uri, Wire>) -> SendResponse<Wire> {
        network.next_request().await.unwrap().1
    }

    async fn version(transport: &Transport) -> String {
        let mut request = Request::new(RequestBody::from("test"));
        *request.uri_mut() = token_endpoint();
        let answer = transport.send(request).await.unwrap();
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_held_connection_speaks_the_version_that_was_agreed_on() {
        for (is_h2, expected) in [(false, "HTTP/1.1"), (true, "HTTP/2.0")] {
            let (connector, mut network) = mock::pair();
            let transport = over(connector);
            transport.open_ahead(&token_endpoint());
            let (client, server) = Wire::new(is_h2);
            wanted(&mut network).await.send_response(client);
            serve(server);
            for _ in 0..2 {
                assert_eq!(version(&transport).await, expected);
            }
            assert!(network.poll_request().is_pending());
        }
    }

    async fn held(transport: &Transport, network: &mut Handle<Uri, Wire>, wire: Wire) {
        transport.open_ahead(&token_endpoint());
        wanted(network).await.send_response(wire);
        for _ in 0..10 {
            yield_now().await;
        }
    }

    /// Whenever that is: the client of hyper-util gives up a request that it has not sent, if the connection is a new one to it.
    #[tokio::test]
    async fn a_request_that_met_a_closed_connection_is_sent_on_another() {
        for reads in 0..5 {
            let (connector, mut network) = mock::pair();
            let transport = over(connector);
            let (client, _server) = Wire::new(false);
            held(&transport, &mut network, client.closed_after(reads)).await;
            let sent = tokio::spawn(async move { version(&transport).await });
            let (client, server) = Wire::new(false);
            wanted(&mut network).await.send_response(client);
            serve(server);
            assert_eq!(sent.await.unwrap(), "HTTP/1.1", "{reads}");
        }
    }

    #[tokio::test]
    async fn a_request_that_the_server_has_seen_is_not_sent_again() {
        let (connector, mut network) = mock::pair();
        let transport = over(connector);
        let (client, mut server) = Wire::new(false);
        held(&transport, &mut network, client).await;
        tokio::spawn(async move { server.read_u8().await });
        let request = Request::post(token_endpoint()).body(RequestBody::from("test"));
        let error = transport.send(request.unwrap()).await.unwrap_err();
        assert!(error.is_transport());
        assert!(network.poll_request().is_pending());
    }
}
