//! Demands that come in place of a token: one factor after the other.

use tower_mfa::{
    CodeRejection, Factor,
    testing::{Endpoint, Policy, Requirements, User},
};

use crate::harness::{RECOVERY_CODE, Reply, Stage, alice, with_totp};

fn with_many() -> User {
    with_totp()
        .sms("+15550100")
        .email("alice@example.com")
        .voice("+15550100")
        .recovery_code(RECOVERY_CODE)
}

fn factors(stage: &Stage) -> Vec<Factor> {
    let challenges = stage.person.challenges();
    challenges.iter().map(|asked| asked.factor()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_second_factor_in_a_chain_is_asked_for_too() {
    let policy = Policy::always()
        .factors(2)
        .requirements(Requirements::Challenge);
    let stage = Stage::build(with_totp().sms("+15550100"), |builder| {
        builder.policy(policy)
    });
    let answer = stage.send().await;
    let stepped_up = answer.accepted();
    assert_eq!(stepped_up.attempts(), 2);
    assert_eq!(stepped_up.factor(), Some(Factor::Sms));
    assert_eq!(factors(&stage), [Factor::Otp, Factor::Sms]);
    // one retry, whatever happened in between
    assert_eq!(stage.api.requests(), 2);

    let sent = stage.tap.sent_to("/oauth/token");
    assert_eq!(sent.len(), 2);
    assert_ne!(
        sent[0].parameter("mfa_token"),
        sent[1].parameter("mfa_token")
    );
}

#[tokio::test(start_paused = true)]
async fn the_requirement_of_each_link_is_met() {
    // the first demand names everything, the second only what is left
    let policy = Policy::always()
        .factors(2)
        .requirements(Requirements::Challenge);
    let stage = Stage::build(
        alice().email("alice@example.com").sms("+15550100"),
        |builder| builder.policy(policy),
    )
    .auth0(|auth0| auth0.prefer([Factor::Email]));
    stage.send().await.accepted();
    assert_eq!(factors(&stage), [Factor::Email, Factor::Sms]);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_says_nothing_is_met_by_a_factor_not_used_yet() {
    let stage = Stage::build(with_totp().sms("+15550100"), |builder| {
        builder.policy(Policy::always().factors(2))
    });
    stage.send().await.accepted();
    assert_eq!(factors(&stage), [Factor::Otp, Factor::Sms]);
}

#[tokio::test(start_paused = true)]
async fn three_further_demands_are_followed() {
    let stage = Stage::build(with_many(), |builder| {
        builder.policy(Policy::always().factors(4))
    });
    assert_eq!(stage.send().await.accepted().attempts(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_fourth_further_demand_is_too_many() {
    let stage = Stage::build(with_many(), |builder| {
        builder.policy(Policy::always().factors(5))
    });
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_chain_too_long(), "{error:?}");
    assert_eq!(stage.person.prompts(), 4);
    assert_eq!(stage.api.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_chained_demand_is_followed_whatever_its_status() {
    for status in [400, 401, 403, 200] {
        let policy = Policy::always().factors(2).status(status);
        let stage = Stage::build(with_totp().sms("+15550100"), |builder| {
            builder.policy(policy)
        });
        let layer = stage
            .layer()
            .statuses([http::StatusCode::from_u16(status).unwrap()]);
        let answer = stage.send_by(&layer).await;
        assert_eq!(answer.accepted().attempts(), 2, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_chained_demand_without_a_token_ends_the_step_up() {
    let stage = Stage::new(with_totp());
    stage.inject(Endpoint::Token, 403, r#"{"error":"mfa_required"}"#);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_missing_handle(), "{error:?}");
    assert_eq!(stage.count(Endpoint::Token), 1);
}

#[tokio::test(start_paused = true)]
async fn a_chained_demand_to_enroll_ends_the_step_up() {
    let stage = Stage::new(with_totp());
    stage.inject(
        Endpoint::Token,
        403,
        r#"{"error":"mfa_required","mfa_token":"test-mfa-token","mfa_requirements":{"enroll":[{"type":"phone"}]}}"#,
    );
    let answer = stage.send().await;
    assert!(answer.refused().is_enrollment_required());
    assert_eq!(stage.count(Endpoint::Token), 1);
}

#[tokio::test(start_paused = true)]
async fn all_links_share_the_attempts() {
    let stage = Stage::build(with_totp().sms("+15550100"), |builder| {
        builder.policy(Policy::always().factors(2))
    });
    stage.person.replies([
        Reply::Code("000000"),
        Reply::Code("000001"),
        Reply::Right,
        Reply::Code("none"),
    ]);
    let answer = stage.send().await;
    assert!(answer.refused().is_wrong_code());
    assert_eq!(
        factors(&stage),
        [Factor::Otp, Factor::Otp, Factor::Otp, Factor::Sms]
    );
    assert_eq!(stage.person.challenges()[3].attempts_left(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_accepted_code_leaves_no_rejection_to_the_next_link() {
    // the code before the second factor was right; that the one before it was wrong is over
    let stage = Stage::build(with_totp().sms("+15550100"), |builder| {
        builder.policy(Policy::always().factors(2))
    });
    stage.person.replies([Reply::Code("000000"), Reply::Right]);
    stage.send().await.accepted();
    let asked = stage.person.challenges();
    assert_eq!(asked[1].last_rejection(), Some(CodeRejection::Wrong));
    assert_eq!(asked[2].factor(), Factor::Sms);
    assert_eq!(asked[2].last_rejection(), None);
}
