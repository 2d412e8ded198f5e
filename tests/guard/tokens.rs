//! What a handler learns of a token, and where verification is shared.

use std::time::Duration;

use tower_mfa::guard::{Extracted, Reason, Requirement, TokenType, VerifiedToken};
use tower_mfa::testing::Endpoint;
use tower_mfa::time::Clock;

use crate::harness::{AUDIENCE, ISSUER, World, with_token};

#[tokio::test(start_paused = true)]
async fn a_handler_gets_the_claims() {
    let world = World::new();
    let now = world.clock.now();
    let token = world
        .token()
        .scope("openid transfer:funds")
        .acr("high")
        .amr(["pwd", "otp"])
        .json_claim("https://api.example.com/limit", r#"{"eur":500}"#)
        .sign();
    let token = world.verifier().verify(&token).await.unwrap();
    assert_eq!(token.issuer(), ISSUER);
    assert!(token.subject().unwrap().contains("alice"));
    assert_eq!(token.audience().collect::<Vec<_>>(), [AUDIENCE]);
    assert_eq!(token.client_id(), Some("example-client"));
    assert_eq!(
        token.scopes().collect::<Vec<_>>(),
        ["openid", "transfer:funds"]
    );
    assert!(token.has_scope("transfer:funds") && !token.has_scope("transfer"));
    assert_eq!(token.acr().collect::<Vec<_>>(), ["high"]);
    assert_eq!(token.amr().collect::<Vec<_>>(), ["pwd", "otp"]);
    assert_eq!(token.auth_time(), Some(now));
    assert_eq!(token.issued_at(), Some(now));
    assert_eq!(token.expires_at(), now + Duration::from_secs(86_400));
    assert!(token.id().is_some());
    assert_eq!(
        token.claim_json("https://api.example.com/limit"),
        Some(r#"{"eur":500}"#)
    );
    assert_eq!(token.claim_json("absent"), None);
    let all: serde_json::Value = serde_json::from_str(token.claims_json()).unwrap();
    assert_eq!(all["iss"], ISSUER);
}

#[tokio::test(start_paused = true)]
async fn the_claims_are_in_the_extensions_of_a_request_that_is_let_through() {
    let world = World::new();
    let token = world.token().sign();
    let answer = world.ask(Requirement::login(), &token).await;
    assert!(answer.text.contains("alice"), "{answer:?}");
    let layer = world
        .guard()
        .insert_token(false)
        .require(Requirement::login());
    assert_eq!(world.send(layer, with_token(&token)).await.text, "nobody");
}

#[tokio::test(start_paused = true)]
async fn an_id_token_is_no_access_token() {
    let world = World::new();
    for typ in ["JWT", "logout+jwt", "dpop+jwt", "secevent+jwt", ""] {
        let token = world.token().typ(typ).sign();
        assert_eq!(
            world.verifier().verify(&token).await.err(),
            Some(Reason::WrongType),
            "{typ}"
        );
    }
    let lenient = world.verifier().token_type(TokenType::Jwt);
    assert!(
        lenient
            .verify(&world.token().typ("JWT").sign())
            .await
            .is_ok()
    );
    assert!(
        lenient
            .verify(&world.token().typ("dpop+jwt").sign())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn an_extractor_reads_an_issuers_own_claims() {
    let world = World::new();
    let verifier = world.verifier().extract(tower_mfa::guard::extract::aal);
    let guard = tower_mfa::guard::Guard::new(verifier);
    let requirement = Requirement::login()
        .acr_at_least("aal2", ["aal1", "aal2", "aal3"])
        .unwrap();
    for (aal, strong) in [
        ("aal1", false),
        ("aal2", true),
        ("aal3", true),
        ("aal9", false),
    ] {
        let token = world.token().claim("aal", aal).sign();
        let answer = world
            .send(guard.require(requirement.clone()), with_token(&token))
            .await;
        assert_eq!(answer.status == 200, strong, "{aal}: {answer:?}");
    }
    let none = world
        .verifier()
        .extract(|_: &VerifiedToken| Extracted::new());
    assert!(none.verify(&world.token().sign()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn routes_share_keys_and_differ_in_policy() {
    let world = World::new();
    let guard = world.guard();
    let login = guard.require(Requirement::login());
    let mfa = guard.require(Requirement::mfa());
    let token = world.token().sign();
    for _ in 0..10 {
        world
            .send(login.clone(), with_token(&token))
            .await
            .is_let_through();
        assert_eq!(
            world.send(mfa.clone(), with_token(&token)).await.status,
            401
        );
    }
    assert_eq!(world.server.calls().count(Endpoint::Jwks), 1);
}
