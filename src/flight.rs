//! [`Flights`]: one step-up for all who need the same one at the same time.
//!
//! Whoever comes while a step-up is under way joins it. It goes on as long as one of them waits, whichever of them are dropped, and
//! each of them can drive it, so none depends on another's being polled. When the last one goes, it is dropped.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use tokio::time::Instant;

use crate::error::{Kind, StepUpError};
use crate::met::Met;
use crate::principal::Principal;
use crate::step_up::SteppingUp;
use crate::store::StoreKey;

/// A place in a step-up.
pub(crate) type Joined = Shared<SteppingUp>;

#[derive(Default)]
pub(crate) struct Flights {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    under_way: HashMap<StoreKey, UnderWay>,
    /// Step-ups under way, those counted that nobody can join.
    count: usize,
    next_id: u64,
    /// What ended because of a person, a moment ago.
    held_off: HashMap<StoreKey, (StepUpError, Instant)>,
}

struct UnderWay {
    id: u64,
    principal: Principal,
    joined: WeakShared<SteppingUp>,
}

/// Takes a step-up off the list when it ends, is dropped or panics.
struct Landing {
    flights: Weak<Flights>,
    key: Option<StoreKey>,
    id: u64,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the step-up of this key of a principal, or starts it, with a number of its own; without them it is nobody else's. At most
    /// `limit` are under way.
    pub(crate) fn join(
        self: &Arc<Self>,
        whose: Option<(StoreKey, Principal)>,
        limit: usize,
        start: impl FnOnce(u64) -> SteppingUp,
    ) -> Result<Joined, StepUpError> {
        // dropped after the lock: it may be the last of its step-up, which takes the lock when it is dropped
        let _ended;
        let mut inner = self.lock();
        let key = whose.as_ref().map(|(key, _)| *key);
        if let Some(under_way) = key.and_then(|key| inner.under_way.get(&key)) {
            match under_way.joined.upgrade() {
                Some(joined) if joined.peek().is_none() => return Ok(joined),
                ended => _ended = ended,
            }
        }
        if inner.count >= limit {
            return Err(StepUpError::new(
                Kind::Overloaded,
                format!(
                    "{limit} step-ups are under way already; try again later, or allow more with `max_step_ups(..)`"
                ),
            ));
        }
        let id = inner.next_id;
        inner.next_id += 1;
        inner.count += 1;
        let landing = Landing {
            flights: Arc::downgrade(self),
            key,
            id,
        };
        let step_up = start(id);
        let guarded = async move {
            let _landing = landing;
            AssertUnwindSafe(step_up)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(panicked()))
        };
        let guarded: SteppingUp = Box::pin(guarded);
        let joined = guarded.shared();
        if let (Some((key, principal)), Some(weak)) = (whose, joined.downgrade()) {
            let under_way = UnderWay {
                id,
                principal,
                joined: weak,
            };
            inner.under_way.insert(key, under_way);
        }
        Ok(joined)
    }

    /// Lets nobody join the step-ups of a principal any more.
    pub(crate) fn forget(&self, principal: &Principal) {
        let mut inner = self.lock();
        inner
            .under_way
            .retain(|_, under_way| under_way.principal != *principal);
    }

    /// Whether a step-up can be joined: what it brings is for others, too.
    pub(crate) fn is_open(&self, key: &StoreKey, id: u64) -> bool {
        let inner = self.lock();
        inner
            .under_way
            .get(key)
            .is_some_and(|under_way| under_way.id == id)
    }

    /// The error of a step-up that ended because of a person a moment ago.
    pub(crate) fn held_off(&self, key: &StoreKey) -> Option<StepUpError> {
        let inner = self.lock();
        let (error, until) = inner.held_off.get(key)?;
        (*until > Instant::now()).then(|| error.clone())
    }

    /// Gives this error to all who come within a time.
    pub(crate) fn hold_off(&self, key: StoreKey, error: &StepUpError, time: Duration) {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.held_off.retain(|_, (_, until)| *until > now);
        if !time.is_zero() {
            inner.held_off.insert(key, (error.clone(), now + time));
        }
    }

    /// How many step-ups are under way.
    pub(crate) fn len(&self) -> usize {
        self.lock().count
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let Some(flights) = self.flights.upgrade() else {
            return;
        };
        let mut inner = flights.lock();
        inner.count -= 1;
        let Some(key) = self.key else { return };
        // another one may have taken the place already
        if inner
            .under_way
            .get(&key)
            .is_some_and(|under_way| under_way.id == self.id)
        {
            inner.under_way.remove(&key);
        }
    }
}

pub(crate) fn panicked() -> StepUpError {
    StepUpError::new(
        Kind::Panicked,
        "the code provider, or the dialect, panicked; its message went to the panic hook",
    )
}

/// What every waiter gets: cloned for each, so behind an `Arc`.
pub(crate) type Landed = Result<Arc<Met>, StepUpError>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Step-ups that can be joined, and all of them.
    fn counts(flights: &Flights) -> (usize, usize) {
        let open = flights.lock().under_way.len();
        (open, flights.len())
    }

    /// Nothing is left of a step-up, however it ended.
    #[tokio::test(start_paused = true)]
    async fn the_list_is_empty_after_an_end_a_drop_and_a_panic() {
        let flights = Arc::new(Flights::default());
        let whose = || {
            let key = StoreKey::of_parts([b"test".as_slice()]);
            Some((key, Principal::new("alice")))
        };
        let ends: [fn() -> SteppingUp; 2] = [
            || Box::pin(async { Err(panicked()) }),
            || Box::pin(async { panic!("this panic is part of the test") }),
        ];
        for end in ends {
            let joined = flights.join(whose(), 1, |_| end()).unwrap();
            assert_eq!(counts(&flights), (1, 1));
            assert!(joined.await.is_err());
            assert_eq!(counts(&flights), (0, 0));
        }
        let pending = flights.join(whose(), 1, |_| Box::pin(std::future::pending()));
        assert!(flights.is_open(&whose().unwrap().0, 2));
        drop(pending);
        assert_eq!(counts(&flights), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_joined_by_nobody() {
        let flights = Arc::new(Flights::default());
        let key = StoreKey::of_parts([b"test".as_slice()]);
        let whose = || Some((key, Principal::new("alice")));
        let pending = |_| -> SteppingUp { Box::pin(std::future::pending()) };
        let first = flights.join(whose(), 2, pending).unwrap();
        flights.forget(&Principal::new("bob"));
        assert!(flights.is_open(&key, 0));
        flights.forget(&Principal::new("alice"));
        assert!(!flights.is_open(&key, 0));
        let second = flights.join(whose(), 2, pending).unwrap();
        drop(first);
        assert!(flights.is_open(&key, 1), "the new one's place is its own");
        drop(second);
        assert_eq!(counts(&flights), (0, 0));
    }
}
