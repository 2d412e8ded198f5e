//! What an `mfa_token`, an `oob_code` and a refresh token stand for.

use std::time::SystemTime;

use super::{answer::Refusal, limit::RateLimit, state::State};

/// What a grant gives once all factors are shown.
#[derive(Clone)]
pub(super) struct Granted {
    /// The name of the user; empty for a client on its own behalf.
    pub(super) user: String,
    pub(super) sub: String,
    pub(super) client_id: String,
    pub(super) scope: String,
    pub(super) audience: String,
    /// The authentication methods shown so far, by the names of RFC 8176.
    pub(super) methods: Vec<&'static str>,
    pub(super) auth_time: SystemTime,
    /// The refresh token family this goes on with.
    pub(super) family: Option<u64>,
}

impl Granted {
    pub(super) fn has_scope(&self, scope: &str) -> bool {
        self.scope
            .split_ascii_whitespace()
            .any(|granted| granted == scope)
    }
}

/// What an `mfa_token` stands for: a grant that lacks factors.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) granted: Granted,
    /// How many factors are still to be shown.
    pub(super) remaining: u32,
    /// The authenticators already used: another factor must be another one.
    pub(super) used: Vec<String>,
    pub(super) expires_at: SystemTime,
    pub(super) exchanges: RateLimit,
}

/// What an `oob_code` stands for.
#[derive(Clone)]
pub(super) struct Oob {
    pub(super) mfa_token: String,
    pub(super) user: String,
    pub(super) authenticator_id: String,
    pub(super) expires_at: SystemTime,
    pub(super) proof: Proof,
}

/// How an out-of-band challenge is answered.
#[derive(Clone)]
pub(super) enum Proof {
    Approval {
        verdict: Verdict,
        polls: u32,
        last_poll: Option<SystemTime>,
    },
    Code(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Approved,
    Denied,
    Pending,
}

impl Oob {
    pub(super) const fn awaits_approval(&self) -> bool {
        matches!(
            self.proof,
            Proof::Approval {
                verdict: Verdict::Pending,
                ..
            }
        )
    }
}

/// The refresh tokens that descend from one login. Only the newest is good; showing another revokes them all.
#[derive(Clone)]
pub(super) struct Family {
    pub(super) granted: Granted,
    pub(super) current: String,
    pub(super) revoked: bool,
}

impl State {
    /// The session of an `mfa_token` sent as a parameter by a client.
    pub(super) fn session(
        &self,
        mfa_token: &str,
        client_id: &str,
        now: SystemTime,
    ) -> Result<&Session, Refusal> {
        let malformed = || Refusal::new(403, "invalid_grant", "Malformed mfa_token");
        let session = self.sessions.get(mfa_token).ok_or_else(malformed)?;
        if session.granted.client_id != client_id {
            return Err(Refusal::new(
                400,
                "invalid_request",
                "mfa_token not issued to this client",
            ));
        }
        if session.expires_at <= now {
            return Err(Refusal::new(403, "expired_token", "mfa_token is expired"));
        }
        Ok(session)
    }

    /// Starts a family with its first refresh token, or goes on with one by replacing its token.
    pub(super) fn rotate(&mut self, granted: &Granted, fresh: String) -> Result<(), Refusal> {
        let id = match granted.family {
            Some(id) => id,
            None => self.next_serial(),
        };
        self.refresh_tokens.insert(fresh.clone(), id);
        match self.families.get_mut(&id) {
            // Revoked while the user was busy with the factors.
            Some(family) if family.revoked => return Err(Refusal::unknown_refresh_token()),
            Some(family) => family.current = fresh,
            None => {
                let granted = Granted {
                    family: Some(id),
                    ..granted.clone()
                };
                self.families.insert(
                    id,
                    Family {
                        granted,
                        current: fresh,
                        revoked: false,
                    },
                );
            }
        }
        Ok(())
    }

    /// What a refresh token gives; one that was used before revokes its family.
    pub(super) fn refresh(&mut self, token: &str, client_id: &str) -> Result<Granted, Refusal> {
        let id = self.refresh_tokens.get(token).copied();
        let family = id
            .and_then(|id| self.families.get_mut(&id))
            .ok_or_else(Refusal::unknown_refresh_token)?;
        if family.granted.client_id != client_id {
            return Err(Refusal::unknown_refresh_token());
        }
        if family.current != token {
            family.revoked = true;
        }
        if family.revoked {
            Err(Refusal::unknown_refresh_token())
        } else {
            Ok(family.granted.clone())
        }
    }
}

impl Refusal {
    fn unknown_refresh_token() -> Self {
        Self::new(403, "invalid_grant", "Unknown or invalid refresh token.")
    }
}
