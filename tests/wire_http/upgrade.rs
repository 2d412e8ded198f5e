//! Upgrades and tunnels pass through, and what comes after them works.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::{Layer as _, ServiceExt as _, service_fn};

use tower_mfa::body::ReplayBody;

use crate::harness::{Protocol, Server, within};
use crate::raw::Raw;
use crate::support::{Plan, Script, demand_by_head, layer};

/// Sends back what comes, in capitals.
async fn shout(upgraded: Upgraded) {
    let mut stream = TokioIo::new(upgraded);
    let mut bytes = [0; 5];
    while stream.read_exact(&mut bytes).await.is_ok() {
        stream.write_all(&bytes.to_ascii_uppercase()).await.unwrap();
    }
}

fn switch<B: Send + 'static>(request: Request<B>) -> Response<Script> {
    let connect = request.method() == Method::CONNECT;
    tokio::spawn(async move { shout(hyper::upgrade::on(request).await.unwrap()).await });
    if connect {
        return Response::new(Script::empty());
    }
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "shout")
        .body(Script::empty())
        .unwrap()
}

fn upgrade(server: &Server) -> Request<Empty<Bytes>> {
    Request::get(format!("http://{}/shout", server.addr()))
        .header(AUTHORIZATION, "Bearer old")
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "shout")
        .body(Empty::new())
        .unwrap()
}

fn connect(server: &Server) -> Request<Empty<Bytes>> {
    Request::connect(server.addr().to_string())
        .header(AUTHORIZATION, "Bearer old")
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn an_upgrade_and_a_tunnel_through_a_client_work() {
    within(10, async {
        let server = Server::start(Protocol::Http1, |call| async { switch(call.request) });
        let (layer, seen) = server.layer(Plan::Bearer("new"));
        let service = layer.layer(Protocol::Http1.client());
        for (request, status) in [
            (upgrade(&server), StatusCode::SWITCHING_PROTOCOLS),
            (connect(&server), StatusCode::OK),
        ] {
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status);
            let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
            for text in ["hello", "world"] {
                stream.write_all(text.as_bytes()).await.unwrap();
                let mut bytes = [0; 5];
                stream.read_exact(&mut bytes).await.unwrap();
                assert_eq!(bytes, text.to_ascii_uppercase().as_bytes());
            }
        }
        assert_eq!(seen.detects(), 0);
    })
    .await;
}

/// A tunnel that is refused is not asked for again: its caller decides.
#[tokio::test]
async fn a_refused_upgrade_or_tunnel_is_handed_back_without_a_step_up() {
    within(10, async {
        let server = Server::start(Protocol::Http1, |_call| async {
            demand_by_head(Script::empty())
        });
        let (layer, seen) = server.layer(Plan::Bearer("new"));
        let service = layer.layer(Protocol::Http1.client());
        for request in [upgrade(&server), connect(&server)] {
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        }
        assert_eq!(seen.resolves(), 0);
        assert_eq!(server.calls(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_and_a_tunnel_through_a_server_work() {
    within(10, async {
        let mfa = layer(Plan::Bearer("new")).0;
        let server = Server::raw(move |_, stream| {
            let answer = |request: Request<ReplayBody<Incoming>>| async {
                Ok::<_, Infallible>(switch(request))
            };
            let service = TowerToHyperService::new(mfa.layer(service_fn(answer)));
            async move {
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                drop(served.with_upgrades().await);
            }
        });
        for (request, status) in [
            (
                "GET /shout HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\n",
                "HTTP/1.1 101 Switching Protocols\r\n",
            ),
            (
                "CONNECT a.example.com:443 HTTP/1.1\r\nhost: a.example.com:443\r\n\r\n",
                "HTTP/1.1 200 OK\r\n",
            ),
        ] {
            let mut connection = Raw::new(TcpStream::connect(server.addr()).await.unwrap());
            connection.write(request).await;
            let head = connection.head().await.unwrap();
            assert!(head.starts_with(status), "{head}");
            for text in ["hello", "world"] {
                connection.write(text).await;
                let shouted = connection.exactly(5).await.unwrap();
                assert_eq!(shouted, text.to_ascii_uppercase().as_bytes());
            }
        }
    })
    .await;
}
