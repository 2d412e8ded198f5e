//! How the guard and `MfaLayer` scale: requests per second by one thread and by two, all with one token and with 10,000; and what
//! memory a guard takes after a million distinct tokens. With `-- --test` it does little of each.
#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be set up has nothing to tell"
)]

mod issuer;

use std::sync::Barrier;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use jsonwebtoken::Algorithm;
use tokio::time::Instant;
use tower::{Layer, Service};
use tower_mfa::guard::{Guard, Requirement};
use tower_mfa::{Auth0, Code, MfaLayer, code_fn};

use issuer::{Answer, Issuer, call, request};

/// How often each figure is taken; the best counts, since others use the machine too.
const ROUNDS: usize = 5;

struct Sizes {
    lasts: Duration,
    distinct: usize,
}

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let sizes = if is_test {
        Sizes {
            lasts: Duration::from_millis(10),
            distinct: 30_000,
        }
    } else {
        Sizes {
            lasts: Duration::from_millis(400),
            distinct: 1_000_000,
        }
    };
    throughput(&sizes);
    memory(sizes.distinct);
}

fn throughput(sizes: &Sizes) {
    let issuer = Issuer::new(Algorithm::EdDSA);
    let tokens: Vec<_> = (0..10_000).map(|number| issuer.token(number)).collect();
    let guard = Guard::new(issuer.verifier());
    let guarded = |insert: bool| {
        let guard = guard.clone().insert_token(insert);
        guard.require(Requirement::mfa()).layer(Answer)
    };
    let mfa = MfaLayer::new(
        Auth0::new("https://tenant.example.com/", "example-client").expect("an issuer"),
        code_fn(|_challenge| async { Ok(Code::new("123456")) }),
    )
    .layer(Answer);

    println!("| million requests per second | tokens | 1 thread | 2 threads | ratio |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for tokens in [&tokens[..1], &tokens] {
        report("bare", &Answer, tokens, sizes);
        report("guard", &guarded(false), tokens, sizes);
        report("guard, claims in extensions", &guarded(true), tokens, sizes);
        report("MfaLayer", &mfa, tokens, sizes);
    }
}

fn report<S>(name: &str, service: &S, tokens: &[String], sizes: &Sizes)
where
    S: Service<Request<Full<Bytes>>> + Clone + Send,
    S::Error: std::fmt::Debug,
{
    let best = |threads| {
        (0..ROUNDS)
            .map(|_| rate(service, tokens, threads, sizes.lasts))
            .fold(0.0, f64::max)
    };
    let (one, two) = (best(1), best(2));
    println!(
        "| {name} | {} | {:.2} | {:.2} | {:.2} |",
        tokens.len(),
        one / 1e6,
        two / 1e6,
        two / one
    );
}

/// Requests per second by so many threads together. Each has requests of its own, as servers have: they share tokens, not memory.
fn rate<S>(service: &S, tokens: &[String], threads: usize, lasts: Duration) -> f64
where
    S: Service<Request<Full<Bytes>>> + Clone + Send,
    S::Error: std::fmt::Debug,
{
    let barrier = Barrier::new(threads);
    let rates: Vec<f64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                let mut service = service.clone();
                let barrier = &barrier;
                scope.spawn(move || {
                    let requests: Vec<_> = tokens.iter().map(|token| request(token)).collect();
                    for request in &requests {
                        drop(call(&mut service, request.clone()));
                    }
                    barrier.wait();
                    let start = Instant::now();
                    let mut count = 0_u64;
                    let mut requests = requests.iter().cycle();
                    while start.elapsed() < lasts {
                        for request in requests.by_ref().take(256) {
                            drop(call(&mut service, request.clone()));
                        }
                        count += 256;
                    }
                    count as f64 / start.elapsed().as_secs_f64()
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("a thread that ends"))
            .collect()
    });
    rates.iter().sum()
}

fn memory(distinct: usize) {
    let issuer = Issuer::new(Algorithm::EdDSA);
    let verifier = issuer.verifier();
    let mut service = Guard::new(verifier.clone())
        .require(Requirement::mfa())
        .layer(Answer);
    let before = resident();
    let mut bytes = 0;
    for number in 0..distinct {
        let token = issuer.token(number);
        bytes += token.len();
        let response = call(&mut service, request(&token));
        assert_eq!(response.status(), http::StatusCode::OK);
    }
    let (tokens, cached) = verifier.cached();
    println!();
    println!(
        "{distinct} distinct tokens of {} bytes: {tokens} are remembered, in {:.1} MiB by the guard's own count, {} bytes each",
        bytes / distinct,
        mib(cached),
        cached / tokens.max(1),
    );
    match before.zip(resident()) {
        Some((before, after)) => println!(
            "resident memory: {:.1} MiB before, {:.1} MiB after",
            mib(before),
            mib(after)
        ),
        None => println!("resident memory: not told by this system"),
    }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Bytes of memory that the process has now, where Linux tells.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
