//! Which factor is taken, by which authenticator, and when the user's list is asked for.

use tower_mfa::{
    Factor,
    testing::{Endpoint, Policy, Requirements, User},
};

use crate::harness::{RECOVERY_CODE, ScriptedApi, Stage, alice, json_response, with_totp};

/// A demand of a live transaction, whose requirements are these.
fn demand(stage: &Stage, requirements: &str) -> ScriptedApi {
    let demand = stage.server.demand("alice", crate::harness::CLIENT);
    let mut demand: serde_json::Value = serde_json::from_str(&demand.body().text()).unwrap();
    demand["mfa_requirements"] = serde_json::from_str(requirements).unwrap();
    ScriptedApi::refusing(demand.to_string())
}

/// Meets a demand with these requirements and says which factor did it.
async fn met(stage: &Stage, requirements: &str) -> Option<Factor> {
    let answer = stage.send_to(demand(stage, requirements)).await;
    assert!(answer.error.is_none(), "{:?}", answer.error);
    answer.stepped_up.unwrap().factor()
}

fn with_all() -> User {
    alice()
        .recovery_code(RECOVERY_CODE)
        .voice("+15550101")
        .email("alice@example.com")
        .sms("+15550100")
        .push("example-phone")
        .totp(crate::harness::TOTP_SECRET)
}

fn stage_with_all() -> Stage {
    let stage = Stage::new(with_all());
    stage.server.push().approve_after("alice", 0);
    stage
}

#[tokio::test(start_paused = true)]
async fn the_cheapest_factor_is_taken_first() {
    let order = [
        Factor::Otp,
        Factor::Push,
        Factor::Sms,
        Factor::Email,
        Factor::Voice,
        Factor::RecoveryCode,
    ];
    for place in 0..order.len() {
        let stage = stage_with_all();
        stage.person.has(&order[place..]);
        let answer = stage.send().await;
        assert_eq!(answer.accepted().factor(), Some(order[place]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_preferred_factor_comes_first() {
    for factor in [Factor::Email, Factor::Voice, Factor::RecoveryCode] {
        let stage = stage_with_all().auth0(|auth0| auth0.prefer([factor]));
        assert_eq!(stage.send().await.accepted().factor(), Some(factor));
    }
}

#[tokio::test(start_paused = true)]
async fn a_preference_for_what_is_not_enrolled_changes_nothing() {
    let stage = Stage::new(with_totp()).auth0(|auth0| auth0.prefer([Factor::Sms, Factor::Push]));
    assert_eq!(stage.send().await.accepted().factor(), Some(Factor::Otp));
}

#[tokio::test(start_paused = true)]
async fn every_name_of_a_factor_type_is_understood() {
    for (kind, factor) in [
        ("otp", Factor::Otp),
        ("totp", Factor::Otp),
        ("push", Factor::Push),
        ("push-notification", Factor::Push),
        ("auth0", Factor::Push),
        ("phone", Factor::Sms),
        ("sms", Factor::Sms),
        ("voice", Factor::Voice),
        ("email", Factor::Email),
        ("oob", Factor::Push),
        ("recovery-code", Factor::RecoveryCode),
    ] {
        let user = match factor {
            // where the demand names one channel the list is not asked for, and the server takes the first that fits
            Factor::Voice => alice().voice("+15550101"),
            Factor::Email => alice().email("alice@example.com"),
            Factor::Sms => alice().sms("+15550100"),
            Factor::Push => alice().push("example-phone"),
            _ => with_all(),
        };
        let stage = Stage::new(user);
        stage.server.push().approve_after("alice", 0);
        let requirements = format!(r#"{{"challenge":[{{"type":"{kind}"}}]}}"#);
        assert_eq!(met(&stage, &requirements).await, Some(factor), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn phone_is_voice_where_there_is_no_text_message() {
    let stage = Stage::new(alice().push("example-phone").voice("+15550101"));
    let requirements = r#"{"challenge":[{"type":"phone"}]}"#;
    assert_eq!(met(&stage, requirements).await, Some(Factor::Voice));
}

#[tokio::test(start_paused = true)]
async fn a_factor_that_is_not_required_is_not_taken() {
    let stage = stage_with_all();
    let requirements = r#"{"challenge":[{"type":"email"},{"type":"phone"}]}"#;
    assert_eq!(met(&stage, requirements).await, Some(Factor::Sms));
}

#[tokio::test(start_paused = true)]
async fn unknown_types_beside_known_ones_are_left_out() {
    let stage = stage_with_all();
    let requirements = r#"{"challenge":[{"type":"webauthn-roaming"},{"type":"otp"},{}, 7, null]}"#;
    assert_eq!(met(&stage, requirements).await, Some(Factor::Otp));
}

#[tokio::test(start_paused = true)]
async fn the_list_is_asked_for_only_when_it_can_change_something() {
    const SEVERAL: Option<&[Factor]> = None;
    const OTP: Option<&[Factor]> = Some(&[Factor::Otp]);
    const RECOVERY: Option<&[Factor]> = Some(&[Factor::RecoveryCode]);
    const SMS: Option<&[Factor]> = Some(&[Factor::Sms]);
    for (requirements, has, lists) in [
        // open, and the provider has one kind of code, which is not sent by any channel
        ("{}", OTP, 0),
        ("{}", RECOVERY, 0),
        // open, and there is a choice
        ("{}", SEVERAL, 1),
        // open, and `oob` alone would not say which channel
        ("{}", SMS, 1),
        (r#"{"challenge":[{"type":"otp"}]}"#, SEVERAL, 0),
        // text message or call
        (r#"{"challenge":[{"type":"phone"}]}"#, SEVERAL, 1),
        (r#"{"challenge":[{"type":"sms"}]}"#, SEVERAL, 0),
        (
            r#"{"challenge":[{"type":"push-notification"}]}"#,
            SEVERAL,
            0,
        ),
        (r#"{"challenge":[{"type":"email"}]}"#, SEVERAL, 0),
        (r#"{"challenge":[{"type":"recovery-code"}]}"#, SEVERAL, 0),
        (r#"{"challenge_types":["otp","oob"]}"#, SEVERAL, 0),
        (r#"{"challenge_types":["oob"]}"#, SEVERAL, 1),
    ] {
        // in this order, so that the server's own choice is the one that is required
        let user = if requirements.contains("email") {
            alice().email("alice@example.com")
        } else if requirements.contains("push") {
            alice().push("example-phone")
        } else {
            with_totp().sms("+15550100").recovery_code(RECOVERY_CODE)
        };
        let stage = Stage::new(user);
        stage.server.push().approve_after("alice", 0);
        if let Some(factors) = has {
            stage.person.has(factors);
        }
        met(&stage, requirements).await;
        let seen = stage.count(Endpoint::Authenticators);
        assert_eq!(seen, lists, "{requirements} {has:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_wants_to_choose_gets_the_list() {
    let stage = stage_with_all();
    stage.person.chooses(0);
    met(&stage, r#"{"challenge":[{"type":"otp"}]}"#).await;
    assert_eq!(stage.count(Endpoint::Authenticators), 1);
    // there was one, so there was no choice
    assert!(stage.person.offered().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_authenticator_that_was_chosen_is_challenged() {
    let stage = Stage::new(
        alice()
            .sms("+15550100")
            .email("alice@example.com")
            .sms("+15550102")
            .totp(crate::harness::TOTP_SECRET),
    );
    stage.person.chooses(2);
    let answer = stage.send().await;
    assert_eq!(answer.accepted().factor(), Some(Factor::Sms));

    let offered = &stage.person.offered()[0];
    let kinds: Vec<_> = offered.iter().map(|one| one.factor()).collect();
    assert_eq!(
        kinds,
        [Factor::Otp, Factor::Sms, Factor::Sms, Factor::Email]
    );
    assert_eq!(offered[2].name(), Some("XXXXX0102"));
    let challenge = &stage.tap.sent_to("/mfa/challenge")[0];
    assert_eq!(
        challenge.parameter("authenticator_id").unwrap(),
        offered[2].id()
    );
    assert_eq!(stage.server.outbox().count("+15550102"), 1);
    assert_eq!(stage.server.outbox().count("+15550100"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_choice_outside_the_list_is_the_providers_error() {
    let stage = stage_with_all();
    stage.person.chooses(6);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_code_provider(), "{error:?}");
    assert_eq!(stage.counts(), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_cannot_answer_is_not_offered() {
    let stage = stage_with_all();
    stage.person.has([Factor::Email, Factor::Voice]);
    stage.person.chooses(1);
    assert_eq!(stage.send().await.accepted().factor(), Some(Factor::Voice));
    assert_eq!(stage.person.offered()[0].len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_authenticator_is_never_challenged() {
    let stage = Stage::new(with_totp().inactive().sms("+15550100"));
    stage.person.chooses(0);
    assert_eq!(stage.send().await.accepted().factor(), Some(Factor::Sms));
    assert!(stage.person.offered().is_empty());
    assert_eq!(stage.count(Endpoint::Challenge), 1);
}

#[tokio::test(start_paused = true)]
async fn channels_in_a_list_are_understood() {
    let policy = Policy::always().oob_channels_as_list();
    let stage = Stage::build(alice().email("alice@example.com"), |builder| {
        builder.policy(policy)
    });
    assert_eq!(stage.send().await.accepted().factor(), Some(Factor::Email));
}

#[tokio::test(start_paused = true)]
async fn a_factor_that_is_unavailable_gives_way_to_the_next() {
    let stage = Stage::new(with_totp().sms("+15550100"));
    stage.inject(
        Endpoint::Challenge,
        401,
        r#"{"error":"unsupported_challenge_type","error_description":"User is not enrolled with google-authenticator"}"#,
    );
    assert_eq!(stage.send().await.accepted().factor(), Some(Factor::Sms));
    let kinds: Vec<_> = stage
        .tap
        .sent_to("/mfa/challenge")
        .iter()
        .map(|sent| sent.parameter("challenge_type").unwrap())
        .collect();
    // a fixed `oob` locks users of authenticator apps out: Auth0.swift issue 1262
    assert_eq!(kinds, ["otp", "oob"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_factor_is_the_one_that_the_user_has() {
    // `otp` comes first and needs no list. When it turned out that the user has none, `oob` alone did not say which channel
    // the server takes: first the provider was told of a push while a text message was on its way, then users without an
    // authenticator app could not step up at all
    let policy = Policy::always().requirements(Requirements::ChallengeTypes);
    let stage = Stage::build(alice().sms("+15550100"), |builder| builder.policy(policy));
    let answer = stage.send().await;
    assert_eq!(stage.person.challenges()[0].factor(), Factor::Sms);
    assert_eq!(
        stage.person.challenges()[0].destination(),
        Some("XXXXX0100")
    );
    assert_eq!(answer.accepted().factor(), Some(Factor::Sms));
}

#[tokio::test(start_paused = true)]
async fn the_next_factor_is_one_that_the_provider_has() {
    let policy = Policy::always().requirements(Requirements::ChallengeTypes);
    let user = alice().push("example-phone").email("alice@example.com");
    let stage = Stage::build(user, |builder| builder.policy(policy));
    stage.person.has([Factor::Otp, Factor::Email]);
    let answer = stage.send().await;
    assert_eq!(answer.accepted().factor(), Some(Factor::Email));
    assert_eq!(stage.server.push().pending("alice"), 0);
}

#[tokio::test(start_paused = true)]
async fn factors_that_are_all_unavailable_are_unsupported() {
    let stage = Stage::new(with_totp().sms("+15550100"));
    stage.server.inject(
        Endpoint::Challenge,
        crate::harness::json_fault(401, r#"{"error":"unsupported_challenge_type"}"#).forever(),
    );
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_unsupported_factor(), "{error:?}");
    assert_eq!(stage.person.prompts(), 0);
    assert_eq!(stage.counts(), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_recovery_code_that_the_user_does_not_have_gives_way_to_the_next_factor() {
    let stage = Stage::new(alice().sms("+15550100"))
        .auth0(|auth0| auth0.prefer([Factor::RecoveryCode, Factor::Sms]));
    let requirements = r#"{"challenge":[{"type":"recovery-code"},{"type":"sms"}]}"#;
    stage
        .person
        .replies([crate::harness::Reply::Code(RECOVERY_CODE)]);
    assert_eq!(met(&stage, requirements).await, Some(Factor::Sms));
}

#[tokio::test(start_paused = true)]
async fn a_list_of_nothing_but_unknown_kinds_is_unsupported() {
    // the user has enrolled something: being sent to enroll would not help them
    let stage = Stage::new(alice());
    stage.inject(
        Endpoint::Authenticators,
        200,
        r#"[{"id":"webauthn|dev_1","authenticator_type":"webauthn-roaming","active":true}]"#,
    );
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_unsupported_factor(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_kind_of_challenge_follows_the_factor() {
    for (factor, kind) in [
        (Factor::Otp, "otp"),
        (Factor::Push, "oob"),
        (Factor::Sms, "oob"),
        (Factor::Email, "oob"),
        (Factor::Voice, "oob"),
    ] {
        let stage = stage_with_all().auth0(|auth0| auth0.prefer([factor]));
        stage.send().await.accepted();
        let sent = &stage.tap.sent_to("/mfa/challenge")[0];
        assert_eq!(sent.parameter("challenge_type").unwrap(), kind, "{factor}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_shape_of_a_demand_is_met() {
    for shape in [
        Requirements::Absent,
        Requirements::Both,
        Requirements::Challenge,
        Requirements::ChallengeTypes,
    ] {
        for status in [400, 401, 403] {
            let policy = Policy::always().requirements(shape).status(status);
            let stage = Stage::build(with_totp(), |builder| builder.policy(policy));
            stage.send().await.accepted();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_the_challenge_that_is_no_challenge_is_a_protocol_error() {
    let stage = Stage::new(alice().sms("+15550100"));
    stage.tap.intercept(|sent| {
        (sent.uri.path() == "/mfa/challenge")
            .then(|| json_response(200, r#"{"challenge_type":"webauthn"}"#))
    });
    let answer = stage.send().await;
    assert!(answer.refused().is_protocol());
    assert_eq!(stage.person.prompts(), 0);
}
