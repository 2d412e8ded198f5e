//! [`Keys`]: where the guard's keys come from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::error::ConfigError;
use crate::guard::Algorithm;

use super::fetch::Fetch;
use super::jwk::Described;
use super::remote::Remote;
use super::set::{Key, KeySet, Selection};
use super::settings::RemoteKeys;
use super::{pem, signature};

/// The public keys that tokens are verified with: given once, or fetched from the issuer with [`RemoteKeys`].
///
/// RSA keys of 2048 to 8192 bits (4096 with `jwt-rust-crypto`), EC keys on P-256 and P-384, and Ed25519 keys are taken. A key is
/// used only with the algorithms of its kind, or with the one that it names. Symmetric keys are never taken.
///
/// Cloning is cheap, and clones share what was fetched. `Debug` shows no key.
///
/// ```
/// use tower_mfa::guard::Keys;
///
/// let keys = Keys::from_jwks(
///     r#"{"keys": [{
///         "kty": "OKP", "crv": "Ed25519", "kid": "example", "use": "sig", "alg": "EdDSA",
///         "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
///     }]}"#,
/// )?;
/// # let _ = keys;
/// # Ok::<(), tower_mfa::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Keys {
    source: Source,
}

#[derive(Clone)]
enum Source {
    Given(Arc<KeySet>),
    Remote(Arc<Remote>),
}

impl Keys {
    /// One public key in PEM: `PUBLIC KEY`, or `RSA PUBLIC KEY` of PKCS #1.
    ///
    /// It has no name, so that it is tried for tokens of every `kid`.
    ///
    /// # Errors
    ///
    /// If it is no public key that can be used, or no crypto backend is compiled in.
    pub fn from_pem(pem: &[u8]) -> Result<Self, ConfigError> {
        signature::check()?;
        let key = pem::read(pem).and_then(|key| Key::new(Described::bare(key)));
        key.map(Self::given).map_err(|why| unusable("key", why))
    }

    /// One public key as a JWK (RFC 7517).
    ///
    /// # Errors
    ///
    /// If it is no public key that can be used, or no crypto backend is compiled in.
    pub fn from_jwk(json: &str) -> Result<Self, ConfigError> {
        signature::check()?;
        let key = parse(json).and_then(|jwk| Key::new(Described::read(&jwk)?));
        key.map(Self::given).map_err(|why| unusable("JWK", why))
    }

    /// The public keys of a JWKS (RFC 7517 section 5). Those that cannot be used are skipped, and logged at level debug.
    ///
    /// # Errors
    ///
    /// If no key can be used, or no crypto backend is compiled in.
    pub fn from_jwks(json: &str) -> Result<Self, ConfigError> {
        signature::check()?;
        let (set, _) = parse(json)
            .and_then(|jwks| KeySet::read(&jwks, None))
            .map_err(|why| unusable("JWKS", why))?;
        Ok(Self {
            source: Source::Given(Arc::new(set)),
        })
    }

    fn given(key: Key) -> Self {
        Self {
            source: Source::Given(Arc::new(KeySet::of(key))),
        }
    }

    /// The same keys, as those of an issuer: which discovery asks.
    pub(crate) fn bind(&self, issuer: &str) -> Result<Self, ConfigError> {
        signature::check()?;
        if let Source::Remote(remote) = &self.source {
            remote.bind(issuer)?;
        }
        Ok(self.clone())
    }

    /// The key that a token means by its header. Never waits.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Lookup {
        match &self.source {
            Source::Given(set) => match set.select(kid, algorithm) {
                Selection::One(key) => Lookup::Found(key),
                Selection::None | Selection::UnknownKid => Lookup::Unknown,
            },
            Source::Remote(remote) => remote.find(kid, algorithm),
        }
    }

    /// Has old keys fetched again beside the requests, where tokens that were seen before need no search for a key. `now` is in
    /// seconds, of any clock; this costs next to nothing.
    pub(crate) fn keep_fresh(&self, now: u64) {
        if let Source::Remote(remote) = &self.source {
            remote.keep_fresh(now);
        }
    }

    /// What to wait for if a signature failed under a key that was found: it may have been replaced under the same name.
    pub(crate) fn doubt(&self, key: &Arc<Key>) -> Option<Fetch> {
        match &self.source {
            Source::Given(_) => None,
            Source::Remote(remote) => remote.doubt(key),
        }
    }

    /// Fetches keys if there are none yet, or old ones: for a start-up. Gives whether there are keys then.
    pub(crate) async fn prefetch(&self) -> bool {
        match &self.source {
            Source::Given(_) => true,
            Source::Remote(remote) => remote.prefetch().await,
        }
    }
}

#[cfg(test)]
impl Keys {
    /// How many names of keys that do not exist are remembered.
    pub(super) fn remembered(&self) -> usize {
        match &self.source {
            Source::Given(_) => 0,
            Source::Remote(remote) => remote.remembered(),
        }
    }
}

impl From<RemoteKeys> for Keys {
    fn from(settings: RemoteKeys) -> Self {
        Self {
            source: Source::Remote(Arc::new(Remote::new(settings))),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut keys = f.debug_struct("Keys");
        match &self.source {
            Source::Given(set) => keys.field("given", &set.len()),
            Source::Remote(remote) => keys.field("remote", remote.settings()),
        };
        keys.finish_non_exhaustive()
    }
}

fn parse(json: &str) -> Result<Value, &'static str> {
    serde_json::from_str(json).map_err(|_| "it is no well-formed JSON")
}

fn unusable(what: &str, why: &str) -> ConfigError {
    ConfigError::new(format!(
        "the {what} cannot be used: {why}; give a public signing key: RSA of at least 2048 bits, EC on P-256 or P-384, or Ed25519"
    ))
}

/// What came of a search for a key.
#[derive(Debug)]
pub(crate) enum Lookup {
    Found(Arc<Key>),
    /// There is no such key, or more than one could be meant: the token is refused.
    Unknown,
    /// It cannot be told now: there are no keys yet, or the key may be a new one and the last fetch failed.
    Unavailable {
        retry_after: Duration,
    },
    /// It can be told after this: to be searched for once more.
    Wait(Fetch),
}
