//! [`Key`] and [`KeySet`]: keys made ready, and which of them a token means.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::guard::Algorithm;

use super::jwk::{Described, keys_of};
use super::public_key::PublicKey;
use super::signature::Prepared;

/// A key that signatures are checked with.
pub(crate) struct Key {
    kid: Option<Box<str>>,
    public: PublicKey,
    /// What it may be used with, and itself made ready for that.
    prepared: Vec<(Algorithm, Prepared)>,
    retired: AtomicBool,
}

impl Key {
    /// Makes a key ready, or says why it cannot be used.
    pub(super) fn new(described: Described) -> Result<Self, &'static str> {
        let prepare = |algorithm| Some((algorithm, Prepared::new(algorithm, &described.key)?));
        let prepared: Option<Vec<_>> = described.algorithms.into_iter().map(prepare).collect();
        Ok(Self {
            prepared: prepared.ok_or("the crypto backend does not take it")?,
            kid: described.kid,
            public: described.key,
            retired: AtomicBool::new(false),
        })
    }

    /// Checks a signature. A key is never used with an algorithm that it is not for.
    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.prepared
            .iter()
            .find(|(known, _)| *known == algorithm)
            .is_some_and(|(_, prepared)| prepared.verify(message, signature))
    }

    /// Whether the key was withdrawn or replaced: what it signed counts no more.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.prepared.iter().any(|(known, _)| *known == algorithm)
    }

    fn is(&self, described: &Described) -> bool {
        let algorithms = self.prepared.iter().map(|(algorithm, _)| algorithm);
        self.kid == described.kid
            && self.public == described.key
            && algorithms.eq(&described.algorithms)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The keys there are at one time.
pub(super) struct KeySet {
    keys: Vec<Arc<Key>>,
}

/// What a token's header means.
pub(super) enum Selection {
    One(Arc<Key>),
    /// None, or more than one could be meant. No other set is asked for.
    None,
    /// The set has no such key; a newer one may.
    UnknownKid,
}

impl KeySet {
    /// A set of one.
    pub(super) fn of(key: Key) -> Self {
        Self {
            keys: vec![Arc::new(key)],
        }
    }

    /// Reads a JWKS and skips the keys that cannot be used, whose number it gives. Keys that a set before this one had stay the same.
    pub(super) fn read(jwks: &Value, before: Option<&Self>) -> Result<(Self, usize), &'static str> {
        let mut keys: Vec<Arc<Key>> = Vec::new();
        let mut skipped = 0;
        for jwk in keys_of(jwks)? {
            let key = Described::read(jwk).and_then(|described| {
                let known = before.and_then(|set| set.same(&described));
                known.map_or_else(|| Key::new(described).map(Arc::new), Ok)
            });
            match key {
                Ok(key) => {
                    if !keys.iter().any(|other| is_same(other, &key)) {
                        keys.push(key);
                    }
                }
                Err(why) => {
                    tracing::debug!(why, "a key of the set is not used");
                    skipped += 1;
                }
            }
        }
        if keys.is_empty() {
            return Err("it has no key that can be used");
        }
        Ok((Self { keys }, skipped))
    }

    /// Which key is meant.
    pub(super) fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Selection {
        let fitting = self.keys.iter().filter(|key| key.is_for(algorithm));
        let Some(kid) = kid else {
            return only(fitting).map_or(Selection::None, Selection::One);
        };
        if self.keys.iter().any(|key| key.kid.as_deref() == Some(kid)) {
            let named = fitting.filter(|key| key.kid.as_deref() == Some(kid));
            return only(named).map_or(Selection::None, Selection::One);
        }
        // a key given as PEM has no name, its tokens do
        only(fitting.filter(|key| key.kid.is_none())).map_or(Selection::UnknownKid, Selection::One)
    }

    /// Retires the keys that a newer set does not have.
    pub(super) fn retire_for(&self, newer: &Self) {
        for key in &self.keys {
            if !newer.keys.iter().any(|other| Arc::ptr_eq(key, other)) {
                key.retired.store(true, Ordering::Release);
            }
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.keys.len()
    }

    fn same(&self, described: &Described) -> Option<Arc<Key>> {
        self.keys.iter().find(|key| key.is(described)).cloned()
    }
}

/// Whether a set has a key twice.
fn is_same(one: &Key, other: &Key) -> bool {
    let algorithms = |key: &Key| {
        key.prepared
            .iter()
            .map(|(algorithm, _)| *algorithm)
            .collect::<Vec<_>>()
    };
    one.kid == other.kid && one.public == other.public && algorithms(one) == algorithms(other)
}

fn only<'a>(mut keys: impl Iterator<Item = &'a Arc<Key>>) -> Option<Arc<Key>> {
    let first = keys.next()?;
    keys.next().is_none().then(|| first.clone())
}
