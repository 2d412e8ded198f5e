//! [`Verifier`]: whether a token is good, whatever it may be used for.

mod glance;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::error::ConfigError;
use crate::guard::algorithm::Algorithm;
use crate::guard::cache::{Cache, Refused};
use crate::guard::extract::Extracted;
use crate::guard::jwt::{self, At, KnownHeader, Rules, TokenType};
use crate::guard::keys::{Fetch, Keys, Lookup};
use crate::guard::reason::Reason;
use crate::guard::token::VerifiedToken;
use crate::time::{Clock, SystemClock};

/// How far the clocks of the issuer and this machine may be apart: what the libraries of this field allow, and well below the
/// lifetime of a token.
const LEEWAY: Duration = Duration::from_secs(60);

/// A token of 1 KiB takes about 2 KiB here: at most some 40 MiB.
const MAX_CACHED_TOKENS: usize = 20_000;
const MAX_CACHED_BYTES: usize = 32 * 1024 * 1024;

/// Verifies bearer tokens: signature, issuer, audience, type and time.
///
/// It takes signed JWTs (RFC 7519) and follows RFC 9068 and RFC 8725. A token that was verified is not verified again while it and
/// its key last; what depends on the time is looked at on every request. Cloning is cheap and shares keys and cache: make one
/// per issuer, and a [`Guard`](super::Guard) from it.
///
/// ```
/// use tower_mfa::guard::{RemoteKeys, Verifier};
///
/// # fn main() -> Result<(), tower_mfa::ConfigError> {
/// let verifier = Verifier::new(
///     "https://tenant.example.com/",
///     "https://api.example.com",
///     RemoteKeys::discovery(),
/// )?;
/// # let _ = verifier;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

type Extract = Arc<dyn Fn(&VerifiedToken) -> Extracted + Send + Sync>;
type IsRevoked = Arc<dyn Fn(&VerifiedToken) -> bool + Send + Sync>;

struct Inner {
    settings: Settings,
    cache: Cache<VerifiedToken>,
    refused: Refused,
    known_header: KnownHeader,
}

#[derive(Clone)]
struct Settings {
    rules: Rules,
    keys: Keys,
    leeway: u64,
    clock: Arc<dyn Clock>,
    extract: Option<Extract>,
    is_revoked: Option<IsRevoked>,
    max_cached_tokens: usize,
    max_cached_bytes: usize,
}

/// What comes of a token.
pub(crate) enum Verdict {
    Verified(VerifiedToken),
    Refused(Reason),
    /// There are no keys to verify it with; they are asked for again after this time.
    Unavailable(Duration),
    /// Keys are being fetched; ask again then.
    Wait(Fetch),
}

impl From<Result<VerifiedToken, Reason>> for Verdict {
    fn from(result: Result<VerifiedToken, Reason>) -> Self {
        match result {
            Ok(verified) => Self::Verified(verified),
            Err(reason) => Self::Refused(reason),
        }
    }
}

impl Verifier {
    /// A verifier for the tokens of this issuer that are meant for this audience, with the default settings.
    ///
    /// `issuer` is compared with `iss` byte for byte, `audience` with the members of `aud`.
    ///
    /// # Errors
    ///
    /// If either is empty, or no crypto backend is compiled in.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        keys: impl Into<Keys>,
    ) -> Result<Self, ConfigError> {
        let (issuer, audience) = (issuer.into(), audience.into());
        if issuer.is_empty() || audience.is_empty() {
            return Err(ConfigError::new(
                "a verifier needs an issuer and an audience: a token for anybody is a token for nobody",
            ));
        }
        let keys = keys.into().bind(&issuer)?;
        Ok(Self {
            inner: Arc::new(Inner::new(Settings {
                rules: Rules::new(issuer, audience),
                keys,
                leeway: LEEWAY.as_secs(),
                clock: Arc::new(SystemClock::new()),
                extract: None,
                is_revoked: None,
                max_cached_tokens: MAX_CACHED_TOKENS,
                max_cached_bytes: MAX_CACHED_BYTES,
            })),
        })
    }

    /// Changes a setting; what was cached under the old ones is forgotten.
    fn edit(self, edit: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.inner.settings.clone();
        edit(&mut settings);
        Self {
            inner: Arc::new(Inner::new(settings)),
        }
    }

    /// Also takes tokens for this audience.
    #[must_use]
    pub fn accept_audience(self, audience: impl Into<String>) -> Self {
        let audience = audience.into();
        self.edit(|settings| settings.rules.audiences.push(audience))
    }

    /// Takes only tokens signed with one of these algorithms.
    ///
    /// Defaults to all of [`Algorithm`]. A key is good for its own algorithm only, in either case.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn algorithms(
        self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, ConfigError> {
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(ConfigError::new(
                "with no algorithm no token can be verified: name at least one in `algorithms(..)`",
            ));
        }
        Ok(self.edit(|settings| settings.rules.algorithms = algorithms))
    }

    /// Which `typ` a token has to have.
    ///
    /// Defaults to [`TokenType::AccessToken`], `at+jwt`, so that no ID token can pass for an access token. Auth0's own token profile and
    /// others write `JWT`; for those there is [`TokenType::Jwt`].
    #[must_use]
    pub fn token_type(self, token_type: TokenType) -> Self {
        self.edit(|settings| settings.rules.token_type = token_type)
    }

    /// How far the issuer's clock and this one may be apart, in whole seconds.
    ///
    /// Defaults to 60 seconds. It widens `exp`, `nbf`, `iat` and the future of `auth_time`; not
    /// [`Requirement::max_age`](super::Requirement::max_age), which is exact.
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        self.edit(|settings| settings.leeway = leeway.as_secs())
    }

    /// The longest token that is looked at, in bytes.
    ///
    /// Defaults to 16 KiB, the most that common servers take as a header.
    #[must_use]
    pub fn max_token_bytes(self, bytes: usize) -> Self {
        self.edit(|settings| settings.rules.max_token_bytes = bytes)
    }

    /// How many verified tokens are remembered, and how many bytes they may take.
    ///
    /// Defaults to 20,000 tokens in 32 MiB. With 0 tokens each request is verified anew.
    #[must_use]
    pub fn cache(self, max_tokens: usize, max_bytes: usize) -> Self {
        self.edit(|settings| {
            settings.max_cached_tokens = max_tokens;
            settings.max_cached_bytes = max_bytes;
        })
    }

    /// Where the time comes from. Defaults to the system's clock.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.edit(|settings| settings.clock = Arc::new(clock))
    }

    /// Reads strength and freshness from claims of an issuer's own, besides `acr`, `amr`, `auth_time` and `scope`.
    ///
    /// Called once for each token that was verified. Ready-made functions are in [`extract`](super::extract). Defaults to none.
    #[must_use]
    pub fn extract(
        self,
        extract: impl Fn(&VerifiedToken) -> Extracted + Send + Sync + 'static,
    ) -> Self {
        self.edit(|settings| settings.extract = Some(Arc::new(extract)))
    }

    /// Consults a list of revoked tokens, sessions or users: `true` refuses the token.
    ///
    /// Called on every request, for tokens that are good otherwise; it must not block. Defaults to none.
    ///
    /// ```
    /// # fn example(verifier: tower_mfa::guard::Verifier) {
    /// use std::collections::HashSet;
    /// use std::sync::{Arc, RwLock};
    ///
    /// let logged_out = Arc::new(RwLock::new(HashSet::<String>::new()));
    /// let verifier = verifier.revocation(move |token| match (token.subject(), logged_out.read()) {
    ///     (Some(subject), Ok(logged_out)) => logged_out.contains(subject),
    ///     _ => true,
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn revocation(
        self,
        is_revoked: impl Fn(&VerifiedToken) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.edit(|settings| settings.is_revoked = Some(Arc::new(is_revoked)))
    }

    /// Fetches the keys now, if they are fetched at all: so that the first request need not wait. Gives whether there are keys.
    ///
    /// Not needed: without it the first request fetches them, and a service that starts while the issuer is down answers 503
    /// until it is back.
    ///
    /// # Cancel safety
    ///
    /// The fetch goes on if this is dropped.
    pub async fn prefetch(&self) -> bool {
        self.inner.settings.keys.prefetch().await
    }

    /// How many verified tokens are remembered now, and about how many bytes they take: for gauges.
    #[must_use]
    pub fn cached(&self) -> (usize, usize) {
        (self.inner.cache.len(), self.inner.cache.bytes())
    }

    /// Verifies a token, for whoever gets it some other way than in a request's header: a WebSocket's first message, a queue.
    ///
    /// # Errors
    ///
    /// The reason for which the token is refused.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if this is dropped; a fetch of keys goes on.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, Reason> {
        let mut verdict = self.check(token, self.now(), true);
        loop {
            match verdict {
                Verdict::Verified(token) => return Ok(token),
                Verdict::Refused(reason) => return Err(reason),
                Verdict::Unavailable(_) => return Err(Reason::KeysUnavailable),
                Verdict::Wait(fetch) => {
                    fetch.await;
                    verdict = self.check(token, self.now(), false);
                }
            }
        }
    }

    /// Verifies a token with what is known now. `may_wait` is `false` after keys were fetched for it.
    pub(crate) fn check(&self, token: &str, now: u64, may_wait: bool) -> Verdict {
        match self.check_seen(token.as_bytes(), now) {
            Some(seen) => seen.into(),
            None => self.check_unseen(token, now, may_wait),
        }
    }

    /// What comes now of a token that was verified before; nothing if it was not, or not by a key that is still good.
    pub(crate) fn check_seen(
        &self,
        token: &[u8],
        now: u64,
    ) -> Option<Result<VerifiedToken, Reason>> {
        let cache = &self.inner.cache;
        let verified = cache.get(token)?;
        if !verified.is_by_present_key() {
            cache.remove(token);
            return None;
        }
        // no key is searched for, which would do this
        self.inner.settings.keys.keep_fresh(now);
        Some(self.check_again(verified, token, now))
    }

    /// [`check`](Self::check) for a token that [`check_seen`](Self::check_seen) knows nothing of.
    pub(crate) fn check_unseen(&self, token: &str, now: u64, may_wait: bool) -> Verdict {
        if let Some(reason) = self.inner.refused.get(token, Instant::now) {
            return Verdict::Refused(reason);
        }
        match self.verify_new(token, now, may_wait) {
            Ok(verified) => self.check_again(verified, token.as_bytes(), now).into(),
            Err(verdict) => verdict,
        }
    }

    /// What is looked at on every request.
    fn check_again(
        &self,
        verified: VerifiedToken,
        token: &[u8],
        now: u64,
    ) -> Result<VerifiedToken, Reason> {
        let Inner {
            settings, cache, ..
        } = &*self.inner;
        if let Err(reason) = verified.fields().check_times(now, settings.leeway) {
            if reason == Reason::Expired {
                cache.remove(token);
            }
            return Err(reason);
        }
        match &settings.is_revoked {
            Some(is_revoked) if is_revoked(&verified) => Err(Reason::Revoked),
            _ => Ok(verified),
        }
    }

    /// Everything that is done once for a token. What can be refused without a signature check is refused first: refusing on
    /// unverified data is safe, granting is not.
    fn verify_new(&self, token: &str, now: u64, may_wait: bool) -> Result<VerifiedToken, Verdict> {
        let Inner {
            settings,
            cache,
            refused,
            known_header,
        } = &*self.inner;
        let at = At {
            now,
            leeway: settings.leeway,
        };
        let parsed =
            jwt::parse(token, &settings.rules, known_header, at).map_err(Verdict::Refused)?;
        let header = parsed.header;
        let mut claims = parsed.claims;
        let key = match settings.keys.find(header.kid.as_deref(), header.algorithm) {
            Lookup::Found(key) => key,
            Lookup::Unknown => return Err(Verdict::Refused(Reason::UnknownKey)),
            Lookup::Unavailable { retry_after } => return Err(Verdict::Unavailable(retry_after)),
            Lookup::Wait(fetch) if may_wait => return Err(Verdict::Wait(fetch)),
            // this request has waited once; whether the token is good will be known in a moment
            Lookup::Wait(_) => return Err(Verdict::Unavailable(Duration::from_secs(1))),
        };
        if !key.verify(header.algorithm, parsed.signed, &parsed.signature) {
            if may_wait && let Some(fetch) = settings.keys.doubt(&key) {
                return Err(Verdict::Wait(fetch));
            }
            refused.insert(token, Reason::Signature, Instant::now());
            return Err(Verdict::Refused(Reason::Signature));
        }
        known_header.keep(parsed.encoded_header, &header);
        claims.key = Some(key);
        let mut verified = VerifiedToken::new(claims);
        if let Some(extract) = &settings.extract {
            let extracted = extract(&verified);
            verified.merge(extracted);
        }
        let fields = verified.fields();
        let ends = fields.expires_at.saturating_add(settings.leeway);
        cache.insert(token, verified.clone(), fields.bytes(), ends);
        Ok(verified)
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        let now = self.inner.settings.clock.now();
        now.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs())
    }

    pub(crate) fn leeway_seconds(&self) -> u64 {
        self.inner.settings.leeway
    }
}

impl Inner {
    fn new(settings: Settings) -> Self {
        Self {
            cache: Cache::new(settings.max_cached_tokens, settings.max_cached_bytes),
            refused: Refused::new(),
            known_header: KnownHeader::default(),
            settings,
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.inner.settings;
        f.debug_struct("Verifier")
            .field("issuer", &settings.rules.issuer)
            .field("audiences", &settings.rules.audiences)
            .field("algorithms", &settings.rules.algorithms)
            .field("token_type", &settings.rules.token_type)
            .field("leeway", &settings.leeway)
            .finish_non_exhaustive()
    }
}
