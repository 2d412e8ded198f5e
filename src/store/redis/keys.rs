//! [`EncryptionKeys`]: with what values are encrypted.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use secrecy::zeroize::Zeroizing;

/// The keys that encrypt tokens: one that writes, and older ones that still read.
///
/// Every instance that shares the store needs the same keys. To change them without losing an elevation: first give all
/// instances the new key as an old one ([`with_old`](Self::with_old)), then make it the one that writes, then drop the former one
/// once its tokens have ended. Each step may take as long as a deployment does.
///
/// Cloning is cheap, and `Debug` shows ids only.
///
/// ```
/// use tower_mfa::store::redis::EncryptionKeys;
///
/// # let (this_year, last_year) = ([1; 32], [2; 32]);
/// let keys = EncryptionKeys::new(2026, this_year).with_old(2025, last_year);
/// assert_eq!(format!("{keys:?}"), "EncryptionKeys { writes: 2026, reads: [2026, 2025] }");
/// ```
#[derive(Clone)]
pub struct EncryptionKeys {
    writer: Arc<Key>,
    old: Vec<Arc<Key>>,
}

/// What is derived from one key that was given.
pub(super) struct Key {
    pub(super) id: u32,
    pub(super) cipher: Zeroizing<[u8; 32]>,
    pub(super) fingerprint: hmac::Key,
}

impl EncryptionKeys {
    /// The key that encrypts, and its id: 32 random bytes, not a password.
    ///
    /// The id is written next to every value, in the clear. It says with which key to decrypt, so it must change with the key.
    #[must_use]
    pub fn new(id: u32, key: [u8; 32]) -> Self {
        Self {
            writer: Arc::new(Key::new(id, key)),
            old: Vec::new(),
        }
    }

    /// Adds a key that only decrypts. Of several keys with one id the first counts.
    #[must_use]
    pub fn with_old(mut self, id: u32, key: [u8; 32]) -> Self {
        self.old.push(Arc::new(Key::new(id, key)));
        self
    }

    pub(super) fn writer(&self) -> &Key {
        &self.writer
    }

    pub(super) fn by_id(&self, id: u32) -> Option<&Key> {
        self.iter().find(|key| key.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.writer)
            .chain(&self.old)
            .map(|key| &**key)
    }
}

impl Key {
    fn new(id: u32, key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        let given = hmac::Key::new(hmac::HMAC_SHA256, &*key);
        Self {
            id,
            cipher: derive(&given, b"tower-mfa redis cipher"),
            fingerprint: hmac::Key::new(
                hmac::HMAC_SHA256,
                &*derive(&given, b"tower-mfa redis fingerprint"),
            ),
        }
    }
}

/// HKDF-Expand (RFC 5869 section 2.3) for an output as long as the hash.
fn derive(given: &hmac::Key, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut context = hmac::Context::with_key(given);
    context.update(purpose);
    context.update(&[1]);
    let mut derived = Zeroizing::new([0; 32]);
    derived.copy_from_slice(context.sign().as_ref());
    derived
}

impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u32> = self.iter().map(|key| key.id).collect();
        f.debug_struct("EncryptionKeys")
            .field("writes", &self.writer.id)
            .field("reads", &ids)
            .finish()
    }
}
