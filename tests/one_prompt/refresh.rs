//! Rotated refresh tokens under concurrency: none is lost, told twice or used twice (rule 12).

use std::collections::HashSet;

use http::{Request, header};
use tower::{Layer as _, ServiceExt as _};
use tower_mfa::testing::{Body, Endpoint, Policy};

use crate::harness::{Answer, CLIENT, OTP_GRANT, Reply, Stage, with_totp};
use crate::stage::seconds;

/// A user who logged in and may be refreshed, and the refresh token.
async fn logged_in(stage: &Stage) -> String {
    stage.server.set_policy(Policy::never());
    let form = format!(
        "grant_type=password&client_id={CLIENT}&username=alice&password=test-password&scope=offline_access"
    );
    let answer = token_request(stage, form).await;
    answer.body["refresh_token"].as_str().unwrap().to_owned()
}

async fn token_request(stage: &Stage, form: String) -> Answer {
    let request = Request::post(format!("{}oauth/token", stage.server.issuer()))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    let client = stage.layer().layer(stage.server.clone());
    Answer::read(client.oneshot(request).await.unwrap()).await
}

/// Every refresh token that was shown to the server, in order.
fn used(stage: &Stage) -> Vec<String> {
    let calls = stage.server.calls().of(Endpoint::Token);
    calls
        .iter()
        .filter_map(|call| call.parameter("refresh_token"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn forty_requests_make_one_exchange_and_the_new_refresh_token_is_told_once() {
    let stage = Stage::build(with_totp(), |builder| {
        builder.policy(Policy::for_scope("openid offline_access"))
    });
    stage.person.replies([Reply::Late(seconds(20))]);
    let layer = stage.layer();
    let request = stage.request();
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let (head, body) = request.clone().into_parts();
            let service = layer.layer(stage.api.clone());
            tokio::spawn(service.oneshot(Request::from_parts(head, body)))
        })
        .collect();
    let mut seen = HashSet::new();
    for call in calls {
        let answer = Answer::read(call.await.unwrap().unwrap()).await;
        let tokens = answer.accepted().tokens().unwrap();
        seen.insert(tokens.refresh_token().unwrap().expose().to_owned());
    }
    assert_eq!(seen.len(), 1, "the same in every answer");
    let told: Vec<_> = stage
        .told()
        .into_iter()
        .filter_map(|told| told.refresh_token)
        .collect();
    assert_eq!(told.len(), 1, "told once");
    assert_eq!(told[0], seen.into_iter().next().unwrap());
    assert_eq!(stage.person.prompts(), 1);
    assert_eq!(stage.counts().2, 1);
    assert!(used(&stage).is_empty(), "the step-up used none");
    assert_eq!(layer.step_ups_under_way(), 0);
}

/// Each of these is told to rotate, one after the other, through a demand each time.
#[tokio::test(start_paused = true)]
async fn a_chain_of_refreshes_uses_each_token_once() {
    let stage = Stage::new(with_totp());
    let mut token = logged_in(&stage).await;
    stage.server.set_policy(Policy::always());
    let mut all = HashSet::from([token.clone()]);
    for _ in 0..5 {
        let form = format!("grant_type=refresh_token&client_id={CLIENT}&refresh_token={token}");
        let answer = token_request(&stage, form).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let stepped_up = answer.stepped_up.unwrap();
        token = answer.body["refresh_token"].as_str().unwrap().to_owned();
        let told = stepped_up.tokens().unwrap().refresh_token().unwrap();
        assert_eq!(told.expose(), token);
        assert!(all.insert(token.clone()), "another one each time");
        tokio::time::advance(seconds(30)).await;
    }
    let used = used(&stage);
    let once: HashSet<_> = used.iter().collect();
    assert_eq!((used.len(), once.len()), (5, 5), "{used:?}");
    let mfa = stage.server.calls().of(Endpoint::Token);
    let exchanges = mfa
        .iter()
        .filter(|call| call.grant_type().as_deref() == Some(OTP_GRANT));
    assert_eq!(exchanges.count(), 5);
}

/// The application's own race, which the layer must not make worse: it neither joins nor repeats the two refreshes.
#[tokio::test(start_paused = true)]
async fn refreshes_at_once_are_each_sent_once() {
    let stage = Stage::new(with_totp());
    let token = logged_in(&stage).await;
    stage.server.set_policy(Policy::always());
    let layer = stage.layer();
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let form = format!("grant_type=refresh_token&client_id={CLIENT}&refresh_token={token}");
            let request = Request::post(format!("{}oauth/token", stage.server.issuer()))
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from(form))
                .unwrap();
            tokio::spawn(layer.layer(stage.server.clone()).oneshot(request))
        })
        .collect();
    for call in calls {
        Answer::read(call.await.unwrap().unwrap()).await;
    }
    assert_eq!(used(&stage).len(), 2);
    let told = stage.told();
    let tokens: Vec<_> = told
        .iter()
        .filter_map(|told| told.refresh_token.clone())
        .collect();
    let once: HashSet<_> = tokens.iter().collect();
    assert_eq!(tokens.len(), once.len(), "none is told twice");
    assert_eq!(layer.step_ups_under_way(), 0);
}
