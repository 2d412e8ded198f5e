//! A request's body of 64 KiB in four frames, as a connection gives them: streamed to a service that reads it, without the layer,
//! through it, and remembered by it on the way.

use std::convert::Infallible;
use std::future::Ready;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::{Layer, Service};

use crate::suite::{Case, Limit, Suite};
use crate::support::mfa;

const STREAMED: &str = "streamed, 64 KiB";

pub(crate) fn suite() -> Suite {
    let case = Case::new;
    Suite {
        name: "Bodies, over an empty one",
        cases: vec![
            case("bare, empty", "bare, empty", |n| drive(n, Read, 0), vec![]),
            case(STREAMED, "bare, empty", |n| drive(n, Read, 4), vec![]),
            case(
                "MfaLayer, empty",
                "MfaLayer, empty",
                |n| drive(n, mfa().layer(Read), 0),
                vec![],
            ),
            case(
                "MfaLayer, 64 KiB, too long to be remembered",
                "MfaLayer, empty",
                |n| drive(n, mfa().max_replay_bytes(0).layer(Read), 4),
                vec![Limit::allocations(0.0)],
            ),
            case(
                "MfaLayer, 64 KiB",
                "MfaLayer, empty",
                |n| drive(n, mfa().layer(Read), 4),
                vec![Limit::allocations(1.0)],
            ),
        ],
    }
}

/// So many frames of 16 KiB, parts of one buffer.
struct Frames {
    left: u64,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static BUFFER: LazyLock<Bytes> = LazyLock::new(|| {
            // shared, as the buffer of a connection is
            let mut buffer = Bytes::from(vec![b'x'; 64 * 1024]);
            let _ = buffer.split_to(1);
            buffer
        });
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        let start = self.left as usize * 16 * 1024;
        let end = BUFFER.len().min(start + 16 * 1024);
        Poll::Ready(Some(Ok(Frame::data(BUFFER.slice(start..end)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left * 16 * 1024)
    }
}

/// Reads the request's body to its end.
#[derive(Clone)]
struct Read;

impl<B: Body<Data = Bytes>> Service<Request<B>> for Read {
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
            if body.is_end_stream() {
                break;
            }
        }
        std::future::ready(Ok(Response::new(Full::from("{}"))))
    }
}

fn drive<S>(calls: u64, mut service: S, frames: u64)
where
    S: Service<Request<Frames>>,
    S::Error: std::fmt::Debug,
{
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..calls {
        let request = Request::new(Frames { left: frames });
        black_box(&request);
        assert!(service.poll_ready(&mut context).is_ready());
        let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut context) else {
            panic!("this service answers at once");
        };
        black_box(&response);
    }
}
