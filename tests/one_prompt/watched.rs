//! [`Watched`]: a store that counts what it is asked, and fails or hangs.

#![allow(dead_code, reason = "every target uses a part of it")]

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_mfa::store::{Lease, MemoryStore, StoreKey, StoredToken, TokenStore};
use tower_mfa::{BoxError, Secret};

use crate::stage::{HOUR, lock};

/// A store in memory under watch.
#[derive(Clone, Default)]
pub(crate) struct Watched {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    store: MemoryStore,
    asked: AtomicUsize,
    keys: Mutex<Vec<StoreKey>>,
    tokens: Mutex<Vec<String>>,
    mood: Mutex<Mood>,
    keeps: Mutex<bool>,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Works,
    Fails,
    Hangs,
    /// Reads and leases, and cannot write.
    FailsToWrite,
    HangsToWrite,
}

impl Watched {
    /// How often it was asked, since this was asked last.
    pub(crate) fn asked(&self) -> usize {
        self.inner.asked.swap(0, SeqCst)
    }

    pub(crate) fn set(&self, mood: Mood) {
        *lock(&self.inner.mood) = mood;
    }

    /// Keeps tokens beyond their time to live.
    pub(crate) fn keep_for_ever(&self) {
        *lock(&self.inner.keeps) = true;
    }

    /// The keys that it was asked for, since this was asked last.
    pub(crate) fn keys(&self) -> Vec<StoreKey> {
        std::mem::take(&mut *lock(&self.inner.keys))
    }

    /// The tokens that it was given.
    pub(crate) fn tokens(&self) -> Vec<String> {
        lock(&self.inner.tokens).clone()
    }

    async fn ask(&self, key: &StoreKey, writes: bool) -> Result<(), BoxError> {
        self.inner.asked.fetch_add(1, SeqCst);
        lock(&self.inner.keys).push(*key);
        let mood = *lock(&self.inner.mood);
        match mood {
            Mood::Fails => Err("the store is away".into()),
            Mood::FailsToWrite if writes => Err("the store is full".into()),
            Mood::Hangs => pending().await,
            Mood::HangsToWrite if writes => pending().await,
            _ => Ok(()),
        }
    }
}

impl TokenStore for Watched {
    async fn get(&self, key: &StoreKey) -> Result<Option<StoredToken>, BoxError> {
        self.ask(key, false).await?;
        self.inner.store.get(key).await
    }

    async fn put(
        &self,
        key: &StoreKey,
        token: &StoredToken,
        time_to_live: Duration,
    ) -> Result<(), BoxError> {
        self.ask(key, true).await?;
        lock(&self.inner.tokens).push(token.token().expose().to_owned());
        let keeps = *lock(&self.inner.keeps);
        let life = if keeps { 24 * HOUR } else { time_to_live };
        self.inner.store.put(key, token, life).await
    }

    async fn remove(&self, key: &StoreKey, token: &Secret) -> Result<(), BoxError> {
        self.ask(key, true).await?;
        self.inner.store.remove(key, token).await
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: &Lease,
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        self.ask(key, false).await?;
        self.inner.store.lease(key, lease, time_to_live).await
    }

    async fn release(&self, key: &StoreKey, lease: &Lease) -> Result<(), BoxError> {
        self.ask(key, true).await?;
        self.inner.store.release(key, lease).await
    }
}
