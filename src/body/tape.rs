//! [`Tape`]: what a body has given so far, and the body; shared by the attempts to send it.
//!
//! The newest attempt owns the body. A server may refuse from the head alone and never read the rest, and then the old attempt's
//! connection keeps its body for as long as it likes; so the retry takes the source over and the old attempt ends with an
//! error, instead of one waiting for the other.
//!
//! A frame costs one lock, which nobody else wants unless there is a retry.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use http_body::{Body, SizeHint};

use crate::body::BodyFactory;
use crate::body::shared::{Polled, Progress, Shared};
use crate::error::BoxError;

pub(super) struct Tape<B> {
    shared: Arc<Mutex<Shared<B>>>,
}

impl<B: Body> Tape<B> {
    /// `hint` is what the source says of its size.
    pub(super) fn new(
        source: B,
        hint: SizeHint,
        limit: usize,
        factory: Option<BodyFactory<B>>,
    ) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Shared::new(source, hint, limit, factory))),
        }
    }

    /// What is left for an attempt to send, as far as it is known.
    pub(super) fn size_hint(&self, progress: &Progress) -> SizeHint {
        self.lock().size_hint(progress)
    }

    /// Whether an attempt has sent everything.
    pub(super) fn is_end_stream(&self, progress: &Progress) -> bool {
        match progress.known_end() {
            Some(is_end) => is_end,
            None => self.lock().is_end_stream(progress),
        }
    }

    /// Replaces the attempt that reads; gives the number of the new one, unless the body cannot be sent again.
    pub(super) fn take_over(&self) -> Option<u32> {
        let factory = self.lock().factory();
        // outside the lock, as is the drop of the old source: both are the caller's code
        let remade = factory.map(|factory| factory.make());
        let (owner, _old) = self.change(|shared| shared.take_over(remade))?;
        Some(owner)
    }
}

impl<B> Tape<B> {
    fn lock(&self) -> MutexGuard<'_, Shared<B>> {
        // poisoned by a body that panicked while it was polled; whoever polls next meets that body again, as without us
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another attempt can send the same.
    pub(super) fn is_repeatable(&self) -> bool {
        self.lock().is_repeatable()
    }

    pub(super) fn pause(&self) {
        self.lock().pause();
    }

    pub(super) fn resume(&self) {
        self.change(Shared::resume);
    }

    /// There will be no further attempt: stops recording. An attempt that was paused is ended, since whoever paused it went away
    /// and its connection would wait for ever.
    pub(super) fn release(&self) {
        // most often the body was sent and dropped before there was an answer, and the tape goes with this handle
        if Arc::strong_count(&self.shared) > 1 {
            self.change(Shared::release);
        }
    }

    /// Changes what may let a reader go on, and wakes it: outside the lock, since a waker may run anything.
    fn change<T>(&self, change: impl FnOnce(&mut Shared<B>) -> T) -> T {
        let (result, waker): (T, Option<Waker>) = {
            let mut shared = self.lock();
            (change(&mut shared), shared.take_waker())
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
    /// The next frame for an attempt.
    #[inline]
    pub(super) fn poll_frame(&self, progress: &mut Progress, cx: &mut Context<'_>) -> Polled {
        if progress.has_ended() {
            return Poll::Ready(None);
        }
        self.lock().poll_frame(progress, cx)
    }
}

impl<B> Clone for Tape<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}
