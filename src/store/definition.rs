//! [`TokenStore`], the trait, what it holds, and the erased twin the layer holds.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::error::BoxError;
use crate::token::Secret;

/// Keeps elevated tokens for several instances, and decides which one of them prompts.
///
/// Every operation may fail; the layer then goes on by itself and says so once. None should take longer than a second.
///
/// # Cancel safety
///
/// The futures are dropped when the step-up ends without them. An operation that was under way may or may not have happened.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a token store",
    note = "use `tower_mfa::store::MemoryStore` or `RedisStore`, or implement `TokenStore`"
)]
pub trait TokenStore: Send + Sync + 'static {
    /// The token under a key, unless its time has passed.
    ///
    /// # Errors
    ///
    /// If the store cannot be reached, or what it holds cannot be read.
    fn get(
        &self,
        key: &StoreKey,
    ) -> impl Future<Output = Result<Option<StoredToken>, BoxError>> + Send;

    /// Puts a token under a key for a time, in place of what was there.
    ///
    /// # Errors
    ///
    /// If the store cannot be reached.
    fn put(
        &self,
        key: &StoreKey,
        token: &StoredToken,
        time_to_live: Duration,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Removes this token from a key. Another token, which somebody has put there meanwhile, stays.
    ///
    /// # Errors
    ///
    /// If the store cannot be reached.
    fn remove(
        &self,
        key: &StoreKey,
        token: &Secret,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Takes or renews the right to prompt for a key, for a time; `false` if somebody else has it.
    ///
    /// A lease that is neither renewed nor released ends with its time, so that an instance that died does not hold up the others.
    ///
    /// # Errors
    ///
    /// If the store cannot be reached.
    fn lease(
        &self,
        key: &StoreKey,
        lease: &Lease,
        time_to_live: Duration,
    ) -> impl Future<Output = Result<bool, BoxError>> + Send;

    /// Gives the right to prompt back, if it is still this lease's.
    ///
    /// # Errors
    ///
    /// If the store cannot be reached.
    fn release(
        &self,
        key: &StoreKey,
        lease: &Lease,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// The key of an elevation: a SHA-256 digest of the principal, the origin and the requirement. It tells nothing about them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey {
    digest: [u8; 32],
}

impl StoreKey {
    /// Digests parts, none of which can run into the next. The layer makes its own keys; this is for tests of stores.
    #[must_use]
    pub fn of_parts<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self {
            digest: digest.finalize().into(),
        }
    }

    /// The digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKey({self})")
    }
}

/// An elevated token, as a store keeps it.
#[derive(Clone, Debug)]
pub struct StoredToken {
    token: Secret,
    expires_at: SystemTime,
}

impl StoredToken {
    /// A token and the time at which it ends.
    #[must_use]
    pub fn new(token: impl Into<Secret>, expires_at: SystemTime) -> Self {
        Self {
            token: token.into(),
            expires_at,
        }
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// When it ends.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

/// Who holds the right to prompt: a random value that no other step-up has.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    holder: String,
}

impl Lease {
    /// A lease by a random value, to test a store with. The layer makes its own.
    #[must_use]
    pub fn new(holder: impl Into<String>) -> Self {
        Self {
            holder: holder.into(),
        }
    }

    /// The random value.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.holder
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

/// [`TokenStore`] for a trait object: the layer has no type parameter for it.
pub(crate) trait ErasedStore: Send + Sync {
    fn get<'a>(&'a self, key: &'a StoreKey) -> Boxed<'a, Option<StoredToken>>;
    fn put<'a>(
        &'a self,
        key: &'a StoreKey,
        token: &'a StoredToken,
        time_to_live: Duration,
    ) -> Boxed<'a, ()>;
    fn remove<'a>(&'a self, key: &'a StoreKey, token: &'a Secret) -> Boxed<'a, ()>;
    fn lease<'a>(
        &'a self,
        key: &'a StoreKey,
        lease: &'a Lease,
        time_to_live: Duration,
    ) -> Boxed<'a, bool>;
    fn release<'a>(&'a self, key: &'a StoreKey, lease: &'a Lease) -> Boxed<'a, ()>;
}

impl<T: TokenStore> ErasedStore for T {
    fn get<'a>(&'a self, key: &'a StoreKey) -> Boxed<'a, Option<StoredToken>> {
        Box::pin(TokenStore::get(self, key))
    }
    fn put<'a>(
        &'a self,
        key: &'a StoreKey,
        token: &'a StoredToken,
        time_to_live: Duration,
    ) -> Boxed<'a, ()> {
        Box::pin(TokenStore::put(self, key, token, time_to_live))
    }
    fn remove<'a>(&'a self, key: &'a StoreKey, token: &'a Secret) -> Boxed<'a, ()> {
        Box::pin(TokenStore::remove(self, key, token))
    }
    fn lease<'a>(
        &'a self,
        key: &'a StoreKey,
        lease: &'a Lease,
        time_to_live: Duration,
    ) -> Boxed<'a, bool> {
        Box::pin(TokenStore::lease(self, key, lease, time_to_live))
    }
    fn release<'a>(&'a self, key: &'a StoreKey, lease: &'a Lease) -> Boxed<'a, ()> {
        Box::pin(TokenStore::release(self, key, lease))
    }
}
