//! Where codes and tokens go: to the endpoints that were configured, and back to the origin that demanded them.

use http::Request;
use tower_mfa::{
    Factor,
    testing::{Body, User},
};

use crate::harness::{Answer, CLIENT, ScriptedApi, Stage, alice, json_response, send, with_totp};

/// A response that names other places in every member that could be taken for one.
fn with_other_places(stage: &Stage) -> String {
    let demand = stage.server.demand("alice", CLIENT);
    let mut demand: serde_json::Value = serde_json::from_str(&demand.body().text()).unwrap();
    for name in [
        "issuer",
        "token_endpoint",
        "mfa_challenge_endpoint",
        "challenge_uri",
        "authenticators_endpoint",
        "error_uri",
        "redirect_uri",
        "location",
    ] {
        demand[name] = "https://other.example.com/oauth/token".into();
    }
    demand.to_string()
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_where_a_response_says() {
    let stage = Stage::new(with_totp().sms("+15550100"));
    let api = ScriptedApi::refusing(with_other_places(&stage));
    stage.tap.intercept(|sent| {
        (sent.uri.path() == "/mfa/challenge").then(|| {
            json_response(
                200,
                r#"{"challenge_type":"otp","token_endpoint":"https://other.example.com/","location":"https://other.example.com/"}"#,
            )
        })
    });
    let answer = stage.send_to(api).await;
    assert!(answer.stepped_up.is_some(), "{:?}", answer.error);
    let places: Vec<_> = stage
        .tap
        .sent()
        .iter()
        .map(|sent| sent.uri.to_string())
        .collect();
    assert_eq!(
        places,
        [
            "http://localhost:1/mfa/authenticators",
            "http://localhost:1/mfa/challenge",
            "http://localhost:1/oauth/token",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_is_a_setting() {
    let stage = Stage::new(alice().sms("+15550100")).auth0(|auth0| {
        auth0
            .authenticators_endpoint("https://one.example.com/mfa/authenticators")
            .unwrap()
            .challenge_endpoint("https://two.example.com/mfa/challenge?tenant=7")
            .unwrap()
            .token_endpoint("https://three.example.com/oauth/token")
            .unwrap()
    });
    stage.send().await.accepted();
    let places: Vec<_> = stage
        .tap
        .sent()
        .iter()
        .map(|sent| sent.uri.to_string())
        .collect();
    assert_eq!(
        places,
        [
            "https://one.example.com/mfa/authenticators",
            "https://two.example.com/mfa/challenge?tenant=7",
            "https://three.example.com/oauth/token",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_users_own_token_never_goes_to_the_authorization_server() {
    let stage = Stage::new(alice().sms("+15550100"));
    let request = stage.request();
    let token = request.headers()["authorization"]
        .to_str()
        .unwrap()
        .replace("Bearer ", "");
    send(&stage.layer(), stage.api.clone(), request)
        .await
        .accepted();
    for sent in stage.tap.sent() {
        let body = String::from_utf8_lossy(&sent.body).into_owned();
        assert!(!body.contains(&token));
        assert!(!sent.uri.to_string().contains(&token));
        let header = sent.header("authorization").unwrap_or_default();
        assert!(!header.contains(&token));
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_ever_in_a_uri() {
    let stage = Stage::new(alice().sms("+15550100"));
    stage.send().await.accepted();
    for sent in stage.tap.sent() {
        assert_eq!(sent.uri.query(), None);
        assert!(
            sent.headers
                .get("authorization")
                .is_none_or(http::HeaderValue::is_sensitive)
        );
    }
}

fn to(stage: &Stage, uri: &str) -> Request<Body> {
    let mut request = stage.request();
    *request.uri_mut() = uri.parse().unwrap();
    request
}

async fn sent_to(stage: &Stage, uri: &str, trusted: &[&str]) -> Answer {
    let mut layer = stage.layer();
    for origin in trusted {
        layer = layer.trust_origin(origin).unwrap();
    }
    send(&layer, stage.api.clone(), to(stage, uri)).await
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_is_not_trusted_is_not_stepped_up() {
    for (uri, trusted) in [
        ("https://api.example.com/transfer", &[][..]),
        ("https://api.example.com/transfer", &["https://example.com"]),
        (
            "https://api.example.com/transfer",
            &["http://api.example.com"],
        ),
        (
            "https://api.example.com:8443/transfer",
            &["https://api.example.com"],
        ),
        (
            "https://api.example.com.other.example/",
            &["https://api.example.com"],
        ),
        (
            "https://api.example.com@other.example/",
            &["https://api.example.com"],
        ),
    ] {
        let stage = Stage::new(with_totp());
        let answer = sent_to(&stage, uri, trusted).await;
        let error = answer.refused();
        assert!(error.is_untrusted_origin(), "{uri} {error:?}");
        assert!(error.is_passed_over());
        assert!(stage.server.calls().is_empty());
        assert_eq!(stage.person.prompts(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trusted_origin_is_stepped_up() {
    for (uri, trusted) in [
        (
            "https://api.example.com/transfer",
            "https://api.example.com",
        ),
        (
            "https://API.example.com:443/transfer",
            "https://api.example.com/",
        ),
        ("http://127.0.0.1:8080/transfer", "http://127.0.0.1:8080"),
    ] {
        let stage = Stage::new(with_totp());
        sent_to(&stage, uri, &[trusted]).await.accepted();
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_user_is_not_used() {
    // an API, or somebody in its place, relays the demand of another user's transaction: the request of alice must not
    // be sent with what bob's code brought
    let stage = Stage::build(with_totp(), |builder| {
        builder.user(User::new("bob", "test-password").totp(crate::harness::TOTP_SECRET))
    });
    stage.person.has([Factor::Otp]);
    let api = ScriptedApi::new([Some(stage.server.demand("bob", CLIENT))]);
    let answer = stage.send_to(api.clone()).await;
    assert!(answer.stepped_up.is_none());
    assert!(answer.error.is_some());
    assert_eq!(answer.status, 403);
    assert_eq!(api.requests().len(), 1);
}
