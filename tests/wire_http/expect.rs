//! `Expect: 100-continue`, with the layer around a service that a hyper server serves: the body is asked for when the service
//! reads it, and not before.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower::{Layer as _, service_fn};
use tower_mfa::BoxError;
use tower_mfa::body::ReplayBody;

use crate::harness::{Server, within};
use crate::raw::Raw;
use crate::support::{Plan, Script, data, demand_by_head, layer};

const HEAD: &str = "POST /transfers HTTP/1.1\r\nhost: api.example.com\r\nauthorization: Bearer old\r\n\
    content-length: 5\r\nexpect: 100-continue\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// What the inner service does: note that it was called, wait for a sign, read, answer.
#[derive(Clone)]
struct Inner {
    /// Whether the first attempt reads the body before it refuses.
    first_attempt_reads: bool,
    called: Arc<Mutex<Vec<bool>>>,
    go_on: Arc<Notify>,
}

impl Inner {
    async fn answer(
        self,
        request: Request<ReplayBody<Incoming>>,
    ) -> Result<Response<Script>, BoxError> {
        let stepped_up = request.headers()["authorization"] == "Bearer new";
        assert_eq!(request.headers()["expect"], "100-continue");
        self.called.lock().unwrap().push(stepped_up);
        if stepped_up || self.first_attempt_reads {
            self.go_on.notified().await;
            let body = request.into_body().collect().await?.to_bytes();
            assert_eq!(body, "hello");
        }
        Ok(if stepped_up {
            Response::new(Script::exact([data("done")]))
        } else {
            demand_by_head(Script::empty())
        })
    }
}

async fn served(first_attempt_reads: bool) -> (Server, Raw, Inner) {
    let inner = Inner {
        first_attempt_reads,
        called: Arc::default(),
        go_on: Arc::default(),
    };
    let (answers, layer) = (inner.clone(), layer(Plan::Bearer("new")).0);
    let server = Server::raw(move |_, stream| {
        let inner = answers.clone();
        let service = layer.layer(service_fn(move |request| inner.clone().answer(request)));
        async move {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            drop(served.await);
        }
    });
    let mut connection = Raw::new(TcpStream::connect(server.addr()).await.unwrap());
    connection.write(HEAD).await;
    (server, connection, inner)
}

/// Lets everything go on that can.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

async fn called(inner: &Inner, times: usize) {
    crate::harness::until(|| inner.called.lock().unwrap().len() == times).await;
    settle().await;
}

/// Reads the answer to [`HEAD`]: first the invitation to send the body, then the response.
async fn finish(connection: &mut Raw) {
    assert_eq!(connection.head().await.unwrap(), CONTINUE);
    connection.write("hello").await;
    let head = connection.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(connection.exactly(4).await.unwrap(), b"done");
    settle().await;
    assert!(!connection.has_unread());
}

#[tokio::test]
async fn the_body_is_asked_for_when_the_first_attempt_reads_it_and_only_once() {
    within(10, async {
        let (_server, mut connection, inner) = served(true).await;
        called(&inner, 1).await;
        assert!(!connection.has_unread());
        inner.go_on.notify_one();
        assert_eq!(connection.head().await.unwrap(), CONTINUE);
        connection.write("hello").await;
        called(&inner, 2).await;
        assert!(!connection.has_unread());
        inner.go_on.notify_one();
        let head = connection.head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(*inner.called.lock().unwrap(), [false, true]);
    })
    .await;
}

#[tokio::test]
async fn after_a_refusal_from_the_head_the_body_is_asked_for_when_the_retry_reads_it() {
    within(10, async {
        let (_server, mut connection, inner) = served(false).await;
        called(&inner, 2).await;
        assert!(!connection.has_unread());
        inner.go_on.notify_one();
        finish(&mut connection).await;
        assert_eq!(*inner.called.lock().unwrap(), [false, true]);
    })
    .await;
}

/// An axum router in place of the service, its bodies boxed as it wants them.
#[tokio::test]
async fn an_axum_router_under_the_layer_asks_for_the_body_when_its_handler_reads() {
    use axum::body::Body;
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::IntoResponse as _;
    use tower::ServiceExt as _;

    async fn handler(headers: HeaderMap, body: Body) -> axum::response::Response {
        if headers["authorization"] == "Bearer old" {
            return (StatusCode::UNAUTHORIZED, [("x-mfa", "required")]).into_response();
        }
        let body = axum::body::to_bytes(body, 100).await.unwrap();
        assert_eq!(body, "hello");
        "done".into_response()
    }

    within(10, async {
        let mfa = layer(Plan::Bearer("new")).0;
        let server = Server::raw(move |_, stream| {
            let router = axum::Router::new()
                .route("/transfers", axum::routing::post(handler))
                .map_request(|request: Request<ReplayBody<Incoming>>| request.map(Body::new));
            let service = TowerToHyperService::new(mfa.layer(router));
            async move {
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                drop(served.await);
            }
        });
        let mut connection = Raw::new(TcpStream::connect(server.addr()).await.unwrap());
        connection.write(HEAD).await;
        finish(&mut connection).await;
    })
    .await;
}
