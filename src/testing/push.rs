//! [`Push`]: the user's side of push notifications.

use super::{
    server::AuthorizationServer,
    session::{Proof, Verdict},
};

/// Approves and denies the push notifications of users.
///
/// Clones act on the same server.
#[derive(Clone, Debug)]
pub struct Push {
    server: AuthorizationServer,
}

/// What happens to every push notification of a user, without anybody acting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// How many polls are still answered with "pending".
    pub(super) after: u32,
    pub(super) verdict: Verdict,
}

impl Push {
    pub(super) const fn new(server: AuthorizationServer) -> Self {
        Self { server }
    }

    /// How many notifications wait for this user's answer.
    #[must_use]
    pub fn pending(&self, user: &str) -> usize {
        let now = self.server.now();
        let state = self.server.state();
        state
            .oob
            .values()
            .filter(|oob| oob.user == user && oob.expires_at > now && oob.awaits_approval())
            .count()
    }

    /// Approves what waits for this user now, and says how many notifications that were.
    #[expect(clippy::must_use_candidate, reason = "the count is a by-product")]
    pub fn approve(&self, user: &str) -> usize {
        self.decide(user, Verdict::Approved)
    }

    /// Denies what waits for this user now, and says how many notifications that were.
    #[expect(clippy::must_use_candidate, reason = "the count is a by-product")]
    pub fn deny(&self, user: &str) -> usize {
        self.decide(user, Verdict::Denied)
    }

    /// Approves every notification of this user, sent and still to be sent, after it was polled this many times in vain.
    ///
    /// Polls answered with `slow_down` do not count.
    pub fn approve_after(&self, user: &str, polls: u32) {
        self.rule(
            user,
            Rule {
                after: polls,
                verdict: Verdict::Approved,
            },
        );
    }

    /// Denies every notification of this user, sent and still to be sent, after it was polled this many times in vain.
    ///
    /// Polls answered with `slow_down` do not count.
    pub fn deny_after(&self, user: &str, polls: u32) {
        self.rule(
            user,
            Rule {
                after: polls,
                verdict: Verdict::Denied,
            },
        );
    }

    fn rule(&self, user: &str, rule: Rule) {
        self.server.state().push_rules.insert(user.to_owned(), rule);
    }

    fn decide(&self, user: &str, decided: Verdict) -> usize {
        let now = self.server.now();
        let mut state = self.server.state();
        let waiting = state
            .oob
            .values_mut()
            .filter(|oob| oob.user == user && oob.expires_at > now);
        let mut count = 0;
        for oob in waiting.filter(|oob| oob.awaits_approval()) {
            if let Proof::Approval { verdict, .. } = &mut oob.proof {
                *verdict = decided;
                count += 1;
            }
        }
        count
    }
}
