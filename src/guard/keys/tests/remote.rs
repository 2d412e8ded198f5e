//! When keys are fetched.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_new_kid_refreshes_and_succeeds() {
    let issuer = Issuer::warm().await;
    let old = issuer.token();
    issuer.server.rotate_keys();
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(issuer.check(&old).await, Outcome::Accepted);
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_known_kid_does_not_refetch() {
    let issuer = Issuer::new();
    for _ in 0..100 {
        assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
        advance(5 * SECOND).await;
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_kid_fails_without_a_fetch_unless_one_key_can_be_meant() {
    let issuer = Issuer::warm().await;
    let nameless = || {
        issuer
            .server
            .token("alice")
            .json_header("kid", "null")
            .sign()
    };
    assert_eq!(issuer.check(&nameless()).await, Outcome::Accepted);
    issuer.server.rotate_keys();
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    advance(COOLDOWN).await;
    assert_eq!(issuer.check(&nameless()).await, Outcome::Refused);
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_known_kid_with_another_algorithm_is_refused_without_a_fetch() {
    let issuer = Issuer::warm().await;
    for algorithm in [Algorithm::Rs256, Algorithm::Es384, Algorithm::EdDsa] {
        let lookup = issuer.keys.find(Some("test-es256"), algorithm);
        assert!(matches!(lookup, Lookup::Unknown), "{lookup:?}");
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn unknown_kids_are_bounded_by_the_cooldown() {
    let issuer = Issuer::warm().await;
    for round in 0..10 {
        for number in 0..30 {
            let token = issuer.token_of(&format!("unknown-{round}-{number}"));
            assert_eq!(issuer.check(&token).await, Outcome::Refused);
            advance(SECOND).await;
        }
    }
    assert_eq!(issuer.fetches(), 1 + 10);
}

/// At most one fetch in a cooldown, little memory, and a key that is really new is there within a cooldown.
#[tokio::test(start_paused = true)]
async fn a_flood_of_10_000_kids_costs_one_fetch_a_cooldown() {
    let issuer = Issuer::with(|keys| keys.cooldown(SECOND));
    assert!(issuer.keys.prefetch().await);
    let begin = Instant::now();
    for number in 0..10_000 {
        let kid = format!("{number:0>1000}");
        let mut lookup = issuer.keys.find(Some(&kid), Algorithm::Es256);
        if let Lookup::Wait(fetch) = lookup {
            fetch.await;
            lookup = issuer.keys.find(Some(&kid), Algorithm::Es256);
        }
        assert!(matches!(lookup, Lookup::Unknown), "{lookup:?}");
        advance(Duration::from_millis(100)).await;
        if number == 9_000 {
            issuer.server.rotate_keys();
        }
    }
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    let cooldowns = begin.elapsed().as_secs() as usize;
    assert!(issuer.fetches() <= 1 + cooldowns, "{}", issuer.fetches());
    assert_eq!(issuer.keys.remembered(), 256);
    assert_eq!(
        issuer.check(&issuer.token_of(&"x".repeat(100_000))).await,
        Outcome::Refused
    );
    println!(
        "10,000 kids in {cooldowns} cooldowns: {} fetches",
        issuer.fetches()
    );
}

/// A client that goes on with a retired key is asked for once, so that the next fetch is free for a new key.
#[tokio::test(start_paused = true)]
async fn one_client_with_a_retired_kid_does_not_use_up_the_cooldown() {
    let issuer = Issuer::warm().await;
    let retired = issuer.token_of("retired");
    for _ in 0..200 {
        assert_eq!(issuer.check(&retired).await, Outcome::Refused);
        advance(SECOND).await;
    }
    assert_eq!(issuer.fetches(), 2);
    issuer.server.rotate_keys();
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    assert_eq!(issuer.fetches(), 3);
    // asked for again after five minutes
    advance(100 * SECOND).await;
    assert_eq!(issuer.check(&retired).await, Outcome::Refused);
    assert_eq!(issuer.fetches(), 4);
}

/// A kid that came within the cooldown was not asked for, so it is not remembered as unknown.
#[tokio::test(start_paused = true)]
async fn a_kid_refused_within_the_cooldown_is_asked_for_after_it() {
    let issuer = Issuer::new();
    assert!(issuer.keys.prefetch().await);
    issuer.server.rotate_keys();
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Refused);
    advance(COOLDOWN - SECOND).await;
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Refused);
    assert_eq!(issuer.fetches(), 1);
    advance(SECOND).await;
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_kid_with_a_changed_key_refreshes_once() {
    let issuer = Issuer::warm().await;
    let before = issuer.found("test-es256");
    let old = issuer.token();
    issuer.server.replace_key();
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    assert_eq!(issuer.fetches(), 2);
    assert!(before.is_retired());
    // what the old one signed is refused, after one fetch that might have brought it back
    for _ in 0..4 {
        advance(COOLDOWN).await;
        assert_eq!(issuer.check(&old).await, Outcome::Refused);
    }
    assert_eq!(issuer.fetches(), 3);
    assert!(
        issuer.keys.doubt(&before).is_some(),
        "there is another one already"
    );
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn doubts_are_bounded_by_the_cooldown() {
    let issuer = Issuer::new();
    assert!(issuer.keys.prefetch().await);
    issuer.server.replace_key();
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Refused);
    assert_eq!(issuer.fetches(), 1);
    advance(COOLDOWN).await;
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_disappears_is_retired_and_the_others_stay_the_same() {
    let issuer = Issuer::warm().await;
    issuer.server.rotate_keys();
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    let (first, second) = (issuer.found("test-es256"), issuer.found("test-es256-2"));
    issuer.server.retire_keys();
    issuer.server.rotate_keys();
    advance(COOLDOWN).await;
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    assert!(first.is_retired());
    assert!(!second.is_retired());
    assert!(Arc::ptr_eq(&second, &issuer.found("test-es256-2")));
    assert_eq!(
        issuer.check(&issuer.token_of("test-es256")).await,
        Outcome::Refused
    );
}

/// Nobody waits for the refresh of keys that are there.
#[tokio::test(start_paused = true)]
async fn old_keys_are_fetched_again_beside_the_requests() {
    let issuer = Issuer::new();
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    let old = issuer.token();
    issuer.server.rotate_keys();
    issuer.server.retire_keys();
    advance(601 * SECOND).await;
    issuer.server.inject(Endpoint::Jwks, Fault::delay(SECOND));
    let (outcome, waited) = timed(issuer.check(&old)).await;
    assert_eq!((outcome, waited), (Outcome::Accepted, Duration::ZERO));
    settle().await;
    advance(2 * SECOND).await;
    settle().await;
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(issuer.check(&old).await, Outcome::Refused);
}

/// Keys that nobody asked for in an hour may be long withdrawn: the first request waits for the fetch, and goes on if it fails.
#[tokio::test(start_paused = true)]
async fn after_a_long_pause_keys_are_fetched_before_they_are_used() {
    let issuer = Issuer::warm().await;
    let old = issuer.token();
    advance(3600 * SECOND).await;
    issuer.server.inject(Endpoint::Jwks, Fault::status(500));
    assert_eq!(issuer.check(&old).await, Outcome::Accepted);
    issuer.server.rotate_keys();
    issuer.server.retire_keys();
    advance(3600 * SECOND).await;
    assert_eq!(issuer.check(&old).await, Outcome::Refused);
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_requests_share_one_fetch() {
    let issuer = Arc::new(Issuer::new());
    issuer.server.inject(Endpoint::Jwks, Fault::delay(SECOND));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let issuer = issuer.clone();
        requests.spawn(async move { issuer.check(&issuer.token()).await });
    }
    for outcome in requests.join_all().await {
        assert_eq!(outcome, Outcome::Accepted);
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_does_not_stop_the_fetch() {
    let issuer = Issuer::new();
    issuer.server.inject(Endpoint::Jwks, Fault::delay(SECOND));
    let token = issuer.token();
    let cut_off = tokio::time::timeout(Duration::from_millis(10), issuer.check(&token));
    assert!(cut_off.await.is_err());
    advance(SECOND).await;
    settle().await;
    let (outcome, waited) = timed(issuer.check(&token)).await;
    assert_eq!((outcome, waited), (Outcome::Accepted, Duration::ZERO));
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn clones_share_what_was_fetched() {
    let issuer = Issuer::new();
    let clone = issuer.keys.clone().bind(&issuer.server.issuer()).unwrap();
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    assert_eq!(check(&clone, &issuer.token()).await, Outcome::Accepted);
    assert_eq!(issuer.fetches(), 1);
    let error = clone
        .bind("https://other.example.com/")
        .unwrap_err()
        .to_string();
    assert!(error.contains("another issuer"), "{error}");
}

/// With the URL of the keys known, nothing is discovered.
#[tokio::test(start_paused = true)]
async fn keys_are_fetched_from_a_url_that_is_given() {
    let server = AuthorizationServer::builder()
        .signing(Signing::EdDsa)
        .build();
    let keys: Keys = RemoteKeys::jwks_uri(&format!("{}.well-known/jwks.json", server.issuer()))
        .unwrap()
        .transport(Transport::new(server.clone()))
        .into();
    let keys = keys.bind("any issuer").unwrap();
    assert_eq!(
        check(&keys, &server.access_token("alice")).await,
        Outcome::Accepted
    );
    assert_eq!(server.calls().count(Endpoint::Configuration), 0);
    assert_eq!(server.calls().len(), 1);
}
