//! [`Refused`]: tokens whose signature did not match, remembered briefly.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::guard::Reason;

/// A power of two. Full, they take 64 KiB.
const SLOTS: usize = 1024;
const LASTS: Duration = Duration::from_secs(10);

/// Tokens that were refused for their signature, so that a client that repeats one costs a hash and not a signature check.
///
/// Each token has one slot, and the newest keeps it: a flood of garbage pushes out other garbage, and nothing grows. What
/// is kept is a digest, which is short, and compared as a whole: a good token is never taken for a refused one.
pub(crate) struct Refused {
    /// Taken with the first refusal.
    slots: Mutex<Vec<Option<Slot>>>,
    /// Keyed at random, so that nobody can choose a token that pushes out a certain other.
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Slot {
    digest: [u8; 32],
    reason: Reason,
    until: Instant,
}

impl Refused {
    pub(crate) fn new() -> Self {
        Self {
            slots: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Why exactly this token was refused, within the last ten seconds.
    pub(crate) fn get(&self, token: &str, now: impl FnOnce() -> Instant) -> Option<Reason> {
        // nobody is refused, as a rule: then do not hash, and do not ask for the time
        if self.slots().is_empty() {
            return None;
        }
        let digest = digest(token);
        let slot = self.slots().get(self.place(&digest)).copied().flatten()?;
        (slot.digest == digest && now() < slot.until).then_some(slot.reason)
    }

    /// Remembers that this token was refused.
    pub(crate) fn insert(&self, token: &str, reason: Reason, now: Instant) {
        let digest = digest(token);
        let place = self.place(&digest);
        let mut slots = self.slots();
        if slots.is_empty() {
            slots.resize(SLOTS, None);
        }
        if let Some(slot) = slots.get_mut(place) {
            *slot = Some(Slot {
                digest,
                reason,
                until: now + LASTS,
            });
        }
    }

    fn place(&self, digest: &[u8; 32]) -> usize {
        self.hasher.hash_one(digest) as usize & (SLOTS - 1)
    }

    // a slot is written in one go: a panic leaves nothing half-way
    fn slots(&self) -> MutexGuard<'_, Vec<Option<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").finish_non_exhaustive()
    }
}
