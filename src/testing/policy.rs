//! [`Policy`]: when multi-factor authentication is demanded, and how the demand looks.

use std::time::Duration;

use http::StatusCode;

/// The scopes of tokens that no request asked for, as in Auth0's examples.
pub(super) const DEFAULT_SCOPE: &str = "openid profile";

/// When the server demands multi-factor authentication, and how that demand looks on the wire.
///
/// The default is [`Policy::always`] with one factor and Auth0's plain answer: status 403, an `mfa_token`, no
/// `mfa_requirements`.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) when: When,
    pub(super) on_refresh: bool,
    pub(super) factors: u32,
    pub(super) requirements: Requirements,
    pub(super) status: StatusCode,
    pub(super) token: bool,
    pub(super) interval: Option<Duration>,
    pub(super) expires_in: Option<Duration>,
    pub(super) channel_list: bool,
}

#[derive(Clone, Debug)]
pub(super) enum When {
    Always,
    Never,
    Scopes(Vec<String>),
}

/// The shape of `mfa_requirements` in an `mfa_required` answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirements {
    /// No such member: what a tenant-wide policy gives.
    #[default]
    Absent,
    /// `challenge` and `enroll`, both.
    Both,
    /// `challenge` for a user with a confirmed factor, `enroll` for a user without.
    Challenge,
    /// `{"challenge_types":["otp","oob"]}`, as the passwordless pages show it.
    ChallengeTypes,
    /// `enroll`, whether or not the user has a confirmed factor.
    Enroll,
}

impl Policy {
    /// Demands multi-factor authentication of every password and refresh-token grant.
    #[must_use]
    pub const fn always() -> Self {
        Self::when(When::Always)
    }

    /// Demands multi-factor authentication only where this scope is asked for, as a step-up rule does.
    #[must_use]
    pub fn for_scope(scope: impl Into<String>) -> Self {
        Self::when(When::Scopes(vec![scope.into()]))
    }

    /// Demands no multi-factor authentication, except for the audience of the multi-factor API itself.
    #[must_use]
    pub const fn never() -> Self {
        Self::when(When::Never)
    }

    const fn when(when: When) -> Self {
        Self {
            when,
            on_refresh: true,
            factors: 1,
            requirements: Requirements::Absent,
            status: StatusCode::FORBIDDEN,
            token: true,
            interval: None,
            expires_in: None,
            channel_list: false,
        }
    }

    /// Leaves the refresh-token grant alone, as many tenants' rules do. Demanded there by default.
    #[must_use]
    pub const fn except_refresh(mut self) -> Self {
        self.on_refresh = false;
        self
    }

    /// How many factors are needed; defaults to 1.
    ///
    /// With more, each factor but the last is answered by another `mfa_required` with a new `mfa_token`.
    #[must_use]
    pub const fn factors(mut self, factors: u32) -> Self {
        self.factors = if factors == 0 { 1 } else { factors };
        self
    }

    /// The shape of `mfa_requirements`; defaults to [`Requirements::Absent`].
    ///
    /// With any other shape the list of authenticators carries `type` too, as Auth0's does.
    #[must_use]
    pub const fn requirements(mut self, requirements: Requirements) -> Self {
        self.requirements = requirements;
        self
    }

    /// The status of `mfa_required`; defaults to 403, which Auth0 answers (its documents also show 400 and 401).
    ///
    /// A number that is no status leaves it as it was.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap_or(self.status);
        self
    }

    /// Leaves `mfa_token` out of `mfa_required`, as happens where the user cannot go on. It is there by default.
    #[must_use]
    pub const fn without_token(mut self) -> Self {
        self.token = false;
        self
    }

    /// Puts `interval` into challenges that are polled; absent by default, as with Auth0.
    ///
    /// Only announced: what the server enforces is [`Builder::poll_interval`](super::Builder::poll_interval).
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Puts `expires_in` into challenges; absent by default, as with Auth0.
    ///
    /// Only announced: what the server enforces is [`Builder::oob_code_ttl`](super::Builder::oob_code_ttl).
    #[must_use]
    pub const fn expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }

    /// Lists authenticators with `oob_channels` (a list), as some documents show it, in place of `oob_channel`.
    #[must_use]
    pub const fn oob_channels_as_list(mut self) -> Self {
        self.channel_list = true;
        self
    }

    /// The scopes of a token obtained with more than one factor.
    pub(super) fn elevated_scope(&self) -> String {
        match &self.when {
            When::Scopes(scopes) => format!("{DEFAULT_SCOPE} {}", scopes.join(" ")),
            When::Always | When::Never => DEFAULT_SCOPE.to_owned(),
        }
    }

    pub(super) fn demands(&self, scope: &str, refresh: bool) -> bool {
        if refresh && !self.on_refresh {
            return false;
        }
        match &self.when {
            When::Always => true,
            When::Never => false,
            When::Scopes(scopes) => scope
                .split_ascii_whitespace()
                .any(|asked| scopes.iter().any(|s| s == asked)),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::always()
    }
}
