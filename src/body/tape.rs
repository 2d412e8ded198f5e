//! [`Tape`]: what a body has given so far, and the body; shared by the attempts to send it.
//!
//! The newest attempt owns the body. A server may refuse from the head alone and never read the rest, and then the old attempt's
//! connection keeps its body for as long as it likes; so the retry takes the source over and the old attempt ends with an
//! error, instead of one waiting for the other.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::body::BodyFactory;
use crate::error::BoxError;

/// The number of the attempt that a tape is made for.
pub(super) const FIRST_ATTEMPT: u32 = 1;

pub(super) struct Tape<B> {
    shared: Arc<Mutex<Shared<B>>>,
}

struct Shared<B> {
    source: B,
    /// Makes the source again; then nothing is recorded.
    factory: Option<BodyFactory<B>>,
    /// What `source` said before anything was read: a retry is framed like the first attempt.
    first_hint: SizeHint,
    frames: VecDeque<Recorded>,
    bytes: usize,
    limit: usize,
    state: State,
    /// The attempt that may read; every other one has been replaced.
    owner: u32,
    /// While a step-up runs the source is not read further, so that the limit cannot be crossed.
    paused: bool,
    waker: Option<Waker>,
}

#[derive(Clone)]
enum Recorded {
    Data(Bytes),
    Trailers(HeaderMap),
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

impl<B: Body> Tape<B> {
    pub(super) fn new(source: B, limit: usize, factory: Option<BodyFactory<B>>) -> Self {
        let shared = Shared {
            first_hint: source.size_hint(),
            source,
            frames: VecDeque::new(),
            bytes: 0,
            limit,
            state: match factory {
                Some(_) => State::Unrecorded,
                None => State::Recording,
            },
            factory,
            owner: FIRST_ATTEMPT,
            paused: false,
            waker: None,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// What the source says of its size now.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.lock().source.size_hint()
    }

    /// Whether an attempt that has sent so many frames has sent everything. One that was replaced has not: it was cut, and must
    /// not look whole.
    pub(super) fn is_end_stream(&self, attempt: u32, position: usize) -> bool {
        let shared = self.lock();
        if shared.has_all(position) {
            return true;
        }
        shared.owner == attempt && position >= shared.frames.len() && shared.source.is_end_stream()
    }

    /// Replaces the attempt that reads; gives the number of the new one, unless the body cannot be sent again.
    pub(super) fn take_over(&self) -> Option<u32> {
        let factory = self.lock().factory.clone();
        // outside the lock, as is the drop of the old source: both are the caller's code
        let remade = factory.map(|factory| factory.make());
        let (owner, _old) = self.change(|shared| {
            let old = match remade {
                Some(source) => {
                    shared.first_hint = source.size_hint();
                    shared.state = State::Unrecorded;
                    Some(std::mem::replace(&mut shared.source, source))
                }
                None if shared.is_repeatable() => None,
                None => return (None, None),
            };
            shared.owner += 1;
            shared.paused = false;
            (Some(shared.owner), old)
        });
        owner
    }
}

impl<B> Tape<B> {
    fn lock(&self) -> MutexGuard<'_, Shared<B>> {
        // poisoned by a body that panicked while it was polled; whoever polls next meets that body again, as without us
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the source said of its size before anything was read.
    pub(super) fn first_hint(&self) -> SizeHint {
        self.lock().first_hint
    }

    /// Whether another attempt can send the same.
    pub(super) fn is_repeatable(&self) -> bool {
        self.lock().is_repeatable()
    }

    pub(super) fn pause(&self) {
        self.lock().paused = true;
    }

    pub(super) fn resume(&self) {
        self.change(|shared| shared.paused = false);
    }

    /// There will be no further attempt: stops recording. An attempt that was paused is ended, since whoever paused it went away
    /// and its connection would wait for ever.
    pub(super) fn release(&self) {
        self.change(|shared| {
            if shared.owner == FIRST_ATTEMPT {
                shared.frames = VecDeque::new();
                shared.state = match shared.state {
                    State::Recording | State::Unrecorded => State::Unrecorded,
                    ended => ended,
                };
            }
            if shared.paused {
                shared.paused = false;
                shared.owner += 1;
            }
        });
    }

    /// Changes what may let a reader go on, and wakes it: outside the lock, since a waker may run anything.
    fn change<T>(&self, change: impl FnOnce(&mut Shared<B>) -> T) -> T {
        let (result, waker) = {
            let mut shared = self.lock();
            (change(&mut shared), shared.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }
}

impl<B> Tape<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    /// The next frame for an attempt that has sent so many.
    pub(super) fn poll_frame(
        &self,
        attempt: u32,
        position: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut shared = self.lock();
        if shared.has_all(position) {
            Poll::Ready(None)
        } else if shared.owner != attempt {
            Poll::Ready(Some(Err(Superseded.into())))
        } else if let Some(recorded) = shared.frames.get(position) {
            Poll::Ready(Some(Ok(recorded.clone().into_frame())))
        } else {
            shared.poll_source(cx)
        }
    }
}

impl<B> Shared<B> {
    fn is_repeatable(&self) -> bool {
        self.factory.is_some() || matches!(self.state, State::Recording | State::Complete)
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
        self.frames = VecDeque::new();
        self.state = state;
    }
}

impl<B> Shared<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if matches!(self.state, State::Complete | State::Over) {
            return Poll::Ready(None);
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
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.stop_recording(State::Over);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                self.record(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn record(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            if self.state == State::Recording {
                self.frames.push_back(Recorded::Trailers(trailers.clone()));
            }
            self.end();
            return;
        }
        if self.state != State::Recording {
            return;
        }
        match frame.data_ref() {
            Some(data) if data.len() <= self.limit - self.bytes => {
                self.bytes += data.len();
                self.frames.push_back(Recorded::Data(data.clone()));
                if self.source.is_end_stream() {
                    self.end();
                }
            }
            // over the limit, or a kind of frame that this code does not know and so cannot send again
            _ => self.stop_recording(State::Unrecorded),
        }
    }
}

impl Recorded {
    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}

impl<B> Clone for Tape<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
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
