//! The keys of a server: which one signs, and which ones are published.

use std::sync::Arc;

use serde_json::Value;

use super::{
    keys::{Key, Signing, key},
    server::AuthorizationServer,
};

/// The keys of a server. The last one published signs.
pub(super) struct Ring {
    signing: Signing,
    published: Vec<Arc<Key>>,
    /// How many keys there were, for their names.
    made: u32,
}

impl Ring {
    pub(super) fn new(signing: Signing) -> Self {
        Self {
            signing,
            published: vec![key(signing)],
            made: 1,
        }
    }

    pub(super) fn current(&self) -> Arc<Key> {
        // never empty: whatever leaves, the last one stays
        self.published
            .last()
            .map_or_else(|| key(self.signing), Arc::clone)
    }

    pub(super) fn named(&self, kid: &str) -> Option<Arc<Key>> {
        let mut published = self.published.iter();
        published.find(|key| key.kid() == kid).cloned()
    }

    pub(super) fn jwks(&self) -> Vec<&Value> {
        self.published.iter().map(|key| key.jwk()).collect()
    }
}

impl AuthorizationServer {
    /// Signs with a new key of a new name from now on. The old one stays published until [`retire_keys`](Self::retire_keys).
    pub fn rotate_keys(&self) {
        let (signing, kid) = {
            let ring = &mut self.state().ring;
            ring.made += 1;
            (
                ring.signing,
                format!("{}-{}", ring.signing.kid(), ring.made),
            )
        };
        // not under the lock: it takes its time
        let fresh = Arc::new(Key::generate(signing, kid));
        self.state().ring.published.push(fresh);
    }

    /// Publishes only the key that signs now. Tokens signed with the others are good no more.
    pub fn retire_keys(&self) {
        let ring = &mut self.state().ring;
        let old = ring.published.len().saturating_sub(1);
        ring.published.drain(..old);
    }

    /// Replaces the key that signs by another one of the same name, as servers should not but do.
    pub fn replace_key(&self) {
        let current = self.state().ring.current();
        let signing = self.shared.signing;
        let fresh = Arc::new(Key::generate(signing, current.kid().to_owned()));
        let ring = &mut self.state().ring;
        for key in &mut ring.published {
            if Arc::ptr_eq(key, &current) {
                *key = fresh.clone();
            }
        }
    }

    /// The public keys as they are published now: a JWKS.
    #[must_use]
    pub fn jwks(&self) -> String {
        serde_json::json!({"keys": self.state().ring.jwks()}).to_string()
    }
}
