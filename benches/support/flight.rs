//! Many requests that are refused at the same time, one exchange that gets a new token, and all of them again: the same for every
//! way to share that exchange.
//!
//! Each figure is that of whole requests. What it costs them to wait for somebody else's exchange is the difference to the same
//! requests without the waiting: to "bare" where it is done by hand, to "tower-mfa, not waiting" for the layer.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::{Layer, Service};
use tower_mfa::dialect::{self, Detection, Dialect, Remedy, ResponseHead};
use tower_mfa::{AccessToken, Code, Demand, Mfa, MfaLayer, StepUpError, TokenSet, code_fn};

pub(crate) type Body = Full<Bytes>;

const OLD: HeaderValue = HeaderValue::from_static("Bearer old");
const NEW: HeaderValue = HeaderValue::from_static("Bearer new");

/// An API that refuses the old token. The exchange is held up until all have been refused.
#[derive(Clone)]
pub(crate) struct Api {
    expected: usize,
    refused: Arc<AtomicUsize>,
    all_refused: Arc<Semaphore>,
}

impl Api {
    fn new(expected: usize) -> Self {
        Self {
            expected,
            refused: Arc::default(),
            all_refused: Arc::new(Semaphore::new(0)),
        }
    }

    /// Gets the new token.
    pub(crate) fn exchange(&self) -> impl Future<Output = HeaderValue> + Send + use<> {
        let all_refused = Arc::clone(&self.all_refused);
        async move {
            // closed when it is time
            let _ = all_refused.acquire().await;
            NEW
        }
    }

    /// The same API, with an exchange that is not held up.
    fn at_once(self) -> Self {
        self.all_refused.close();
        self
    }

    /// A request that is under way, is refused, waits for the new token as it is told, and is sent again.
    pub(crate) fn by_hand<E: Future<Output = HeaderValue>>(
        mut self,
        exchange: E,
    ) -> impl Future<Output = ()> + use<E> {
        let refusal = self.call(request(OLD));
        async move {
            let refused = refusal.await;
            assert!(refused.is_ok_and(|response| response.status() == StatusCode::FORBIDDEN));
            let token = exchange.await;
            let accepted = self.call(request(token)).await;
            assert!(accepted.is_ok_and(|response| response.status() == StatusCode::OK));
        }
    }
}

fn request(token: HeaderValue) -> Request<Body> {
    let mut request = Request::new(Body::default());
    request.headers_mut().insert(AUTHORIZATION, token);
    request
}

impl<B> Service<Request<B>> for Api {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut response = Response::new(Body::default());
        if request.headers().get(AUTHORIZATION) != Some(&NEW) {
            *response.status_mut() = StatusCode::FORBIDDEN;
            if self.refused.fetch_add(1, Ordering::Relaxed) + 1 == self.expected {
                self.all_refused.close();
            }
        }
        ready(Ok(response))
    }
}

/// Takes every refusal for a demand.
struct Exchange(Api);

impl Dialect for Exchange {
    fn name(&self) -> &'static str {
        "exchange"
    }

    fn detect(&self, _response: ResponseHead<'_>) -> Detection {
        Detection::Demand(Demand::new())
    }

    async fn resolve(
        &self,
        _demand: Demand,
        _context: dialect::Context,
    ) -> Result<Remedy, StepUpError> {
        self.0.exchange().await;
        Ok(Remedy::bearer(TokenSet::new(AccessToken::new("new", None))))
    }
}

/// Measures a way to share the exchange, for 1,000 and for 10,000.
pub(crate) fn measure<F: Future<Output = ()> + Send + 'static, W: Fn() -> F>(
    criterion: &mut Criterion,
    name: &str,
    waiter: impl Fn(Api) -> W,
) {
    let runtime = runtime();
    for waiters in [1_000, 10_000] {
        let mut group = criterion.benchmark_group(format!("{waiters} waiters"));
        group
            .throughput(Throughput::Elements(waiters as u64))
            .sample_size(20)
            .measurement_time(Duration::from_secs(4));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                let waiter = waiter(Api::new(waiters));
                let mut all = JoinSet::new();
                for _ in 0..waiters {
                    all.spawn(waiter());
                }
                while let Some(ended) = all.join_next().await {
                    assert!(ended.is_ok());
                }
            });
        });
        group.finish();
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap_or_else(|error| panic!("no runtime: {error}"))
}

/// The API behind the layer.
fn layered(api: Api) -> Mfa<Api> {
    let codes = code_fn(|_challenge| async { Ok(Code::new("123456")) });
    MfaLayer::new(Exchange(api.clone()), codes).layer(api)
}

/// A request that is under way, and is refused; the layer does the rest.
fn by_layer(mut service: Mfa<Api>) -> impl Future<Output = ()> {
    let response = service.call(request(OLD));
    async move {
        let accepted = response.await;
        assert!(accepted.is_ok_and(|response| response.status() == StatusCode::OK));
    }
}

/// No exchange at all, a bare `Shared`, and the layer.
pub(crate) fn flight(criterion: &mut Criterion) {
    measure(criterion, "bare", |api| {
        move || api.clone().by_hand(ready(NEW))
    });
    measure(criterion, "futures-util Shared", |api| {
        let shared: Shared<BoxFuture<'_, _>> = api.exchange().boxed().shared();
        move || api.clone().by_hand(shared.clone())
    });
    // the exchange is at once: each finds the token that the first has got, which was refused and sent again before it
    measure(criterion, "tower-mfa, not waiting", |api| {
        let service = layered(api.at_once());
        move || by_layer(service.clone())
    });
    measure(criterion, "tower-mfa", |api| {
        let service = layered(api);
        move || by_layer(service.clone())
    });
}
