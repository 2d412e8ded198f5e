//! [`MemoryStore`]: a token store within one process.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::BoxError;
use crate::store::{Lease, StoreKey, StoredToken, TokenStore};
use crate::token::Secret;

/// A token store within one process, for several layers that should share elevations, and for tests. Clones are the same store.
///
/// It is bounded: when it is full, the token that ends soonest makes room. An entry takes about 300 bytes and its token.
#[derive(Clone)]
pub struct MemoryStore {
    capacity: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    tokens: HashMap<StoreKey, (StoredToken, Instant)>,
    /// The same keys, the soonest to end first.
    ends: BTreeSet<(Instant, StoreKey)>,
    leases: HashMap<StoreKey, (Lease, Instant)>,
}

impl MemoryStore {
    /// A store for at most so many tokens; zero is taken as one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            inner: Arc::default(),
        }
    }

    /// How many tokens it holds, those counted whose time has passed and that have not made room yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().tokens.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store for 10,000 tokens: some 15 MB with tokens of a kilobyte.
impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(10_000)
    }
}

impl Inner {
    fn remove(&mut self, key: &StoreKey) {
        if let Some((_, end)) = self.tokens.remove(key) {
            self.ends.remove(&(end, *key));
        }
    }
}

impl TokenStore for MemoryStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<StoredToken>, BoxError> {
        let inner = self.lock();
        let found = inner.tokens.get(key);
        Ok(found
            .filter(|(_, end)| *end > Instant::now())
            .map(|(token, _)| token.clone()))
    }

    async fn put(
        &self,
        key: &StoreKey,
        token: &StoredToken,
        time_to_live: Duration,
    ) -> Result<(), BoxError> {
        let end = Instant::now() + time_to_live;
        let mut inner = self.lock();
        inner.remove(key);
        while inner.tokens.len() >= self.capacity {
            let Some((_, soonest)) = inner.ends.pop_first() else {
                break;
            };
            inner.tokens.remove(&soonest);
        }
        inner.ends.insert((end, *key));
        inner.tokens.insert(*key, (token.clone(), end));
        Ok(())
    }

    async fn remove(&self, key: &StoreKey, token: &Secret) -> Result<(), BoxError> {
        let mut inner = self.lock();
        let holds = inner.tokens.get(key);
        if holds.is_some_and(|(held, _)| held.token().expose() == token.expose()) {
            inner.remove(key);
        }
        Ok(())
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: &Lease,
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.leases.retain(|_, (_, end)| *end > now);
        let (holder, end) = inner
            .leases
            .entry(*key)
            .or_insert_with(|| (lease.clone(), now));
        let is_ours = holder == lease;
        if is_ours {
            *end = now + time_to_live;
        }
        Ok(is_ours)
    }

    async fn release(&self, key: &StoreKey, lease: &Lease) -> Result<(), BoxError> {
        let mut inner = self.lock();
        if inner
            .leases
            .get(key)
            .is_some_and(|(holder, _)| holder == lease)
        {
            inner.leases.remove(key);
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("capacity", &self.capacity)
            .field("tokens", &self.len())
            .finish_non_exhaustive()
    }
}
