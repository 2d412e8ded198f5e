//! What a request costs that needs no second factor: the bare service, the same under `MfaLayer`, and under layers that also keep
//! a request for later or change it. Read the figures as ratios to `bare` within one run.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

mod issuer;
#[path = "support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use jsonwebtoken::Algorithm;
use tower::retry::RetryLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::auth::AddAuthorizationLayer;
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_mfa::NoStepUp;
use tower_mfa::guard::{Guard, Requirement};

use issuer::Issuer;
use support::{Body, Copy, mfa, remembering};

/// A service that reads the request's body, as every real one does, and answers 200.
async fn answer<B>(request: Request<B>) -> Result<Response<Body>, Infallible>
where
    B: http_body::Body<Data = Bytes>,
{
    let (head, body) = request.into_parts();
    black_box(&head);
    let _ = black_box(body.collect().await);
    Ok(Response::new(Body::from("{}")))
}

/// How the request of a case is made.
type Make = fn() -> Request<Body>;

const CASES: [(&str, Make); 4] = [
    ("6 headers, empty", || support::request(6)),
    ("20 headers, empty", || support::request(20)),
    ("6 headers, 2 KiB", || with_body(6)),
    ("20 headers, 2 KiB", || with_body(20)),
];

fn with_body(headers: usize) -> Request<Body> {
    support::request(headers).map(|_| Body::from(&[b'x'; 2048][..]))
}

fn measure<S>(criterion: &mut Criterion, name: &str, service: &S)
where
    S: Service<Request<Body>> + Clone,
    S::Error: std::fmt::Debug,
{
    measure_with(criterion, name, service, |_| ());
}

fn measure_with<S>(
    criterion: &mut Criterion,
    name: &str,
    service: &S,
    change: impl Fn(&mut Request<Body>),
) where
    S: Service<Request<Body>> + Clone,
    S::Error: std::fmt::Debug,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    for (case, request) in CASES {
        let mut group = criterion.benchmark_group(case);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || {
                    let mut request = request();
                    change(&mut request);
                    (service.clone(), request)
                },
                |(service, request)| async { service.oneshot(request).await.expect("an answer") },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

fn passthrough(criterion: &mut Criterion) {
    let opt_out = |request: &mut Request<Body>| {
        request.extensions_mut().insert(NoStepUp);
    };
    let bare = service_fn(answer::<Body>);
    measure(criterion, "bare", &bare);
    measure_with(criterion, "bare, with a mark", &bare, opt_out);
    measure(criterion, "tower-mfa", &mfa().layer(service_fn(answer)));
    measure(
        criterion,
        "tower-mfa, elevation remembered",
        &remembering().layer(service_fn(answer)),
    );
    measure_with(
        criterion,
        "tower-mfa, opted out",
        &mfa().layer(service_fn(answer)),
        opt_out,
    );
    measure(
        criterion,
        "tower-mfa, takes no part",
        &mfa()
            .step_up_if(|head| head.uri.path() != "/transfer")
            .layer(service_fn(answer)),
    );
    let issuer = Issuer::new(Algorithm::RS256);
    let token = format!("Bearer {}", issuer.token(0));
    let sign = |request: &mut Request<Body>| {
        let token = HeaderValue::from_str(&token).expect("a token");
        request.headers_mut().insert(AUTHORIZATION, token);
    };
    let guard = Guard::new(issuer.verifier())
        .insert_token(false)
        .require(Requirement::mfa());
    measure_with(criterion, "bare, with a signed token", &bare, sign);
    measure_with(
        criterion,
        "tower-mfa, GuardLayer, seen token",
        &guard.layer(service_fn(answer)),
        sign,
    );
    measure_with(
        criterion,
        "tower-mfa, GuardLayer and MfaLayer",
        &guard.layer(mfa().layer(service_fn(answer))),
        sign,
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
    measure(
        criterion,
        "tower-http AddAuthorization",
        &AddAuthorizationLayer::bearer("test-token").layer(service_fn(answer::<Body>)),
    );
}

criterion_group! {
    name = benches;
    // there are many cases: half of the usual time for each
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = passthrough
}
criterion_main!(benches);
