//! [`RedisStore`]: its settings, and what the trait asks of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::command::Command;
use super::keys::EncryptionKeys;
use super::link::Link;
use super::plan::Plan;
use super::value;
use crate::error::{BoxError, ConfigError};
use crate::store::{Lease, StoreKey, StoredToken, TokenStore};
use crate::time::{Clock, SystemClock};
use crate::token::Secret;

const DEFAULT_PREFIX: &str = "tower-mfa";
/// Less than the second after which the layer goes on without a store: a connection that hangs is noticed here and replaced.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(800);

/// Elevations shared by many machines, in Redis. Clones are the same store, with the same connection.
///
/// See the [module's documentation](crate::store::redis) for an example and for what is written.
///
/// # Away, slow, or back again
///
/// Nothing connects before the first operation, and there is one connection at a time (one to each node of a Cluster), which all
/// operations share. An operation that finds it lost connects anew and is sent once more; if that fails too, or takes longer than
/// [`timeout`](Self::timeout), it is an error. After that, operations fail at once for as long as the failed one took, at least 100
/// milliseconds: that bounds attempts to connect to ten a second. No task runs in the background of a single node or of Sentinel but
/// the one that reads its connection.
///
/// # Cancel safety
///
/// An operation whose future is dropped may or may not have happened. Nothing is left locked.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    prefix: Arc<str>,
    keys: EncryptionKeys,
    clock: Arc<dyn Clock>,
}

impl RedisStore {
    /// A store on a single node: `redis://host:6379`, `redis://user:password@host:6379/2`, `unix:///run/redis.sock`.
    ///
    /// `rediss://` is for TLS, for which the crate `redis` has to be built with one of its TLS features: name it among your own
    /// dependencies, as in `redis = { version = "1", features = ["tokio-rustls-comp"] }`.
    ///
    /// # Errors
    ///
    /// If this is no such URL, or asks for TLS where there is none. Whether Redis is there is not looked at; see
    /// [`check`](Self::check).
    pub fn new(url: &str, keys: EncryptionKeys) -> Result<Self, ConfigError> {
        Ok(Self::on(Plan::node(url)?, keys))
    }

    /// A store on the master of this name, found through its sentinels at these URLs, and found again after a failover.
    ///
    /// A user and a password in these URLs are for the sentinels; those for the master are set with
    /// [`credentials`](Self::credentials). It is reached with TLS if a sentinel is (`rediss://`).
    ///
    /// ```
    /// use tower_mfa::store::redis::{EncryptionKeys, RedisStore};
    ///
    /// # fn main() -> Result<(), tower_mfa::ConfigError> {
    /// # let (key, password) = ([1; 32], "test-password");
    /// let sentinels = ["redis://s1.internal:26379", "redis://s2.internal:26379"];
    /// let store = RedisStore::sentinel(sentinels, "mymaster", EncryptionKeys::new(1, key))?
    ///     .credentials("elevations", password);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and if there is no URL.
    pub fn sentinel(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        master_name: impl Into<String>,
        keys: EncryptionKeys,
    ) -> Result<Self, ConfigError> {
        Ok(Self::on(Plan::sentinel(urls, master_name.into())?, keys))
    }

    /// A store on a Cluster; of these nodes one has to answer, and the others are found through it.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and if there is no URL, or if they differ in user, password or TLS.
    pub fn cluster(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        keys: EncryptionKeys,
    ) -> Result<Self, ConfigError> {
        Ok(Self::on(Plan::cluster(urls)?, keys))
    }

    fn on(plan: Plan, keys: EncryptionKeys) -> Self {
        Self {
            link: Arc::new(Link::new(plan, DEFAULT_TIMEOUT)),
            prefix: DEFAULT_PREFIX.into(),
            keys,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// With what every key begins. Defaults to `tower-mfa`.
    ///
    /// Instances share elevations if their prefix and their encryption keys are the same, and what they protect is.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into().into();
        self
    }

    /// How long an operation may take, connecting included. Defaults to 800 milliseconds.
    ///
    /// The layer goes on without a store that takes a second. With less than that, the store itself notices a connection that
    /// hangs, and replaces it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.link = Arc::new(Link::new(self.link.plan().clone(), timeout));
        self
    }

    /// The user and password for the nodes that hold the data, in place of those in the URL. An empty name is the default user.
    #[must_use]
    pub fn credentials(mut self, user: &str, password: impl Into<Secret>) -> Self {
        let plan = self
            .link
            .plan()
            .clone()
            .log_in(user, password.into().expose());
        self.link = Arc::new(Link::new(plan, self.link.limit()));
        self
    }

    /// What tells the time to which tokens end. Defaults to the clock of the operating system.
    ///
    /// Redis removes what has ended by its own clock. This one is asked besides, so that a token whose date has passed is not
    /// given out by a server that is behind.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Asks Redis for something that is not there: whether it can be reached and lets this user in.
    ///
    /// A service need not call this. It is for those that want to say at start that the address or the password is wrong.
    ///
    /// # Errors
    ///
    /// If it does not answer in time, or refuses.
    pub async fn check(&self) -> Result<(), BoxError> {
        let key = format!("{}:{{check}}:t", self.prefix);
        let _: Option<Vec<u8>> = self.link.call(&Command::get(&key)).await?;
        Ok(())
    }

    fn token_key(&self, key: &StoreKey) -> String {
        format!("{}:{{{key}}}:t", self.prefix)
    }

    fn lease_key(&self, key: &StoreKey) -> String {
        format!("{}:{{{key}}}:l", self.prefix)
    }
}

impl TokenStore for RedisStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<StoredToken>, BoxError> {
        let command = Command::get(&self.token_key(key));
        let Some(value) = self.link.call::<Option<Vec<u8>>>(&command).await? else {
            return Ok(None);
        };
        let token = value::open(&self.keys, key, value)?;
        Ok(Some(token).filter(|token| token.expires_at() > self.clock.now()))
    }

    async fn put(
        &self,
        key: &StoreKey,
        token: &StoredToken,
        time_to_live: Duration,
    ) -> Result<(), BoxError> {
        let value = value::seal(&self.keys, key, token)?;
        let command = Command::set(&self.token_key(key), &value, time_to_live);
        Ok(self.link.call(&command).await?)
    }

    async fn remove(&self, key: &StoreKey, token: &Secret) -> Result<(), BoxError> {
        let heads = value::heads(&self.keys, key, token);
        let command = Command::remove(&self.token_key(key), heads);
        Ok(self.link.call(&command).await?)
    }

    async fn lease(
        &self,
        key: &StoreKey,
        lease: &Lease,
        time_to_live: Duration,
    ) -> Result<bool, BoxError> {
        let command = Command::lease(&self.lease_key(key), lease.holder(), time_to_live);
        Ok(self.link.call(&command).await?)
    }

    async fn release(&self, key: &StoreKey, lease: &Lease) -> Result<(), BoxError> {
        let command = Command::release(&self.lease_key(key), lease.holder());
        Ok(self.link.call(&command).await?)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("at", self.link.plan())
            .field("prefix", &self.prefix)
            .field("timeout", &self.link.limit())
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
