//! What a guard costs, and what other crates cost that do the same: same request, same token, same service, in one run. Read the
//! figures as ratios, less `bare`.
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

#[path = "../../issuer/mod.rs"]
mod issuer;

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use jsonwebtoken::Algorithm;
use jwt_authorizer::{Authorizer, AuthorizerBuilder, IntoLayer, Validation};
use serde::Deserialize;
use tower::{Layer, Service};
use tower_mfa::guard::{Guard, Requirement};
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;

use issuer::{AUDIENCE, ISSUER, Issuer, call, request};

/// The claims that the guard reads too.
#[derive(Clone, Debug, Deserialize)]
#[expect(dead_code, reason = "they are read, as a handler's would be")]
struct Claims {
    iss: String,
    sub: String,
    aud: Vec<String>,
    azp: String,
    iat: u64,
    exp: u64,
    auth_time: u64,
    acr: String,
    amr: Vec<String>,
    jti: String,
    scope: String,
}

/// The service behind all of them: one of the peers answers with axum's body only.
#[derive(Clone, Copy, Debug)]
struct Answer;

impl<B> Service<Request<B>> for Answer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        drop(request);
        ready(Ok(Response::new(Body::from("{}"))))
    }
}

/// Measures the requests with these tokens, one after the other, and that they are answered so.
fn measure<S, R>(
    criterion: &mut Criterion,
    case: &str,
    name: &str,
    mut service: S,
    tokens: &[String],
    status: StatusCode,
) where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Error: Debug,
{
    let requests: Vec<_> = tokens.iter().map(|token| request(token)).collect();
    for request in &requests {
        assert_eq!(
            call(&mut service, request.clone()).status(),
            status,
            "{name}"
        );
    }
    let mut requests = requests.iter().cycle();
    let mut group = criterion.benchmark_group(case);
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter_batched(
            || requests.next().expect("a request").clone(),
            |request| call(&mut service, request),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn guard(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let issuer = Issuer::new(Algorithm::RS256);
    let authorizer: Authorizer<Claims> = runtime
        .block_on(
            AuthorizerBuilder::from_rsa_pem_text(issuer.public_pem())
                .validation(Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]).nbf(true))
                .build(),
        )
        .expect("an authorizer");
    let tenant = TenantConfiguration::static_builder(issuer.jwks())
        .identifier(ISSUER)
        .audiences(&[AUDIENCE])
        .build()
        .expect("a tenant");
    let resource_server = runtime
        .block_on(
            OAuth2ResourceServer::<Claims>::builder()
                .add_tenant(tenant)
                .build(),
        )
        .expect("a resource server");
    let jwt_authorizer = authorizer.into_layer().layer(Answer);
    let oauth2 = resource_server.into_layer::<Body>().layer(Answer);

    let one = vec![issuer.token(0)];
    let two = vec![issuer.token(1), issuer.token(2)];
    let (ok, refused) = (StatusCode::OK, StatusCode::UNAUTHORIZED);
    let _runtime = runtime.enter();
    for (case, tokens, status) in [
        ("guard and other crates, seen token", one, ok),
        ("guard and other crates, new token", two, ok),
        (
            "guard and other crates, expired",
            vec![issuer.expired()],
            refused,
        ),
        (
            "guard and other crates, wrong audience",
            vec![issuer.for_another_audience()],
            refused,
        ),
    ] {
        // room for one, so that each of two tokens pushes the other out
        let verifier = issuer.verifier().cache(1, 1 << 20);
        let guarded = |insert| {
            Guard::new(verifier.clone())
                .insert_token(insert)
                .require(Requirement::login())
                .layer(Answer)
        };
        // a guard at work, which has let others through
        let good = request(&issuer.token(9));
        assert_eq!(call(&mut guarded(true), good).status(), ok);
        measure(criterion, case, "bare", Answer, &tokens, ok);
        measure(
            criterion,
            case,
            "tower-mfa",
            guarded(false),
            &tokens,
            status,
        );
        let name = "tower-mfa, claims in extensions";
        measure(criterion, case, name, guarded(true), &tokens, status);
        let name = "jwt-authorizer";
        measure(
            criterion,
            case,
            name,
            jwt_authorizer.clone(),
            &tokens,
            status,
        );
        let name = "tower-oauth2-resource-server";
        measure(criterion, case, name, oauth2.clone(), &tokens, status);
    }
}

criterion_group! {
    name = benches;
    // there are many cases: half of the usual time for each
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = guard
}
criterion_main!(benches);
