//! What the guard remembers of tokens it has seen: [`Cache`] of the good ones, [`Refused`] of the forged.
//!
//! The two share nothing, so that no flood of garbage can push out a good token.

mod refused;
mod shard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use self::refused::Refused;
use self::shard::{Entry, Shard};
use crate::keyed_hash::KeyedHash;

const MAX_SHARDS: usize = 16;

/// Tokens that were verified, and what they say.
///
/// Only tokens whose signature was checked may go in. A token is found by the end of its signature and then compared as
/// a whole, since two tokens may have the same end.
///
/// It is bounded by a number of entries and of bytes. Whoever was asked for since the last look stays; of the others the
/// one whose token ends first makes room. Time is not looked at: whether a token has expired is for the caller to check.
pub(crate) struct Cache<V> {
    shards: Box<[Shard<V>]>,
    hash: KeyedHash,
    limit: Room,
    used: Mutex<Room>,
    /// The shard that makes room next: they take turns.
    turn: AtomicUsize,
}

#[derive(Clone, Copy, Default)]
struct Room {
    entries: usize,
    bytes: usize,
}

impl<V: Clone> Cache<V> {
    /// A cache within these bounds; with zero of either it stores nothing. Memory is taken as it fills.
    pub(crate) fn new(max_entries: usize, max_bytes: usize) -> Self {
        // a small cache needs no shards; a power of two, because a mask picks them
        let shards = (max_entries / 64).clamp(1, MAX_SHARDS).next_power_of_two();
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            hash: KeyedHash::new(),
            limit: Room {
                entries: max_entries,
                bytes: max_bytes,
            },
            used: Mutex::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// What was stored for exactly this token. A hit allocates nothing and waits for no other hit.
    pub(crate) fn get(&self, token: &[u8]) -> Option<V> {
        self.look(token, V::clone)
    }

    /// Reads what was stored for exactly this token where it is, without taking a part in it. Nothing else may be done with the
    /// cache meanwhile.
    pub(crate) fn look<T>(&self, token: &[u8], read: impl FnOnce(&V) -> T) -> Option<T> {
        let place = self.place(token);
        self.shard(place).look(place, token, read)
    }

    /// Stores what a verified token says; `bytes` is what the value holds on the heap, `expires_at` in seconds since 1970.
    pub(crate) fn insert(&self, token: &str, value: V, bytes: usize, expires_at: u64) {
        let bytes = bytes
            .saturating_add(token.len())
            .saturating_add(Shard::<V>::PER_ENTRY);
        // before anything makes room: what can never fit must not push out what does
        if self.limit.entries == 0 || bytes > self.limit.bytes || !self.make_room(bytes) {
            return;
        }
        let place = self.place(token.as_bytes());
        let entry = Entry::new(place, token, value, bytes, expires_at);
        let freed = self.shard(place).insert(entry);
        self.release(freed);
    }

    /// Forgets this token.
    pub(crate) fn remove(&self, token: &[u8]) {
        let place = self.place(token);
        let freed = self.shard(place).remove(place, token);
        self.release(freed);
    }

    /// How many tokens it holds.
    pub(crate) fn len(&self) -> usize {
        self.used().entries
    }

    /// How many bytes they take: tokens, values, and their part of the tables.
    pub(crate) fn bytes(&self) -> usize {
        self.used().bytes
    }

    /// Reserves room for one entry, before it goes in: so the bounds hold at every moment, with any number of threads.
    fn make_room(&self, bytes: usize) -> bool {
        let shards = self.shards.len();
        let mut fruitless = 0;
        while !self.reserve(bytes) {
            // those smaller than the average are spared, or chance would starve them; if there is no other, none is
            let spared = if fruitless < shards {
                self.len() / shards
            } else {
                0
            };
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let freed = self.shards[turn & (shards - 1)].evict(spared);
            fruitless = if freed.entries == 0 { fruitless + 1 } else { 0 };
            self.release(freed);
            // all is reserved by other threads that are about to insert: this token will come again
            if fruitless > 2 * shards {
                return false;
            }
        }
        true
    }

    fn reserve(&self, bytes: usize) -> bool {
        let mut used = self.used();
        let fits = used.entries < self.limit.entries && bytes <= self.limit.bytes - used.bytes;
        if fits {
            used.entries += 1;
            used.bytes += bytes;
        }
        fits
    }

    fn release(&self, freed: Room) {
        if freed.entries > 0 {
            let mut used = self.used();
            used.entries -= freed.entries;
            used.bytes -= freed.bytes;
        }
    }

    // nothing can panic while this lock is held, other than arithmetic that never overflows
    fn used(&self) -> MutexGuard<'_, Room> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, token: &[u8]) -> u64 {
        self.hash.of_end(token)
    }

    fn shard(&self, place: u64) -> &Shard<V> {
        // the tables inside use the lowest and the highest bits
        &self.shards[(place >> 40) as usize & (self.shards.len() - 1)]
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}
