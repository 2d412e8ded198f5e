//! [`ReplayBody`]: the request's body, remembered while it streams, so that a retry sends the same bytes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::body::BodyFactory;
use crate::body::shared::Progress;
use crate::body::tape::Tape;
use crate::error::BoxError;

/// The body of a request that passes through [`Mfa`](crate::Mfa): streams, and can be sent again.
///
/// It is what the inner service gets: a hyper-util client is a `Client<_, ReplayBody<B>>`. It yields the frames of `B` as they
/// come, without copying or collecting; `Bytes` are shared, not cloned. Data of other types is copied into `Bytes`.
///
/// `B` has to be `Unpin`, as the bodies of hyper, axum, reqwest and tonic are; box one that is not.
///
/// What is longer than [`max_replay_bytes`](crate::MfaLayer::max_replay_bytes) is not remembered, and its request not sent
/// again; give a [`BodyFactory`] for such bodies.
///
/// Nothing is read before the inner service reads, so `Expect: 100-continue` keeps its meaning (RFC 9110 section 10.1.1): a server
/// that refuses from the head alone has not asked for the body yet, and asks for it in the retry.
///
/// An attempt that was replaced by a retry ends with an error: its body is cut, never silently short.
pub struct ReplayBody<B> {
    kind: Kind<B>,
}

enum Kind<B> {
    /// Nothing to send, and no allocation. Keeps the hint, which decides about the framing.
    Empty(SizeHint),
    /// Not remembered: too long, or nobody will ask for it again.
    Once(B),
    Taped(Attempt<B>),
}

/// An attempt to send a tape.
struct Attempt<B> {
    tape: Tape<B>,
    progress: Progress,
}

/// What the layer keeps of a request's body: the way to send it again.
pub(crate) enum Replay<B> {
    Empty(SizeHint),
    Impossible,
    Taped(Taped<B>),
}

/// Releases the tape when it is dropped.
pub(crate) struct Taped<B>(Tape<B>);

impl<B: Body> ReplayBody<B> {
    /// A body that is sent once.
    pub(crate) fn once(body: B) -> Self {
        Self {
            kind: Kind::Once(body),
        }
    }

    /// A body that can be sent again if a factory makes it again, or if it is no longer than `limit` bytes.
    #[inline]
    pub(crate) fn new(body: B, limit: usize, factory: Option<BodyFactory<B>>) -> (Self, Replay<B>) {
        let hint = body.size_hint();
        if body.is_end_stream() {
            let kind = Kind::Empty(hint);
            return (Self { kind }, Replay::Empty(hint));
        }
        if factory.is_none() && hint.lower() > limit as u64 {
            return (Self::once(body), Replay::Impossible);
        }
        let tape = Tape::new(body, hint, limit, factory);
        let kind = Kind::Taped(Attempt::new(tape.clone(), Progress::first()));
        (Self { kind }, Replay::Taped(Taped(tape)))
    }
}

impl<B: Body> Replay<B> {
    /// The body of the next attempt, if the request can be sent again. The attempt before it ends with an error, if it has
    /// not sent everything yet.
    pub(crate) fn take_over(&self) -> Option<ReplayBody<B>> {
        let kind = match self {
            Self::Empty(hint) => Kind::Empty(*hint),
            Self::Impossible => return None,
            Self::Taped(Taped(tape)) => {
                let number = tape.take_over()?;
                Kind::Taped(Attempt::new(tape.clone(), Progress::of(number)))
            }
        };
        Some(ReplayBody { kind })
    }
}

impl<B> Replay<B> {
    /// Whether a retry would send the same bytes, as far as can be known now.
    pub(crate) fn is_possible(&self) -> bool {
        match self {
            Self::Empty(_) => true,
            Self::Impossible => false,
            Self::Taped(Taped(tape)) => tape.is_repeatable(),
        }
    }

    /// Stops reading the source until [`resume`](Self::resume) or [`take_over`](Self::take_over): what is possible now stays
    /// possible while a step-up runs.
    pub(crate) fn pause(&self) {
        if let Self::Taped(Taped(tape)) = self {
            tape.pause();
        }
    }

    /// Lets the attempt go on: there will be no retry.
    pub(crate) fn resume(&self) {
        if let Self::Taped(Taped(tape)) = self {
            tape.resume();
        }
    }
}

impl<B> Drop for Taped<B> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl<B> Attempt<B> {
    fn new(tape: Tape<B>, progress: Progress) -> Self {
        Self { tape, progress }
    }
}

/// A hint, after so many bytes were taken.
pub(super) fn less(hint: SizeHint, taken: u64) -> SizeHint {
    let mut rest = SizeHint::new();
    rest.set_lower(hint.lower().saturating_sub(taken));
    if let Some(upper) = hint.upper() {
        rest.set_upper(upper.saturating_sub(taken));
    }
    rest
}

impl<B> Body for ReplayBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().kind {
            Kind::Empty(_) => Poll::Ready(None),
            Kind::Once(body) => Pin::new(body).poll_frame(cx).map(|frame| {
                frame.map(|frame| match frame {
                    Ok(frame) => {
                        Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
                    }
                    Err(error) => Err(error.into()),
                })
            }),
            Kind::Taped(attempt) => attempt.tape.poll_frame(&mut attempt.progress, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty(_) => true,
            Kind::Once(body) => body.is_end_stream(),
            Kind::Taped(attempt) => attempt.tape.is_end_stream(&attempt.progress),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty(hint) => *hint,
            Kind::Once(body) => body.size_hint(),
            Kind::Taped(attempt) => attempt.tape.size_hint(&attempt.progress),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty(_) => "empty",
            Kind::Once(_) => "once",
            Kind::Taped(_) => "replayable",
        };
        f.debug_struct("ReplayBody")
            .field("kind", &format_args!("{kind}"))
            .finish_non_exhaustive()
    }
}
