//! [`Shared`]: the inside of a [`Tape`](crate::body::tape::Tape), and [`Progress`], how far one attempt is in it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::body::BodyFactory;
use crate::body::frames::Frames;
use crate::body::replay::less;
use crate::error::BoxError;

pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// The number of the attempt that a tape is made for.
const FIRST_ATTEMPT: u32 = 1;

pub(super) struct Shared<B> {
    source: B,
    /// Makes the source again; then nothing is recorded.
    factory: Option<BodyFactory<B>>,
    /// What `source` said before anything was read: a retry is framed like the first attempt.
    first_hint: SizeHint,
    frames: Frames,
    /// How many bytes more may be recorded.
    left: usize,
    state: State,
    /// The attempt that may read; every other one has been replaced.
    owner: u32,
    /// While a step-up runs the source is not read further, so that the limit cannot be crossed.
    paused: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everything that came is on the tape, and there may be more.
    Recording,
    /// Everything is on the tape.
    Complete,
    /// Not everything is on the tape; the source streams on.
    Unrecorded,
    /// The source has ended or failed, and not everything is on the tape.
    Over,
}

/// What one attempt has sent of a tape.
pub(super) struct Progress {
    attempt: u32,
    /// Frames sent.
    position: usize,
    /// Bytes sent.
    sent: u64,
    started: bool,
    /// It has sent everything. Remembered here, since a source that is made again no longer knows.
    whole: bool,
    /// It is whole, or it has failed.
    ended: bool,
}

impl Progress {
    pub(super) fn first() -> Self {
        Self::of(FIRST_ATTEMPT)
    }

    /// Of an attempt that has sent nothing.
    pub(super) fn of(attempt: u32) -> Self {
        Self {
            attempt,
            position: 0,
            sent: 0,
            started: false,
            whole: false,
            ended: false,
        }
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether it has sent everything, where that can be told without the tape.
    #[inline]
    pub(super) fn known_end(&self) -> Option<bool> {
        // the first attempt had not ended before it was polled, or there would be no tape; so neither has a retry
        (self.whole || !self.started).then_some(self.whole)
    }

    /// Counts a frame, the last one or not.
    #[inline]
    fn advance(&mut self, bytes: usize, is_last: bool) {
        self.position += 1;
        self.sent += bytes as u64;
        self.whole = is_last;
        self.ended = is_last;
    }

    fn end(&mut self) -> Polled {
        self.ended = true;
        Poll::Ready(None)
    }

    fn fail(&mut self, error: BoxError) -> Polled {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl<B> Shared<B> {
    pub(super) fn factory(&self) -> Option<BodyFactory<B>> {
        self.factory.clone()
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.factory.is_some() || matches!(self.state, State::Recording | State::Complete)
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    pub(super) fn release(&mut self) {
        if self.owner == FIRST_ATTEMPT {
            self.frames = Frames::default();
            self.state = match self.state {
                State::Recording | State::Unrecorded => State::Unrecorded,
                ended => ended,
            };
        }
        if self.paused {
            self.paused = false;
            self.owner += 1;
        }
    }

    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Whether an attempt that has sent so many frames has sent everything, be it replaced or not.
    fn has_all(&self, position: usize) -> bool {
        self.state == State::Complete && position >= self.frames.len()
    }

    /// The source has no more.
    fn end(&mut self) {
        self.state = match self.state {
            State::Recording => State::Complete,
            _ => State::Over,
        };
    }

    fn stop_recording(&mut self, state: State) {
        self.frames = Frames::default();
        self.state = state;
    }
}

impl<B: Body> Shared<B> {
    #[inline]
    pub(super) fn new(
        source: B,
        first_hint: SizeHint,
        limit: usize,
        factory: Option<BodyFactory<B>>,
    ) -> Self {
        Self {
            source,
            first_hint,
            frames: Frames::default(),
            left: limit,
            state: match factory {
                Some(_) => State::Unrecorded,
                None => State::Recording,
            },
            factory,
            owner: FIRST_ATTEMPT,
            paused: false,
            waker: None,
        }
    }

    pub(super) fn size_hint(&self, progress: &Progress) -> SizeHint {
        if progress.attempt == FIRST_ATTEMPT {
            self.source.size_hint()
        } else {
            less(self.first_hint, progress.sent)
        }
    }

    /// Whether an attempt has sent everything. One that was replaced has not: it was cut, and must not look whole.
    pub(super) fn is_end_stream(&self, progress: &Progress) -> bool {
        if self.owner == progress.attempt {
            self.is_end_at(progress.position)
        } else {
            self.has_all(progress.position)
        }
    }

    /// Whether the newest attempt has sent everything when it has sent so many frames.
    fn is_end_at(&self, position: usize) -> bool {
        position >= self.frames.len()
            && (self.state == State::Complete || self.source.is_end_stream())
    }

    /// Gives the number of the new attempt, and the source that it has no use for, unless the body cannot be sent again. `remade` is what
    /// the factory has made, if there is one.
    pub(super) fn take_over(&mut self, remade: Option<B>) -> Option<(u32, Option<B>)> {
        let old = match remade {
            Some(source) => {
                self.first_hint = source.size_hint();
                self.state = State::Unrecorded;
                Some(std::mem::replace(&mut self.source, source))
            }
            None if self.is_repeatable() => None,
            None => return None,
        };
        self.owner += 1;
        self.paused = false;
        Some((self.owner, old))
    }
}

impl<B> Shared<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    /// The next frame for an attempt that has not ended.
    #[inline]
    pub(super) fn poll_frame(&mut self, progress: &mut Progress, cx: &mut Context<'_>) -> Polled {
        progress.started = true;
        if self.owner != progress.attempt {
            return match self.has_all(progress.position) {
                true => progress.end(),
                false => progress.fail(Superseded.into()),
            };
        }
        // what was recorded is sent by a retry only
        if progress.position < self.frames.len()
            && let Some(frame) = self.frames.get(progress.position)
        {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            progress.advance(bytes, self.is_end_at(progress.position + 1));
            return Poll::Ready(Some(Ok(frame)));
        }
        self.poll_source(progress, cx)
    }

    fn poll_source(&mut self, progress: &mut Progress, cx: &mut Context<'_>) -> Polled {
        if matches!(self.state, State::Complete | State::Over) {
            return progress.end();
        }
        let polled = if self.paused {
            Poll::Pending
        } else {
            Pin::new(&mut self.source).poll_frame(cx)
        };
        match polled {
            Poll::Pending => {
                let known = self.waker.as_ref();
                if !known.is_some_and(|waker| waker.will_wake(cx.waker())) {
                    self.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.end();
                progress.end()
            }
            Poll::Ready(Some(Err(error))) => {
                self.stop_recording(State::Over);
                progress.fail(error.into())
            }
            // the data are taken out, since a frame is as large as the trailers that it may be
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(mut data) => {
                    let data = data.copy_to_bytes(data.remaining());
                    progress.advance(data.len(), self.record(&data));
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Err(frame) => self.pass_trailers(progress, frame),
            },
        }
    }

    /// Remembers data that came from the source. Gives whether they were the last.
    fn record(&mut self, data: &Bytes) -> bool {
        if self.state != State::Recording {
            return self.source.is_end_stream();
        }
        let Some(left) = self.left.checked_sub(data.len()) else {
            self.stop_recording(State::Unrecorded);
            return self.source.is_end_stream();
        };
        self.left = left;
        self.frames.push(data.clone());
        let is_last = self.source.is_end_stream();
        if is_last {
            self.state = State::Complete;
        }
        is_last
    }

    #[cold]
    fn pass_trailers(&mut self, progress: &mut Progress, frame: Frame<B::Data>) -> Polled {
        let frame = match frame.into_trailers() {
            Ok(trailers) => {
                if self.state == State::Recording {
                    self.frames.push_trailers(trailers.clone());
                }
                self.end();
                progress.advance(0, true);
                Frame::trailers(trailers)
            }
            // a kind of frame that this code does not know and so cannot send again
            Err(frame) => {
                if self.state == State::Recording {
                    self.stop_recording(State::Unrecorded);
                }
                progress.advance(0, self.source.is_end_stream());
                frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

/// The error that ends the body of an attempt which was replaced.
#[derive(Debug)]
struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this attempt was given up: the request goes on in a newer one, or its caller went away",
        )
    }
}

impl std::error::Error for Superseded {}
