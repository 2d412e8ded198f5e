//! What a step-up brings: the token of the retry, and everything that must not be lost.

use tower_mfa::{
    Factor, SteppedUp,
    testing::{Endpoint, Policy},
};

use crate::harness::{
    RECOVERY_CODE, REQUEST_BODY, ScriptedApi, Stage, alice, json_response, seconds, with_totp,
};

/// A tenant whose step-up gives a refresh token.
fn offline() -> Policy {
    Policy::for_scope("offline_access")
}

#[tokio::test(start_paused = true)]
async fn the_retry_carries_the_new_token_and_the_same_body() {
    let stage = Stage::new(with_totp());
    let answer = stage.send().await;
    let tokens = answer.accepted().tokens().unwrap();
    assert_eq!(answer.body["method"], "POST");
    assert_eq!(answer.body["path"], "/transfer?id=7");
    assert_eq!(answer.body["sub"], "auth0|alice");
    assert_eq!(stage.api.accepted(), 1);
    assert_eq!(stage.api.bodies(), [REQUEST_BODY, REQUEST_BODY]);
    let claims = stage.server.verify(tokens.access_token().expose()).unwrap();
    assert_eq!(claims.sub(), "auth0|alice");
    assert!(claims.amr().contains(&"mfa"));
}

#[tokio::test(start_paused = true)]
async fn the_old_token_is_overwritten_not_added_to() {
    let stage = Stage::new(with_totp());
    let api = ScriptedApi::new([Some(stage.server.demand("alice", crate::harness::CLIENT))]);
    let answer = stage.send_to(api.clone()).await;
    let stepped_up = answer.stepped_up.unwrap();
    let [(first, body), (second, again)] = &api.requests()[..] else {
        panic!("there are two attempts");
    };
    assert_eq!(body, again);
    let values: Vec<_> = second.get_all("authorization").iter().collect();
    let token = stepped_up.tokens().unwrap().access_token().expose();
    assert_eq!(values, [format!("Bearer {token}").as_str()]);
    assert!(values[0].is_sensitive());
    assert_ne!(first["authorization"], second["authorization"]);
    assert_eq!(first["content-type"], second["content-type"]);
    assert_eq!(first.len(), second.len());
}

#[tokio::test(start_paused = true)]
async fn what_was_issued_is_in_the_response() {
    let stage = Stage::build(with_totp(), |builder| builder.policy(offline()));
    let answer = stage.send().await;
    let stepped_up = answer.accepted();
    assert_eq!(stepped_up.factor(), Some(Factor::Otp));
    assert_eq!(stepped_up.attempts(), 1);
    assert!(stepped_up.recovery_code().is_none());
    let tokens = stepped_up.tokens().unwrap();
    assert!(tokens.refresh_token().is_some());
    assert!(tokens.id_token().is_some());
    assert_eq!(tokens.scope(), Some("openid profile offline_access"));
    assert_eq!(
        tokens.access_token().expires_at(),
        Some(stage.start + seconds(86_400))
    );
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_and_a_recovery_code_are_told_before_the_retry() {
    let user = alice().recovery_code(RECOVERY_CODE);
    let stage = Stage::build(user, |builder| builder.policy(offline()));
    let answer = stage.send().await;
    let stepped_up = answer.accepted();
    let told = stage.told();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].name, told[0].api_requests), ("started", 1));
    // one request was made: the retry comes after
    assert_eq!((told[1].name, told[1].api_requests), ("succeeded", 1));
    let refresh_token = told[1].refresh_token.as_deref().unwrap();
    let recovery_code = told[1].recovery_code.as_deref().unwrap();
    assert_eq!(
        stepped_up
            .tokens()
            .unwrap()
            .refresh_token()
            .unwrap()
            .expose(),
        refresh_token
    );
    assert_eq!(stepped_up.recovery_code().unwrap().expose(), recovery_code);
    assert_eq!(stage.server.recovery_code("alice").unwrap(), recovery_code);
    assert_eq!(stage.person.recovery_codes(), [recovery_code]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_retry_fails() {
    let user = alice().recovery_code(RECOVERY_CODE);
    let stage = Stage::build(user, |builder| builder.policy(offline()));
    let demand = stage.server.demand("alice", crate::harness::CLIENT);
    let api = ScriptedApi::new([Some(demand), None]);
    let sent = tower::ServiceExt::oneshot(
        tower::Layer::layer(&stage.layer(), api.clone()),
        stage.request(),
    );
    let error = sent.await.unwrap_err();
    assert_eq!(error.to_string(), "the service failed");
    assert_eq!(api.requests().len(), 2);
    let told = stage.told();
    assert_eq!(told.len(), 2);
    assert!(told[1].refresh_token.is_some());
    assert_eq!(told[1].recovery_code, stage.server.recovery_code("alice"));
    assert_eq!(stage.person.recovery_codes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_refused_tells_what_was_issued() {
    let stage = Stage::build(with_totp(), |builder| builder.policy(offline()));
    let demand = stage.server.demand("alice", crate::harness::CLIENT);
    let api = ScriptedApi::new([Some(demand), Some(json_response(500, "{}"))]);
    let answer = stage.send_to(api).await;
    assert_eq!(answer.status, 500);
    assert!(answer.error.is_none());
    let tokens = answer.stepped_up.unwrap();
    assert!(tokens.tokens().unwrap().refresh_token().is_some());
}

#[tokio::test(start_paused = true)]
async fn each_request_is_stepped_up_by_its_own_token() {
    // without a store nothing is remembered
    let stage = Stage::new(alice().sms("+15550100"));
    let layer = stage.layer();
    let token = |stepped_up: &SteppedUp| {
        let tokens = stepped_up.tokens().unwrap();
        tokens.access_token().expose().to_owned()
    };
    let first = token(stage.send_by(&layer).await.accepted());
    let second = token(stage.send_by(&layer).await.accepted());
    assert_ne!(first, second);
    assert_eq!(stage.count(Endpoint::Challenge), 2);
}
