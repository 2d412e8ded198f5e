//! The peak memory of long uploads over loopback HTTP/1.1: without the layer, and with it. Fails if the layer takes more than
//! 16 MiB over the bare service. Linux only, where a process can read its own peak. `scripts/memory` runs it.
//!
//! Each case is a process of its own, client and server in one. Every frame is an allocation of its own, so that whatever keeps
//! frames shows.

#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be set up has nothing to tell"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceExt as _};
use tower_mfa::body::BodyFactory;
use tower_mfa::dialect::{self, Detection, Dialect, Remedy, ResponseHead};
use tower_mfa::{AccessToken, Code, Demand, MfaLayer, StepUpError, TokenSet, code_fn};

/// What the layer may take over the bare service, in KiB.
const ALLOWED: u64 = 16 << 10;
const FRAME: u64 = 64 << 10;

/// Tells a process of its case, and of the length of the upload.
const CASE: &str = "UPLOAD_MEMORY_CASE";
const LENGTH: &str = "UPLOAD_MEMORY_LENGTH";

/// The name of each case, and what it does.
const CASES: [(&str, &str); 4] = [
    ("bare", "the client alone, in chunks"),
    (
        "layered",
        "through the layer, in chunks: remembered until it is too long",
    ),
    (
        "layered, sized",
        "through the layer, with its length: not remembered",
    ),
    (
        "factory",
        "refused after the upload, made anew, uploaded again",
    ),
];

struct Upload {
    left: u64,
    sized: bool,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(FRAME);
        self.left -= length;
        let frame = vec![self.left as u8; length as usize];
        Poll::Ready(Some(Ok(Frame::data(frame.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized {
            SizeHint::with_exact(self.left)
        } else {
            SizeHint::new()
        }
    }
}

/// A dialect whose step-up brings the right token at once.
struct AtOnce;

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
        _context: dialect::Context,
    ) -> Result<Remedy, StepUpError> {
        Ok(Remedy::bearer(TokenSet::new(AccessToken::new("new", None))))
    }
}

/// Counts the upload, then refuses the old token.
async fn answer(
    request: Request<Incoming>,
    received: Arc<AtomicU64>,
) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let refuse = request.headers()[AUTHORIZATION] == "Bearer old";
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let length = frame?.data_ref().map_or(0, Bytes::len);
        received.fetch_add(length as u64, Ordering::Relaxed);
    }
    let mut response = Response::new(Empty::new());
    if refuse {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response
            .headers_mut()
            .insert("x-mfa", "required".parse().expect("a header"));
    }
    Ok(response)
}

async fn serve(listener: TcpListener, received: Arc<AtomicU64>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let received = Arc::clone(&received);
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, Arc::clone(&received)));
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer);
            drop(served.await);
        });
    }
}

fn mfa(addr: SocketAddr) -> MfaLayer {
    let codes = code_fn(|_challenge| async { Ok(Code::new("123456")) });
    MfaLayer::new(AtOnce, codes)
        .trust_origin(&format!("http://{addr}"))
        .expect("an origin")
}

/// Runs one case, and gives the bytes that the server received.
async fn upload(case: &str, length: u64) -> u64 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let received = Arc::<AtomicU64>::default();
    tokio::spawn(serve(listener, Arc::clone(&received)));

    let sized = matches!(case, "layered, sized" | "factory");
    let body = move || Upload {
        left: length,
        sized,
    };
    let token = if case == "factory" { "old" } else { "new" };
    let mut request = Request::post(format!("http://{addr}/upload"))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(body())
        .expect("a request");
    if case == "factory" {
        request.extensions_mut().insert(BodyFactory::new(body));
    }
    let builder = Client::builder(TokioExecutor::new());
    let status = if case == "bare" {
        let client = builder.build::<_, Upload>(HttpConnector::new());
        client.request(request).await.expect("an answer").status()
    } else {
        let service = mfa(addr).layer(builder.build(HttpConnector::new()));
        service.oneshot(request).await.expect("an answer").status()
    };
    assert_eq!(status, 200);
    received.load(Ordering::Relaxed)
}

/// The peak memory of this process so far, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.expect("a peak").parse().expect("a number")
}

/// A process of one case.
fn measured(case: &str, length: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let received = runtime.block_on(upload(case, length));
    println!("{received} {}", peak());
}

/// Starts a process for one case; gives the bytes its server received, and its peak in KiB.
fn measure(case: &str, length: u64) -> (u64, u64) {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .env(CASE, case)
        .env(LENGTH, length.to_string())
        .output()
        .expect("this program again");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<_> = text.split_whitespace().map(str::parse).collect();
    let (true, [Ok(received), Ok(peak)]) = (output.status.success(), &numbers[..]) else {
        panic!("{case} failed: {}", String::from_utf8_lossy(&output.stderr));
    };
    (*received, *peak)
}

fn main() -> ExitCode {
    if !cfg!(target_os = "linux") {
        println!("SKIPPED: peak memory is read from /proc, which only Linux has");
        return ExitCode::SUCCESS;
    }
    // `cargo bench` says that it is one; `cargo test --benches` only wants to see that it works
    let length = if std::env::args().any(|argument| argument == "--bench") {
        1 << 30
    } else {
        4 << 20
    };
    if let (Ok(case), Ok(length)) = (std::env::var(CASE), std::env::var(LENGTH)) {
        measured(&case, length.parse().expect("a length"));
        return ExitCode::SUCCESS;
    }

    println!(
        "{:<16}{:>12}{:>14}{:>12}",
        "case", "received", "peak", "over bare"
    );
    let mebibytes = |kibibytes: i64| kibibytes as f64 / 1024.0;
    let (mut bare, mut too_much) = (0, false);
    for (case, what) in CASES {
        let (received, peak) = measure(case, length);
        let times = if case == "factory" { 2 } else { 1 };
        assert_eq!(received, times * length, "{case}: bytes were lost");
        if case == "bare" {
            bare = peak;
        }
        let over = peak as i64 - bare as i64;
        too_much |= over > ALLOWED as i64;
        println!(
            "{case:<16}{:>8} MiB{:>10.2} MiB{:>+8.2} MiB   {what}",
            received >> 20,
            mebibytes(peak as i64),
            mebibytes(over),
        );
    }
    if too_much {
        println!("FAILED: more than {} MiB over bare", ALLOWED >> 10);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
