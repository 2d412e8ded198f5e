//! [`Elevations`]: the elevated tokens that this process remembers.
//!
//! They are looked up for every request, so the lookup is local and synchronous and allocates nothing. Entries are found by a hash
//! of both ends and then compared as a whole: no collision can confuse two principals.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Uri};

use crate::demand::Requirement;
use crate::keyed_hash::{AsIs, KeyedHash};
use crate::origin::Origin;
use crate::principal::Principal;
use crate::store::StoreKey;

/// How long a token is remembered that came without an `expires_in`: as long as any authorization server's shortest.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// How long before its end a token is not used any more: the request has to arrive with it. Of a short life a tenth.
const LEEWAY: Duration = Duration::from_secs(30);

pub(crate) struct Elevations {
    capacity: usize,
    /// How many there are: most processes never have one, and look no further.
    count: AtomicUsize,
    hash: KeyedHash,
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By a hash of the principal's ends.
    slots: HashMap<u64, Vec<Elevation>, BuildHasherDefault<AsIs>>,
    /// The soonest to end first.
    ends: BTreeSet<(SystemTime, u64, u64)>,
    next_id: u64,
}

/// A remembered token, and for whom, where and what it is good.
#[derive(Clone)]
pub(crate) struct Elevation {
    id: u64,
    pub(crate) principal: Principal,
    pub(crate) origin: Option<Origin>,
    pub(crate) requirement: Requirement,
    pub(crate) authorization: HeaderValue,
    /// When it is not used any more.
    pub(crate) until: SystemTime,
}

impl Elevation {
    pub(crate) fn new(
        principal: Principal,
        origin: Option<Origin>,
        requirement: Requirement,
        authorization: HeaderValue,
        expires_at: Option<SystemTime>,
        now: SystemTime,
    ) -> Self {
        Self {
            id: 0,
            principal,
            origin,
            requirement,
            authorization,
            until: usable_until(expires_at, now),
        }
    }

    /// The key under which a store has it.
    pub(crate) fn key(&self) -> StoreKey {
        key(&self.principal, self.origin.as_ref(), &self.requirement)
    }

    fn is_for(&self, principal: &[u8], uri: &Uri) -> bool {
        self.principal.id() == principal && goes_to(self.origin.as_ref(), uri)
    }
}

/// The key under which others look for the same.
pub(crate) fn key(
    principal: &Principal,
    origin: Option<&Origin>,
    requirement: &Requirement,
) -> StoreKey {
    let origin = origin.map(Origin::to_text).unwrap_or_default();
    StoreKey::of_parts([
        principal.id(),
        origin.as_bytes(),
        requirement.to_key().as_bytes(),
    ])
}

/// When a token is not used any more, by the time at which it ends.
pub(crate) fn usable_until(expires_at: Option<SystemTime>, now: SystemTime) -> SystemTime {
    match expires_at {
        Some(end) => {
            let life = end.duration_since(now).unwrap_or_default();
            end - LEEWAY.min(life / 10)
        }
        None => now + LIFE,
    }
}

/// Whether a request goes to this origin; none is this process.
pub(crate) fn goes_to(origin: Option<&Origin>, uri: &Uri) -> bool {
    match origin {
        Some(origin) => origin.is_of(uri),
        None => uri.authority().is_none(),
    }
}

impl Elevations {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            count: AtomicUsize::new(0),
            hash: KeyedHash::new(),
            inner: RwLock::default(),
        }
    }

    /// Whether there is nothing to look up.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// The `authorization` that a request should carry.
    pub(crate) fn attach(
        &self,
        principal: &[u8],
        uri: &Uri,
        now: SystemTime,
    ) -> Option<HeaderValue> {
        let slot = self.slot(principal);
        let inner = self.read();
        let found = inner.slots.get(&slot)?;
        let fresh = |elevation: &&Elevation| elevation.until > now;
        // the newest, if there are several for different requirements
        let newest = found
            .iter()
            .filter(|elevation| elevation.is_for(principal, uri))
            .filter(fresh)
            .max_by_key(|elevation| elevation.id)?;
        Some(newest.authorization.clone())
    }

    /// What is remembered for a requirement: somebody else's step-up may just have ended.
    pub(crate) fn find(
        &self,
        principal: &Principal,
        uri: &Uri,
        requirement: &Requirement,
        now: SystemTime,
    ) -> Option<Elevation> {
        let slot = self.slot(principal.id());
        let inner = self.read();
        let mut found = inner.slots.get(&slot)?.iter();
        found
            .find(|elevation| {
                elevation.is_for(principal.id(), uri)
                    && elevation.requirement == *requirement
                    && elevation.until > now
            })
            .cloned()
    }

    /// Remembers a token, in place of one for the same principal, origin and requirement.
    pub(crate) fn insert(&self, mut elevation: Elevation) {
        let slot = self.slot(elevation.principal.id());
        let mut inner = self.write();
        inner.remove_where(slot, |other| {
            other.principal == elevation.principal
                && other.origin == elevation.origin
                && other.requirement == elevation.requirement
        });
        while inner.ends.len() >= self.capacity {
            let Some((_, slot, id)) = inner.ends.first().copied() else {
                return;
            };
            inner.remove_where(slot, |other| other.id == id);
        }
        elevation.id = inner.next_id;
        inner.next_id += 1;
        inner.ends.insert((elevation.until, slot, elevation.id));
        // nearly always the only one
        let found = inner.slots.entry(slot);
        found
            .or_insert_with(|| Vec::with_capacity(1))
            .push(elevation);
        self.count.store(inner.ends.len(), Ordering::Relaxed);
    }

    /// Forgets this token of a principal; another one, which somebody has got meanwhile, stays.
    pub(crate) fn remove(&self, principal: &[u8], authorization: &HeaderValue) {
        self.remove_where(principal, |other| other.authorization == *authorization);
    }

    /// Forgets everything of a principal, and gives what it was.
    pub(crate) fn forget(&self, principal: &Principal) -> Vec<Elevation> {
        self.remove_where(principal.id(), |_| true)
    }

    fn remove_where(&self, principal: &[u8], is_it: impl Fn(&Elevation) -> bool) -> Vec<Elevation> {
        let slot = self.slot(principal);
        let mut inner = self.write();
        let removed = inner.remove_where(slot, |other| {
            other.principal.id() == principal && is_it(other)
        });
        self.count.store(inner.ends.len(), Ordering::Relaxed);
        removed
    }

    fn slot(&self, principal: &[u8]) -> u64 {
        self.hash.of_ends(principal)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove_where(&mut self, slot: u64, is_it: impl Fn(&Elevation) -> bool) -> Vec<Elevation> {
        let Some(found) = self.slots.get_mut(&slot) else {
            return Vec::new();
        };
        let (removed, kept): (Vec<_>, Vec<_>) = std::mem::take(found).into_iter().partition(is_it);
        for elevation in &removed {
            self.ends.remove(&(elevation.until, slot, elevation.id));
        }
        if kept.is_empty() {
            self.slots.remove(&slot);
        } else {
            self.slots.insert(slot, kept);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn elevation(
        principal: &str,
        origin: &str,
        requirement: &str,
        token: &str,
        life: u64,
    ) -> Elevation {
        Elevation::new(
            Principal::new(principal),
            Origin::of(&origin.parse().unwrap()),
            Requirement::new().with_challenge([requirement]),
            HeaderValue::try_from(token).unwrap(),
            Some(NOW + Duration::from_secs(life)),
            NOW,
        )
    }

    fn attached(elevations: &Elevations, principal: &str, uri: &str, at: u64) -> Option<String> {
        let now = NOW + Duration::from_secs(at);
        let value = elevations.attach(principal.as_bytes(), &uri.parse().unwrap(), now)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_token_goes_to_its_principal_and_its_origin_only() {
        let elevations = Elevations::new(10);
        elevations.insert(elevation(
            "alice",
            "https://a.example.com",
            "otp",
            "test-1",
            600,
        ));
        let at = |principal: &str, uri: &str| attached(&elevations, principal, uri, 0);
        assert_eq!(
            at("alice", "https://A.example.com:443/x").as_deref(),
            Some("test-1")
        );
        for (principal, uri) in [
            ("bob", "https://a.example.com/"),
            ("alice", "https://b.example.com/"),
            ("alice", "http://a.example.com/"),
            ("alice", "https://a.example.com:8443/"),
            ("alice", "/x"),
        ] {
            assert_eq!(at(principal, uri), None, "{principal} {uri}");
        }
    }

    /// The slot is a hash of both ends; what is compared is all.
    #[test]
    fn principals_that_differ_in_the_middle_are_not_confused() {
        let elevations = Elevations::new(10);
        let end = "x".repeat(32);
        let (alice, bob) = (format!("{end}alice{end}"), format!("{end}bobby{end}"));
        assert_eq!(
            elevations.slot(alice.as_bytes()),
            elevations.slot(bob.as_bytes())
        );
        elevations.insert(elevation(&alice, "/", "otp", "test-1", 600));
        assert!(attached(&elevations, &alice, "/", 0).is_some());
        assert!(attached(&elevations, &bob, "/", 0).is_none());
    }

    #[test]
    fn a_token_is_not_used_in_its_last_moments() {
        let elevations = Elevations::new(10);
        elevations.insert(elevation("alice", "/", "otp", "test-1", 600));
        assert!(attached(&elevations, "alice", "/", 569).is_some());
        assert!(attached(&elevations, "alice", "/", 570).is_none());
        elevations.insert(elevation("bob", "/", "otp", "test-2", 20));
        assert!(attached(&elevations, "bob", "/", 17).is_some());
        assert!(attached(&elevations, "bob", "/", 18).is_none());
    }

    #[test]
    fn what_ends_soonest_makes_room() {
        let elevations = Elevations::new(2);
        elevations.insert(elevation("alice", "/", "otp", "test-1", 300));
        elevations.insert(elevation("bob", "/", "otp", "test-2", 200));
        elevations.insert(elevation("carol", "/", "otp", "test-3", 100));
        assert!(attached(&elevations, "alice", "/", 0).is_some());
        assert!(attached(&elevations, "bob", "/", 0).is_none());
        assert!(attached(&elevations, "carol", "/", 0).is_some());
        assert_eq!(elevations.count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn only_the_token_that_was_refused_is_removed() {
        let elevations = Elevations::new(10);
        elevations.insert(elevation("alice", "/", "otp", "test-1", 600));
        elevations.insert(elevation("alice", "/", "otp", "test-2", 600));
        elevations.remove(b"alice", &HeaderValue::from_static("test-1"));
        assert_eq!(
            attached(&elevations, "alice", "/", 0).as_deref(),
            Some("test-2")
        );
        elevations.remove(b"alice", &HeaderValue::from_static("test-2"));
        assert!(elevations.is_empty());
    }

    #[test]
    fn the_newest_of_several_requirements_is_attached_and_each_is_found() {
        let elevations = Elevations::new(10);
        elevations.insert(elevation("alice", "/", "otp", "test-1", 600));
        elevations.insert(elevation("alice", "/", "push", "test-2", 600));
        assert_eq!(
            attached(&elevations, "alice", "/", 0).as_deref(),
            Some("test-2")
        );
        let requirement = Requirement::new().with_challenge(["otp"]);
        let found = elevations.find(
            &Principal::new("alice"),
            &"/".parse().unwrap(),
            &requirement,
            NOW,
        );
        assert_eq!(found.unwrap().authorization, "test-1");
        assert_eq!(elevations.forget(&Principal::new("alice")).len(), 2);
        assert!(elevations.is_empty());
    }
}
