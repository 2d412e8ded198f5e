//! A wrong code is not a dead challenge; an old one is, in more than one way.

use tower_mfa::{
    CodeRejection, Factor,
    testing::{Client, Endpoint},
};

use crate::harness::{RECOVERY_CODE, Reply, ScriptedApi, Stage, alice, seconds, send, with_totp};

#[tokio::test(start_paused = true)]
async fn a_wrong_code_is_asked_for_again() {
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Code("000000"), Reply::Right]);
    let answer = stage.send().await;
    assert_eq!(answer.accepted().attempts(), 2);
    // the challenge lives: it is not made again
    assert_eq!(stage.counts(), (1, 1, 2));

    let asked = stage.person.challenges();
    assert_eq!((asked[0].attempt(), asked[0].attempts_left()), (1, 3));
    assert_eq!(asked[0].last_rejection(), None);
    assert_eq!((asked[1].attempt(), asked[1].attempts_left()), (2, 2));
    assert_eq!(asked[1].last_rejection(), Some(CodeRejection::Wrong));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_code_sends_no_second_message() {
    let stage = Stage::new(alice().sms("+15550100"));
    stage.person.replies([Reply::Code("000000"), Reply::Right]);
    stage.send().await.accepted();
    assert_eq!(stage.server.outbox().count("alice"), 1);
    let sent = stage.tap.sent_to("/oauth/token");
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].parameter("oob_code"), sent[1].parameter("oob_code"));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_recovery_code_is_asked_for_again() {
    // a wrong recovery code has the words of a rejected push
    let stage = Stage::new(alice().recovery_code(RECOVERY_CODE));
    stage
        .person
        .replies([Reply::Code("WRONGWRONG"), Reply::Right]);
    assert_eq!(stage.send().await.accepted().attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn three_wrong_codes_end_with_the_original_refusal() {
    let stage = Stage::new(with_totp());
    stage.person.replies([
        Reply::Code("000000"),
        Reply::Code("000001"),
        Reply::Code("000002"),
    ]);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_wrong_code(), "{error:?}");
    assert!(answer.body["mfa_token"].is_string());
    assert_eq!(
        answer.body["error_description"],
        "Multifactor authentication required"
    );
    assert_eq!(stage.person.prompts(), 3);
    assert_eq!(stage.person.challenges()[2].attempts_left(), 1);
    assert_eq!(stage.count(Endpoint::Token), 3);
    assert_eq!(stage.api.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_code_counts_without_a_call() {
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Code(" "), Reply::Right]);
    stage.send().await.accepted();
    assert_eq!(stage.count(Endpoint::Token), 1);
    let second = &stage.person.challenges()[1];
    assert_eq!(second.attempt(), 2);
    assert_eq!(second.last_rejection(), Some(CodeRejection::Empty));
}

#[tokio::test(start_paused = true)]
async fn three_empty_codes_end_without_a_call() {
    let stage = Stage::new(with_totp());
    stage
        .person
        .replies([Reply::Code(""), Reply::Recovery(""), Reply::Code("\n")]);
    assert!(stage.send().await.refused().is_wrong_code());
    assert_eq!(stage.count(Endpoint::Token), 0);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_attempts_is_a_setting() {
    for (setting, prompts) in [(1, 1), (0, 1), (5, 5)] {
        let stage = Stage::new(with_totp());
        stage.person.replies([
            Reply::Code("000000"),
            Reply::Code("000000"),
            Reply::Code("000000"),
            Reply::Code("000000"),
            Reply::Code("000000"),
        ]);
        let layer = stage.layer().max_code_attempts(setting);
        let answer = stage.send_by(&layer).await;
        assert!(answer.refused().is_wrong_code());
        assert_eq!(stage.person.prompts(), prompts, "{setting}");
        assert_eq!(stage.count(Endpoint::Token), prompts, "{setting}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_mfa_token_ends_the_step_up() {
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Late(seconds(601))]);
    let layer = stage.layer().deadline(seconds(1200));
    let answer = stage.send_by(&layer).await;
    let error = answer.refused();
    assert!(error.is_expired(), "{error:?}");
    assert_eq!(stage.person.prompts(), 1);
    assert_eq!(stage.api.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_message_is_sent_again() {
    let stage = Stage::new(alice().sms("+15550100"));
    stage
        .person
        .replies([Reply::Late(seconds(310)), Reply::Right]);
    let layer = stage.layer().deadline(seconds(1200));
    let answer = stage.send_by(&layer).await;
    assert_eq!(answer.accepted().attempts(), 2);
    assert_eq!(stage.server.outbox().count("alice"), 2);
    let asked = stage.person.challenges();
    assert_eq!(asked[1].attempt(), 2);
    assert_eq!(asked[1].last_rejection(), Some(CodeRejection::Expired));
    // the new message lives as long as the first one did
    let expires_at = asked[1].expires_at().unwrap();
    assert_eq!(
        expires_at.duration_since(stage.start).unwrap().as_secs(),
        610
    );
    let sent = stage.tap.sent_to("/oauth/token");
    assert_ne!(sent[0].parameter("oob_code"), sent[1].parameter("oob_code"));
}

#[tokio::test(start_paused = true)]
async fn messages_that_expire_use_the_attempts_up() {
    let stage = Stage::build(alice().sms("+15550100"), |builder| {
        builder.oob_code_ttl(seconds(10))
    });
    stage.person.replies([
        Reply::Late(seconds(11)),
        Reply::Late(seconds(11)),
        Reply::Late(seconds(11)),
    ]);
    assert!(stage.send().await.refused().is_wrong_code());
    assert_eq!(stage.server.outbox().count("alice"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_handle_ends_the_step_up() {
    for listed in [true, false] {
        let stage = Stage::new(with_totp());
        if !listed {
            stage.person.has([Factor::Otp]);
        }
        let api = ScriptedApi::refusing(r#"{"error":"mfa_required","mfa_token":"test-mfa-token"}"#);
        let answer = stage.send_to(api.clone()).await;
        let error = answer.refused();
        assert!(error.is_expired(), "{error:?}");
        assert_eq!(stage.person.prompts(), 0);
        assert_eq!(stage.server.calls().len(), 1);
        assert_eq!(api.requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_handle_of_another_client_ends_the_step_up_as_expired() {
    // `is_expired` is documented for handles "meant for somebody else"
    let stage = Stage::build(with_totp(), |builder| {
        builder.client(Client::public("another-client"))
    });
    stage.person.has([Factor::Otp]);
    let token = stage
        .server
        .token("alice")
        .client_id("another-client")
        .sign();
    let mut request = stage.request();
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    let answer = send(&stage.layer(), stage.api.clone(), request).await;
    let error = answer.refused();
    assert!(error.is_expired(), "{error:?}");
    assert_eq!(stage.person.prompts(), 0);
}

#[tokio::test(start_paused = true)]
async fn too_many_wrong_codes_at_the_server_are_a_rate_limit() {
    let stage = Stage::build(with_totp(), |builder| builder.max_failed_codes(1));
    stage.person.replies([Reply::Code("000000"), Reply::Right]);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_rate_limited(), "{error:?}");
    assert_eq!(error.retry_after(), Some(seconds(360)));
}
