//! The guard keeps tower's contract: it calls what was polled ready, and holds no readiness while it waits.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower_mfa::guard::Requirement;
use tower_mfa::testing::{Endpoint, Fault};
use tower_service::Service;
use tower_test::mock;

use crate::harness::{World, with_token};

type Body = Full<bytes::Bytes>;

#[tokio::test(start_paused = true)]
async fn what_was_polled_ready_is_called() {
    let world = World::new();
    let verifier = world.verifier();
    assert!(verifier.prefetch().await);
    let layer = tower_mfa::guard::Guard::new(verifier).require(Requirement::login());
    let (mut service, mut handle) = mock::spawn_layer::<Request<Body>, Response<Body>, _>(layer);
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut response = tokio_test::task::spawn(service.call(with_token(&world.token().sign())));
    assert_pending!(response.poll());
    let (_, send) = handle.next_request().await.unwrap();
    send.send_response(Response::new(Body::default()));
    assert_eq!(assert_ready_ok!(response.poll()).status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_use_up_the_readiness() {
    let world = World::new();
    let verifier = world.verifier();
    verifier.prefetch().await;
    let layer = tower_mfa::guard::Guard::new(verifier).require(Requirement::login());
    let (mut service, mut handle) = mock::spawn_layer::<Request<Body>, Response<Body>, _>(layer);
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut refused = tokio_test::task::spawn(service.call(with_token("a.b.c")));
    assert_eq!(
        assert_ready_ok!(refused.poll()).status(),
        StatusCode::UNAUTHORIZED
    );
    // the permit is still there for the next one
    let mut response = tokio_test::task::spawn(service.call(with_token(&world.token().sign())));
    assert_pending!(response.poll());
    assert!(handle.next_request().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_keys_leaves_the_readiness_to_others() {
    let world = World::new();
    world.server.inject(Endpoint::Jwks, Fault::hang());
    let layer = world.guard().require(Requirement::login());
    let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
    let mut service = tower_layer::Layer::layer(&layer, service);
    handle.allow(1);
    let ready = |service: &mut tower_mfa::guard::Guarded<_>| {
        tokio_test::task::spawn(std::future::poll_fn(|cx| {
            Service::<Request<Body>>::poll_ready(service, cx)
        }))
        .poll()
        .is_ready()
    };
    assert!(ready(&mut service));
    let mut waiting = tokio_test::task::spawn(service.call(with_token(&world.token().sign())));
    assert_pending!(waiting.poll());
    // the one permit is still with the service
    assert!(ready(&mut service));
    tokio::time::sleep(Duration::from_secs(6)).await;
    let answer = assert_ready!(waiting.poll()).unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}
