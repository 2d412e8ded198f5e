//! Every bound in time: at it, one second under, one second over; for tokens that are new and tokens that were seen.

use std::time::Duration;

use tower_mfa::guard::{Guard, Requirement};
use tower_mfa::time::Clock;

use crate::harness::{World, with_token};

const LEEWAY: u64 = 60;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_at_exp_and_leeway_also_when_it_was_seen_before() {
    let world = World::new();
    let layer = world.guard().require(Requirement::login());
    let token = world
        .token()
        .expires_at(world.clock.now() + seconds(100))
        .sign();
    world
        .send(layer.clone(), with_token(&token))
        .await
        .is_let_through();
    tokio::time::advance(seconds(100 + LEEWAY - 1)).await;
    world
        .send(layer.clone(), with_token(&token))
        .await
        .is_let_through();
    // exp + leeway itself: RFC 7519 section 4.1.4, "on or after"
    for _ in 0..3 {
        tokio::time::advance(seconds(1)).await;
        let answer = world.send(layer.clone(), with_token(&token)).await;
        answer.is(401, Some("invalid_token"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_measured_by_the_same_bounds() {
    let world = World::new();
    for (past, good) in [(LEEWAY - 1, true), (LEEWAY, false), (LEEWAY + 1, false)] {
        let token = world.token().expires_at(world.clock.now() - seconds(past));
        let answer = world.ask(Requirement::login(), &token.sign()).await;
        assert_eq!(answer.status == 200, good, "{past}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_future_beyond_the_leeway_is_refused() {
    let world = World::new();
    let now = world
        .clock
        .now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for claim in ["nbf", "iat", "auth_time"] {
        for (ahead, good) in [(LEEWAY - 1, true), (LEEWAY, true), (LEEWAY + 1, false)] {
            let token = world.token().json_claim(claim, &(now + ahead).to_string());
            let answer = world.ask(Requirement::login(), &token.sign()).await;
            assert_eq!(answer.status == 200, good, "{claim} {ahead}: {answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_widened_without_leeway() {
    let world = World::new();
    let guard = Guard::new(world.verifier().leeway(Duration::ZERO));
    let layer = guard.require(Requirement::login());
    for (left, good) in [(1, true), (0, false)] {
        let token = world.token().expires_at(world.clock.now() + seconds(left));
        let answer = world.send(layer.clone(), with_token(&token.sign())).await;
        assert_eq!(answer.status == 200, good, "{left}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn max_age_is_exact_and_counts_on_while_the_token_is_cached() {
    let world = World::new();
    let layer = world
        .guard()
        .require(Requirement::login().max_age(seconds(300)));
    let token = world.token().sign();
    for (step, fresh) in [(0, true), (299, true), (1, true), (1, false), (1000, false)] {
        tokio::time::advance(seconds(step)).await;
        let answer = world.send(layer.clone(), with_token(&token)).await;
        assert_eq!(answer.status == 200, fresh, "{step}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_make_an_old_login_fresh() {
    let world = World::new();
    let login = world.clock.now();
    tokio::time::advance(seconds(3600)).await;
    // what a refresh gives: issued now, authenticated then
    let token = world.token().auth_time(login).sign();
    world
        .ask(Requirement::login().max_age(seconds(300)), &token)
        .await
        .is(401, Some("insufficient_user_authentication"));
}
