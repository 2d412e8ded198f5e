//! What a request costs that needs no second factor: the bare service, the same under `MfaLayer`, and under two layers that also
//! keep a request for later. Read the figures as ratios to `bare` within one run.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::convert::Infallible;
use std::future::Ready;
use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::retry::{Policy, RetryLayer};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_mfa::body::ReplayBody;
use tower_mfa::dialect::{Context, Detection, Dialect, Remedy, ResponseHead};
use tower_mfa::{
    AccessToken, Auth0, Code, Demand, MfaLayer, NoStepUp, StepUpError, TokenSet, code_fn,
};

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

/// Takes every refusal for a demand, and meets it at once.
struct AtOnce;

impl Dialect for AtOnce {
    fn name(&self) -> &'static str {
        "at once"
    }

    fn detect(&self, _response: ResponseHead<'_>) -> Detection {
        Detection::Demand(Demand::new())
    }

    async fn resolve(&self, _demand: Demand, context: Context) -> Result<Remedy, StepUpError> {
        let end = context.now() + Duration::from_secs(86_400);
        let token = AccessToken::new(format!("test-{}", "y".repeat(1000)), Some(end));
        Ok(Remedy::bearer(TokenSet::new(token)))
    }
}

/// A layer that remembers elevations, the one of the measured request and a thousand others.
fn remembering() -> MfaLayer {
    let mfa = MfaLayer::new(
        AtOnce,
        code_fn(|_challenge| async { Ok(Code::new("123456")) }),
    )
    .trust_origin("https://api.example.com")
    .expect("an origin");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    for number in 0..=1000 {
        let mut request = request(1, b"");
        if number > 0 {
            let other = format!("Bearer test-{number:0>1000}")
                .parse()
                .expect("a value");
            request.headers_mut().insert("authorization", other);
        }
        let refuse = service_fn(|_request: Request<ReplayBody<Body>>| async {
            let mut response = Response::new(Body::default());
            *response.status_mut() = http::StatusCode::FORBIDDEN;
            Ok::<_, Infallible>(response)
        });
        let _ = runtime.block_on(mfa.layer(refuse).oneshot(request));
    }
    mfa
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
        "tower-mfa, remembered",
        &remembering().layer(service_fn(answer)),
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
