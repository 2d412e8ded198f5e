//! [`Flights`]: one step-up for all who need the same one at the same time.
//!
//! Whoever comes while a step-up is under way joins it. It goes on as long as one of them waits, whichever of them are dropped, and
//! each of them can drive it, so none depends on another's being polled. When the last one goes, it is dropped.
//!
//! They are found by all bytes of the principal, and compared as a whole: no hash whose collision could confuse two users. Who joins
//! allocates nothing for it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use http::Uri;
use tokio::time::Instant;

use crate::demand::Requirement;
use crate::elevation::{goes_to, key};
use crate::error::{Kind, StepUpError};
use crate::met::Met;
use crate::origin::Origin;
use crate::principal::Principal;
use crate::step_up::SteppingUp;
use crate::store::StoreKey;

/// A place in a step-up.
pub(crate) type Joined = Shared<SteppingUp>;

/// For whom, where and what a step-up is.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Purpose {
    pub(crate) principal: Principal,
    pub(crate) origin: Option<Origin>,
    pub(crate) requirement: Requirement,
}

impl Purpose {
    /// The key under which other instances look for the same.
    pub(crate) fn key(&self) -> StoreKey {
        key(&self.principal, self.origin.as_ref(), &self.requirement)
    }
}

#[derive(Default)]
pub(crate) struct Flights {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Those that can be joined, by the principal: rarely more than one.
    under_way: HashMap<Arc<[u8]>, Vec<UnderWay>>,
    /// Step-ups under way, those counted that nobody can join.
    count: usize,
    next_id: u64,
    /// What ended because of a person, a moment ago.
    held_off: HashMap<Arc<Purpose>, (StepUpError, Instant)>,
}

struct UnderWay {
    id: u64,
    purpose: Arc<Purpose>,
    joined: WeakShared<SteppingUp>,
}

/// Takes a step-up off the list when it ends, is dropped or panics.
struct Landing {
    flights: Weak<Flights>,
    purpose: Option<Arc<Purpose>>,
    id: u64,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a step-up that is under way.
    pub(crate) fn join(
        &self,
        principal: &[u8],
        uri: &Uri,
        requirement: &Requirement,
    ) -> Option<Joined> {
        let joined = self.lock().find(principal, |purpose| {
            purpose.requirement == *requirement && goes_to(purpose.origin.as_ref(), uri)
        });
        // after the lock: one that has ended may be the last of its step-up, which takes the lock when it is dropped
        joined.filter(is_going_on)
    }

    /// Joins the step-up of this purpose, or starts it, with a number of its own; without a purpose it is nobody else's. At most `limit`
    /// are under way.
    pub(crate) fn join_or_start(
        self: &Arc<Self>,
        purpose: Option<Arc<Purpose>>,
        limit: usize,
        start: impl FnOnce(u64) -> SteppingUp,
    ) -> Result<Joined, StepUpError> {
        // dropped after the lock, as above
        let _ended;
        let mut inner = self.lock();
        if let Some(purpose) = &purpose {
            match inner.find(purpose.principal.id(), |other| other == &**purpose) {
                Some(joined) if is_going_on(&joined) => return Ok(joined),
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
            purpose: purpose.clone(),
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
        if let (Some(purpose), Some(weak)) = (purpose, joined.downgrade()) {
            let all = inner
                .under_way
                .entry(purpose.principal.shared_id())
                .or_default();
            // one that has ended, and was not taken off the list yet
            all.retain(|other| other.purpose != purpose);
            all.push(UnderWay {
                id,
                purpose,
                joined: weak,
            });
        }
        Ok(joined)
    }

    /// Lets nobody join the step-ups of a principal any more.
    pub(crate) fn forget(&self, principal: &Principal) {
        self.lock().under_way.remove(principal.id());
    }

    /// Whether a step-up can be joined: what it brings is for others, too.
    pub(crate) fn is_open(&self, principal: &Principal, id: u64) -> bool {
        let inner = self.lock();
        let all = inner.under_way.get(principal.id());
        all.is_some_and(|all| all.iter().any(|under_way| under_way.id == id))
    }

    /// The error of a step-up that ended because of a person a moment ago.
    pub(crate) fn held_off(&self, purpose: &Purpose) -> Option<StepUpError> {
        let inner = self.lock();
        let (error, until) = inner.held_off.get(purpose)?;
        (*until > Instant::now()).then(|| error.clone())
    }

    /// Gives this error to all who come within a time.
    pub(crate) fn hold_off(&self, purpose: Arc<Purpose>, error: &StepUpError, time: Duration) {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.held_off.retain(|_, (_, until)| *until > now);
        if !time.is_zero() {
            let held_off = (error.clone(), now + time);
            inner.held_off.insert(purpose, held_off);
        }
    }

    /// How many step-ups are under way.
    pub(crate) fn len(&self) -> usize {
        self.lock().count
    }
}

impl Inner {
    /// What can be joined, unless it has just ended.
    fn find(&self, principal: &[u8], is_it: impl Fn(&Purpose) -> bool) -> Option<Joined> {
        let mut all = self.under_way.get(principal)?.iter();
        all.find(|under_way| is_it(&under_way.purpose))?
            .joined
            .upgrade()
    }
}

fn is_going_on(joined: &Joined) -> bool {
    joined.peek().is_none()
}

impl Drop for Landing {
    fn drop(&mut self) {
        let Some(flights) = self.flights.upgrade() else {
            return;
        };
        let mut inner = flights.lock();
        inner.count -= 1;
        let Some(purpose) = &self.purpose else { return };
        let principal = purpose.principal.id();
        if let Some(all) = inner.under_way.get_mut(principal) {
            // another one may have taken the place already
            all.retain(|under_way| under_way.id != self.id);
            if all.is_empty() {
                inner.under_way.remove(principal);
            }
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
        let open = flights.lock().under_way.values().map(Vec::len).sum();
        (open, flights.len())
    }

    fn purpose(principal: &str, requirement: &str) -> Option<Arc<Purpose>> {
        Some(Arc::new(Purpose {
            principal: Principal::new(principal),
            origin: None,
            requirement: Requirement::new().with_challenge([requirement]),
        }))
    }

    fn pending(_id: u64) -> SteppingUp {
        Box::pin(std::future::pending())
    }

    /// Nothing is left of a step-up, however it ended.
    #[tokio::test(start_paused = true)]
    async fn the_list_is_empty_after_an_end_a_drop_and_a_panic() {
        let flights = Arc::new(Flights::default());
        let alices = || purpose("alice", "otp");
        let ends: [fn() -> SteppingUp; 2] = [
            || Box::pin(async { Err(panicked()) }),
            || Box::pin(async { panic!("this panic is part of the test") }),
        ];
        for end in ends {
            let joined = flights.join_or_start(alices(), 1, |_| end()).unwrap();
            assert_eq!(counts(&flights), (1, 1));
            assert!(joined.await.is_err());
            assert_eq!(counts(&flights), (0, 0));
        }
        let pending = flights.join_or_start(alices(), 1, pending).unwrap();
        assert!(flights.is_open(&Principal::new("alice"), 2));
        drop(pending);
        assert_eq!(counts(&flights), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_joined_by_nobody() {
        let flights = Arc::new(Flights::default());
        let alice = Principal::new("alice");
        let alices = || purpose("alice", "otp");
        let first = flights.join_or_start(alices(), 2, pending).unwrap();
        flights.forget(&Principal::new("bob"));
        assert!(flights.is_open(&alice, 0));
        flights.forget(&alice);
        assert!(!flights.is_open(&alice, 0));
        let second = flights.join_or_start(alices(), 2, pending).unwrap();
        drop(first);
        assert!(flights.is_open(&alice, 1), "the new one's place is its own");
        drop(second);
        assert_eq!(counts(&flights), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_joined_is_the_same_principals_for_the_same_at_the_same_place() {
        let flights = Arc::new(Flights::default());
        let started = [("alice", "otp"), ("alice", "push"), ("bob", "otp")].map(|(who, what)| {
            let new = flights.join_or_start(purpose(who, what), 9, pending);
            (who, what, new.unwrap())
        });
        let join = |who: &str, what: &str, uri: &'static str| {
            let requirement = Requirement::new().with_challenge([what]);
            flights.join(who.as_bytes(), &Uri::from_static(uri), &requirement)
        };
        for (who, what, joined) in &started {
            assert!(join(who, what, "/x").unwrap().ptr_eq(joined));
        }
        for (who, what, uri) in [
            ("bob", "push", "/x"),
            ("carol", "otp", "/x"),
            ("alice", "otp", "https://api.example.com/x"),
        ] {
            assert!(join(who, what, uri).is_none(), "{who} {what} {uri}");
        }
        assert_eq!(counts(&flights), (3, 3));
        drop(started);
        assert_eq!(counts(&flights), (0, 0));
    }
}
