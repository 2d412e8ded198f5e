//! The guard and the client's layer understand each other.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;
use tower_mfa::body::ReplayBody;
use tower_mfa::dialect::StepUpChallenge;
use tower_mfa::guard::{MfaRequired, Requirement, VerifiedToken};
use tower_mfa::transport::Transport;
use tower_mfa::{Auth0, Code, MfaLayer, Rfc9470, StepUpError, SteppedUp, code_fn};

use crate::harness::{Answer, ISSUER, MULTI_FACTOR, World, with_token};

fn demanding() -> Requirement {
    Requirement::mfa().max_age(Duration::from_secs(300))
}

async fn who(request: Request<ReplayBody<Full<Bytes>>>) -> Result<Response<String>, Infallible> {
    let subject = request
        .extensions()
        .get::<VerifiedToken>()
        .and_then(VerifiedToken::subject);
    Ok(Response::new(subject.unwrap_or("nobody").to_owned()))
}

#[tokio::test(start_paused = true)]
async fn the_detector_finds_what_the_guard_demands_and_hands_it_back() {
    let world = World::new();
    let client = MfaLayer::new(
        Rfc9470::new(),
        code_fn(|_| async { panic!("there is nothing to ask anybody for") }),
    )
    .clock(world.clock.clone())
    .layer(world.guard().require(demanding()).layer(service_fn(who)));
    let response = client
        .oneshot(with_token(&world.token().sign()))
        .await
        .unwrap();
    let error = response.extensions().get::<StepUpError>().unwrap();
    assert!(error.is_handed_back(), "{error}");
    let answer = Answer::read(response).await;
    answer.is(401, Some("insufficient_user_authentication"));
    let demanded = StepUpChallenge::read(answer.challenge()).unwrap();
    assert_eq!(demanded.acr_values(), [MULTI_FACTOR]);
    assert_eq!(demanded.max_age(), Some(Duration::from_secs(300)));
}

#[tokio::test(start_paused = true)]
async fn an_auth0_client_steps_up_by_what_the_guard_relays() {
    let world = World::new();
    let server = world.server.clone();
    let guard = world.guard().relay_mfa_required(move |_, shortfall| {
        assert_eq!(shortfall.acr_values(), Some(MULTI_FACTOR));
        let answer = server.demand("alice", "example-client");
        ready(MfaRequired::from_json(answer.into_body().text()).ok())
    });
    let dialect = Auth0::new(ISSUER, "example-client")
        .unwrap()
        .transport(Transport::new(world.server.clone()));
    let totp = world.server.clone();
    let client = MfaLayer::new(
        dialect,
        code_fn(move |_| ready(Ok(Code::new(totp.totp("alice").unwrap())))),
    )
    .clock(world.clock.clone())
    .layer(guard.require(demanding()).layer(service_fn(who)));
    let response = client
        .oneshot(with_token(&world.token().sign()))
        .await
        .unwrap();
    assert!(
        response.extensions().get::<SteppedUp>().is_some(),
        "{:?}",
        response.extensions().get::<StepUpError>()
    );
    let answer = Answer::read(response).await;
    answer.is_let_through();
    assert!(answer.text.contains("alice"));
}
