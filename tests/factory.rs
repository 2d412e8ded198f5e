//! Bodies that are made again rather than remembered, and requests that must not be sent again (design, rules 1 to 3).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Body;
use tokio_test::task;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};
use tower_mfa::body::BodyFactory;
use tower_mfa::{StepUpError, SteppedUp};

use support::*;

/// A request whose body is made by this function, and how often it was.
fn remade(
    make: impl Fn(usize) -> Script + Send + Sync + 'static,
) -> (Request<Script>, Arc<AtomicUsize>) {
    let mut request = post(make(0));
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let factory = BodyFactory::new(move || make(count.fetch_add(1, Ordering::Relaxed) + 1));
    request.extensions_mut().insert(factory);
    (request, made)
}

#[tokio::test(start_paused = true)]
async fn the_retry_sends_what_the_factory_makes_whatever_its_length() {
    let (layer, _) = layer(Plan::Bearer("new"));
    let (mut service, mut handle) = mocked(layer.max_replay_bytes(4));
    let chunk = Bytes::from(vec![b'x'; 100]);
    let (request, made) = remade(move |_| Script::exact([data(chunk.clone()), trailers("t")]));
    let mut response = send(&mut service, request);
    let (first, answer) = accept(&mut handle);
    let (hint, ended) = (first.body().size_hint(), first.body().is_end_stream());
    let sent = read(first.into_body());
    assert_eq!(
        made.load(Ordering::Relaxed),
        0,
        "nothing is made in advance"
    );

    answer.send_response(demand());
    assert_pending!(response.poll());
    let (second, answer) = accept(&mut handle);
    assert_eq!(made.load(Ordering::Relaxed), 1);
    assert_eq!(second.body().size_hint().exact(), hint.exact());
    assert_eq!(second.body().is_end_stream(), ended);
    assert_eq!(read(second.into_body()), sent);
    answer.send_response(ok());
    let response = finish(&mut response);
    assert!(response.extensions().get::<SteppedUp>().is_some());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_of_a_body_that_can_be_made_again() {
    let (layer, _) = layer(Plan::Bearer("new"));
    let (mut service, mut handle) = mocked(layer);
    let (request, _) = remade(|_| Script::open([data(vec![b'x'; 100])]));
    let _response = send(&mut service, request);
    let (first, _answer) = accept(&mut handle);
    let mut first = task::spawn(first.into_body());
    let frame = assert_ready_ok!(
        first
            .enter(|cx, body| body.poll_frame(cx))
            .map(Option::unwrap)
    );
    assert!(frame.into_data().unwrap().is_unique(), "nobody else has it");
}

#[tokio::test(start_paused = true)]
async fn a_step_up_that_fails_makes_nothing_and_lets_the_upload_go_on() {
    let (layer, seen) = layer(Plan::WaitAndFail);
    let (mut service, mut handle) = mocked(layer);
    let (request, made) = remade(|_| Script::open([data("a")]));
    let feed = request.body().feed();
    let mut response = send(&mut service, request);
    let (first, answer) = accept(&mut handle);
    let mut first = task::spawn(first.into_body());
    assert_eq!(next(&mut first), yielded("a"));
    answer.send_response(demand());
    assert_pending!(response.poll());
    feed.push(data("b"));
    assert_pending!(next(&mut first));

    seen.release();
    let response = finish(&mut response);
    assert!(
        response
            .extensions()
            .get::<StepUpError>()
            .unwrap()
            .is_rejected()
    );
    assert_eq!(made.load(Ordering::Relaxed), 0);
    assert!(first.is_woken());
    assert_eq!(next(&mut first), yielded("b"));
}

#[tokio::test(start_paused = true)]
async fn the_old_upload_ends_with_an_error_when_the_body_is_made_again() {
    let (layer, seen) = layer(Plan::Wait("new"));
    let (mut service, mut handle) = mocked(layer);
    let (request, _) = remade(|number| Script::open([data(format!("{number}"))]));
    let old = request.body().feed();
    let mut response = send(&mut service, request);
    let (first, answer) = accept(&mut handle);
    let mut first = task::spawn(first.into_body());
    assert_eq!(next(&mut first), yielded("0"));
    assert_pending!(next(&mut first));
    answer.send_response(demand());
    assert_pending!(response.poll());
    seen.release();
    assert_pending!(response.poll());

    assert!(old.is_dropped(), "the old source is given up at once");
    assert!(first.is_woken(), "its connection would hang");
    assert!(!first.enter(|_, body| body.is_end_stream()), "it was cut");
    assert_ready_err!(
        first
            .enter(|cx, body| body.poll_frame(cx))
            .map(Option::unwrap)
    );
    let mut second = task::spawn(accept(&mut handle).0.into_body());
    assert_eq!(next(&mut second), yielded("1"));
}

/// The source is the caller's: a file that could not be read may be readable when it is opened again.
#[tokio::test(start_paused = true)]
async fn a_source_that_failed_can_be_made_again() {
    let (layer, _) = layer(Plan::Bearer("new"));
    let (mut service, mut handle) = mocked(layer);
    let (request, _) = remade(|number| match number {
        0 => Script::new([Step::Error("gone")]),
        _ => Script::new([data("whole")]),
    });
    let mut response = send(&mut service, request);
    let (first, answer) = accept(&mut handle);
    read(first.into_body());
    answer.send_response(demand());
    assert_pending!(response.poll());
    let mut second = task::spawn(accept(&mut handle).0.into_body());
    assert_eq!(next(&mut second), yielded("whole"));
}

#[tokio::test(start_paused = true)]
async fn a_factory_of_another_body_type_is_not_seen() {
    let (layer, seen) = layer(Plan::Bearer("new"));
    let (mut service, mut handle) = mocked(layer.max_replay_bytes(4));
    let mut request = post(Script::exact([data("too long")]));
    request
        .extensions_mut()
        .insert(BodyFactory::new(String::new));
    let mut response = send(&mut service, request);
    accept(&mut handle).1.send_response(demand());
    let response = finish(&mut response);
    assert!(
        response
            .extensions()
            .get::<StepUpError>()
            .unwrap()
            .is_not_replayable()
    );
    assert_eq!(seen.resolves(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_must_not_be_sent_again_is_passed_over() {
    let (layer, seen) = layer(Plan::Bearer("new"));
    let layer = layer.retry_if(|head| head.method() == "GET" && head.uri().path() != "/transfers");
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, post(Script::exact([data("a")])));
    accept(&mut handle).1.send_response(demand());
    let response = finish(&mut response);
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let error: &StepUpError = response.extensions().get().unwrap();
    assert!(error.is_vetoed() && error.is_passed_over(), "{error}");
    assert!(error.to_string().contains("retry_if"));
    assert_eq!(seen.resolves(), 0, "nobody was asked in vain");
    assert_not_called(&mut handle);

    let mut response = send(&mut service, get());
    accept(&mut handle).1.send_response(demand());
    assert_pending!(response.poll());
    accept(&mut handle).1.send_response(ok());
    assert_eq!(finish(&mut response).status(), StatusCode::OK);
}
