//! Servers to test against, and what the tests put into them.

mod cluster;
mod directory;
mod server;
mod trio;

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use tower_mfa::{
    store::{StoreKey, StoredToken, redis::EncryptionKeys},
    time::{Clock as _, SystemClock},
};

pub(crate) use cluster::Cluster;
pub(crate) use server::Server;
pub(crate) use trio::Trio;

/// What the key of an encryption looks like where one must not be found.
pub(crate) const KEY: [u8; 32] = *b"TEST-encryption-key-0123456789ab";
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn keys() -> EncryptionKeys {
    EncryptionKeys::new(1, KEY)
}

pub(crate) fn now() -> SystemTime {
    SystemClock::new().now()
}

/// A key: the same for the same name.
pub(crate) fn store_key(name: &str) -> StoreKey {
    StoreKey::of_parts([name])
}

/// A token that ends in an hour.
pub(crate) fn token(secret: &str) -> StoredToken {
    StoredToken::new(secret, now() + 60 * MINUTE)
}

pub(crate) fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Asks again and again until it is so, and says how long that took.
pub(crate) async fn eventually(
    what: &str,
    within: Duration,
    mut is_so: impl AsyncFnMut() -> bool,
) -> Duration {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        sleep(milliseconds(10)).await;
    }
    begun.elapsed()
}
