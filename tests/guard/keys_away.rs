//! While keys cannot be fetched nothing is let through that was not known before, and it recovers by itself.

use std::time::Duration;

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use tower_mfa::guard::Requirement;
use tower_mfa::testing::{Endpoint, Fault};

use crate::harness::{World, with_token};

#[tokio::test(start_paused = true)]
async fn a_start_with_the_issuer_down_is_503_with_retry_after_and_recovers() {
    let world = World::new();
    world
        .server
        .inject(Endpoint::Configuration, Fault::status(500).times(5));
    let layer = world.guard().require(Requirement::login());
    let token = world.token().sign();
    for _ in 0..5 {
        let answer = world.send(layer.clone(), with_token(&token)).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["error"], "temporarily_unavailable");
        assert!(answer.headers.get(WWW_AUTHENTICATE).is_none());
        let wait: u64 = answer.headers[RETRY_AFTER]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
        // who keeps to it does not come in vain
        tokio::time::advance(Duration::from_secs(wait)).await;
    }
    world.send(layer, with_token(&token)).await.is_let_through();
    assert_eq!(world.reached(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_bad_token_is_refused_without_asking_for_keys() {
    let world = World::new();
    let layer = world.guard().require(Requirement::login());
    for token in [
        "a.b.c".to_owned(),
        world.token().audience("other").sign(),
        world.token().claim("iss", "other").sign(),
    ] {
        world
            .send(layer.clone(), with_token(&token))
            .await
            .is(401, Some("invalid_token"));
    }
    assert_eq!(world.server.calls().count(Endpoint::Configuration), 0);
}
