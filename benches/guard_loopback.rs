//! What a guard costs an axum server, end to end: the same server with and without it, over loopback, by 32 connections that are kept
//! open and all have the same token. One core serves and the other one calls, in turns: unguarded, guarded, and so on.
//! With `-- --test` for a moment only.
#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be set up has nothing to tell"
)]

mod issuer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jsonwebtoken::Algorithm;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tower_mfa::guard::{Guard, Requirement};

use issuer::Issuer;

const CONNECTIONS: usize = 32;

struct Turn {
    requests_per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (turns, lasts) = if is_test {
        (1, Duration::from_millis(50))
    } else {
        (12, Duration::from_secs(1))
    };
    let issuer = Issuer::new(Algorithm::RS256);
    let guard = Guard::new(issuer.verifier());
    let routes = || Router::new().route("/transfer", get(|| async { "{}" }));
    let (server, unguarded) = serve(routes());
    let (guarding, guarded) = serve(routes().layer(guard.require(Requirement::mfa())));
    let (gateway, without_claims) =
        serve(routes().layer(guard.insert_token(false).require(Requirement::mfa())));

    let names = ["unguarded", "guarded, claims in extensions", "guarded"];
    let addresses = [unguarded, guarded, without_claims];
    let request: Arc<str> = format!(
        "GET /transfer HTTP/1.1\r\nhost: {unguarded}\r\naccept: application/json\r\ncookie: a value of usual length\r\ntraceparent: a value of usual length\r\nauthorization: Bearer {}\r\n\r\n",
        issuer.token(0)
    )
    .into();
    let client = runtime();
    let mut results: [Vec<Turn>; 3] = Default::default();
    for _ in 0..turns {
        for (address, results) in addresses.into_iter().zip(&mut results) {
            results.push(client.block_on(turn(address, Arc::clone(&request), lasts)));
        }
    }
    println!("| {CONNECTIONS} connections | requests/s | ratio | p50 | p99 | ratio |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let bare = summary(&results[0]);
    for (name, results) in names.into_iter().zip(&results) {
        let this = summary(results);
        println!(
            "| {name} | {:.0} | {:.3} | {:.0} µs | {:.0} µs | {:.2} |",
            this.requests_per_second,
            this.requests_per_second / bare.requests_per_second,
            this.p50.as_secs_f64() * 1e6,
            this.p99.as_secs_f64() * 1e6,
            this.p99.as_secs_f64() / bare.p99.as_secs_f64()
        );
    }
    for runtime in [server, guarding, gateway] {
        runtime.shutdown_background();
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Serves on a thread of its own.
fn serve(router: Router) -> (Runtime, SocketAddr) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(async move {
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await
    });
    (runtime, address)
}

/// All connections call for so long.
async fn turn(address: SocketAddr, request: Arc<str>, lasts: Duration) -> Turn {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        streams.push(stream);
    }
    let start = Instant::now();
    let calls: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(calls(stream, Arc::clone(&request), start + lasts)))
        .collect();
    let mut latencies = Vec::new();
    for call in calls {
        latencies.extend(call.await.expect("calls that end"));
    }
    let elapsed = start.elapsed();
    latencies.sort_unstable();
    Turn {
        requests_per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
    }
}

/// Calls until then, one call after the other, and gives what each took.
async fn calls(mut stream: TcpStream, request: Arc<str>, until: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    let mut buffer = [0; 1024];
    while Instant::now() < until {
        let start = Instant::now();
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        let mut len = 0;
        while !buffer[..len].ends_with(b"\r\n\r\n{}") {
            let read = stream.read(&mut buffer[len..]).await.expect("an answer");
            assert!(read > 0, "the server has gone away");
            len += read;
        }
        latencies.push(start.elapsed());
        assert!(buffer.starts_with(b"HTTP/1.1 200"));
    }
    latencies
}

/// The median of each figure: others use the machine, too.
fn summary(turns: &[Turn]) -> Turn {
    let median = |figure: fn(&Turn) -> f64| {
        let mut figures: Vec<_> = turns.iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Turn {
        requests_per_second: median(|turn| turn.requests_per_second),
        p50: Duration::from_secs_f64(median(|turn| turn.p50.as_secs_f64())),
        p99: Duration::from_secs_f64(median(|turn| turn.p99.as_secs_f64())),
    }
}
