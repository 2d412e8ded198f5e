//! [`RemoteKeys`]: how keys are fetched.

use std::time::Duration;

use http::Uri;

use crate::error::ConfigError;
use crate::origin::secure_url;
use crate::transport::Transport;

/// A fetch for every request is what a cooldown is there to prevent.
const MIN_COOLDOWN: Duration = Duration::from_secs(1);

/// Keys that are fetched from the issuer, and fetched again when they change.
///
/// * A token that names a key nobody has seen leads to a fetch, but not within the [`cooldown`](Self::cooldown) of the last one.
///   Requests that need the new key wait for it, others go on. There is one fetch at a time.
/// * Every [`refresh_after`](Self::refresh_after) the keys are fetched again, beside the requests: so withdrawn keys end.
/// * If a fetch fails, the keys that are there stay. If there are none yet, requests are answered 503 with `Retry-After`, and fetches
///   are tried again after 1 second, then after 2, up to 30: no request is let through unverified.
/// * Keys that cannot be used are skipped. Redirects are not followed; answers end at 64 KiB.
///
/// Fetches run as Tokio tasks, so the guard has to be called within a Tokio runtime.
///
/// ```
/// use std::time::Duration;
/// use tower_mfa::guard::{Keys, RemoteKeys};
///
/// // from the issuer's discovery document
/// let keys = Keys::from(RemoteKeys::discovery());
/// // or from where the key set is known to be
/// let keys = RemoteKeys::jwks_uri("https://tenant.example.com/.well-known/jwks.json")?
///     .refresh_after(Duration::from_secs(3600));
/// # let _ = keys;
/// # Ok::<(), tower_mfa::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RemoteKeys {
    /// Nothing if the discovery document is asked for it.
    pub(super) jwks_uri: Option<Uri>,
    pub(super) transport: Option<Transport>,
    pub(super) refresh_after: Duration,
    pub(super) cooldown: Duration,
    pub(super) timeout: Duration,
}

impl RemoteKeys {
    /// The keys that the verifier's issuer names in its discovery document (`/.well-known/openid-configuration`).
    pub const fn discovery() -> Self {
        Self::new(None)
    }

    /// The keys of the JWKS at this URL.
    ///
    /// # Errors
    ///
    /// If it is not an https URL, or http on a loopback address.
    pub fn jwks_uri(url: &str) -> Result<Self, ConfigError> {
        let url = secure_url(url).map_err(|why| {
            ConfigError::new(format!(
                "`{}` cannot be the URL of a JWKS: {why}",
                url.escape_debug()
            ))
        })?;
        Ok(Self::new(Some(url)))
    }

    const fn new(jwks_uri: Option<Uri>) -> Self {
        Self {
            jwks_uri,
            transport: None,
            refresh_after: Duration::from_secs(600),
            cooldown: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        }
    }

    /// Sets the way to the issuer. Defaults to [`Transport::default`]: https with feature `client`.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sets how old keys become before they are fetched again. Defaults to 10 minutes.
    ///
    /// Requests do not wait for it. Only after a pause of six times as long, in which nobody asked for a key, do they.
    pub const fn refresh_after(mut self, age: Duration) -> Self {
        self.refresh_after = age;
        self
    }

    /// Sets how long after the start of a fetch no other one starts, whatever tokens come. Defaults to 30 seconds; at least 1.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown.max(MIN_COOLDOWN);
        self
    }

    /// Sets how long a fetch may take, discovery included. Defaults to 5 seconds.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}
