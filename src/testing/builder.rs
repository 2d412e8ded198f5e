//! [`Builder`]: the settings of an authorization server.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    calls::Calls,
    client::Client,
    keys::Signing,
    limit::RateLimit,
    policy::Policy,
    ring::Ring,
    server::{AuthorizationServer, Shared},
    state::State,
    user::User,
};
use crate::time::{Clock, SystemClock};

/// How long it takes until one more wrong code is forgiven: ten at once, then one per six minutes, as with Auth0.
const FAILURE_FORGIVEN_AFTER: Duration = Duration::from_secs(360);

/// The settings of an [`AuthorizationServer`]; from [`AuthorizationServer::builder`].
#[must_use]
pub struct Builder {
    clients: Vec<Client>,
    users: Vec<User>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    issuer: String,
    audience: String,
    mfa_token_ttl: Duration,
    oob_code_ttl: Duration,
    access_token_ttl: Duration,
    poll_interval: Duration,
    max_failed_codes: u32,
    exchanges_per_minute: u32,
    signing: Signing,
    mfa_claims: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            clients: Vec::new(),
            users: Vec::new(),
            policy: Policy::default(),
            clock: Arc::new(SystemClock::new()),
            issuer: "http://localhost:1/".to_owned(),
            audience: "https://api.example.com/".to_owned(),
            mfa_token_ttl: Duration::from_secs(600),
            oob_code_ttl: Duration::from_secs(300),
            access_token_ttl: Duration::from_secs(86_400),
            poll_interval: Duration::from_secs(5),
            max_failed_codes: 10,
            exchanges_per_minute: 12,
            signing: Signing::default(),
            mfa_claims: true,
        }
    }

    /// Adds a client; without any every request is refused.
    pub fn client(mut self, client: Client) -> Self {
        self.clients.push(client);
        self
    }

    /// Adds a user.
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// When multi-factor authentication is demanded; defaults to [`Policy::always`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The clock for expiry dates and one-time passwords; defaults to the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The `iss` of tokens, to which a closing slash is added if it has none.
    ///
    /// Defaults to `http://localhost:1/`: a loopback address, which clients accept without TLS, on a port where nobody
    /// answers. [`AuthorizationServer::serve`] replaces it with the address served.
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.issuer = format!("{}/", issuer.trim_end_matches('/'));
        self
    }

    /// The `aud` of tokens where a request names none; defaults to `https://api.example.com/`.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// How long an `mfa_token` is good; defaults to 10 minutes, as with Auth0.
    pub const fn mfa_token_ttl(mut self, ttl: Duration) -> Self {
        self.mfa_token_ttl = ttl;
        self
    }

    /// How long an `oob_code` is good, and the code sent with it; defaults to 5 minutes, as with Auth0.
    pub const fn oob_code_ttl(mut self, ttl: Duration) -> Self {
        self.oob_code_ttl = ttl;
        self
    }

    /// How long an access token is good; defaults to a day, as with Auth0.
    pub const fn access_token_ttl(mut self, ttl: Duration) -> Self {
        self.access_token_ttl = ttl;
        self
    }

    /// How fast a push may be polled before `slow_down` is answered; defaults to 5 seconds, the default of RFC 8628.
    ///
    /// The first poll is always in time, and a `slow_down` does not lengthen the interval.
    pub const fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// How many wrong codes a user may send before 429 `too_many_attempts`; defaults to 10, as with Auth0.
    ///
    /// One more is forgiven every six minutes.
    pub const fn max_failed_codes(mut self, codes: u32) -> Self {
        self.max_failed_codes = codes;
        self
    }

    /// How many out-of-band exchanges a minute one `mfa_token` allows before 429 `too_many_requests`; defaults to 12,
    /// as with Auth0.
    pub const fn oob_exchanges_per_minute(mut self, exchanges: u32) -> Self {
        self.exchanges_per_minute = exchanges;
        self
    }

    /// What tokens are signed with; defaults to [`Signing::Rs256`], as with Auth0.
    pub const fn signing(mut self, signing: Signing) -> Self {
        self.signing = signing;
        self
    }

    /// Leaves `acr` and `amr` out of tokens obtained with more than one factor, as Auth0 does.
    ///
    /// They are there by default, so that an API behind this server can tell the tokens apart.
    pub const fn without_mfa_claims(mut self) -> Self {
        self.mfa_claims = false;
        self
    }

    /// The server.
    #[must_use]
    pub fn build(self) -> AuthorizationServer {
        let exchange_every = Duration::from_secs(60) / self.exchanges_per_minute.max(1);
        AuthorizationServer {
            shared: Arc::new(Shared {
                clients: self.clients,
                clock: self.clock,
                audience: self.audience,
                mfa_token_ttl: self.mfa_token_ttl,
                oob_code_ttl: self.oob_code_ttl,
                access_token_ttl: self.access_token_ttl,
                poll_interval: self.poll_interval,
                failures: RateLimit::new(self.max_failed_codes, FAILURE_FORGIVEN_AFTER),
                exchanges: RateLimit::new(self.exchanges_per_minute, exchange_every),
                signing: self.signing,
                mfa_claims: self.mfa_claims,
                calls: Calls::default(),
                state: Mutex::new(State::new(
                    self.issuer,
                    Ring::new(self.signing),
                    self.policy,
                    self.users,
                )),
            }),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut builder = f.debug_struct("Builder");
        builder
            .field("clients", &self.clients)
            .field("users", &self.users)
            .field("policy", &self.policy);
        builder
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
