//! [`Remote`]: keys that are fetched, one fetch at a time and none under a lock.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fmt, mem};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::error::ConfigError;
use crate::guard::Algorithm;
use crate::transport::Transport;

use super::documents::{self, Failure};
use super::fetch::{Fetch, WeakFetch};
use super::set::{Key, KeySet, Selection};
use super::settings::RemoteKeys;
use super::source::Lookup;
use super::state::{Cause, State};

/// What is told to wait at least, in whole seconds as `Retry-After` has them.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// No issuer gives its keys longer names: such a one is neither asked for nor remembered.
const MAX_KID: usize = 1024;

/// How often the age of the keys is looked at within `refresh_after`.
const LOOKS: u64 = 10;

pub(super) struct Remote {
    settings: RemoteKeys,
    transport: Transport,
    issuer: OnceLock<Box<str>>,
    state: Mutex<State>,
    /// When the age of the keys is looked at next, for those who only use what they have, in seconds of their clock.
    look_at: AtomicU64,
}

impl Remote {
    pub(super) fn new(mut settings: RemoteKeys) -> Self {
        let transport = settings.transport.take().unwrap_or_default();
        Self {
            transport,
            settings,
            issuer: OnceLock::new(),
            state: Mutex::default(),
            look_at: AtomicU64::new(0),
        }
    }

    pub(super) const fn settings(&self) -> &RemoteKeys {
        &self.settings
    }

    /// Sets the issuer whose discovery document is asked.
    pub(super) fn bind(&self, issuer: &str) -> Result<(), ConfigError> {
        if self.transport.is_none() {
            return Err(ConfigError::new(
                "there is no transport to fetch keys with: enable feature `client`, or set one with `RemoteKeys::transport(..)`",
            ));
        }
        if self.settings.jwks_uri.is_some() {
            return Ok(());
        }
        documents::discovery_of(issuer)?;
        if **self.issuer.get_or_init(|| issuer.into()) == *issuer {
            return Ok(());
        }
        Err(ConfigError::new(
            "these keys are those of another issuer already; make others with `RemoteKeys::discovery()` for each issuer",
        ))
    }

    pub(super) fn find(self: &Arc<Self>, kid: Option<&str>, algorithm: Algorithm) -> Lookup {
        let now = Instant::now();
        let mut begun = Begun::default();
        let mut state = self.lock();
        let old = state.is_old(&self.settings, now);
        let idle = old && state.is_idle(&self.settings, now);
        let selection = match &state.set {
            Some(set) => set.select(kid, algorithm),
            None => return self.none_yet(state, now),
        };
        // beside the requests, which are answered from the keys that are there
        let refresh = old
            .then(|| self.ask(&mut state, Cause::Age, now, &mut begun))
            .flatten();
        let lookup = match (selection, kid) {
            // nobody looked at these keys for long: they may have been withdrawn since
            (Selection::One(_) | Selection::None, _) if idle && refresh.is_some() => {
                refresh.map_or(Lookup::Unknown, Lookup::Wait)
            }
            (Selection::One(key), _) => Lookup::Found(key),
            (Selection::UnknownKid, Some(kid)) if kid.len() <= MAX_KID => {
                self.unknown(&mut state, kid, now, &mut begun)
            }
            (Selection::UnknownKid | Selection::None, _) => Lookup::Unknown,
        };
        drop(state);
        begun.spawn();
        lookup
    }

    fn none_yet(self: &Arc<Self>, mut state: MutexGuard<'_, State>, now: Instant) -> Lookup {
        let mut begun = Begun::default();
        let lookup = match self.ask(&mut state, Cause::Age, now, &mut begun) {
            Some(fetch) => Lookup::Wait(fetch),
            None => self.unavailable(&state, now),
        };
        drop(state);
        begun.spawn();
        lookup
    }

    fn unknown(
        self: &Arc<Self>,
        state: &mut State,
        kid: &str,
        now: Instant,
        begun: &mut Begun,
    ) -> Lookup {
        if state.is_unknown(kid, now) {
            return Lookup::Unknown;
        }
        match self.ask(state, Cause::Unknown(kid.into()), now, begun) {
            Some(fetch) => Lookup::Wait(fetch),
            None if state.has_failed() => self.unavailable(state, now),
            None => Lookup::Unknown,
        }
    }

    pub(super) fn keep_fresh(self: &Arc<Self>, now: u64) {
        let look_at = self.look_at.load(Ordering::Relaxed);
        // a clock that was set back must not put it off for long
        if (look_at.saturating_sub(self.settings.refresh_after.as_secs())..look_at).contains(&now) {
            return;
        }
        let often = self.settings.refresh_after.as_secs() / LOOKS;
        let next = now.saturating_add(often.max(1));
        self.look_at.store(next, Ordering::Relaxed);
        drop(self.refresh());
    }

    pub(super) fn doubt(self: &Arc<Self>, key: &Arc<Key>) -> Option<Fetch> {
        if key.is_retired() {
            // another one is there already
            return Some(Fetch::done());
        }
        let now = Instant::now();
        let mut begun = Begun::default();
        let mut state = self.lock();
        if state.is_confirmed(key, now) {
            return None;
        }
        let fetch = self.ask(&mut state, Cause::Doubt(key.clone()), now, &mut begun);
        drop(state);
        begun.spawn();
        fetch
    }

    pub(super) async fn prefetch(self: &Arc<Self>) -> bool {
        if let Some(fetch) = self.refresh() {
            fetch.await;
        }
        self.lock().set.is_some()
    }

    fn refresh(self: &Arc<Self>) -> Option<Fetch> {
        let now = Instant::now();
        let mut begun = Begun::default();
        let mut state = self.lock();
        let wanted = state.set.is_none() || state.is_old(&self.settings, now);
        let fetch = wanted
            .then(|| self.ask(&mut state, Cause::Age, now, &mut begun))
            .flatten();
        drop(state);
        begun.spawn();
        fetch
    }

    /// Joins the fetch that is under way, or starts one if it is time.
    fn ask(
        self: &Arc<Self>,
        state: &mut State,
        cause: Cause,
        now: Instant,
        begun: &mut Begun,
    ) -> Option<Fetch> {
        if let Some(fetch) = state.running.as_ref().and_then(WeakFetch::upgrade) {
            return Some(fetch);
        }
        if !state.pause(&self.settings, now).is_zero() {
            return None;
        }
        state.starts(now);
        let Ok(runtime) = Handle::try_current() else {
            self.report(
                state.failed(now),
                &"this is no Tokio runtime; call the guard within one",
            );
            return None;
        };
        let landing = Landing {
            remote: self.clone(),
            started: now,
            cause: Some(cause),
        };
        let fetch = Fetch::new(landing.fly());
        state.running = fetch.downgrade();
        begun.0 = Some((runtime, fetch.clone()));
        Some(fetch)
    }

    async fn fetch(&self) -> Result<serde_json::Value, Failure> {
        let fetched = async {
            let jwks = match &self.settings.jwks_uri {
                Some(url) => url.clone(),
                None => {
                    let issuer = self.issuer.get().ok_or("no verifier has these keys")?;
                    documents::discover(&self.transport, issuer).await?
                }
            };
            documents::get(&self.transport, jwks, "JWKS").await
        };
        tokio::time::timeout(self.settings.timeout, fetched)
            .await
            .map_err(|_| "there was no answer in time")?
    }

    /// Takes what a fetch brought.
    fn settle(&self, outcome: Result<serde_json::Value, Failure>, started: Instant, cause: Cause) {
        let now = Instant::now();
        // nobody else changes the set: there is one fetch at a time
        let before = self.lock().set.clone();
        let read = |jwks| {
            KeySet::read(&jwks, before.as_deref())
                .map_err(|why| format!("the JWKS cannot be used: {why}").into())
        };
        match outcome.and_then(read) {
            Ok((set, skipped)) => {
                let usable = set.len();
                let failures = self.lock().succeeded(set, started, cause, now);
                tracing::debug!(usable, skipped, "keys fetched");
                if failures > 0 {
                    tracing::info!(failures, "keys can be fetched again");
                }
            }
            Err(failure) => {
                let failures = self.lock().failed(now);
                self.report(failures, &failure);
            }
        }
    }

    /// Warns once, not at every try.
    fn report(&self, failures_before: u32, failure: &dyn fmt::Display) {
        let from: &dyn fmt::Display = match (&self.settings.jwks_uri, self.issuer.get()) {
            (Some(url), _) => url,
            (None, Some(issuer)) => issuer,
            (None, None) => &"",
        };
        if failures_before == 0 {
            tracing::warn!(%from, %failure, "keys cannot be fetched; those that are there stay, and fetching is tried again");
        } else {
            tracing::debug!(%from, %failure, "keys still cannot be fetched");
        }
    }

    fn unavailable(&self, state: &State, now: Instant) -> Lookup {
        let retry_after = state.pause(&self.settings, now).max(MIN_RETRY_AFTER);
        Lookup::Unavailable { retry_after }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.lock().unknown.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch that has yet to become a task: after the lock, since a runtime that shuts down drops it at once.
#[derive(Default)]
struct Begun(Option<(Handle, Fetch)>);

impl Begun {
    fn spawn(self) {
        if let Some((runtime, fetch)) = self.0 {
            runtime.spawn(fetch);
        }
    }
}

/// A fetch under way. Dropped before its end, with its runtime, it counts as failed.
struct Landing {
    remote: Arc<Remote>,
    started: Instant,
    /// Nothing once it is over.
    cause: Option<Cause>,
}

impl Landing {
    async fn fly(mut self) {
        let outcome = AssertUnwindSafe(self.remote.fetch())
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err("the transport panicked".into()));
        self.land(outcome);
    }

    fn land(&mut self, outcome: Result<serde_json::Value, Failure>) {
        if let Some(cause) = mem::take(&mut self.cause) {
            self.remote.settle(outcome, self.started, cause);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.land(Err("it was cut off, with its runtime".into()));
    }
}
