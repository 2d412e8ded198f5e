//! What it costs to remember a request's body while it streams: against streaming it through, and against collecting it first,
//! which many a retry does. Read the figures as ratios within one run: remembering is `tower-mfa` over `tower-mfa, streamed`, where the
//! same layer does all but that, since the body is too long for it.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

#[path = "support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service};

use support::mfa;

const FRAME: usize = 16 * 1024;

/// A body in frames that are parts of one buffer, as those of a connection are: so what is measured is what becomes of frames, not
/// their memory.
struct Frames(VecDeque<Bytes>);

impl Frames {
    fn new(buffer: &Bytes) -> Self {
        let frames = buffer.chunks(FRAME).map(|frame| buffer.slice_ref(frame));
        Self(frames.collect())
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.0.len() * FRAME) as u64)
    }
}

/// Reads the request's body to its end.
#[derive(Clone)]
struct Read;

impl<B: http_body::Body<Data = Bytes>> Service<Request<B>> for Read {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut body = pin!(request.into_body());
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut context) {
            black_box(&frame);
        }
        ready(Ok(Response::new(Full::from("{}"))))
    }
}

/// Collects a body, and gives it to the service in one piece.
#[derive(Clone)]
struct Collect(Read);

impl Service<Request<Frames>> for Collect {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Frames>) -> Self::Future {
        let (head, body) = request.into_parts();
        let Poll::Ready(Ok(body)) = now(body.collect()) else {
            return ready(Ok(Response::default()));
        };
        let body = body.to_bytes();
        // kept for a retry
        black_box(body.clone());
        self.0.call(Request::from_parts(head, Full::from(body)))
    }
}

fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn measure<S>(criterion: &mut Criterion, name: &str, mut service: S)
where
    S: Service<Request<Frames>>,
    S::Error: std::fmt::Debug,
{
    for (size, bytes) in [("64 KiB", 64 * 1024), ("1 MiB", 1024 * 1024)] {
        let mut group = criterion.benchmark_group(format!("body of {size}"));
        group.throughput(Throughput::Bytes(bytes as u64));
        let buffer = Bytes::from(vec![b'x'; bytes]);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || Request::new(Frames::new(&buffer)),
                |request| {
                    let Poll::Ready(Ok(response)) = now(service.call(request)) else {
                        panic!("this service answers at once");
                    };
                    response
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

fn replay(criterion: &mut Criterion) {
    let all = mfa().max_replay_bytes(1024 * 1024);
    measure(criterion, "streamed", Read);
    let none = mfa().max_replay_bytes(0);
    measure(
        criterion,
        "tower-mfa, too long to be remembered",
        none.layer(Read),
    );
    measure(criterion, "tower-mfa", all.layer(Read));
    measure(criterion, "collected", Collect(Read));
}

criterion_group!(benches, replay);
criterion_main!(benches);
