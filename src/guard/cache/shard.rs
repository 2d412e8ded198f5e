//! [`Shard`]: one part of the cache, behind a lock of its own.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{RwLock, RwLockWriteGuard};

use super::Room;
use crate::keyed_hash::AsIs;
use crate::token::Secret;

/// How many entries one eviction looks at, and how many it chooses from: a bound on the time that the lock is held.
const EXAMINED: usize = 32;
const CANDIDATES: usize = 4;

/// Some of the entries. On cache lines of its own, so that the locks of two shards do not disturb each other.
#[repr(align(128))]
pub(super) struct Shard<V> {
    table: RwLock<Table<V>>,
}

struct Table<V> {
    entries: Vec<Entry<V>>,
    /// Where in `entries` the token of a place is.
    index: HashMap<u64, usize, BuildHasherDefault<AsIs>>,
    /// Where the next eviction starts to look.
    hand: usize,
}

pub(super) struct Entry<V> {
    place: u64,
    token: Secret,
    value: V,
    bytes: usize,
    expires_at: u64,
    seen: AtomicBool,
}

impl<V> Entry<V> {
    pub(super) fn new(place: u64, token: &str, value: V, bytes: usize, expires_at: u64) -> Self {
        Self {
            place,
            token: Secret::from(token),
            value,
            bytes,
            expires_at,
            seen: AtomicBool::new(false),
        }
    }

    fn room(&self) -> Room {
        Room {
            entries: 1,
            bytes: self.bytes,
        }
    }
}

impl<V: Clone> Shard<V> {
    /// What the tables take for an entry, at most: both grow by doubling, and the index is never more than 7/8 full.
    pub(super) const PER_ENTRY: usize =
        2 * (mem::size_of::<Entry<V>>() + 8 * (mem::size_of::<(u64, usize)>() + 1) / 7);

    pub(super) fn look<T>(
        &self,
        place: u64,
        token: &[u8],
        read: impl FnOnce(&V) -> T,
    ) -> Option<T> {
        // poisoned: a miss; the next change clears it
        let table = self.table.read().ok()?;
        let entry = table.find(place, token)?;
        // written only once: else all readers of a token that is asked for often would contend for its line
        if !entry.seen.load(Ordering::Relaxed) {
            entry.seen.store(true, Ordering::Relaxed);
        }
        Some(read(&entry.value))
    }

    /// Stores an entry, and tells the room of what had its place.
    pub(super) fn insert(&self, entry: Entry<V>) -> Room {
        let (mut table, mut freed) = self.write();
        // another token of the same place gives way: the hash is keyed, so this is chance, and rare
        let replaced = table.take(entry.place);
        table.push(entry);
        // unlock first: wiping a token takes longer than all of the above
        drop(table);
        freed.add(replaced);
        freed
    }

    pub(super) fn remove(&self, place: u64, token: &[u8]) -> Room {
        let (mut table, mut freed) = self.write();
        let removed = match table.find(place, token) {
            Some(_) => table.take(place),
            None => None,
        };
        drop(table);
        freed.add(removed);
        freed
    }

    /// Drops the entry that is wanted least, and tells its room; nothing if there are fewer than so many.
    pub(super) fn evict(&self, spared: usize) -> Room {
        let (mut table, mut freed) = self.write();
        let evicted = if table.entries.len() < spared {
            None
        } else {
            table.least_wanted().and_then(|place| table.take(place))
        };
        drop(table);
        freed.add(evicted);
        freed
    }

    fn write(&self) -> (RwLockWriteGuard<'_, Table<V>>, Room) {
        let mut freed = Room::default();
        let table = self.table.write().unwrap_or_else(|poisoned| {
            // a change may have stopped half-way: a cache may forget, but not guess
            let mut table = poisoned.into_inner();
            for entry in mem::take(&mut *table).entries {
                freed.add(Some(entry));
            }
            self.table.clear_poison();
            table
        });
        (table, freed)
    }

    #[cfg(test)]
    pub(super) fn panic_while_locked(&self) {
        let _table = self.table.write();
        panic!("on purpose");
    }
}

impl Room {
    /// Counts an entry that is no more.
    fn add<V>(&mut self, entry: Option<Entry<V>>) {
        let room = entry.map_or_else(Self::default, |entry| entry.room());
        self.entries += room.entries;
        self.bytes += room.bytes;
    }
}

impl<V> Table<V> {
    fn find(&self, place: u64, token: &[u8]) -> Option<&Entry<V>> {
        let entry = self.entries.get(*self.index.get(&place)?)?;
        same(entry.token.expose().as_bytes(), token).then_some(entry)
    }

    fn push(&mut self, entry: Entry<V>) {
        self.index.insert(entry.place, self.entries.len());
        self.entries.push(entry);
    }

    fn take(&mut self, place: u64) -> Option<Entry<V>> {
        let at = self.index.remove(&place)?;
        let entry = self.entries.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            self.index.insert(moved.place, at);
        }
        Some(entry)
    }

    /// The next few that were not asked for since the last look, and of those the one that ends first.
    fn least_wanted(&mut self) -> Option<u64> {
        let len = self.entries.len();
        let mut unseen = Candidate::default();
        let mut any = Candidate::default();
        for _ in 0..len.min(EXAMINED) {
            self.hand = if self.hand + 1 < len {
                self.hand + 1
            } else {
                0
            };
            let entry = &mut self.entries[self.hand];
            any.offer(entry);
            if !mem::take(entry.seen.get_mut()) {
                unseen.offer(entry);
                if unseen.offers == CANDIDATES {
                    break;
                }
            }
        }
        unseen.best.or(any.best).map(|(_, place)| place)
    }
}

/// The one of several entries that ends first.
#[derive(Default)]
struct Candidate {
    best: Option<(u64, u64)>,
    offers: usize,
}

impl Candidate {
    fn offer<V>(&mut self, entry: &Entry<V>) {
        self.offers += 1;
        if self.best.is_none_or(|(ends, _)| entry.expires_at < ends) {
            self.best = Some((entry.expires_at, entry.place));
        }
    }
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self {
            table: RwLock::default(),
        }
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            index: HashMap::default(),
            hand: 0,
        }
    }
}

/// Whether two tokens are the same, in a time that depends on their lengths only.
///
/// To come here with a guess, one must know the end of the other's signature: the rest cannot be had by trying. But ends
/// of tokens are what people print, and not to depend on the rest costs a few nanoseconds.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
