//! [`MemoryStore`] by itself. Keys and leases come from step-ups only, so a store that notes them is asked first.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_mfa::store::{Lease, MemoryStore, StoreKey, StoredToken, TokenStore};
use tower_mfa::time::Clock as _;
use tower_mfa::{BoxError, Secret};

use crate::stage::*;

/// Notes the keys and leases of what passes, and holds nothing.
#[derive(Clone, Default)]
struct Notes {
    seen: Arc<Mutex<Vec<(StoreKey, Lease)>>>,
}

impl TokenStore for Notes {
    async fn get(&self, _: &StoreKey) -> Result<Option<StoredToken>, BoxError> {
        Ok(None)
    }
    async fn put(&self, _: &StoreKey, _: &StoredToken, _: Duration) -> Result<(), BoxError> {
        Ok(())
    }
    async fn remove(&self, _: &StoreKey, _: &Secret) -> Result<(), BoxError> {
        Ok(())
    }
    async fn lease(&self, key: &StoreKey, lease: &Lease, _: Duration) -> Result<bool, BoxError> {
        lock(&self.seen).push((*key, lease.clone()));
        Ok(true)
    }
    async fn release(&self, _: &StoreKey, _: &Lease) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Three different keys, and the leases of three instances.
fn keys_and_leases() -> [(StoreKey, Lease); 3] {
    let notes = Notes::default();
    for user in ["alice", "bob", "carol"] {
        let instance = Stage::with(|layer| layer.store(notes.clone()));
        instance.finish(of(user, "/transfers")).accepted();
    }
    let seen = lock(&notes.seen).clone();
    assert_ne!(seen[0].1.holder(), seen[1].1.holder());
    assert!(seen.iter().all(|(_, lease)| lease.holder().len() >= 32));
    seen.try_into().unwrap()
}

fn token(text: &str) -> StoredToken {
    let end = tower_mfa::testing::PausedClock::new().now() + HOUR;
    StoredToken::new(text, end)
}

async fn held(store: &MemoryStore, key: &StoreKey) -> Option<String> {
    let token = store.get(key).await.unwrap()?;
    Some(token.token().expose().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_token_is_there_for_its_time_and_under_its_key() {
    let [(a, _), (b, _), _] = keys_and_leases();
    let store = MemoryStore::new(10);
    assert!(store.is_empty());
    store.put(&a, &token("test-1"), seconds(10)).await.unwrap();
    let stored = store.get(&a).await.unwrap().unwrap();
    assert_eq!(stored.expires_at(), token("").expires_at());
    assert_eq!(held(&store, &b).await, None);
    pass(Duration::from_millis(9999)).await;
    assert_eq!(held(&store, &a).await.as_deref(), Some("test-1"));
    pass(Duration::from_millis(1)).await;
    assert_eq!(held(&store, &a).await, None);
    // clones are the same store
    let clone = store.clone();
    clone.put(&b, &token("test-2"), seconds(10)).await.unwrap();
    assert_eq!(held(&store, &b).await.as_deref(), Some("test-2"));
}

#[tokio::test(start_paused = true)]
async fn a_new_token_takes_the_place_and_the_time_of_the_old_one() {
    let [(a, _), (b, _), _] = keys_and_leases();
    let store = MemoryStore::new(2);
    store.put(&a, &token("test-1"), seconds(10)).await.unwrap();
    store.put(&a, &token("test-2"), seconds(100)).await.unwrap();
    store.put(&b, &token("test-3"), seconds(50)).await.unwrap();
    assert_eq!(store.len(), 2);
    pass(seconds(20)).await;
    assert_eq!(held(&store, &a).await.as_deref(), Some("test-2"));
    assert_eq!(held(&store, &b).await.as_deref(), Some("test-3"));
}

#[tokio::test(start_paused = true)]
async fn what_ends_soonest_makes_room() {
    let [(a, _), (b, _), (c, _)] = keys_and_leases();
    let store = MemoryStore::new(2);
    store.put(&a, &token("test-1"), seconds(300)).await.unwrap();
    store.put(&b, &token("test-2"), seconds(200)).await.unwrap();
    store.put(&c, &token("test-3"), seconds(100)).await.unwrap();
    assert_eq!(store.len(), 2);
    assert!(held(&store, &a).await.is_some());
    assert!(held(&store, &b).await.is_none());
    assert!(held(&store, &c).await.is_some());
    // zero is one
    let store = MemoryStore::new(0);
    store.put(&a, &token("test-1"), seconds(300)).await.unwrap();
    store.put(&b, &token("test-2"), seconds(200)).await.unwrap();
    assert_eq!(store.len(), 1);
    assert!(held(&store, &b).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn removal_compares() {
    let [(a, _), (b, _), _] = keys_and_leases();
    let store = MemoryStore::new(2);
    store.put(&a, &token("test-1"), seconds(10)).await.unwrap();
    store.put(&a, &token("test-2"), seconds(10)).await.unwrap();
    store.remove(&a, &Secret::new("test-1")).await.unwrap();
    store.remove(&b, &Secret::new("test-2")).await.unwrap();
    assert_eq!(held(&store, &a).await.as_deref(), Some("test-2"));
    store.remove(&a, &Secret::new("test-2")).await.unwrap();
    assert!(store.is_empty());
    // and the place is free, in the order of ends too
    for key in [&a, &b] {
        store.put(key, &token("test-3"), seconds(5)).await.unwrap();
    }
    assert_eq!(store.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_one_holders_until_it_ends_or_is_released_by_that_holder() {
    let [(a, ours), (b, theirs), _] = keys_and_leases();
    let store = MemoryStore::default();
    let lease = async |key, lease| store.lease(key, lease, seconds(10)).await.unwrap();
    assert!(lease(&a, &ours).await);
    assert!(!lease(&a, &theirs).await);
    assert!(lease(&b, &theirs).await, "another key");
    // renewed: ten seconds from now
    pass(seconds(9)).await;
    assert!(lease(&a, &ours).await);
    pass(seconds(9)).await;
    assert!(!lease(&a, &theirs).await);
    // who failed to take it did not make it longer
    pass(seconds(1)).await;
    assert!(lease(&a, &theirs).await);
    assert!(!lease(&a, &ours).await, "a late renewal is none");
    store.release(&a, &ours).await.unwrap();
    assert!(!lease(&a, &ours).await, "not ours to release");
    store.release(&a, &theirs).await.unwrap();
    assert!(lease(&a, &ours).await);
    assert_eq!(store.len(), 0, "leases are no tokens");
}
