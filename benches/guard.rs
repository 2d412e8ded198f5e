//! What a guard costs: a token that was seen before, a new one, and one that is refused. Beside it the bare service, and plain
//! `jsonwebtoken::decode` with the same key, claims and backend. Read the figures as ratios within one run, less `bare`.
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

mod issuer;

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{Request, StatusCode};
use http_body_util::Full;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tower::{Layer, Service};
use tower_mfa::guard::{Guard, Requirement, Verifier};

use issuer::{AUDIENCE, Answer, ISSUER, Issuer, call, forge, request};

type Body = Full<Bytes>;

/// The claims that the guard reads too.
#[derive(Deserialize)]
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

fn guarded(verifier: Verifier) -> impl Fn(bool) -> tower_mfa::guard::Guarded<Answer> {
    let guard = Guard::new(verifier);
    move |insert| {
        let guard = guard.clone().insert_token(insert);
        guard.require(Requirement::mfa()).layer(Answer)
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
    S: Service<Request<Body>, Response = http::Response<R>>,
    S::Error: std::fmt::Debug,
{
    let requests: Vec<_> = tokens.iter().map(|token| request(token)).collect();
    for request in &requests {
        assert_eq!(call(&mut service, request.clone()).status(), status);
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

fn decode(criterion: &mut Criterion, case: &str, issuer: &Issuer, token: &str) {
    let key: DecodingKey = issuer.decoding_key();
    let mut validation = Validation::new(issuer.algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_nbf = true;
    let mut group = criterion.benchmark_group(case);
    group.bench_function(
        BenchmarkId::from_parameter("jsonwebtoken decode"),
        |bencher| {
            bencher.iter(|| {
                let decoded = jsonwebtoken::decode::<Claims>(black_box(token), &key, &validation);
                decoded.map(|data| {
                    let Claims {
                        iss,
                        sub,
                        aud,
                        azp,
                        iat,
                        exp,
                        auth_time,
                        acr,
                        amr,
                        jti,
                        scope,
                    } = data.claims;
                    black_box((iss, sub, aud, azp, iat, exp));
                    black_box((auth_time, acr, amr, jti, scope));
                })
            });
        },
    );
    group.finish();
}

fn guard(criterion: &mut Criterion) {
    let rs256 = Issuer::new(Algorithm::RS256);
    let eddsa = Issuer::new(Algorithm::EdDSA);
    let one = [rs256.token(0)];
    let many: Vec<_> = (0..10_000).map(|number| eddsa.token(number)).collect();
    let ok = StatusCode::OK;
    for (case, issuer, tokens) in [
        ("guard, seen token", &rs256, one.as_slice()),
        ("guard, 10,000 seen tokens", &eddsa, &many),
    ] {
        let guarded = guarded(issuer.verifier());
        measure(criterion, case, "bare", Answer, tokens, ok);
        measure(criterion, case, "tower-mfa", guarded(false), tokens, ok);
        let name = "tower-mfa, claims in extensions";
        measure(criterion, case, name, guarded(true), tokens, ok);
    }
    for (algorithm, case) in [
        (Algorithm::RS256, "guard, new token, RS256"),
        (Algorithm::ES256, "guard, new token, ES256"),
        (Algorithm::EdDSA, "guard, new token, EdDSA"),
    ] {
        let issuer = Issuer::new(algorithm);
        let two = [issuer.token(1), issuer.token(2)];
        // room for one, so that each of the two pushes the other out: it is verified, stored, and makes room
        let guarded = guarded(issuer.verifier().cache(1, 1 << 20));
        measure(criterion, case, "bare", Answer, &two, ok);
        measure(criterion, case, "tower-mfa", guarded(true), &two, ok);
        decode(criterion, case, &issuer, &two[0]);
    }
    let refused = StatusCode::UNAUTHORIZED;
    for (case, token) in [
        ("guard, expired", rs256.expired()),
        ("guard, wrong audience", rs256.for_another_audience()),
        ("guard, garbage", "x".repeat(1000)),
        ("guard, forged, repeated", forge(&one[0])),
    ] {
        let guarded = guarded(rs256.verifier());
        // a guard at work, which has let others through
        assert_eq!(call(&mut guarded(true), request(&one[0])).status(), ok);
        let tokens = [token];
        measure(criterion, case, "bare", Answer, &tokens, ok);
        measure(
            criterion,
            case,
            "tower-mfa",
            guarded(true),
            &tokens,
            refused,
        );
        decode(criterion, case, &rs256, &tokens[0]);
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
