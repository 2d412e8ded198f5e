//! The connection to the authorization server is opened as soon as the head of a refusal arrives, and no request is made for that.
//! Over sockets: a connection arrives at a port before anybody accepts it, so the test sees each one, in order.
#![cfg(all(feature = "client", feature = "testing"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use futures_util::stream;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_mfa::body::ReplayBody;
use tower_mfa::code::TotpCode;
use tower_mfa::testing::{AuthorizationServer, Client, ProtectedApi, User};
use tower_mfa::transport::{RequestBody, Transport};
use tower_mfa::{Auth0, MfaLayer};

const SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
const FORBIDDEN: &str = r#"{"error":"forbidden"}"#;

type Sent = Request<ReplayBody<Full<Bytes>>>;
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A port of the authorization server that the test minds, and the API.
struct Stage {
    port: TcpListener,
    server: AuthorizationServer,
    api: ProtectedApi,
    /// Lets the body of one refusal go.
    bodies: Arc<Semaphore>,
}

impl Stage {
    async fn new() -> Self {
        let server = AuthorizationServer::builder()
            .client(Client::public("test-client"))
            .user(User::new("alice", "test-password").totp(SECRET))
            .build();
        Self {
            port: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            api: ProtectedApi::new(&server),
            server,
            bodies: Arc::new(Semaphore::new(0)),
        }
    }

    fn auth0(&self) -> Auth0 {
        let issuer = format!("http://{}/", self.port.local_addr().unwrap());
        Auth0::new(&issuer, "test-client").unwrap()
    }

    fn layer(&self) -> MfaLayer {
        layer(self.auth0())
    }

    /// Sends alice's request to the API, which keeps the bodies of refusals back.
    fn send(&self, layer: &MfaLayer) -> JoinHandle<StatusCode> {
        let (api, bodies) = (self.api.clone(), Arc::clone(&self.bodies));
        let service = layer.layer(service_fn(move |request: Sent| {
            let (api, bodies) = (api.clone(), Arc::clone(&bodies));
            async move {
                let response = api.oneshot(request).await.unwrap();
                let is_refusal = response.status() == StatusCode::FORBIDDEN;
                Ok::<_, Infallible>(response.map(|body| {
                    let frame = async move {
                        if is_refusal {
                            bodies.acquire().await.unwrap().forget();
                        }
                        body.collect()
                            .await
                            .map(|body| Frame::data(body.to_bytes()))
                    };
                    StreamBody::new(stream::once(frame)).boxed_unsync()
                }))
            }
        }));
        let token = self.server.access_token("alice");
        let request = Request::get("/account").header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(Full::default()).unwrap();
        tokio::spawn(async move { service.oneshot(request).await.unwrap().status() })
    }

    fn let_a_body_go(&self) {
        self.bodies.add_permits(1);
    }

    /// The next connection.
    async fn arrival(&self) -> TcpStream {
        self.port.accept().await.unwrap().0
    }

    /// The authorization server, on one connection.
    fn serve(&self, stream: TcpStream) -> JoinHandle<()> {
        let service = TowerToHyperService::new(self.server.clone());
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            // how it ends is the client's business
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        })
    }

    /// No other connection is on its way: the next one is the test's own.
    async fn is_quiet(&self) {
        // what was begun before gets its turn before this
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let own = TcpStream::connect(self.port.local_addr().unwrap());
        let own = own.await.unwrap().local_addr().unwrap();
        let (_, from): (_, SocketAddr) = self.port.accept().await.unwrap();
        assert_eq!(from, own);
    }
}

fn layer(auth0: Auth0) -> MfaLayer {
    // nothing is remembered: each request is refused
    MfaLayer::new(auth0, TotpCode::from_base32(SECRET).unwrap()).principal(|_| None)
}

/// An API that refuses everything, for reasons of its own.
fn refuses_all(
    layer: &MfaLayer,
) -> impl Service<Request<Full<Bytes>>, Response = Response<impl Sized>, Error = Infallible> + Clone
{
    layer.layer(service_fn(|_: Sent| async {
        let response = Response::builder()
            .status(StatusCode::FORBIDDEN)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::new(Full::from(FORBIDDEN)));
        Ok::<_, Infallible>(response.unwrap())
    }))
}

async fn is_refused(layer: &MfaLayer, uri: &str) {
    let request = Request::post(uri).body(Full::default()).unwrap();
    let response = refuses_all(layer).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_head_of_a_refusal_brings_one_connection_which_the_step_up_uses() {
    let stage = Stage::new().await;
    let layer = stage.layer();
    let answer = stage.send(&layer);
    let connection = stage.arrival().await;
    // nothing is asked, whatever time passes
    let mut byte = [0];
    tokio::task::yield_now().await;
    let peeked = connection.try_read(&mut byte);
    assert_eq!(peeked.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert!(stage.server.calls().is_empty());

    let _serving = stage.serve(connection);
    stage.let_a_body_go();
    assert_eq!(answer.await.unwrap(), StatusCode::OK);
    assert_eq!(stage.server.calls().len(), 2);
    stage.is_quiet().await;

    // the next refusal finds it in the pool
    let _answer = stage.send(&layer);
    stage.is_quiet().await;
}

#[tokio::test]
async fn refusals_that_are_no_demands_bring_one_connection() {
    let stage = Stage::new().await;
    let layer = stage.layer();
    for _ in 0..20 {
        is_refused(&layer, "/account").await;
    }
    let connection = stage.arrival().await;
    stage.is_quiet().await;
    // a connection that the server closed is not replaced
    drop(connection);
    for _ in 0..20 {
        is_refused(&layer, "/account").await;
        tokio::task::yield_now().await;
    }
    stage.is_quiet().await;
}

async fn a_closed_connection_costs_nothing(threads: usize) {
    for _ in 0..20 {
        let stage = Stage::new().await;
        let layer = stage.layer();
        let mut answer = stage.send(&layer);
        drop(stage.arrival().await);
        if threads > 1 {
            // another thread is told about it, in its own time; this comes after it
            stage.is_quiet().await;
        }
        stage.let_a_body_go();
        let another = tokio::select! {
            another = stage.arrival() => another,
            status = &mut answer => panic!("lost: {status:?}"),
        };
        let _serving = stage.serve(another);
        assert_eq!(answer.await.unwrap(), StatusCode::OK);
        stage.is_quiet().await;
    }
}

#[tokio::test]
async fn a_step_up_is_not_lost_with_a_connection_that_the_server_closed() {
    a_closed_connection_costs_nothing(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_it_on_two_threads() {
    a_closed_connection_costs_nothing(2).await;
}

#[tokio::test]
async fn the_origin_of_the_refusal_has_to_be_trusted() {
    let stage = Stage::new().await;
    // each with a transport of its own, which knows of no connection
    let layer = || {
        let layer = stage.layer().trust_origin("https://api.example.com");
        layer
            .unwrap()
            .trust_origin("https://*.example.org")
            .unwrap()
    };
    is_refused(&layer(), "https://other.example.com/account").await;
    is_refused(&layer(), "http://api.example.com/account").await;
    is_refused(&layer(), "https://example.org/account").await;
    is_refused(&layer(), "https://bad-example.org/account").await;
    is_refused(&layer(), "https://api.example.org.evil.example/account").await;
    stage.is_quiet().await;

    for trusted in [
        "https://api.example.com/account",
        "https://api.example.com:443/account",
        "https://api.example.org/account",
        "https://a.b.example.org:443/account",
        "/account",
    ] {
        is_refused(&layer(), trusted).await;
        let _connection = stage.arrival().await;
        stage.is_quiet().await;
    }
}

#[tokio::test]
async fn a_transport_of_the_callers_own_sees_nothing() {
    let stage = Stage::new().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let transport = Transport::new(service_fn(move |_: Request<RequestBody>| {
        seen.fetch_add(1, SeqCst);
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    }));
    is_refused(&layer(stage.auth0().transport(transport)), "/account").await;
    stage.is_quiet().await;
    assert_eq!(calls.load(SeqCst), 0);
}

#[test]
fn outside_a_runtime_a_refusal_is_handed_on() {
    let auth0 = Auth0::new("http://127.0.0.1:9/", "test-client").unwrap();
    let layer = layer(auth0);
    let mut refused = tokio_test::task::spawn(is_refused(&layer, "/account"));
    assert!(refused.poll().is_ready());
}
