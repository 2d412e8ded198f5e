//! What a retry after an early answer costs over loopback HTTP/1.1, against the two requests a caller would make by hand. Read the
//! figures as ratios to `two bare requests` within one run.
//!
//! Under the layer the refusal comes from the head alone, while half of the body of 20,000 bytes is still to come; the retry takes
//! it over. That costs the first connection, since a request that was cut cannot be followed by another: so the bare requests
//! are measured on one connection, as a pool would have it, and on one each.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceExt as _};
use tower_mfa::dialect::{self, Detection, Dialect, Remedy, ResponseHead};
use tower_mfa::{AccessToken, BoxError, Code, Demand, MfaLayer, StepUpError, TokenSet, code_fn};

const HALF: &[u8] = &[b'x'; 10_000];

/// Two halves of a body; the second one comes when the gate is open.
struct Halves {
    sent: usize,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    waker: Option<Waker>,
}

impl Halves {
    fn new(open: bool) -> Self {
        Self {
            sent: 0,
            gate: Arc::new(Mutex::new(Gate { open, waker: None })),
        }
    }
}

impl Body for Halves {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.sent == 2 {
            return Poll::Ready(None);
        }
        if self.sent == 1 {
            let mut gate = self.gate.lock().unwrap();
            if !gate.open {
                gate.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.sent += 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(HALF)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(((2 - self.sent) * HALF.len()) as u64)
    }

    fn is_end_stream(&self) -> bool {
        self.sent == 2
    }
}

/// A dialect whose step-up brings the right token at once, and opens the gate of the request's body.
struct AtOnce;

#[derive(Clone)]
struct Opens(Arc<Mutex<Gate>>);

impl Dialect for AtOnce {
    fn name(&self) -> &'static str {
        "at-once"
    }

    fn detect(&self, response: ResponseHead<'_>) -> Detection {
        if response.headers().contains_key("x-mfa") {
            Detection::Demand(Demand::new())
        } else {
            Detection::Nothing
        }
    }

    async fn resolve(
        &self,
        _demand: Demand,
        context: dialect::Context,
    ) -> Result<Remedy, StepUpError> {
        if let Some(Opens(gate)) = context.request().extensions().get() {
            let mut gate = gate.lock().unwrap();
            gate.open = true;
            if let Some(waker) = gate.waker.take() {
                waker.wake();
            }
        }
        Ok(Remedy::bearer(TokenSet::new(AccessToken::new("new", None))))
    }
}

/// Refuses from the head alone, and keeps the connection, if `x-early` is there; else after the upload. Says yes to the new token.
async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let stepped_up = request.headers()[AUTHORIZATION] == "Bearer new";
    let early = request.headers().contains_key("x-early");
    if early && !stepped_up {
        // holds the body for as long as the client sends it, and does not read on
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(_)) = body.frame().await {}
        });
    } else {
        let length = request.into_body().collect().await?.to_bytes().len();
        assert_eq!(length, 2 * HALF.len());
    }
    let mut response = Response::new(Empty::new());
    if !stepped_up {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response
            .headers_mut()
            .insert("x-mfa", "required".parse().expect("a header"));
    }
    Ok(response)
}

async fn serve(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            drop(served.await);
        });
    }
}

fn request<B>(addr: SocketAddr, token: &str, body: B) -> Request<B> {
    Request::post(format!("http://{addr}/transfer"))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(body)
        .expect("a request")
}

fn early_answer(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(TcpListener::bind(("127.0.0.1", 0)))
        .expect("a port");
    let addr = listener.local_addr().expect("an address");
    runtime.spawn(serve(listener));

    let mut connector = hyper_util::client::legacy::connect::HttpConnector::new();
    connector.set_nodelay(true);
    let mut group = criterion.benchmark_group("a refusal and the same request again");
    group
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(50);

    for (name, pooled) in [
        ("two bare requests", usize::MAX),
        ("two bare requests, a connection each", 0),
    ] {
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(pooled)
            .build::<_, Halves>(connector.clone());
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                for (token, status) in [("old", 401), ("new", 200)] {
                    let request = request(addr, token, Halves::new(true));
                    let response = client.request(request).await.expect("an answer");
                    assert_eq!(response.status(), status);
                    response.into_body().collect().await.expect("a body");
                }
            });
        });
    }

    let codes = code_fn(|_challenge| async { Ok(Code::new("123456")) });
    let service = MfaLayer::new(AtOnce, codes)
        .trust_origin(&format!("http://{addr}"))
        .expect("an origin")
        // each request is to be refused and stepped up, however many there are
        .principal(|_| None)
        .layer(Client::builder(TokioExecutor::new()).build(connector));
    group.bench_function("one request through the layer, refused early", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let body = Halves::new(false);
            let opens = Opens(Arc::clone(&body.gate));
            let mut request = request(addr, "old", body);
            request
                .headers_mut()
                .insert("x-early", "1".parse().expect("a header"));
            request.extensions_mut().insert(opens);
            let response = service.clone().oneshot(request).await.expect("an answer");
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.expect("a body");
        });
    });
    group.finish();
}

criterion_group!(benches, early_answer);
criterion_main!(benches);
