//! Where nobody wants the token, one that was seen before is looked at where it is stored: with the same result in every case.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tower_mfa::guard::{Guard, GuardLayer, Requirement};
use tower_mfa::time::Clock;

use crate::harness::{Answer, MULTI_FACTOR, World, with_token};

/// Asks twice, so that the token was seen before if it is good.
async fn ask(world: &World, layer: &GuardLayer, token: &str) -> Answer {
    world.send(layer.clone(), with_token(token)).await;
    world.send(layer.clone(), with_token(token)).await
}

#[tokio::test(start_paused = true)]
async fn it_decides_as_the_long_way_does() {
    let world = World::new();
    let seconds = Duration::from_secs;
    let requirements = [
        Requirement::login(),
        Requirement::mfa(),
        Requirement::login().max_age(seconds(300)),
        Requirement::login()
            .acr_any_of(["gold", MULTI_FACTOR])
            .unwrap(),
        Requirement::login().scopes_all_of(["write"]).unwrap(),
        Requirement::login().claim_is_true("marked").unwrap(),
        Requirement::login()
            .claim_matches("marked", |json| json == "true")
            .unwrap(),
    ];
    let layers: Vec<_> = requirements
        .into_iter()
        .map(|requirement| {
            let long = world.guard().require(requirement.clone());
            let short = world.guard().insert_token(false).require(requirement);
            (long, short)
        })
        .collect();
    let now = world.clock.now();
    let tokens = [
        world.token(),
        world.token().amr(["mfa"]),
        world.token().acr(MULTI_FACTOR),
        world.token().scope("read write"),
        world.token().json_claim("marked", "true"),
        world.token().json_claim("marked", "false"),
        world.token().auth_time(now - seconds(299)),
        world.token().expires_at(now + seconds(100)),
        world.token().audience("other"),
    ]
    .map(|token| token.sign());
    let (mut allowed, mut refused) = (0, 0);
    for step in [0, 1, 1, 98 + 60, 1, 1000] {
        tokio::time::advance(seconds(step)).await;
        for token in &tokens {
            for (long, short) in &layers {
                let expected = ask(&world, long, token).await;
                let answer = ask(&world, short, token).await;
                assert_eq!(answer.status, expected.status);
                assert_eq!(answer.headers, expected.headers);
                if answer.status == 200 {
                    assert_ne!(expected.text, "nobody");
                    assert_eq!(answer.text, "nobody");
                    allowed += 1;
                } else {
                    assert_eq!(expected.text, answer.text);
                    refused += 1;
                }
            }
        }
    }
    assert!(allowed > 50 && refused > 50, "{allowed}, {refused}");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_key_that_is_gone_is_not_good() {
    let world = World::new();
    let layer = world
        .guard()
        .insert_token(false)
        .require(Requirement::login());
    let old = world.token().sign();
    ask(&world, &layer, &old).await.is_let_through();
    world.server.rotate_keys();
    world.server.retire_keys();
    tokio::time::advance(Duration::from_secs(60)).await;
    // the keys that are fetched for this one do not have the old one's
    ask(&world, &layer, &world.token().sign())
        .await
        .is_let_through();
    let answer = ask(&world, &layer, &old).await;
    answer.is(401, Some("invalid_token"));
}

/// Nothing of the application runs while the cache is locked: it would wait for itself.
#[tokio::test(start_paused = true)]
async fn a_predicate_may_ask_the_verifier_itself() {
    let world = World::new();
    // of one part, with one lock
    let verifier = world.verifier().cache(8, 1 << 20);
    assert!(verifier.prefetch().await);
    let others: Vec<_> = (0..10).map(|_| world.token().sign()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let (inner, count) = (verifier.clone(), Arc::clone(&asked));
    let requirement = Requirement::login()
        .claim_matches("sub", move |_| {
            let other = &others[count.fetch_add(1, Ordering::Relaxed)];
            let mut context = Context::from_waker(Waker::noop());
            matches!(
                pin!(inner.verify(other)).poll(&mut context),
                Poll::Ready(Ok(_))
            )
        })
        .unwrap();
    let layer = Guard::new(verifier)
        .insert_token(false)
        .require(requirement);
    let token = world.token().sign();
    for _ in 0..3 {
        ask(&world, &layer, &token).await.is_let_through();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 6);
}
