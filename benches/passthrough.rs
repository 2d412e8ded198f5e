//! What a request costs that needs no second factor: the bare service, the same under `MfaLayer`, and under two layers that also
//! keep a request for later. Read the figures as ratios to `bare` within one run.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::convert::Infallible;
use std::future::Ready;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::retry::{Policy, RetryLayer};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_mfa::{Auth0, Code, MfaLayer, NoStepUp, code_fn};

type Body = Full<Bytes>;

/// A retry policy that keeps a copy of every request and never retries.
#[derive(Clone)]
struct Copy;

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

fn request(headers: usize, body: &'static [u8]) -> Request<Body> {
    let mut request = Request::post("https://api.example.com/transfer?draft=false")
        .header("authorization", format!("Bearer test-{}", "x".repeat(1000)));
    for number in 1..headers {
        request = request.header(format!("x-header-{number}"), "a value of usual length");
    }
    request.body(Full::from(body)).expect("a request")
}

/// A service that reads the request's body, as every real one does, and answers 200.
async fn answer<B>(request: Request<B>) -> Result<Response<Body>, Infallible>
where
    B: http_body::Body<Data = Bytes>,
{
    let (head, body) = request.into_parts();
    black_box(&head);
    let _ = black_box(body.collect().await);
    Ok(Response::new(Full::from("{}")))
}

fn measure<S>(criterion: &mut Criterion, name: &str, service: &S)
where
    S: Service<Request<Body>> + Clone,
    S::Error: std::fmt::Debug,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let cases: [(&str, usize, &'static [u8]); 3] = [
        ("6 headers, empty", 6, b""),
        ("20 headers, empty", 20, b""),
        ("6 headers, 2 KiB", 6, &[b'x'; 2048]),
    ];
    for (case, headers, body) in cases {
        let mut group = criterion.benchmark_group(case);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || (service.clone(), request(headers, body)),
                |(service, request)| async { service.oneshot(request).await.expect("an answer") },
                criterion::BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

fn passthrough(criterion: &mut Criterion) {
    let mfa = MfaLayer::new(
        Auth0::new("https://tenant.example.com/", "example-client").expect("an issuer"),
        code_fn(|_challenge| async { Ok(Code::new("123456")) }),
    );
    measure(criterion, "bare", &service_fn(answer::<Body>));
    measure(criterion, "tower-mfa", &mfa.layer(service_fn(answer)));
    measure(
        criterion,
        "tower-mfa, opted out",
        &mfa.layer(service_fn(answer))
            .map_request(|mut request: Request<Body>| {
                request.extensions_mut().insert(NoStepUp);
                request
            }),
    );
    measure(
        criterion,
        "tower Retry",
        &RetryLayer::new(Copy).layer(service_fn(answer::<Body>)),
    );
    measure(
        criterion,
        "tower-http FollowRedirect",
        &FollowRedirectLayer::new().layer(service_fn(answer::<Body>)),
    );
}

criterion_group!(benches, passthrough);
criterion_main!(benches);
