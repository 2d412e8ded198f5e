//! [`ReplayBody`]: the request's body, remembered while it streams, so that a retry sends the same bytes.
//!
//! Old and new attempt share one source behind a mutex. The newest attempt owns it: a server may refuse from the head alone
//! and never read the rest, and then the old attempt's connection keeps its body for as long as it likes; so the retry takes
//! the source over and the old body ends with an error, instead of one waiting for the other.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

/// The body of a request that passes through [`Mfa`](crate::Mfa): streams, and can be sent again.
///
/// It is what the inner service gets: a hyper-util client is a `Client<_, ReplayBody<B>>`. It yields the frames of `B` as they
/// come, without copying or collecting; `Bytes` are shared, not cloned.
///
/// An attempt that was replaced by a retry ends with an error: its body is cut, never silently short.
pub struct ReplayBody<B> {
    kind: Kind<B>,
}

enum Kind<B> {
    /// Nothing to send: no allocation. Keeps the hint, which decides about the framing.
    Empty(SizeHint),
    /// Not remembered: too large, or nobody will ask for it again.
    Once(B),
    Taped(Taped<B>),
}

/// One attempt's view of a shared tape.
struct Taped<B> {
    tape: Arc<Mutex<Tape<B>>>,
    attempt: u32,
    /// How many frames of the tape this attempt has sent.
    position: usize,
    /// How many bytes this attempt has sent.
    sent: u64,
    started: bool,
    ended: bool,
}

/// What the source has given so far, and the source.
pub(crate) struct Tape<B> {
    source: B,
    /// What `source` said before anything was read: a retry is framed like the first attempt.
    hint: SizeHint,
    frames: VecDeque<Recorded>,
    bytes: usize,
    limit: usize,
    state: TapeState,
    /// The attempt that may read; every other one has been replaced.
    owner: u32,
    /// While a step-up runs, the source is not read further: what comes now could not be kept.
    paused: bool,
    waker: Option<Waker>,
}

#[derive(Clone)]
enum Recorded {
    Data(Bytes),
    Trailers(HeaderMap),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TapeState {
    /// Everything that came is on the tape, and there may be more.
    Recording,
    /// Everything is on the tape.
    Complete,
    /// Not everything is on the tape; the source streams on.
    Unrecorded,
    /// The source has ended or failed, and not everything is on the tape.
    Over,
}

/// What the layer keeps of a request's body: the way to send it again.
pub(crate) enum Replay<B> {
    Empty(SizeHint),
    Impossible,
    Taped(Arc<Mutex<Tape<B>>>),
}

impl<B: Body> ReplayBody<B> {
    /// A body that is sent once.
    pub(crate) fn once(body: B) -> Self {
        Self {
            kind: Kind::Once(body),
        }
    }

    /// A body that can be sent again if it is no longer than `limit` bytes.
    pub(crate) fn new(body: B, limit: usize) -> (Self, Replay<B>) {
        let hint = body.size_hint();
        if body.is_end_stream() {
            let kind = Kind::Empty(hint.clone());
            return (Self { kind }, Replay::Empty(hint));
        }
        if hint.lower() > limit as u64 {
            return (Self::once(body), Replay::Impossible);
        }
        let tape = Arc::new(Mutex::new(Tape {
            source: body,
            hint,
            frames: VecDeque::new(),
            bytes: 0,
            limit,
            state: TapeState::Recording,
            owner: 1,
            paused: false,
            waker: None,
        }));
        let kind = Kind::Taped(Taped::new(Arc::clone(&tape), 1));
        (Self { kind }, Replay::Taped(tape))
    }
}

impl<B> Replay<B> {
    /// Whether a retry would send the same bytes, as far as can be known now.
    pub(crate) fn is_possible(&self) -> bool {
        match self {
            Self::Empty(_) => true,
            Self::Impossible => false,
            Self::Taped(tape) => lock(tape).is_whole(),
        }
    }

    /// Stops reading the source until [`resume`](Self::resume) or [`take_over`](Self::take_over): the limit cannot be
    /// crossed while a step-up runs.
    pub(crate) fn pause(&self) {
        if let Self::Taped(tape) = self {
            lock(tape).paused = true;
        }
    }

    /// Lets the attempt go on: there will be no retry.
    pub(crate) fn resume(&self) {
        if let Self::Taped(tape) = self {
            let waker = {
                let mut tape = lock(tape);
                tape.paused = false;
                tape.waker.take()
            };
            wake(waker);
        }
    }

    /// The body of the next attempt, if the request can be sent again. The attempt before it ends with an error, if it has
    /// not sent everything yet.
    pub(crate) fn take_over(&self) -> Option<ReplayBody<B>> {
        let kind = match self {
            Self::Empty(hint) => Kind::Empty(hint.clone()),
            Self::Impossible => return None,
            Self::Taped(shared) => {
                let (attempt, waker) = {
                    let mut tape = lock(shared);
                    if !tape.is_whole() {
                        return None;
                    }
                    tape.owner += 1;
                    tape.paused = false;
                    (tape.owner, tape.waker.take())
                };
                wake(waker);
                Kind::Taped(Taped::new(Arc::clone(shared), attempt))
            }
        };
        Some(ReplayBody { kind })
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        let Self::Taped(shared) = self else { return };
        let waker = {
            let mut tape = lock(shared);
            // nobody will ask for another attempt: what is recorded is needed only by one that is still reading it
            if tape.owner == 1 {
                tape.frames.clear();
                tape.state = match tape.state {
                    TapeState::Recording | TapeState::Unrecorded => TapeState::Unrecorded,
                    TapeState::Complete | TapeState::Over => TapeState::Over,
                };
            }
            if tape.paused {
                // the caller went away during the step-up: end the attempt, or its connection would wait for ever
                tape.paused = false;
                tape.owner += 1;
            }
            tape.waker.take()
        };
        wake(waker);
    }
}

impl<B> Taped<B> {
    fn new(tape: Arc<Mutex<Tape<B>>>, attempt: u32) -> Self {
        Self {
            tape,
            attempt,
            position: 0,
            sent: 0,
            started: false,
            ended: false,
        }
    }
}

impl<B> Taped<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.started = true;
        let mut tape = lock(&self.tape);
        let next = if tape.owner != self.attempt {
            Poll::Ready(Some(Err(Superseded.into())))
        } else if let Some(recorded) = tape.frames.get(self.position) {
            Poll::Ready(Some(Ok(recorded.clone().into_frame())))
        } else {
            tape.poll_source(cx)
        };
        drop(tape);
        match &next {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                self.position += 1;
                self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.ended = frame.is_trailers();
            }
            Poll::Ready(Some(Err(_)) | None) => self.ended = true,
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        // the first attempt had not ended before it was polled, or there would be no tape: neither has a retry
        if !self.started {
            return false;
        }
        let tape = lock(&self.tape);
        // an attempt that was replaced has not ended: it was cut, and must not look whole
        if tape.owner != self.attempt {
            return false;
        }
        let at_the_tip = self.position >= tape.frames.len();
        self.ended
            || at_the_tip
                && match tape.state {
                    TapeState::Complete => true,
                    TapeState::Recording | TapeState::Unrecorded => tape.source.is_end_stream(),
                    TapeState::Over => false,
                }
    }

    fn size_hint(&self) -> SizeHint {
        let tape = lock(&self.tape);
        if self.attempt == 1 {
            return tape.source.size_hint();
        }
        let mut hint = SizeHint::new();
        hint.set_lower(tape.hint.lower().saturating_sub(self.sent));
        if let Some(upper) = tape.hint.upper() {
            hint.set_upper(upper.saturating_sub(self.sent));
        }
        hint
    }
}

impl<B> Tape<B> {
    /// Whether everything that the source gave is on the tape.
    fn is_whole(&self) -> bool {
        matches!(self.state, TapeState::Recording | TapeState::Complete)
    }
}

impl<B> Tape<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if matches!(self.state, TapeState::Complete | TapeState::Over) {
            return Poll::Ready(None);
        }
        if self.paused {
            self.wake_later(cx);
            return Poll::Pending;
        }
        match Pin::new(&mut self.source).poll_frame(cx) {
            Poll::Pending => {
                self.wake_later(cx);
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.end(TapeState::Complete);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.frames.clear();
                self.state = TapeState::Over;
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
        if let Some(data) = frame.data_ref() {
            self.bytes = self.bytes.saturating_add(data.len());
            if self.state != TapeState::Recording {
                return;
            }
            if self.bytes > self.limit {
                self.frames = VecDeque::new();
                self.state = TapeState::Unrecorded;
                return;
            }
            self.frames.push_back(Recorded::Data(data.clone()));
            if self.source.is_end_stream() {
                self.end(TapeState::Complete);
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            if self.state == TapeState::Recording {
                self.frames.push_back(Recorded::Trailers(trailers.clone()));
            }
            self.end(TapeState::Complete);
        } else {
            // a kind of frame that did not exist when this was written: pass it on, do not pretend to know it
            self.frames = VecDeque::new();
            self.state = TapeState::Unrecorded;
        }
    }

    /// The source has no more: `complete` if it was recorded from the beginning.
    fn end(&mut self, complete: TapeState) {
        self.state = match self.state {
            TapeState::Recording => complete,
            _ => TapeState::Over,
        };
    }

    fn wake_later(&mut self, cx: &Context<'_>) {
        if !self
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
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
            Kind::Taped(taped) => taped.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty(_) => true,
            Kind::Once(body) => body.is_end_stream(),
            Kind::Taped(taped) => taped.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty(hint) => hint.clone(),
            Kind::Once(body) => body.size_hint(),
            Kind::Taped(taped) => taped.size_hint(),
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

/// The error that ends the body of an attempt which a retry has replaced.
#[derive(Debug)]
struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this attempt was given up: the request goes on in a newer one, or its caller went away")
    }
}

impl std::error::Error for Superseded {}

fn lock<B>(tape: &Mutex<Tape<B>>) -> MutexGuard<'_, Tape<B>> {
    // poisoned by a body that panicked while it was polled; whoever polls it next meets that body again, as without us
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Outside the lock: a waker may run anything.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
