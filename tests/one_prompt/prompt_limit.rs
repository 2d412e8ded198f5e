//! So many prompts per principal within a time, and no more; whom nobody prompts nobody limits.

use http::HeaderName;
use tower_mfa::code::{HeaderCode, TotpCode};
use tower_mfa::testing::ProtectedApi;
use tower_mfa::{Principal, StepUpError};

use crate::harness;
use crate::stage::*;

#[tokio::test(start_paused = true)]
async fn the_sixth_prompt_in_ten_minutes_is_the_refusal_as_it_came() {
    let stage = Stage::with(|layer| layer.hold_off(seconds(0)));
    stage.person.always(Reply::Declined);
    for _ in 0..5 {
        assert!(stage.finish(alice()).refused().is_declined());
    }
    let answer = stage.finish(alice());
    assert!(answer.refused().is_rate_limited());
    assert_eq!(answer.refused().retry_after(), Some(seconds(120)));
    assert_eq!(answer.text(), "not like this");
    assert_eq!(stage.counts(), (5, 5, 0));
    assert!(stage.finish(bob()).refused().is_declined(), "another's");
    pass(seconds(119)).await;
    let answer = stage.finish(alice());
    assert_eq!(answer.refused().retry_after(), Some(seconds(1)));
    pass(seconds(1)).await;
    assert!(stage.finish(alice()).refused().is_declined());
    assert!(stage.finish(alice()).refused().is_rate_limited());
    // after a long peace all five are back, and no more
    pass(seconds(6000)).await;
    for _ in 0..5 {
        assert!(stage.finish(alice()).refused().is_declined());
    }
    assert!(stage.finish(alice()).refused().is_rate_limited());
    assert_eq!(stage.counts(), (12, 12, 0));
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_the_users_whatever_is_demanded_and_wherever() {
    let stage = Stage::with(|layer| layer.trust_origin("https://api.example.com").unwrap());
    for uri in [
        "/need/a",
        "/need/b",
        "/need/c",
        "https://api.example.com/need/a",
        "https://api.example.com/need/b",
    ] {
        stage.finish(of("alice", uri)).accepted();
    }
    let answer = stage.finish(of("alice", "/need/d"));
    assert!(answer.refused().is_rate_limited());
    assert_eq!(stage.counts(), (5, 5, 5));
}

/// The answer with the limit is everybody's who joined, and what is remembered is used all the same.
#[tokio::test(start_paused = true)]
async fn what_is_remembered_or_joined_counts_as_no_prompt() {
    let stage = Stage::with(|layer| layer.prompt_limit(1, seconds(600)));
    stage.person.then(Reply::Code(RIGHT).waits());
    let calls = page(&stage);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    for _ in 0..10 {
        stage.finish(alice()).accepted();
    }
    let late = stage.finish(of("alice", "/need/push"));
    assert!(late.refused().is_rate_limited());
    assert_eq!(stage.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn zero_prompts_are_none_and_a_machine_is_not_limited() {
    let stage = Stage::with(|layer| layer.prompt_limit(0, seconds(600)));
    assert!(stage.finish(alice()).refused().is_rate_limited());
    assert_eq!(stage.counts(), (0, 0, 0));
    stage.person.is_a_machine();
    stage.finish(alice()).accepted();

    let stage = Stage::with(|layer| layer.max_remembered(0));
    stage.person.is_a_machine();
    for _ in 0..20 {
        stage.finish(alice()).accepted();
    }
    assert_eq!(stage.counts(), (20, 20, 20));
}

/// Nobody's requests cannot be counted.
#[tokio::test(start_paused = true)]
async fn without_a_principal_there_is_no_limit() {
    let stage = Stage::with(|layer| layer.principal(|_| None));
    for _ in 0..20 {
        stage.finish(alice()).accepted();
    }
    assert_eq!(stage.counts(), (20, 20, 20));
    let stage = Stage::with(|layer| layer.principal(|_| Some(Principal::new("all"))));
    for need in 0..5 {
        stage
            .finish(of("alice", &format!("/need/{need}")))
            .accepted();
    }
    let answer = stage.finish(of("bob", "/need/5"));
    assert!(answer.refused().is_rate_limited());
}

#[tokio::test(start_paused = true)]
async fn nobody_there_fails_at_once_and_is_asked_again_for_the_next_request() {
    let stage = Stage::new();
    stage.person.always(Reply::NotInteractive);
    for n in 1..=3 {
        let answer = stage.finish(alice());
        assert!(answer.refused().is_not_interactive());
        assert_eq!(answer.text(), "not like this");
        assert_eq!(stage.counts(), (n, n, 0));
    }
    stage.assert_idle();
}

/// Twenty requests one after the other, each of which is stepped up; gives how many were.
async fn twenty(stage: &harness::Stage, layer: tower_mfa::MfaLayer, code: Option<&str>) -> usize {
    // each of her requests has another token
    let layer = layer
        .max_remembered(0)
        .principal(|_| Some(Principal::new("alice")));
    let mut accepted = 0;
    for _ in 0..20 {
        let mut request = stage.request();
        if let Some(name) = code {
            let code = stage.server.totp("alice").unwrap();
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, code.parse().unwrap());
        }
        let answer = harness::send(&layer, ProtectedApi::new(&stage.server), request).await;
        match &answer.error {
            None => accepted += 1,
            Some(error) => assert!(StepUpError::is_rate_limited(error), "{error:?}"),
        }
        // another one-time password
        tokio::time::advance(seconds(30)).await;
    }
    accepted
}

#[tokio::test(start_paused = true)]
async fn one_time_passwords_that_no_person_types_are_not_limited() {
    let stage = harness::Stage::new(harness::with_totp());
    let totp = || {
        TotpCode::from_base32(harness::TOTP_SECRET)
            .unwrap()
            .clock(stage.clock.clone())
    };
    assert_eq!(twenty(&stage, stage.layer_for(totp()), None).await, 20);
    let header = HeaderCode::new(HeaderName::from_static("x-code"));
    let by_header = stage.layer_for(header);
    assert_eq!(twenty(&stage, by_header, Some("x-code")).await, 20);
    // of a person: five at once, and one each two minutes
    assert_eq!(twenty(&stage, stage.layer(), None).await, 9);
}
