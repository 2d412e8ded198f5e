//! [`State`]: what is known of remote keys, and when they may be fetched. It does neither wait nor lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fetch::WeakFetch;
use super::set::{Key, KeySet};
use super::settings::RemoteKeys;

/// How many names of keys that do not exist are remembered. One is added per fetch at most.
const MAX_UNKNOWN: usize = 256;

/// How long it is remembered that a fetch did not bring a key, or brought the same one again.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// The longest pause while there are no keys.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// After how many times `refresh_after` without a fetch keys are too old to be used before another one was tried.
const IDLE: u32 = 6;

#[derive(Default)]
pub(super) struct State {
    pub(super) set: Option<Arc<KeySet>>,
    pub(super) running: Option<WeakFetch>,
    /// When the last fetch started.
    started: Option<Instant>,
    /// When the last fetch ended.
    ended: Option<Instant>,
    /// When the last fetch that succeeded started.
    fresh: Option<Instant>,
    /// Fetches that failed since one succeeded.
    failures: u32,
    /// Names of keys that a fetch, made for them, did not bring.
    pub(super) unknown: VecDeque<(Box<str>, Instant)>,
    /// Keys that a fetch, made because a signature of theirs failed, brought again.
    confirmed: Vec<(Arc<Key>, Instant)>,
}

/// Why keys are fetched.
#[derive(Clone)]
pub(super) enum Cause {
    /// There are none, or old ones.
    Age,
    /// A token named a key that is not there.
    Unknown(Box<str>),
    /// A signature failed.
    Doubt(Arc<Key>),
}

impl State {
    /// How long no fetch may start.
    pub(super) fn pause(&self, settings: &RemoteKeys, now: Instant) -> Duration {
        let until = if self.set.is_some() {
            self.started.map(|started| started + settings.cooldown)
        } else {
            // from the end: a fetch that hangs takes longer than the first pauses
            self.ended.map(|ended| ended + back_off(self.failures))
        };
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    pub(super) const fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Whether the keys should be fetched again.
    pub(super) fn is_old(&self, settings: &RemoteKeys, now: Instant) -> bool {
        self.fresh
            .is_some_and(|fresh| now.duration_since(fresh) >= settings.refresh_after)
    }

    /// Whether nobody tried to fetch the keys for so long that they should not be used before.
    pub(super) fn is_idle(&self, settings: &RemoteKeys, now: Instant) -> bool {
        self.started.is_some_and(|started| {
            now.duration_since(started) >= settings.refresh_after.saturating_mul(IDLE)
        })
    }

    /// Whether a fetch for this name was in vain a short while ago.
    pub(super) fn is_unknown(&mut self, kid: &str, now: Instant) -> bool {
        self.unknown.retain(|(_, asked)| is_recent(*asked, now));
        self.unknown.iter().any(|(known, _)| **known == *kid)
    }

    /// Whether a fetch for this key's sake brought the same key a short while ago.
    pub(super) fn is_confirmed(&mut self, key: &Arc<Key>, now: Instant) -> bool {
        self.confirmed
            .retain(|(key, asked)| !key.is_retired() && is_recent(*asked, now));
        self.confirmed
            .iter()
            .any(|(known, _)| Arc::ptr_eq(known, key))
    }

    /// Notes that a fetch starts: before it does, so that the cooldown holds whatever becomes of it.
    pub(super) const fn starts(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// Takes the keys that a fetch brought, and gives how many fetches had failed before it.
    pub(super) fn succeeded(
        &mut self,
        set: KeySet,
        started: Instant,
        cause: Cause,
        now: Instant,
    ) -> u32 {
        if let Some(before) = &self.set {
            before.retire_for(&set);
        }
        self.set = Some(Arc::new(set));
        self.running = None;
        self.ended = Some(now);
        self.fresh = Some(started);
        match cause {
            Cause::Age => {}
            Cause::Unknown(kid) => {
                if self.unknown.len() >= MAX_UNKNOWN {
                    self.unknown.pop_front();
                }
                self.unknown.push_back((kid, started));
            }
            Cause::Doubt(key) if key.is_retired() => {}
            Cause::Doubt(key) => self.confirmed.push((key, started)),
        }
        std::mem::take(&mut self.failures)
    }

    /// Keeps the keys that are there, and gives how many fetches had failed before this one.
    pub(super) fn failed(&mut self, now: Instant) -> u32 {
        self.running = None;
        self.ended = Some(now);
        let before = self.failures;
        self.failures = before.saturating_add(1);
        before
    }
}

/// 1 second, doubling.
fn back_off(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(5);
    Duration::from_secs(1 << doublings).min(MAX_BACK_OFF)
}

fn is_recent(asked: Instant, now: Instant) -> bool {
    now.duration_since(asked) < REMEMBERED
}
