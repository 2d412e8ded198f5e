//! How the client proves who it is, call by call.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tower_mfa::{
    Factor,
    dialect::ClientAuth,
    testing::{Client, ClientKey, Endpoint, Signing},
};

use crate::harness::{CLIENT, Stage, alice, with_totp};

const SECRET: &str = "test secret: %&=+";

fn confidential() -> Stage {
    let stage = Stage::of(Client::confidential(CLIENT, SECRET), with_totp(), |b| b);
    stage.person.has([Factor::Otp]);
    stage
}

#[tokio::test(start_paused = true)]
async fn a_public_client_proves_nothing() {
    let stage = Stage::new(with_totp());
    stage.send().await.accepted();
    for path in ["/mfa/challenge", "/oauth/token"] {
        let sent = &stage.tap.sent_to(path)[0];
        assert_eq!(sent.header("authorization"), None);
        assert_eq!(sent.parameter("client_secret"), None);
        assert_eq!(sent.parameter("client_assertion"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_posted_secret_is_a_parameter_of_both_calls() {
    let stage = confidential().auth0(|auth0| auth0.client_auth(ClientAuth::secret_post(SECRET)));
    stage.send().await.accepted();
    for path in ["/mfa/challenge", "/oauth/token"] {
        let sent = &stage.tap.sent_to(path)[0];
        assert_eq!(sent.parameter("client_secret").unwrap(), SECRET);
        assert_eq!(sent.header("authorization"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_basic_secret_is_in_the_header_of_the_token_call_only() {
    let stage = confidential().auth0(|auth0| auth0.client_auth(ClientAuth::secret_basic(SECRET)));
    stage.send().await.accepted();
    let challenge = &stage.tap.sent_to("/mfa/challenge")[0];
    assert_eq!(challenge.header("authorization"), None);
    assert_eq!(challenge.parameter("client_secret").unwrap(), SECRET);

    let token = &stage.tap.sent_to("/oauth/token")[0];
    assert_eq!(token.parameter("client_secret"), None);
    let header = token.header("authorization").unwrap();
    let decoded = BASE64_STANDARD
        .decode(header.strip_prefix("Basic ").unwrap())
        .unwrap();
    // RFC 6749 section 2.3.1: form-encoded before they are joined
    assert_eq!(decoded, b"example-client:test+secret%3A+%25%26%3D%2B");
    assert!(token.headers["authorization"].is_sensitive());
}

#[tokio::test(start_paused = true)]
async fn keys_sign_an_assertion_for_both_calls() {
    for signing in [Signing::Rs256, Signing::Es256] {
        let key = ClientKey::generate(signing);
        let stage = Stage::of(
            Client::private_key_jwt(CLIENT, key.public_pem()),
            alice().sms("+15550100"),
            |b| b,
        );
        let auth =
            ClientAuth::private_key_jwt(key.private_pem().as_bytes(), Some("test-key")).unwrap();
        let stage = stage.auth0(|auth0| auth0.client_auth(auth));
        stage.send().await.accepted();
        let assertions = ["/mfa/challenge", "/oauth/token"].map(|path| {
            let sent = &stage.tap.sent_to(path)[0];
            assert_eq!(
                sent.parameter("client_assertion_type").unwrap(),
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            );
            sent.parameter("client_assertion").unwrap()
        });
        // each is good once
        assert_ne!(assertions[0], assertions[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_assertion_that_cannot_be_signed_is_a_configuration_error() {
    let stage = confidential().auth0(|auth0| {
        auth0.client_auth(ClientAuth::assertion(|_| {
            Err("the key store is locked".into())
        }))
    });
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_configuration(), "{error:?}");
    let source = std::error::Error::source(error).unwrap();
    assert_eq!(source.to_string(), "the key store is locked");
    assert!(stage.server.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_is_a_configuration_error() {
    for auth in [
        ClientAuth::none(),
        ClientAuth::secret_post("wrong-secret"),
        ClientAuth::secret_basic("wrong-secret"),
    ] {
        for challenge_otp in [true, false] {
            let stage = confidential()
                .auth0(|auth0| auth0.client_auth(auth.clone()).challenge_otp(challenge_otp));
            let answer = stage.send().await;
            let error = answer.refused();
            assert!(error.is_configuration(), "{error:?}");
            assert_eq!(stage.server.calls().len(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_the_mfa_grants_is_a_configuration_error() {
    let client = Client::public(CLIENT).without_mfa_grants();
    let stage = Stage::of(client, with_totp(), |b| b);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_configuration(), "{error:?}");
    assert_eq!(stage.count(Endpoint::Token), 1);
    assert!(error.to_string().contains("MFA grants"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn audience_and_scope_are_sent_if_they_are_set() {
    let stage = Stage::new(with_totp());
    stage.send().await.accepted();
    let token = &stage.tap.sent_to("/oauth/token")[0];
    assert_eq!(token.parameter("audience"), None);
    assert_eq!(token.parameter("scope"), None);

    let stage = Stage::new(with_totp()).auth0(|auth0| {
        auth0
            .audience("https://api.example.com/")
            .scope("openid transfer:funds")
    });
    stage.send().await.accepted();
    let token = &stage.tap.sent_to("/oauth/token")[0];
    assert_eq!(
        token.parameter("audience").unwrap(),
        "https://api.example.com/"
    );
    assert_eq!(token.parameter("scope").unwrap(), "openid transfer:funds");
    let challenge = &stage.tap.sent_to("/mfa/challenge")[0];
    assert_eq!(challenge.parameter("audience"), None);
}

#[tokio::test(start_paused = true)]
async fn the_challenge_can_be_a_form() {
    let stage = Stage::new(alice().sms("+15550100")).auth0(|auth0| auth0.form_challenge(true));
    stage.send().await.accepted();
    let challenge = &stage.tap.sent_to("/mfa/challenge")[0];
    assert_eq!(
        challenge.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    // the bar in it is encoded
    let id = challenge.parameter("authenticator_id").unwrap();
    assert!(id.starts_with("sms|"), "{id}");
}
