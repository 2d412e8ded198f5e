//! The answers, as the grammar has them and as an independent reader reads them.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::json;
use tower_mfa::guard::{MfaRequired, Reason, Requirement};

use crate::harness::{MULTI_FACTOR, World, with_authorization, with_token};

fn demanding() -> Requirement {
    Requirement::mfa().max_age(Duration::from_secs(300))
}

#[tokio::test(start_paused = true)]
async fn a_step_up_challenge_says_the_same_in_header_and_body() {
    let world = World::new();
    let answer = world.ask(demanding(), &world.token().sign()).await;
    assert_eq!(
        answer.challenge_text(),
        format!(
            "Bearer error=\"insufficient_user_authentication\", \
             error_description=\"A stronger authentication is needed\", \
             acr_values=\"{MULTI_FACTOR}\", max_age=\"300\""
        )
    );
    assert_eq!(
        answer.json(),
        json!({
            "error": "insufficient_user_authentication",
            "error_description": "A stronger authentication is needed",
            "acr_values": MULTI_FACTOR,
            "max_age": 300,
        })
    );
    assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json");
}

#[tokio::test(start_paused = true)]
async fn without_credentials_the_scheme_stands_alone_and_nobody_learns_what_is_demanded() {
    let world = World::new();
    let layer = world.guard().require(demanding());
    let answer = world.send(layer, Request::new(Full::default())).await;
    answer.is(401, None);
    assert_eq!(answer.challenge_text(), "Bearer");
    assert_eq!(answer.text, "");
    assert!(answer.headers.get(CONTENT_TYPE).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_bad_token_learns_nothing_of_what_is_demanded() {
    let world = World::new();
    for token in ["a.b.c".to_owned(), world.token().audience("other").sign()] {
        let answer = world.ask(demanding(), &token).await;
        answer.is(401, Some("invalid_token"));
        assert!(answer.challenge().parameter("acr_values").is_none());
        assert!(answer.challenge().parameter("max_age").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn two_authorizations_or_a_malformed_one_are_an_invalid_request() {
    let world = World::new();
    let token = world.token().sign();
    let mut twice = with_token(&token);
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    twice.headers_mut().append(AUTHORIZATION, value);
    let requests = [
        twice,
        with_authorization("Bearer"),
        with_authorization("Bearer a b"),
        with_authorization(&format!("Bearer {token},{token}")),
        with_authorization(&format!("Bearer \"{token}\"")),
    ];
    for request in requests {
        let layer = world.guard().require(Requirement::login());
        world
            .send(layer, request)
            .await
            .is(400, Some("invalid_request"));
    }
    assert_eq!(world.reached(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_anywhere_else_is_not_seen() {
    let world = World::new();
    let token = world.token().sign();
    let layer = world.guard().require(Requirement::login());
    let body = Full::from(Bytes::from(format!("access_token={token}")));
    let request = Request::post(format!("/?access_token={token}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("cookie", format!("access_token={token}"))
        .header("x-authorization", format!("Bearer {token}"))
        .body(body)
        .unwrap();
    world.send(layer, request).await.is(401, None);
}

#[tokio::test(start_paused = true)]
async fn realm_metadata_and_members_are_in_every_answer() {
    let world = World::new();
    let guard = world
        .guard()
        .realm("the \"test\" bank")
        .unwrap()
        .resource_metadata(
            &"https://api.example.com/.well-known/oauth-protected-resource"
                .parse()
                .unwrap(),
        )
        .unwrap()
        .member("hint", "call, or write")
        .unwrap();
    let requests = [
        Request::new(Full::default()),
        with_token("a.b.c"),
        with_token(&world.token().sign()),
    ];
    for request in requests {
        let answer = world.send(guard.require(demanding()), request).await;
        let challenge = answer.challenge();
        assert_eq!(challenge.parameter("realm"), Some("the \"test\" bank"));
        assert_eq!(challenge.parameter("hint"), Some("call, or write"));
        assert_eq!(
            challenge.parameter("resource_metadata"),
            Some("https://api.example.com/.well-known/oauth-protected-resource")
        );
        assert_eq!(answer.json()["hint"], "call, or write");
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_header_can_carry_is_an_error_when_it_is_configured() {
    let world = World::new();
    assert!(world.guard().realm("a\r\nb").is_err());
    assert!(world.guard().member("a b", "c").is_err());
    assert!(world.guard().member("a", "b\nc").is_err());
    for taken in ["error", "Scope", "ACR_VALUES"] {
        assert!(world.guard().member(taken, "x").is_err(), "{taken}");
    }
    let once = world.guard().member("a", "b").unwrap();
    assert!(once.member("A", "c").is_err());
}

#[tokio::test(start_paused = true)]
async fn an_independent_reader_reads_the_same() {
    let world = World::new();
    let guard = world.guard().realm("a, \"b\" \\ c").unwrap();
    let answer = world
        .send(
            guard.require(demanding()),
            with_token(&world.token().sign()),
        )
        .await;
    let text = answer.challenge_text();
    let read = http_auth::parse_challenges(text).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].scheme, "Bearer");
    let theirs: Vec<(String, String)> = read[0]
        .params
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_unescaped()))
        .collect();
    let ours: Vec<(String, String)> = answer
        .challenge()
        .parameters()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(theirs, ours);
    assert_eq!(ours.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn mfa_required_is_relayed_in_the_body_of_a_step_up_only() {
    let world = World::new();
    let guard = world
        .guard()
        .relay_mfa_required(|token, shortfall| async move {
            assert!(token.subject().is_some());
            (shortfall.reason() == Reason::Weak && shortfall.max_age().is_some())
                .then(|| MfaRequired::new("test-handle"))
        });
    let weak = world
        .send(
            guard.require(demanding()),
            with_token(&world.token().sign()),
        )
        .await;
    weak.is(401, Some("insufficient_user_authentication"));
    assert_eq!(weak.json()["error"], "mfa_required");
    assert_eq!(weak.json()["mfa_token"], "test-handle");

    let narrow = Requirement::login().scopes_all_of(["admin"]).unwrap();
    let narrow = world
        .send(guard.require(narrow), with_token(&world.token().sign()))
        .await;
    assert_eq!(narrow.json()["error"], "insufficient_scope");

    let bad = world
        .send(guard.require(demanding()), with_token("a.b.c"))
        .await;
    assert_eq!(bad.json()["error"], "invalid_token");
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_hangs_is_given_up_after_ten_seconds() {
    let world = World::new();
    let guard = world
        .guard()
        .relay_mfa_required(|_, _| std::future::pending::<Option<MfaRequired>>());
    let begin = tokio::time::Instant::now();
    let answer = world
        .send(
            guard.require(demanding()),
            with_token(&world.token().sign()),
        )
        .await;
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
    assert_eq!(answer.json()["error"], "insufficient_user_authentication");
}

#[tokio::test(start_paused = true)]
async fn no_answer_and_no_debug_output_contains_the_token() {
    let world = World::new();
    let token = world.token().sign();
    let answer = world.ask(demanding(), &token).await;
    let signature = token.rsplit('.').next().unwrap();
    assert!(!format!("{answer:?}").contains(signature));
    assert!(answer.headers.get(WWW_AUTHENTICATE).is_some());
    let verified = world.verifier().verify(&token).await.unwrap();
    let shown = format!(
        "{verified:?} {:?} {:?}",
        world.guard(),
        world.guard().require(demanding())
    );
    assert!(
        !shown.contains(signature) && !shown.contains(verified.subject().unwrap()),
        "{shown}"
    );
}
