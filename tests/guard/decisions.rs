//! `on_decision` hears of every request, once, and `revocation` is asked every time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use tower_mfa::guard::{Guard, Reason, Requirement};
use tower_mfa::time::Clock;

use crate::harness::{World, with_authorization, with_token};

#[tokio::test(start_paused = true)]
async fn every_decision_is_told_once_with_its_reason() {
    let world = World::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let guard = world.guard().on_decision(move |decision| {
        let reasons = (decision.reason(), decision.token().is_some());
        // what is lacking is told of good tokens only
        assert_eq!(
            decision.shortfall().is_some(),
            reasons.1 && reasons.0.is_some()
        );
        log.lock().unwrap().push(reasons);
    });
    let requirement = Requirement::mfa()
        .max_age(Duration::from_secs(60))
        .scopes_all_of(["openid"])
        .unwrap();
    let old = world.clock.now() - Duration::from_secs(3600);
    let good = || world.token().amr(["mfa"]);
    let cases = [
        (with_token(&good().sign()), None, true),
        (Request::new(Full::default()), Some(Reason::Missing), false),
        (
            with_authorization("Bearer"),
            Some(Reason::MalformedRequest),
            false,
        ),
        (with_token("a.b.c"), Some(Reason::MalformedToken), false),
        (
            with_token(&good().expires_at(old).sign()),
            Some(Reason::Expired),
            false,
        ),
        (
            with_token(&good().audience("other").sign()),
            Some(Reason::WrongAudience),
            false,
        ),
        (
            with_token(&good().claim("iss", "other").sign()),
            Some(Reason::WrongIssuer),
            false,
        ),
        (
            with_token(&good().scope("email").sign()),
            Some(Reason::Scope),
            true,
        ),
        (with_token(&world.token().sign()), Some(Reason::Weak), true),
        (
            with_token(&good().auth_time(old).sign()),
            Some(Reason::Stale),
            true,
        ),
    ];
    for (request, reason, with_verified_token) in cases {
        world
            .send(guard.require(requirement.clone()), request)
            .await;
        let told = std::mem::take(&mut *told.lock().unwrap());
        assert_eq!(told, [(reason, with_verified_token)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_shows_no_token() {
    let world = World::new();
    let token = world.token().sign();
    let secret = token.clone();
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let guard = world.guard().on_decision(move |decision| {
        let shown = format!("{decision:?}");
        assert!(
            !shown.contains(&secret) && !shown.contains("alice"),
            "{shown}"
        );
        count.fetch_add(1, Ordering::Relaxed);
    });
    world
        .send(guard.require(Requirement::login()), with_token(&token))
        .await
        .is_let_through();
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_refused_at_once_though_it_was_cached() {
    let world = World::new();
    let revoked = Arc::new(AtomicBool::new(false));
    let list = Arc::clone(&revoked);
    let verifier = world
        .verifier()
        .revocation(move |token| token.subject().is_none() || list.load(Ordering::Relaxed));
    let layer = Guard::new(verifier).require(Requirement::login());
    let token = world.token().sign();
    for _ in 0..2 {
        world
            .send(layer.clone(), with_token(&token))
            .await
            .is_let_through();
    }
    revoked.store(true, Ordering::Relaxed);
    world
        .send(layer.clone(), with_token(&token))
        .await
        .is(401, Some("invalid_token"));
    revoked.store(false, Ordering::Relaxed);
    world.send(layer, with_token(&token)).await.is_let_through();
}
