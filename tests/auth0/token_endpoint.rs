//! Requests to the token endpoint itself: a login or a refresh that is refused is answered with the tokens, and not sent again.

use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use tower::{Layer as _, ServiceExt as _};
use tower_mfa::{
    CodeError, StepUpError, SteppedUp,
    body::ResponseBody,
    testing::{Body, Endpoint, Fault, Policy},
};

use crate::harness::{CLIENT, OTP_GRANT, Reply, Stage, with_totp};

/// What a client sends that logs alice in.
fn login(stage: &Stage, scope: &str) -> Request<Body> {
    let form = format!(
        "grant_type=password&client_id={CLIENT}&username=alice&password=test-password&scope={scope}"
    );
    token_request(stage, form)
}

fn token_request(stage: &Stage, form: String) -> Request<Body> {
    Request::post(format!("{}oauth/token", stage.server.issuer()))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap()
}

/// Sends a request to the authorization server, through the layer.
async fn send(stage: &Stage, request: Request<Body>) -> Response<ResponseBody<Body>> {
    let client = stage.layer().layer(stage.server.clone());
    client.oneshot(request).await.unwrap()
}

async fn text(response: Response<ResponseBody<Body>>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn grants(stage: &Stage) -> Vec<String> {
    let calls = stage.server.calls().of(Endpoint::Token);
    calls.iter().filter_map(|call| call.grant_type()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_login_is_answered_with_the_tokens_and_not_sent_again() {
    let stage = Stage::new(with_totp());
    let response = send(&stage, login(&stage, "openid")).await;
    assert_eq!(response.status(), 200);
    let stepped_up: SteppedUp = response.extensions().get().cloned().unwrap();
    assert!(response.extensions().get::<StepUpError>().is_none());
    let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(stepped_up.tokens().unwrap().access_token().expose(), token);
    assert!(stage.server.verify(token).unwrap().amr().contains(&"mfa"));
    assert!(body["id_token"].is_string(), "all of the answer is there");
    assert_eq!(grants(&stage), ["password", OTP_GRANT]);
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_the_token_endpoints_as_it_came() {
    let stage = Stage::new(with_totp());
    let json = r#"{ "access_token": "test-token",  "more": [1, 2.50] }"#;
    let answer = Fault::status(203)
        .body("application/json; charset=utf-8", json)
        .header("x-test", "kept")
        .after(1);
    stage.server.inject(Endpoint::Token, answer);
    let response = send(&stage, login(&stage, "openid")).await;
    assert_eq!(response.status(), 203);
    assert_eq!(response.headers()["x-test"], "kept");
    assert_eq!(
        response.headers()["content-type"],
        "application/json; charset=utf-8"
    );
    assert_eq!(text(response).await, json);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_refused_gives_the_new_refresh_token() {
    let stage = Stage::build(with_totp(), |builder| builder.policy(Policy::never()));
    let first: serde_json::Value =
        serde_json::from_str(&text(send(&stage, login(&stage, "offline_access")).await).await)
            .unwrap();
    stage.server.set_policy(Policy::always());
    let form = format!(
        "grant_type=refresh_token&client_id={CLIENT}&refresh_token={}",
        first["refresh_token"].as_str().unwrap()
    );
    let response = send(&stage, token_request(&stage, form)).await;
    let told = stage.told().pop().unwrap();
    let second: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert!(second["refresh_token"].is_string());
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(
        told.refresh_token.as_deref(),
        second["refresh_token"].as_str()
    );
    assert_eq!(grants(&stage), ["password", "refresh_token", OTP_GRANT]);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_not_stepped_up_is_refused_as_it_was() {
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Error(CodeError::Declined)]);
    let response = send(&stage, login(&stage, "openid")).await;
    assert_eq!(response.status(), 403);
    assert!(
        response
            .extensions()
            .get::<StepUpError>()
            .unwrap()
            .is_declined()
    );
    assert!(text(response).await.contains("mfa_token"));
    assert_eq!(grants(&stage), ["password"]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_no_business_of_the_layer() {
    let stage = Stage::new(with_totp());
    let form = format!("grant_type=password&client_id={CLIENT}&username=alice&password=wrong");
    let response = send(&stage, token_request(&stage, form)).await;
    assert!(response.status().is_client_error());
    assert!(response.extensions().get::<StepUpError>().is_none());
    assert_eq!(stage.person.prompts(), 0);
    assert!(stage.told().is_empty());
}

/// The endpoint is part of the settings; its host is not trusted for anything else.
#[tokio::test(start_paused = true)]
async fn only_the_token_endpoint_needs_no_trust() {
    let stage = Stage::new(with_totp());
    let issuer = stage.server.issuer();
    let elsewhere = [
        Request::post(format!("{issuer}userinfo")),
        Request::get(format!("{issuer}oauth/token")),
        Request::post("http://localhost:2/oauth/token"),
        Request::post("https://localhost:1/oauth/token"),
    ];
    for request in elsewhere {
        let request = request.body(Body::empty()).unwrap();
        let to = format!("{} {}", request.method(), request.uri());
        let demand = stage.server.demand("alice", CLIENT);
        let api = crate::harness::ScriptedApi::new([Some(demand)]);
        let response = stage.layer().layer(api).oneshot(request).await.unwrap();
        let error: &StepUpError = response.extensions().get().unwrap();
        assert!(error.is_untrusted_origin(), "{to}: {error}");
    }
    assert_eq!(stage.person.prompts(), 0);
}

/// A body that is too long to be sent again is no obstacle, since nothing is.
#[tokio::test(start_paused = true)]
async fn a_login_need_not_be_replayable() {
    let stage = Stage::new(with_totp());
    let layer = stage.layer().max_replay_bytes(0).retry_if(|_| false);
    let client = layer.layer(stage.server.clone());
    let response = client.oneshot(login(&stage, "openid")).await.unwrap();
    assert_eq!(response.status(), 200);
}
