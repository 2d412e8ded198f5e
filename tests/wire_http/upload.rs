//! Long and slow uploads: nothing is collected, everything arrives (rules 1 and 2).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tower::{Layer as _, ServiceExt as _};
use tower_mfa::body::BodyFactory;
use tower_mfa::{StepUpError, SteppedUp};

use crate::harness::{FRAMINGS, Framing, Protocol, Server, over_http1_and_http2, until};
use crate::support::{Plan, data, demand, ok};

over_http1_and_http2! {
    a_slow_upload_streams_in_both_attempts,
    #[guard = 60]
    a_body_of_100_mib_that_can_be_made_anew_arrives_twice,
    #[guard = 60]
    a_body_of_100_mib_over_the_cap_arrives_once_and_the_refusal_is_handed_on,
}

// ===== a long body =====

const LENGTH: u64 = 100 << 20;
const FRAME: u64 = 64 << 10;

/// A prime, so that a frame that is lost, doubled or misplaced shows.
const PERIOD: usize = 65_521;

/// Two periods, so that every stretch of one period is a slice of it.
static PERIODS: LazyLock<Bytes> = LazyLock::new(|| {
    (0..2 * PERIOD)
        .map(|at| (at % PERIOD % 253) as u8)
        .collect()
});

/// The bytes that belong at a place.
fn stretch(at: u64, length: usize) -> Bytes {
    let start = (at % PERIOD as u64) as usize;
    PERIODS.slice(start..start + length)
}

/// A body of 100 MiB that is nowhere in memory.
struct Long {
    at: u64,
    framing: Framing,
}

impl Long {
    fn new(framing: Framing) -> Self {
        Self { at: 0, framing }
    }
}

impl Body for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = FRAME.min(LENGTH - self.at).min(PERIOD as u64);
        if length == 0 {
            return Poll::Ready(None);
        }
        let frame = Frame::data(stretch(self.at, length as usize));
        self.at += length;
        Poll::Ready(Some(Ok(frame)))
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Sized => SizeHint::with_exact(LENGTH - self.at),
            Framing::Chunked => SizeHint::new(),
        }
    }
}

/// Reads a [`Long`] and compares every byte; gives the length.
async fn compare(mut body: Incoming) -> u64 {
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        let bytes = frame.unwrap().into_data().unwrap();
        for piece in bytes.chunks(PERIOD) {
            assert!(stretch(at, piece.len()) == piece, "other bytes at {at}");
            at += piece.len() as u64;
        }
    }
    at
}

/// A server that reads a [`Long`] to its end and then refuses it, unless it comes with the new token.
fn comparing(protocol: Protocol) -> (Server, Arc<Mutex<Vec<u64>>>) {
    let lengths = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&lengths);
    let server = Server::start(protocol, move |call| {
        let lengths = Arc::clone(&notes);
        async move {
            let stepped_up = call.is_stepped_up();
            let length = compare(call.request.into_body()).await;
            lengths.lock().unwrap().push(length);
            if stepped_up { ok() } else { demand() }
        }
    });
    (server, lengths)
}

async fn a_body_of_100_mib_that_can_be_made_anew_arrives_twice(protocol: Protocol) {
    let (server, lengths) = comparing(protocol);
    let (layer, seen) = server.layer(Plan::Bearer("new"));
    let mut request = server.request(Long::new(Framing::Sized));
    let factory = BodyFactory::new(|| Long::new(Framing::Sized));
    request.extensions_mut().insert(factory);
    let service = layer.layer(protocol.client());
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.extensions().get::<SteppedUp>().is_some());
    assert_eq!(seen.resolves(), 1);
    assert_eq!(*lengths.lock().unwrap(), [LENGTH, LENGTH]);
}

async fn a_body_of_100_mib_over_the_cap_arrives_once_and_the_refusal_is_handed_on(
    protocol: Protocol,
) {
    // of unknown size, so that it is remembered until it is too long
    let (server, lengths) = comparing(protocol);
    let (layer, seen) = server.layer(Plan::Bearer("new"));
    let request = server.request(Long::new(Framing::Chunked));
    let service = layer.layer(protocol.client());
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let error: &StepUpError = response.extensions().get().unwrap();
    assert!(error.is_not_replayable(), "{error:?}");
    assert_eq!(seen.resolves(), 0);
    assert_eq!(*lengths.lock().unwrap(), [LENGTH]);
    let refusal = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(refusal, r#"{"error":"mfa_required"}"#);
}

/// Each frame is given when the server has the one before it: nobody collects. Frames 0 to 2 are sent twice, from memory the
/// second time; 3 to 5 come while the retry is under way.
async fn a_slow_upload_streams_in_both_attempts(protocol: Protocol) {
    for framing in FRAMINGS {
        let received = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let counts = Arc::clone(&received);
        let server = Server::start(protocol, move |call| {
            let received = Arc::clone(&counts);
            async move {
                let stepped_up = call.is_stepped_up();
                let wanted = if stepped_up { 6_000 } else { 3_000 };
                let mut body = call.request.into_body();
                let received = &received[usize::from(stepped_up)];
                while received.load(Ordering::SeqCst) < wanted {
                    let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
                    received.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                }
                if stepped_up {
                    assert!(body.frame().await.is_none());
                    return ok();
                }
                demand()
            }
        });
        let (body, feed) = framing.open(6_000);
        let service = server.layer(Plan::Bearer("new")).0.layer(protocol.client());
        let response = tokio::spawn(service.oneshot(server.request(body)));
        for frame in 0..6_u64 {
            let attempt = usize::from(frame >= 3);
            until(|| received[attempt].load(Ordering::SeqCst) == frame * 1_000).await;
            feed.push(data(vec![b'x'; 1_000]));
        }
        feed.end();
        let response = response.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{framing:?}");
        assert_eq!(server.calls(), 2);
    }
}
