//! Each factor, from the refusal to the accepted request.

use http::HeaderName;
use tower_mfa::{
    BindingMethod, Factor,
    code::{HeaderCode, TotpCode},
    testing::{Channel, Client, Endpoint, User},
    time::Clock as _,
};

use crate::harness::{
    OOB_GRANT, OTP_GRANT, RECOVERY_CODE, RECOVERY_GRANT, Reply, Sent, Stage, TOTP_SECRET, alice,
    seconds, send, with_totp,
};

const CODE_HEADER: HeaderName = HeaderName::from_static("x-mfa-code");
const RECOVERY_HEADER: HeaderName = HeaderName::from_static("x-mfa-recovery-code");

fn names(sent: &Sent) -> Vec<String> {
    let mut names: Vec<_> = sent
        .parameters()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn otp_is_challenged_asked_for_and_exchanged() {
    let stage = Stage::new(with_totp());
    stage.person.has([Factor::Otp]);
    let answer = stage.send().await;
    let stepped_up = answer.accepted();
    assert_eq!(stepped_up.factor(), Some(Factor::Otp));
    assert_eq!(stepped_up.attempts(), 1);
    assert_eq!(stage.counts(), (0, 1, 1));
    assert_eq!(stage.api.requests(), 2);

    let challenge = &stage.tap.sent_to("/mfa/challenge")[0];
    assert_eq!(challenge.method, "POST");
    assert_eq!(challenge.header("content-type"), Some("application/json"));
    assert_eq!(challenge.header("accept"), Some("application/json"));
    assert_eq!(challenge.header("authorization"), None);
    assert_eq!(
        names(challenge),
        ["challenge_type", "client_id", "mfa_token"]
    );
    assert_eq!(challenge.parameter("challenge_type").unwrap(), "otp");
    assert_eq!(challenge.parameter("client_id").unwrap(), "example-client");

    let token = &stage.tap.sent_to("/oauth/token")[0];
    assert_eq!(token.method, "POST");
    assert_eq!(
        token.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(token.header("accept"), Some("application/json"));
    assert_eq!(token.header("authorization"), None);
    assert_eq!(
        names(token),
        ["client_id", "grant_type", "mfa_token", "otp"]
    );
    assert_eq!(token.parameter("grant_type").unwrap(), OTP_GRANT);
    assert_eq!(
        token.parameter("mfa_token"),
        challenge.parameter("mfa_token")
    );
    assert_eq!(token.parameter("otp"), stage.server.totp("alice"));
}

#[tokio::test(start_paused = true)]
async fn otp_needs_no_challenge_call_where_that_is_switched_off() {
    let stage = Stage::new(with_totp()).auth0(|auth0| auth0.challenge_otp(false));
    stage.person.has([Factor::Otp]);
    stage.send().await.accepted();
    assert_eq!(stage.counts(), (0, 0, 1));
    assert_eq!(stage.person.prompts(), 1);
}

async fn a_message_is_sent_and_its_code_exchanged(
    user: User,
    channel: Channel,
    factor: Factor,
    destination: &str,
) {
    let stage = Stage::new(user);
    let answer = stage.send().await;
    assert_eq!(answer.accepted().factor(), Some(factor));
    assert_eq!(answer.accepted().attempts(), 1);
    assert_eq!(stage.counts(), (1, 1, 1));

    let messages = stage.server.outbox().messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].channel(), channel);

    let asked = &stage.person.challenges()[0];
    assert_eq!(asked.factor(), factor);
    assert_eq!(asked.destination(), Some(destination));
    assert_eq!(asked.binding_method(), BindingMethod::Prompt);
    // the `oob_code` says when it ends
    assert_eq!(asked.expires_at(), Some(stage.start + seconds(300)));
    assert_eq!(asked.request().uri(), "/transfer?id=7");

    let list = &stage.tap.sent_to("/mfa/authenticators")[0];
    assert_eq!(list.method, "GET");
    assert!(list.body.is_empty());
    let challenge = &stage.tap.sent_to("/mfa/challenge")[0];
    assert_eq!(
        names(challenge),
        [
            "authenticator_id",
            "challenge_type",
            "client_id",
            "mfa_token"
        ]
    );
    assert_eq!(challenge.parameter("challenge_type").unwrap(), "oob");
    assert_eq!(
        challenge.parameter("authenticator_id").unwrap(),
        stage.server.authenticator_ids("alice")[0]
    );
    let mfa_token = challenge.parameter("mfa_token").unwrap();
    assert_eq!(
        list.header("authorization").unwrap(),
        format!("Bearer {mfa_token}")
    );
    let token = &stage.tap.sent_to("/oauth/token")[0];
    assert_eq!(
        names(token),
        [
            "binding_code",
            "client_id",
            "grant_type",
            "mfa_token",
            "oob_code"
        ]
    );
    assert_eq!(token.parameter("grant_type").unwrap(), OOB_GRANT);
    assert_eq!(token.parameter("binding_code").unwrap(), messages[0].code());
}

#[tokio::test(start_paused = true)]
async fn a_text_message_is_sent_and_its_code_exchanged() {
    a_message_is_sent_and_its_code_exchanged(
        alice().sms("+15550100"),
        Channel::Sms,
        Factor::Sms,
        "XXXXX0100",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_is_made_and_its_code_exchanged() {
    a_message_is_sent_and_its_code_exchanged(
        alice().voice("+15550100"),
        Channel::Voice,
        Factor::Voice,
        "XXXXX0100",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_email_is_sent_and_its_code_exchanged() {
    a_message_is_sent_and_its_code_exchanged(
        alice().email("alice@example.com"),
        Channel::Email,
        Factor::Email,
        "alic*@exam*******",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_push_is_polled_until_it_is_approved() {
    let stage = Stage::new(alice().push("example-phone"));
    stage.server.push().approve_after("alice", 2);
    let answer = stage.send().await;
    assert_eq!(answer.accepted().factor(), Some(Factor::Push));
    // no code was asked for
    assert_eq!(answer.accepted().attempts(), 0);
    assert_eq!(stage.person.prompts(), 0);
    assert_eq!(stage.counts(), (1, 1, 3));

    let shown = stage.person.approvals();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].factor(), Factor::Push);
    assert_eq!(shown[0].binding_method(), BindingMethod::None);
    assert_eq!(shown[0].destination(), Some("example-phone"));
    assert_eq!(shown[0].expires_at(), Some(stage.start + seconds(300)));
    for poll in stage.tap.sent_to("/oauth/token") {
        assert_eq!(
            names(&poll),
            ["client_id", "grant_type", "mfa_token", "oob_code"]
        );
        assert_eq!(poll.parameter("grant_type").unwrap(), OOB_GRANT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovery_code_is_exchanged_and_the_new_one_handed_over() {
    let stage = Stage::new(alice().recovery_code(RECOVERY_CODE));
    let answer = stage.send().await;
    let stepped_up = answer.accepted();
    assert_eq!(stepped_up.factor(), Some(Factor::RecoveryCode));
    // there is nothing to challenge: the code was printed long ago
    assert_eq!(stage.counts(), (1, 0, 1));
    let token = &stage.tap.sent_to("/oauth/token")[0];
    assert_eq!(
        names(token),
        ["client_id", "grant_type", "mfa_token", "recovery_code"]
    );
    assert_eq!(token.parameter("grant_type").unwrap(), RECOVERY_GRANT);
    assert_eq!(token.parameter("recovery_code").unwrap(), RECOVERY_CODE);

    let fresh = stage.server.recovery_code("alice").unwrap();
    assert_ne!(fresh, RECOVERY_CODE);
    assert_eq!(stage.person.recovery_codes(), [fresh.as_str()]);
    assert_eq!(stepped_up.recovery_code().unwrap().expose(), fresh);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_code_is_taken_in_place_of_a_one_time_password() {
    let stage = Stage::new(with_totp().recovery_code(RECOVERY_CODE));
    stage.person.replies([Reply::Recovery(RECOVERY_CODE)]);
    let answer = stage.send().await;
    assert_eq!(stage.person.challenges()[0].factor(), Factor::Otp);
    let token = &stage.tap.sent_to("/oauth/token")[0];
    assert_eq!(token.parameter("grant_type").unwrap(), RECOVERY_GRANT);
    assert_eq!(token.parameter("otp"), None);
    let fresh = stage.server.recovery_code("alice").unwrap();
    assert_eq!(stage.person.recovery_codes(), [fresh.as_str()]);
    // what did it was the recovery code, not what was asked for
    assert_eq!(answer.accepted().factor(), Some(Factor::RecoveryCode));
}

#[tokio::test(start_paused = true)]
async fn a_recovery_code_is_taken_in_place_of_the_code_of_a_message() {
    let stage = Stage::new(alice().sms("+15550100").recovery_code(RECOVERY_CODE));
    stage.person.replies([Reply::Recovery(RECOVERY_CODE)]);
    stage.send().await.accepted();
    let token = &stage.tap.sent_to("/oauth/token")[0];
    assert_eq!(token.parameter("grant_type").unwrap(), RECOVERY_GRANT);
    assert_eq!(token.parameter("oob_code"), None);
    assert_eq!(token.parameter("binding_code"), None);
}

#[tokio::test(start_paused = true)]
async fn a_code_in_a_header_is_used_and_not_forwarded() {
    let stage = Stage::new(with_totp());
    let mut request = stage.request();
    let code = stage.server.totp("alice").unwrap();
    request
        .headers_mut()
        .insert(CODE_HEADER, code.parse().unwrap());
    let layer = stage.layer_for(HeaderCode::new(CODE_HEADER));
    let answer = send(&layer, stage.api.clone(), request).await;
    answer.accepted();
    assert_eq!(stage.counts(), (0, 1, 1));
    let forwarded = answer.body["headers"].to_string();
    assert!(!forwarded.contains("x-mfa-code"), "{forwarded}");
}

#[tokio::test(start_paused = true)]
async fn a_recovery_code_in_a_header_is_used_where_that_is_allowed() {
    let stage = Stage::new(with_totp().recovery_code(RECOVERY_CODE));
    let mut request = stage.request();
    request
        .headers_mut()
        .insert(RECOVERY_HEADER, RECOVERY_CODE.parse().unwrap());
    let layer = stage.layer_for(HeaderCode::new(CODE_HEADER).recovery_header(RECOVERY_HEADER));
    let answer = send(&layer, stage.api.clone(), request).await;
    assert_eq!(answer.accepted().factor(), Some(Factor::RecoveryCode));
    assert_ne!(stage.server.recovery_code("alice").unwrap(), RECOVERY_CODE);
}

#[tokio::test(start_paused = true)]
async fn without_the_code_header_nobody_is_challenged() {
    let stage = Stage::new(with_totp());
    let answer = stage
        .send_by(&stage.layer_for(HeaderCode::new(CODE_HEADER)))
        .await;
    answer.refused();
    assert!(stage.server.calls().is_empty());
    assert_eq!(stage.api.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_code_header_nobody_was_there_to_ask() {
    // regression: it said `unsupported_factor`, with a warning for every first request of every client
    let stage = Stage::new(with_totp());
    let answer = stage
        .send_by(&stage.layer_for(HeaderCode::new(CODE_HEADER)))
        .await;
    let error = answer.refused();
    assert!(error.is_not_interactive(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_code_in_a_header_is_sent_once() {
    let stage = Stage::new(with_totp());
    let mut request = stage.request();
    request
        .headers_mut()
        .insert(CODE_HEADER, "000000".parse().unwrap());
    let layer = stage.layer_for(HeaderCode::new(CODE_HEADER));
    let answer = send(&layer, stage.api.clone(), request).await;
    let error = answer.refused();
    assert!(error.is_wrong_code(), "{error:?}");
    assert_eq!(stage.count(Endpoint::Token), 1);
}

#[tokio::test(start_paused = true)]
async fn a_computed_code_is_never_sent_twice() {
    let stage = Stage::new(with_totp());
    let provider = TotpCode::from_base32(TOTP_SECRET)
        .unwrap()
        .clock(stage.clock.clone());
    let layer = stage.layer_for(provider);
    stage.send_by(&layer).await.accepted();
    assert_eq!(stage.elapsed().as_secs(), 0);
    // the server takes no code twice: the provider waits for the next step rather than sending a used one
    stage.send_by(&layer).await.accepted();
    assert_eq!(stage.elapsed().as_secs(), 30);
    let codes: Vec<_> = stage
        .tap
        .sent_to("/oauth/token")
        .iter()
        .map(|sent| sent.parameter("otp").unwrap())
        .collect();
    assert_eq!(codes.len(), 2);
    assert_ne!(codes[0], codes[1]);
}

#[tokio::test(start_paused = true)]
async fn a_number_to_pick_is_shown_while_the_approval_is_awaited() {
    let stage = Stage::new(alice().push("example-phone"));
    let (token, clock) = (stage.server.elevated_token("alice"), stage.clock.clone());
    let approved_at = clock.now() + seconds(8);
    stage.tap.intercept(move |sent| match sent.uri.path() {
        "/mfa/challenge" => Some(crate::harness::json_response(
            200,
            r#"{"challenge_type":"oob","oob_code":"test-oob-code","binding_method":"transfer","binding_code":"27"}"#,
        )),
        "/oauth/token" if clock.now() < approved_at => Some(crate::harness::json_response(
            400,
            r#"{"error":"authorization_pending"}"#,
        )),
        "/oauth/token" => Some(crate::harness::json_response(
            200,
            format!(r#"{{"access_token":"{token}"}}"#),
        )),
        _ => None,
    });
    stage.send().await.accepted();
    let shown = stage.person.approvals();
    assert_eq!(shown[0].binding_method(), BindingMethod::Transfer);
    assert_eq!(shown[0].number(), Some("27"));
    assert_eq!(stage.person.prompts(), 0);
    // the number goes to the user, not back to the server
    for poll in stage.tap.sent_to("/oauth/token") {
        assert_eq!(poll.parameter("binding_code"), None);
        assert_eq!(poll.parameter("oob_code").unwrap(), "test-oob-code");
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_that_is_named_is_the_one_that_was_set() {
    let stage = Stage::of(Client::public("another-client"), with_totp(), |b| b);
    // the demand was made for `another-client`, the only one the server knows
    let auth0 = tower_mfa::Auth0::new(&stage.server.issuer(), "another-client")
        .unwrap()
        .transport(stage.tap.transport());
    let stage = stage.auth0(|_| auth0);
    stage.send().await.accepted();
    for path in ["/mfa/challenge", "/oauth/token"] {
        let sent = &stage.tap.sent_to(path)[0];
        assert_eq!(sent.parameter("client_id").unwrap(), "another-client");
    }
}
