//! [`Fetch`]: a fetch of keys that many wait for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};

type Flight = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A fetch to wait for. It goes on if it is dropped, and ends within the timeout.
#[derive(Clone)]
pub(crate) struct Fetch(Shared<Flight>);

/// A fetch that may be over.
pub(super) struct WeakFetch(WeakShared<Flight>);

impl Fetch {
    pub(super) fn new(flight: impl Future<Output = ()> + Send + 'static) -> Self {
        let flight: Flight = Box::pin(flight);
        Self(flight.shared())
    }

    pub(super) fn done() -> Self {
        Self::new(std::future::ready(()))
    }

    pub(super) fn downgrade(&self) -> Option<WeakFetch> {
        self.0.downgrade().map(WeakFetch)
    }
}

impl WeakFetch {
    pub(super) fn upgrade(&self) -> Option<Fetch> {
        self.0.upgrade().map(Fetch)
    }
}

impl Future for Fetch {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").finish_non_exhaustive()
    }
}
