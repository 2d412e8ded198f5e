//! [`State`]: everything that changes while the server runs.

use std::{
    collections::{HashMap, HashSet},
    time::SystemTime,
};

use super::{
    answer::Refusal,
    fault::Faults,
    limit::RateLimit,
    outbox::Message,
    policy::Policy,
    push::Rule,
    ring::Ring,
    session::{Family, Oob, Session},
    user::{Enrolled, User},
};

/// Everything that changes while the server runs, behind one lock: an answer is one step.
pub(super) struct State {
    pub(super) issuer: String,
    pub(super) ring: Ring,
    pub(super) policy: Policy,
    pub(super) users: Vec<User>,
    /// By `mfa_token`. Expired ones stay, so that they are called expired and not unknown.
    pub(super) sessions: HashMap<String, Session>,
    /// By `oob_code`.
    pub(super) oob: HashMap<String, Oob>,
    pub(super) families: HashMap<u64, Family>,
    /// By refresh token, also those used up.
    pub(super) refresh_tokens: HashMap<String, u64>,
    /// Client assertions seen, by client and `jti`.
    pub(super) assertions: HashSet<String>,
    /// Wrong codes, by the name of the user.
    pub(super) failures: HashMap<String, RateLimit>,
    pub(super) messages: Vec<Message>,
    pub(super) push_rules: HashMap<String, Rule>,
    pub(super) faults: Faults,
    serial: u64,
}

impl State {
    pub(super) fn new(issuer: String, ring: Ring, policy: Policy, users: Vec<User>) -> Self {
        let mut state = Self {
            issuer,
            ring,
            policy,
            users: Vec::new(),
            sessions: HashMap::new(),
            oob: HashMap::new(),
            families: HashMap::new(),
            refresh_tokens: HashMap::new(),
            assertions: HashSet::new(),
            failures: HashMap::new(),
            messages: Vec::new(),
            push_rules: HashMap::new(),
            faults: Faults::default(),
            serial: 0,
        };
        for mut user in users {
            for factor in &mut user.factors {
                factor.id = state.authenticator_id(factor);
            }
            state.users.push(user);
        }
        state
    }

    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(super) fn user_mut(&mut self, name: &str) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.name == name)
    }

    pub(super) const fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Numbered, not random: a test that prints an id prints the same one tomorrow.
    pub(super) fn authenticator_id(&mut self, factor: &Enrolled) -> String {
        format!(
            "{}|dev_TEST{:012}",
            factor.kind.prefix(),
            self.next_serial()
        )
    }

    /// Refuses a user who sent too many wrong codes, whatever the code sent now.
    pub(super) fn refuse_after_failures(&self, user: &str, now: SystemTime) -> Result<(), Refusal> {
        match self
            .failures
            .get(user)
            .and_then(|failures| Some((failures, failures.wait(now)?)))
        {
            Some((failures, wait)) => Err(Refusal::new(
                429,
                "too_many_attempts",
                "Too many failed codes. Wait for some minutes before retrying.",
            )
            .limited(failures.burst(), wait, now)),
            None => Ok(()),
        }
    }

    pub(super) fn count_failure(&mut self, user: &str, limit: RateLimit, now: SystemTime) {
        self.failures
            .entry(user.to_owned())
            .or_insert(limit)
            .take(now);
    }
}
