//! The keys of a verifier, as an issuer rotates, replaces, withdraws and fails to publish them.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance};
use tower_mfa::guard::{Algorithm, Keys, Reason, RemoteKeys, Verifier};
use tower_mfa::testing::{AuthorizationServer, ClientKey, Endpoint, Fault, PausedClock, Signing};
use tower_mfa::transport::Transport;

const SECOND: Duration = Duration::from_secs(1);
/// The default cooldown.
const COOLDOWN: Duration = Duration::from_secs(30);

struct World {
    server: AuthorizationServer,
    verifier: Verifier,
}

impl World {
    fn new() -> Self {
        Self::signing(Signing::Es256)
    }

    fn signing(signing: Signing) -> Self {
        let clock = PausedClock::new();
        let server = AuthorizationServer::builder()
            .clock(clock.clone())
            .signing(signing)
            .build();
        let keys = RemoteKeys::discovery().transport(Transport::new(server.clone()));
        let verifier = verifier(&server, keys).clock(clock);
        Self { server, verifier }
    }

    /// With keys that were fetched as long ago as the cooldown.
    async fn warm() -> Self {
        let world = Self::new();
        assert!(world.verifier.prefetch().await);
        advance(COOLDOWN).await;
        world
    }

    fn token(&self) -> String {
        self.server.access_token("alice")
    }

    fn token_of(&self, kid: &str) -> String {
        self.server.token("alice").header("kid", kid).sign()
    }

    /// Nothing, or why a token was refused.
    async fn refusal(&self, token: &str) -> Option<Reason> {
        self.verifier.verify(token).await.err()
    }

    fn fetches(&self) -> usize {
        self.server.calls().count(Endpoint::Jwks)
    }
}

fn verifier(server: &AuthorizationServer, keys: impl Into<Keys>) -> Verifier {
    let audience = "https://api.example.com/";
    Verifier::new(server.issuer(), audience, keys).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_new_kid_refreshes_and_succeeds() {
    for signing in [Signing::Rs256, Signing::Es256, Signing::EdDsa] {
        let world = World::signing(signing);
        let old = world.token();
        assert_eq!(world.refusal(&old).await, None);
        advance(COOLDOWN).await;
        world.server.rotate_keys();
        assert_eq!(world.refusal(&world.token()).await, None);
        assert_eq!(world.refusal(&old).await, None);
        assert_eq!(world.fetches(), 2, "{signing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_kid_does_not_refetch() {
    let world = World::new();
    for _ in 0..100 {
        assert_eq!(world.refusal(&world.token()).await, None);
        advance(5 * SECOND).await;
    }
    assert_eq!(world.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_kid_fails_without_a_fetch() {
    let world = World::warm().await;
    let nameless = || {
        let token = world.server.token("alice");
        token.json_header("kid", "null").sign()
    };
    // but not where one key only can be meant
    assert_eq!(world.refusal(&nameless()).await, None);
    world.server.rotate_keys();
    assert_eq!(world.refusal(&world.token()).await, None);
    advance(COOLDOWN).await;
    assert_eq!(world.refusal(&nameless()).await, Some(Reason::UnknownKey));
    assert_eq!(world.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn unknown_kids_are_bounded_by_the_cooldown() {
    let world = World::warm().await;
    for number in 0..1_000 {
        let token = world.token_of(&format!("unknown-{number}"));
        assert_eq!(world.refusal(&token).await, Some(Reason::UnknownKey));
        advance(Duration::from_millis(300)).await;
    }
    assert_eq!(world.fetches(), 1 + 10);
}

#[tokio::test(start_paused = true)]
async fn one_client_with_a_retired_kid_does_not_starve_a_new_key() {
    let world = World::warm().await;
    for _ in 0..200 {
        let token = world.token_of("retired");
        assert_eq!(world.refusal(&token).await, Some(Reason::UnknownKey));
        advance(SECOND).await;
    }
    world.server.rotate_keys();
    assert_eq!(world.refusal(&world.token()).await, None);
    assert_eq!(world.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_same_kid_with_a_changed_key_refreshes_once() {
    let world = World::warm().await;
    let old = world.token();
    assert_eq!(world.refusal(&old).await, None);
    world.server.replace_key();
    assert_eq!(world.refusal(&world.token()).await, None);
    assert_eq!(world.fetches(), 2);
    // though it was verified before
    assert_eq!(world.refusal(&old).await, Some(Reason::Signature));
    for _ in 0..4 {
        advance(COOLDOWN).await;
        let forged = world.token() + "A";
        assert!(world.refusal(&forged).await.is_some());
        assert_eq!(world.refusal(&old).await, Some(Reason::Signature));
    }
    assert!(world.fetches() <= 3, "{}", world.fetches());
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_is_down_and_old_keys_go_on() {
    for fault in [
        Fault::status(500),
        Fault::hang(),
        Fault::drop_connection(),
        Fault::body_of(70_000),
        Fault::status(200).body("application/json", "<html>"),
        Fault::status(200).body("application/json", r#"{"keys": []}"#),
    ] {
        let world = World::warm().await;
        world.server.inject(Endpoint::Jwks, fault.clone().forever());
        for _ in 0..20 {
            assert_eq!(world.refusal(&world.token()).await, None, "{fault:?}");
            advance(120 * SECOND).await;
        }
        world.server.rotate_keys();
        let new = world.token();
        assert_eq!(
            world.refusal(&new).await,
            Some(Reason::KeysUnavailable),
            "{fault:?}"
        );
        world.server.clear_faults();
        advance(COOLDOWN).await;
        assert_eq!(world.refusal(&new).await, None, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hang_of_five_seconds_does_not_hold_other_requests() {
    let world = Arc::new(World::warm().await);
    world.server.inject(Endpoint::Jwks, Fault::hang());
    let held = tokio::spawn({
        let (world, token) = (world.clone(), world.token_of("unknown"));
        async move {
            let begin = Instant::now();
            (world.refusal(&token).await, begin.elapsed())
        }
    });
    tokio::task::yield_now().await;
    for _ in 0..40 {
        let begin = Instant::now();
        assert_eq!(world.refusal(&world.token()).await, None);
        assert_eq!(begin.elapsed(), Duration::ZERO);
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(
        held.await.unwrap(),
        (Some(Reason::KeysUnavailable), 5 * SECOND)
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_with_the_endpoint_down_recovers_by_itself() {
    let world = World::new();
    let fault = Fault::status(503).times(3);
    world.server.inject(Endpoint::Configuration, fault);
    assert!(!world.verifier.prefetch().await);
    let token = world.token();
    let mut seconds = 0;
    while let Some(reason) = world.refusal(&token).await {
        assert_eq!(reason, Reason::KeysUnavailable);
        advance(SECOND).await;
        seconds += 1;
    }
    // 1, 2 and 4 seconds after the three failures
    assert_eq!(seconds, 7);
}

/// A token that was seen before is accepted without a search for its key, but not for longer than its key is published.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_ends_the_tokens_that_are_remembered() {
    let world = World::new();
    let old = world.token();
    assert_eq!(world.refusal(&old).await, None);
    world.server.rotate_keys();
    world.server.retire_keys();
    let mut minutes = 0;
    while world.refusal(&old).await.is_none() {
        advance(60 * SECOND).await;
        tokio::task::yield_now().await;
        minutes += 1;
        assert!(minutes < 20, "nobody looked");
    }
    // found out by the refresh after 10 minutes, which is looked after every minute
    assert!((10..=12).contains(&minutes), "{minutes}");
    // the third is for the old token, whose key is an unknown one now
    assert_eq!(world.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_can_be_given_as_jwk_jwks_and_pem() {
    let server = AuthorizationServer::builder().build();
    let token = server.access_token("alice");
    let jwks = server.jwks();
    let jwk = jwks
        .strip_prefix(r#"{"keys":["#)
        .unwrap()
        .strip_suffix("]}")
        .unwrap();
    for keys in [
        Keys::from_jwks(&jwks).unwrap(),
        Keys::from_jwk(jwk).unwrap(),
    ] {
        assert!(verifier(&server, keys.clone()).verify(&token).await.is_ok());
        let other = verifier(&server, keys)
            .algorithms([Algorithm::Ps256])
            .unwrap();
        assert!(other.verify(&token).await.is_err());
    }
    // another's key: no name to tell it by, so it is tried
    let pem = ClientKey::generate(Signing::Rs256);
    let keys = Keys::from_pem(pem.public_pem().as_bytes()).unwrap();
    let reason = verifier(&server, keys).verify(&token).await.unwrap_err();
    assert_eq!(reason, Reason::Signature);
}

#[test]
fn an_issuer_that_is_no_https_url_is_refused_when_its_keys_are_discovered() {
    let error = Verifier::new(
        "tenant",
        "https://api.example.com/",
        RemoteKeys::discovery(),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("cannot be the issuer")
    );
}
