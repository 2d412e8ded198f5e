//! Demands that are not met: nobody wants to, nobody can, or there is nothing to go on.

use std::error::Error as _;

use tower_mfa::{
    CodeError, Factor,
    testing::{Demanding, Endpoint, Policy, Requirements},
};

use crate::harness::{Reply, ScriptedApi, Stage, alice, seconds, send, with_totp};

#[tokio::test(start_paused = true)]
async fn a_user_who_declines_gets_the_original_refusal() {
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Error(CodeError::Declined)]);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_declined(), "{error:?}");
    assert!(answer.body["mfa_token"].is_string());
    assert_eq!(stage.person.prompts(), 1);
    assert_eq!(stage.count(Endpoint::Token), 0);
    assert_eq!(stage.api.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_not_interactive() {
    let stage = Stage::new(with_totp());
    stage
        .person
        .replies([Reply::Error(CodeError::NotInteractive)]);
    assert!(stage.send().await.refused().is_not_interactive());
}

#[tokio::test(start_paused = true)]
async fn a_providers_own_error_is_kept_as_the_source() {
    let stage = Stage::new(with_totp());
    stage
        .person
        .replies([Reply::Error(CodeError::other("the terminal is gone"))]);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_code_provider(), "{error:?}");
    assert_eq!(error.source().unwrap().to_string(), "the terminal is gone");
}

#[tokio::test(start_paused = true)]
async fn a_demand_without_a_token_asks_nobody() {
    let policy = Policy::always().without_token();
    let stage = Stage::build(with_totp(), |builder| builder.policy(policy));
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_missing_handle(), "{error:?}");
    assert_eq!(stage.person.prompts(), 0);
    assert!(stage.server.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_demand_by_code_without_a_token_asks_nobody() {
    let stage = Stage::new(with_totp());
    let api = stage.api.clone().demanding(Demanding::Code);
    let answer = send(&stage.layer(), api, stage.request()).await;
    assert!(answer.refused().is_missing_handle());
    assert_eq!(answer.body["error"], "MFA required");
    assert!(stage.server.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_demand_by_code_with_a_token_is_met() {
    let stage = Stage::new(with_totp());
    let demand = stage.server.demand("alice", crate::harness::CLIENT);
    let demand: serde_json::Value = serde_json::from_str(&demand.body().text()).unwrap();
    let api = ScriptedApi::refusing(format!(
        r#"{{"error":"MFA required","code":"mfa_required","mfa_token":{}}}"#,
        demand["mfa_token"]
    ));
    let answer = stage.send_to(api.clone()).await;
    assert!(answer.stepped_up.is_some(), "{:?}", answer.error);
    assert_eq!(api.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_demand_to_enroll_makes_no_call() {
    let policy = Policy::always().requirements(Requirements::Enroll);
    let stage = Stage::build(with_totp(), |builder| builder.policy(policy));
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_enrollment_required(), "{error:?}");
    assert_eq!(stage.person.prompts(), 0);
    assert!(stage.server.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_demand_of_unknown_types_only_names_them_and_makes_no_call() {
    let stage = Stage::new(with_totp());
    let api = ScriptedApi::refusing(
        r#"{"error":"mfa_required","mfa_token":"test-mfa-token","mfa_requirements":{"challenge":[{"type":"webauthn-roaming"},{"type":"duo"}]}}"#,
    );
    let answer = stage.send_to(api).await;
    let error = answer.refused();
    assert!(error.is_unsupported_factor(), "{error:?}");
    assert!(
        error.to_string().contains("webauthn-roaming, duo"),
        "{error}"
    );
    assert!(stage.server.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_the_factor_asks_nobody() {
    let stage = Stage::new(with_totp());
    stage.person.has([Factor::Sms]);
    let answer = stage.send().await;
    assert!(answer.refused().is_unsupported_factor());
    assert_eq!(stage.counts(), (1, 0, 0));
    assert_eq!(stage.person.prompts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_user_without_authenticators_has_to_enroll() {
    for user in [alice(), with_totp().inactive()] {
        let stage = Stage::new(user);
        let answer = stage.send().await;
        let error = answer.refused();
        assert!(error.is_enrollment_required(), "{error:?}");
        assert_eq!(stage.counts(), (1, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_may_say_that_the_user_has_to_enroll() {
    for (status, json) in [
        (400, r#"{"error":"association_required"}"#),
        (
            401,
            r#"{"error":"unsupported_challenge_type","error_description":"User is not enrolled. You can use /mfa/associate endpoint to enroll the first authenticator."}"#,
        ),
    ] {
        let stage = Stage::new(with_totp());
        stage.inject(Endpoint::Challenge, status, json);
        let answer = stage.send().await;
        let error = answer.refused();
        assert!(error.is_enrollment_required(), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_demand_goes_to_the_caller() {
    let stage = Stage::new(with_totp());
    let demand = || Some(stage.server.demand("alice", crate::harness::CLIENT));
    let api = ScriptedApi::new([demand(), demand(), demand()]);
    let answer = stage.send_to(api.clone()).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.body["error"], "mfa_required");
    assert_eq!(api.requests().len(), 2);
    assert_eq!(stage.person.prompts(), 1);
    // it is the second one, of a request that was stepped up
    let sent = stage.tap.sent_to("/oauth/token");
    assert_ne!(
        answer.body["mfa_token"],
        sent[0].parameter("mfa_token").unwrap()
    );
    assert!(answer.stepped_up.is_some());
    assert!(answer.error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_person_who_says_nothing_runs_into_the_deadline() {
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Never]);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(stage.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_a_setting() {
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Late(seconds(20))]);
    let layer = stage.layer().deadline(seconds(10));
    assert!(stage.send_by(&layer).await.refused().is_timeout());
    assert_eq!(stage.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn other_refusals_are_no_demands() {
    for json in [
        r#"{"error":"access_denied","error_description":"mfa_required"}"#,
        r#"{"error":"insufficient_scope"}"#,
        r#"{"message":"mfa_required"}"#,
        r#"{"error":"mfa_required""#,
        "",
    ] {
        let stage = Stage::new(with_totp());
        let api = ScriptedApi::refusing(json);
        let answer = stage.send_to(api.clone()).await;
        assert_eq!(answer.status, 403);
        assert!(answer.error.is_none());
        assert_eq!(api.requests().len(), 1);
        assert!(stage.told().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_once() {
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Error(CodeError::Declined)]);
    stage.send().await.refused();
    let told: Vec<_> = stage
        .told()
        .iter()
        .map(|told| (told.name, told.outcome))
        .collect();
    assert_eq!(told, [("started", ""), ("failed", "declined")]);
}
