//! From a demand to the same request again: the retry, the early answer, readiness, trust, and what the caller gets when there
//! is no retry (design, rules 2, 3, 4, 6, 8).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::io;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Body, SizeHint};
use tokio::time::Instant;
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};
use tower::limit::ConcurrencyLimit;
use tower_layer::Layer;
use tower_mfa::body::{ReplayBody, ResponseBody};
use tower_mfa::code::HeaderCode;
use tower_mfa::{
    BoxError, Code, CodeError, Demand, Event, Factor, Mfa, MfaLayer, ResponseFuture, StepUpError,
    SteppedUp, code_fn,
};
use tower_test::mock;

use support::*;

type Future = Spawn<ResponseFuture<Inner, Script, Script>>;

/// Sends a request through a layer whose step-up succeeds at once, and gives what the retry sends.
fn retry_of(layer: MfaLayer, request: Request<Script>) -> Request<ReplayBody<Script>> {
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, request);
    accept(&mut handle).1.send_response(demand());
    assert_pending!(response.poll());
    accept(&mut handle).0
}

fn bearer(request: &Request<ReplayBody<Script>>) -> Vec<&str> {
    let values = request.headers().get_all(AUTHORIZATION);
    values.iter().map(|value| value.to_str().unwrap()).collect()
}

// ===== the same request again =====

#[tokio::test(start_paused = true)]
async fn the_retry_is_the_same_request_with_another_authorization() {
    #[derive(Clone, Debug, PartialEq)]
    struct Mark(u32);

    let mut request = Request::builder()
        .method("PATCH")
        .uri("/a/%7Eb?c=d&c=e")
        .version(Version::HTTP_2)
        .header("x-first", "1")
        .header("authorization", "Bearer old")
        .header("x-twice", "a")
        .header("x-other", "2")
        .header("x-twice", "b")
        .header("x-last", "3")
        .body(Script::exact([data("a"), data("b"), trailers("t")]))
        .unwrap();
    request.extensions_mut().insert(Mark(7));

    let request = retry_of(layer(Plan::Bearer("new")).0, request);

    assert_eq!(request.method(), "PATCH");
    assert_eq!(request.uri(), "/a/%7Eb?c=d&c=e");
    assert_eq!(request.version(), Version::HTTP_2);
    assert_eq!(request.extensions().get(), Some(&Mark(7)));
    assert_eq!(request.extensions().len(), 1);
    assert_eq!(bearer(&request), ["Bearer new"]);
    let mut values: Vec<_> = lines(request.headers());
    values.sort_unstable();
    assert_eq!(
        values,
        [
            ("authorization", "Bearer new"),
            ("x-first", "1"),
            ("x-last", "3"),
            ("x-other", "2"),
            ("x-twice", "a"),
            ("x-twice", "b"),
        ]
    );
    assert_eq!(
        read(request.into_body()),
        read(Script::exact([data("a"), data("b"), trailers("t")]))
    );
}

/// Regression: `authorization` was removed and added again. `HeaderMap::remove` puts the last header in the place of the removed
/// one, so that the retry's headers came in another order.
#[tokio::test(start_paused = true)]
async fn the_retry_keeps_the_order_of_the_headers() {
    let request = Request::builder()
        .header("x-first", "1")
        .header("authorization", "Bearer old")
        .header("x-twice", "a")
        .header("x-other", "2")
        .header("x-twice", "b")
        .header("x-last", "3")
        .body(Script::empty())
        .unwrap();
    let request = retry_of(layer(Plan::Bearer("new")).0, request);
    assert_eq!(
        lines(request.headers()),
        [
            ("x-first", "1"),
            ("authorization", "Bearer new"),
            ("x-twice", "a"),
            ("x-twice", "b"),
            ("x-other", "2"),
            ("x-last", "3"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn two_authorizations_become_one() {
    let request = Request::builder()
        .header("authorization", "Bearer old")
        .header("x-other", "1")
        .header("authorization", "Basic older")
        .body(Script::empty())
        .unwrap();
    let request = retry_of(layer(Plan::Bearer("new")).0, request);
    assert_eq!(
        lines(request.headers()),
        [("authorization", "Bearer new"), ("x-other", "1")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_without_authorization_gets_one() {
    let request = Request::builder()
        .header("x-other", "1")
        .body(Script::empty())
        .unwrap();
    let request = retry_of(layer(Plan::Bearer("new")).0, request);
    assert_eq!(
        lines(request.headers()),
        [("x-other", "1"), ("authorization", "Bearer new")]
    );
}

#[tokio::test(start_paused = true)]
async fn the_new_authorization_is_sensitive() {
    let request = retry_of(layer(Plan::Bearer("new")).0, get());
    assert!(request.headers()[AUTHORIZATION].is_sensitive());
    assert!(!format!("{request:?}").contains("new"));
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_remedy_overwrite_their_own_names_and_keep_all_others() {
    let name = HeaderName::from_static;
    let mut remedy = HeaderMap::new();
    remedy.insert(name("x-otp"), HeaderValue::from_static("123456"));
    remedy.append(name("x-proof"), HeaderValue::from_static("p"));
    remedy.append(name("x-proof"), HeaderValue::from_static("q"));
    let request = Request::builder()
        .header("x-first", "1")
        .header("x-proof", "old")
        .header("authorization", "Bearer old")
        .header("x-proof", "older")
        .header("x-last", "2")
        .body(Script::empty())
        .unwrap();
    let request = retry_of(layer(Plan::Headers(remedy)).0, request);
    // `HeaderMap` does not order names that are new
    let mut values = lines(request.headers());
    values.sort_unstable();
    assert_eq!(
        values,
        [
            ("authorization", "Bearer old"),
            ("x-first", "1"),
            ("x-last", "2"),
            ("x-otp", "123456"),
            ("x-proof", "p"),
            ("x-proof", "q"),
        ]
    );
    assert!(request.headers()["x-otp"].is_sensitive());
    for value in request.headers().get_all("x-proof") {
        assert!(value.is_sensitive());
    }
    assert!(!request.headers()["x-first"].is_sensitive());
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_remedy_keep_the_order_of_the_others() {
    let remedy = HeaderMap::from_iter([(
        HeaderName::from_static("x-proof"),
        HeaderValue::from_static("new"),
    )]);
    let request = Request::builder()
        .header("x-first", "1")
        .header("x-proof", "old")
        .header("x-second", "2")
        .header("x-last", "3")
        .body(Script::empty())
        .unwrap();
    let request = retry_of(layer(Plan::Headers(remedy)).0, request);
    assert_eq!(
        lines(request.headers()),
        [
            ("x-first", "1"),
            ("x-proof", "new"),
            ("x-second", "2"),
            ("x-last", "3"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_retry_s_body_is_the_first_attempt_s_whatever_that_had_read() {
    for (name, script) in scripts() {
        for already_polled in 0..8 {
            tokio::task::yield_now().await;
            let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
            let mut response = send(&mut service, post(script()));
            let (request, answer) = accept(&mut handle);
            let mut first = task::spawn(request.into_body());
            for _ in 0..already_polled {
                let _ = next(&mut first);
            }
            answer.send_response(demand());
            assert_pending!(response.poll());
            let (request, _answer) = accept(&mut handle);
            let second = read(request.into_body());
            assert_eq!(second, read(script()), "{name}, after {already_polled}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_retry_s_body_is_the_same_when_the_first_attempt_s_was_dropped() {
    for (name, script) in scripts() {
        for already_polled in 0..8 {
            tokio::task::yield_now().await;
            let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
            let mut response = send(&mut service, post(script()));
            let (request, answer) = accept(&mut handle);
            {
                let mut first = task::spawn(request.into_body());
                for _ in 0..already_polled {
                    let _ = next(&mut first);
                }
            }
            answer.send_response(demand());
            assert_pending!(response.poll());
            let (request, _answer) = accept(&mut handle);
            let second = read(request.into_body());
            assert_eq!(second, read(script()), "{name}, after {already_polled}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_retry_sends_the_same_memory_and_not_a_copy() {
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
    let chunk = Bytes::from(vec![b'x'; 100]);
    let mut response = send(
        &mut service,
        post(Script::exact([Step::Data(chunk.clone())])),
    );
    let (request, answer) = accept(&mut handle);
    let mut first = task::spawn(request.into_body());
    assert_eq!(next(&mut first), yielded(chunk.clone()));
    answer.send_response(demand());
    assert_pending!(response.poll());
    let mut second = task::spawn(accept(&mut handle).0.into_body());
    let Poll::Ready(Yielded::Data(again)) = next(&mut second) else {
        panic!("no data")
    };
    assert_eq!(again.as_ptr(), chunk.as_ptr());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_length_stays_unknown_and_an_exact_one_exact() {
    let mut range = SizeHint::new();
    range.set_lower(2);
    range.set_upper(9);
    for hint in [SizeHint::new(), SizeHint::with_exact(3), range] {
        let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
        let body = Script::new([data("a"), data("bc")]).with_hint(hint);
        let mut response = send(&mut service, post(body));
        let (request, answer) = accept(&mut handle);
        read(request.into_body());
        answer.send_response(demand());
        assert_pending!(response.poll());
        let (request, _answer) = accept(&mut handle);
        let again = request.body().size_hint();
        assert_eq!((again.lower(), again.upper()), (hint.lower(), hint.upper()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_exactly_the_limit_is_sent_again() {
    let script = || Script::new([data("12345"), data("67890")]);
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0.max_replay_bytes(10));
    let mut response = send(&mut service, post(script()));
    let (request, answer) = accept(&mut handle);
    read(request.into_body());
    answer.send_response(demand());
    assert_pending!(response.poll());
    assert_eq!(read(accept(&mut handle).0.into_body()), read(script()));
}

#[tokio::test(start_paused = true)]
async fn with_a_limit_of_nothing_requests_without_a_body_are_sent_again() {
    let layer = layer(Plan::Bearer("new")).0.max_replay_bytes(0);
    retry_of(layer.clone(), get());
    retry_of(layer.clone(), post(Script::new([trailers("t")])));
    let body = Script::exact([data("a")]);
    let response = refused(layer, post(body), demand());
    assert!(step_up_error(&response).is_not_replayable());
}

// ===== after the retry =====

#[tokio::test(start_paused = true)]
async fn the_retry_s_response_is_the_caller_s_untouched_and_never_read() {
    let (layer, seen) = layer(Plan::Bearer("new"));
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, get());
    accept(&mut handle).1.send_response(demand());
    assert_pending!(response.poll());
    let body = Script::exact([data("a"), Step::Panic]);
    let feed = body.feed();
    let answer = json(StatusCode::BAD_REQUEST, body);
    accept(&mut handle).1.send_response(answer);
    let response = finish(&mut response);
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        lines(response.headers()),
        [("content-type", "application/json")]
    );
    assert_eq!(feed.polls(), 0);
    assert_eq!((seen.detects(), seen.bodies()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_demand_goes_to_the_caller() {
    for by_head in [false, true] {
        let (layer, seen) = layer(Plan::Bearer("new"));
        let (mut service, mut handle) = mocked(layer);
        let mut response = send(&mut service, get());
        accept(&mut handle).1.send_response(demand());
        assert_pending!(response.poll());
        let again = if by_head {
            demand_by_head(Script::empty())
        } else {
            demand()
        };
        let status = again.status();
        accept(&mut handle).1.send_response(again);
        let response = finish(&mut response);
        assert_eq!(response.status(), status);
        assert!(response.extensions().get::<SteppedUp>().is_some());
        assert!(response.extensions().get::<StepUpError>().is_none());
        assert_eq!(seen.resolves(), 1);
        assert_not_called(&mut handle);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_retry_goes_to_the_caller() {
    let (layer, seen) = layer(Plan::Bearer("new"));
    let layer = layer.on_error(|_: &BoxError| Some(Demand::new()));
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, get());
    accept(&mut handle).1.send_response(demand());
    assert_pending!(response.poll());
    accept(&mut handle).1.send_error("broken");
    let error = assert_ready!(response.poll()).unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert_eq!(seen.resolves(), 1);
    assert_not_called(&mut handle);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_was_stepped_up_says_how() {
    let (layer, seen) = layer(Plan::Ask);
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, get());
    accept(&mut handle).1.send_response(demand());
    assert_pending!(response.poll());
    let (request, answer) = accept(&mut handle);
    assert_eq!(bearer(&request), ["Bearer 123456"]);
    answer.send_response(ok());
    let response = finish(&mut response);
    let stepped_up: &SteppedUp = response.extensions().get().unwrap();
    assert_eq!(stepped_up.factor(), Some(Factor::Otp));
    assert_eq!(stepped_up.attempts(), 1);
    let tokens = stepped_up.tokens().unwrap();
    assert_eq!(tokens.access_token().expose(), "123456");
    assert!(stepped_up.recovery_code().is_none());
    assert_eq!(seen.resolves(), 1);
    assert!(!format!("{:?}", response.extensions()).contains("123456"));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_asked_and_no_token_issued_the_response_says_so() {
    let remedy = HeaderMap::from_iter([(
        HeaderName::from_static("x-otp"),
        HeaderValue::from_static("123456"),
    )]);
    let (mut service, mut handle) = mocked(layer(Plan::Headers(remedy)).0);
    let mut response = send(&mut service, get());
    accept(&mut handle).1.send_response(demand());
    assert_pending!(response.poll());
    accept(&mut handle).1.send_response(ok());
    let response = finish(&mut response);
    let stepped_up: &SteppedUp = response.extensions().get().unwrap();
    assert_eq!(stepped_up.factor(), None);
    assert_eq!(stepped_up.attempts(), 0);
    assert!(stepped_up.tokens().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_was_not_stepped_up_says_nothing() {
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
    let mut response = send(&mut service, get());
    accept(&mut handle).1.send_response(ok());
    assert!(finish(&mut response).extensions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_no_header_can_carry_ends_the_step_up() {
    let response = refused(layer(Plan::Bearer("a\nb")).0, get(), demand());
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(step_up_error(&response).is_protocol());
}

// ===== a step-up that fails =====

#[tokio::test(start_paused = true)]
async fn after_a_failed_step_up_the_refusal_is_complete() {
    let script = || {
        Script::new([
            data(r#"{"error":"#),
            Step::Yield,
            data(r#""mfa_required"}"#),
            trailers("t"),
        ])
    };
    let mut refusal = json(StatusCode::FORBIDDEN, script());
    *refusal.version_mut() = Version::HTTP_2;
    let headers = refusal.headers_mut();
    headers.append("set-cookie", HeaderValue::from_static("a=1"));
    headers.append("x-other", HeaderValue::from_static("1"));
    headers.append("set-cookie", HeaderValue::from_static("b=2"));
    refusal.extensions_mut().insert(7_u32);

    let (layer, seen) = layer(Plan::Fail);
    let response = refused(layer, get(), refusal);

    assert_eq!(seen.resolves(), 1);
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(
        lines(response.headers()),
        [
            ("content-type", "application/json"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-other", "1"),
        ]
    );
    assert_eq!(response.extensions().get(), Some(&7_u32));
    let error = step_up_error(&response);
    assert!(error.is_rejected());
    assert_eq!(error.to_string(), "the user said no");
    assert_eq!(read(response.into_body()), read(script()));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_found_by_its_head_keeps_its_body() {
    for (name, script) in scripts().into_iter().chain(failing_scripts()) {
        let response = refused(layer(Plan::Fail).0, get(), demand_by_head(script()));
        assert!(step_up_error(&response).is_rejected(), "{name}");
        assert_eq!(response.headers()["x-mfa"], "required", "{name}");
        let mut entries = read(response.into_body());
        if name == "nothing, after a pause" {
            // the layer has waited for the end, so it knows better than the body did
            assert!(entries[0].0.2);
            entries[0].0.2 = false;
        }
        assert_eq!(entries, read(script()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_found_by_its_head_keeps_a_body_of_any_length() {
    for hint in [SizeHint::new(), SizeHint::with_exact(5 * 10_000)] {
        let script = || {
            let chunk = || data(vec![b'x'; 10_000]);
            Script::new([chunk(), chunk(), chunk(), chunk(), chunk(), trailers("t")])
                .with_hint(hint)
        };
        let response = refused(layer(Plan::Fail).0, get(), demand_by_head(script()));
        assert!(step_up_error(&response).is_rejected());
        assert_eq!(read(response.into_body()), read(script()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_found_by_its_head_and_streams_on_is_not_waited_for() {
    let (layer, seen) = layer(Plan::WaitAndFail);
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, get());
    let body = Script::open([data("a")]);
    let feed = body.feed();
    accept(&mut handle).1.send_response(demand_by_head(body));
    assert_pending!(response.poll());
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_pending!(response.poll());
    assert_eq!(seen.resolves(), 1, "after the patience, not after the body");
    feed.push(data("b"));
    seen.release();
    let response = finish(&mut response);
    assert!(step_up_error(&response).is_rejected());
    let mut body = task::spawn(response.into_body());
    assert_eq!(next(&mut body), yielded("a"));
    assert_eq!(next(&mut body), yielded("b"));
    assert_pending!(next(&mut body));
    feed.end();
    assert!(body.is_woken());
    assert_eq!(next(&mut body), END);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_declines_gives_the_refusal_back() {
    let (dialect, _seen) = Scripted::new(Plan::Ask);
    let layer = MfaLayer::new(
        dialect,
        code_fn(|_| async { Err::<Code, _>(CodeError::Declined) }),
    );
    let response = refused(layer, get(), demand());
    assert!(step_up_error(&response).is_declined());
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_be_asked_no_step_up_is_begun() {
    let (dialect, seen) = Scripted::new(Plan::Ask);
    let codes = HeaderCode::new(HeaderName::from_static("x-code"));
    let layer = MfaLayer::new(dialect, codes);
    for by_head in [false, true] {
        let refusal = || {
            if by_head {
                demand_by_head(Script::exact([data("a"), trailers("t")]))
            } else {
                demand()
            }
        };
        let response = refused(layer.clone(), get(), refusal());
        assert!(step_up_error(&response).is_not_interactive());
        assert_eq!(read(response.into_body()), read(refusal().into_body()));
    }
    assert_eq!(seen.resolves(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_step_up_has_a_deadline() {
    for (layer, deadline) in [(layer(Plan::Wait("new")), Duration::from_secs(5 * 60)), {
        let (layer, seen) = layer(Plan::Wait("new"));
        let deadline = Duration::from_secs(30);
        ((layer.deadline(deadline), seen), deadline)
    }] {
        let (layer, seen) = layer;
        let (mut service, mut handle) = mocked(layer);
        let script = Script::open([data("a")]);
        let feed = script.feed();
        let mut response = send(&mut service, post(script));
        let (request, answer) = accept(&mut handle);
        let mut first = task::spawn(request.into_body());
        answer.send_response(demand());
        let begin = Instant::now();
        assert_pending!(response.poll());
        assert_eq!(seen.running(), 1);
        assert_pending!(next(&mut first));

        let response = response.await.unwrap();

        assert_eq!(begin.elapsed().as_secs(), deadline.as_secs());
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(step_up_error(&response).is_timeout());
        assert_eq!(seen.running(), 0, "the dialect's future is dropped");
        assert!(first.is_woken());
        assert_eq!(next(&mut first), yielded("a"));
        feed.end();
        assert_eq!(next(&mut first), END);
        assert_not_called(&mut handle);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_may_be_as_long_as_one_likes() {
    let layer = layer(Plan::Bearer("new")).0.deadline(Duration::MAX);
    retry_of(layer, get());
}

// ===== demands in the service's own error =====

#[derive(Debug, PartialEq, Eq)]
enum ApiError {
    MfaRequired,
    Other,
}

fn api_error_layer(plan: Plan) -> (MfaLayer, Arc<Seen>) {
    let (layer, seen) = layer(plan);
    let layer =
        layer.on_error(|error: &ApiError| (*error == ApiError::MfaRequired).then(Demand::new));
    (layer, seen)
}

/// Calls a service that fails with `errors` one after the other, then answers; gives the answer and how often it was called.
async fn call_failing(
    layer: MfaLayer,
    errors: impl IntoIterator<Item = ApiError>,
) -> (Result<Response<ResponseBody<Script>>, ApiError>, usize) {
    let mut errors: Vec<_> = errors.into_iter().collect();
    errors.reverse();
    let state = Arc::new(Mutex::new((errors, 0)));
    let inner = {
        let state = Arc::clone(&state);
        tower::service_fn(move |_request: Request<ReplayBody<Script>>| {
            let mut state = state.lock().unwrap();
            state.1 += 1;
            std::future::ready(state.0.pop().map_or(Ok(ok()), Err))
        })
    };
    let result = tower::ServiceExt::oneshot(layer.layer(inner), get()).await;
    let calls = state.lock().unwrap().1;
    (result, calls)
}

#[tokio::test(start_paused = true)]
async fn a_demand_in_the_service_s_own_error_is_met() {
    let (layer, seen) = api_error_layer(Plan::Bearer("new"));
    let (result, calls) = call_failing(layer, [ApiError::MfaRequired]).await;
    let response = result.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.extensions().get::<SteppedUp>().is_some());
    assert_eq!((calls, seen.resolves()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_demand_in_an_error_goes_to_the_caller() {
    let (layer, seen) = api_error_layer(Plan::Bearer("new"));
    let (result, calls) = call_failing(layer, [ApiError::MfaRequired, ApiError::MfaRequired]).await;
    assert_eq!(result.unwrap_err(), ApiError::MfaRequired);
    assert_eq!((calls, seen.resolves()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn another_error_is_no_demand() {
    let (layer, seen) = api_error_layer(Plan::Bearer("new"));
    let (result, calls) = call_failing(layer, [ApiError::Other]).await;
    assert_eq!(result.unwrap_err(), ApiError::Other);
    assert_eq!((calls, seen.resolves()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_another_type_is_never_shown_to_the_function() {
    let (layer, seen) = layer(Plan::Bearer("new"));
    let layer = layer.on_error(|_: &io::Error| -> Option<Demand> { panic!("not my type") });
    let (result, calls) = call_failing(layer, [ApiError::MfaRequired]).await;
    assert_eq!(result.unwrap_err(), ApiError::MfaRequired);
    assert_eq!((calls, seen.resolves()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_step_up_the_caller_gets_the_original_error() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let (layer, seen) = api_error_layer(Plan::Fail);
    let layer = layer.on_event(noting(&events));
    let (result, calls) = call_failing(layer, [ApiError::MfaRequired]).await;
    assert_eq!(result.unwrap_err(), ApiError::MfaRequired);
    assert_eq!((calls, seen.resolves()), (1, 1));
    assert_eq!(
        *events.lock().unwrap(),
        ["started GET /", "failed GET /: rejected"],
        "the reason is in the events"
    );
}

// ===== readiness =====

#[tokio::test(start_paused = true)]
async fn the_retry_waits_for_the_readiness_of_the_inner_service() {
    let (layer, seen) = layer(Plan::Wait("new"));
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, get());
    accept(&mut handle).1.send_response(demand());
    handle.allow(0);
    assert_pending!(response.poll());
    seen.release();
    assert!(response.is_woken());
    assert_pending!(response.poll());
    assert_eq!(seen.running(), 0);
    assert_not_called(&mut handle);
    handle.allow(1);
    assert!(response.is_woken());
    assert_pending!(response.poll());
    accept(&mut handle).1.send_response(ok());
    assert_eq!(finish(&mut response).status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_refusal_is_dropped_before_readiness_is_awaited() {
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
    let mut response = send(&mut service, get());
    let body = Script::open([data("a")]).with_hint(SizeHint::with_exact(1 << 20));
    let feed = body.feed();
    accept(&mut handle).1.send_response(demand_by_head(body));
    handle.allow(0);
    assert_pending!(response.poll());
    assert_not_called(&mut handle);
    assert!(
        feed.is_dropped(),
        "its connection may be the one that is waited for"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_before_the_retry_goes_to_the_caller() {
    let (layer, seen) = layer(Plan::Wait("new"));
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, get());
    accept(&mut handle).1.send_response(demand());
    assert_pending!(response.poll());
    handle.send_error("broken");
    seen.release();
    let error = assert_ready!(response.poll()).unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert_not_called(&mut handle);
}

#[tokio::test(start_paused = true)]
async fn no_permit_is_held_while_a_person_acts() {
    let (layer, seen) = layer(Plan::Wait("new"));
    let (mut service, mut handle): (_, Handle) =
        mock::spawn_with(|inner| layer.layer(ConcurrencyLimit::new(inner, 1)));
    let mut other: mock::Spawn<Mfa<_>> = service.clone();

    let mut first = send(&mut service, get());
    assert_pending!(other.poll_ready::<Request<Script>>(), "the permit is taken");
    accept(&mut handle).1.send_response(demand());
    assert_pending!(first.poll());
    assert_eq!(seen.running(), 1);

    // another request gets through meanwhile
    assert!(other.is_woken());
    let mut second = send(&mut other, get());
    let (_request, answer) = accept(&mut handle);

    // the step-up is over, but the other request has the permit now
    seen.release();
    assert_pending!(first.poll());
    assert_not_called(&mut handle);
    answer.send_response(ok());
    assert_eq!(finish(&mut second).status(), StatusCode::OK);
    drop(second);

    assert!(first.is_woken());
    assert_pending!(first.poll());
    accept(&mut handle).1.send_response(ok());
    assert_eq!(finish(&mut first).status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_readiness_that_is_awaited_for_the_retry_is_given_back_when_the_caller_goes() {
    let (layer, _seen) = layer(Plan::Bearer("new"));
    let (mut service, mut handle): (_, Handle) =
        mock::spawn_with(|inner| layer.layer(ConcurrencyLimit::new(inner, 1)));
    let mut first = send(&mut service, get());
    accept(&mut handle).1.send_response(demand());
    handle.allow(0);
    assert_pending!(first.poll());
    drop(first);
    handle.allow(2);
    let _second = send(&mut service, get());
    accept(&mut handle);
}

#[tokio::test(start_paused = true)]
async fn clones_of_the_service_work_at_the_same_time_and_do_not_mix() {
    let (layer, seen) = layer(Plan::Wait("new"));
    let (mut one, mut handle) = mocked(layer);
    let mut other = one.clone();

    let request = |name: &'static str| {
        Request::post(name)
            .header("authorization", format!("Bearer {name}"))
            .body(Script::exact([data(name)]))
            .unwrap()
    };
    let mut first = send(&mut one, request("/one"));
    let mut second = send(&mut other, request("/other"));
    let mut third = send(&mut one, request("/third"));
    for _ in 0..3 {
        let (request, answer) = accept(&mut handle);
        read(request.into_body());
        answer.send_response(demand());
    }
    for response in [&mut first, &mut second, &mut third] {
        assert_pending!(response.poll());
    }
    assert_eq!(seen.running(), 3);

    for response in [&mut first, &mut second, &mut third] {
        seen.release();
        assert_pending!(response.poll_until_idle());
    }
    for (response, name) in [
        (&mut first, "/one"),
        (&mut second, "/other"),
        (&mut third, "/third"),
    ] {
        let (request, answer) = accept(&mut handle);
        assert_eq!(request.uri(), name);
        assert_eq!(bearer(&request), ["Bearer new"]);
        assert_eq!(read(request.into_body()), read(Script::exact([data(name)])));
        answer.send_response(Response::new(Script::exact([data(name)])));
        assert_eq!(
            read(finish(response).into_body()),
            read(Script::exact([data(name)]))
        );
    }
}

// ===== early answers =====

/// A request whose body has come as far as `a` when it is refused; the step-up waits.
struct EarlyAnswer {
    seen: Arc<Seen>,
    handle: Handle,
    response: Future,
    first: Spawn<ReplayBody<Script>>,
    feed: Feed,
}

fn early_answer(plan: Plan) -> EarlyAnswer {
    let (layer, seen) = layer(plan);
    let (mut service, mut handle) = mocked(layer);
    let body = Script::open([data("a"), data("b")]);
    let feed = body.feed();
    let mut response = send(&mut service, post(body));
    let (request, answer) = accept(&mut handle);
    let mut first = task::spawn(request.into_body());
    assert_eq!(next(&mut first), yielded("a"));
    answer.send_response(demand());
    assert_pending!(response.poll());
    assert_eq!(seen.running(), 1);
    EarlyAnswer {
        seen,
        handle,
        response,
        first,
        feed,
    }
}

#[track_caller]
fn assert_cut(body: &mut Spawn<ReplayBody<Script>>) {
    assert!(!body.is_end_stream(), "a body that was cut looks whole");
    assert!(
        matches!(next(body), Poll::Ready(Yielded::Error(_))),
        "a body that was cut ends without an error"
    );
    assert_eq!(next(body), END);
}

#[tokio::test(start_paused = true)]
async fn while_a_step_up_runs_the_source_is_not_read() {
    let mut early = early_answer(Plan::Wait("new"));
    assert_pending!(next(&mut early.first));
    early.feed.push(data("c"));
    assert_pending!(next(&mut early.first));
    assert_eq!(early.feed.polls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_retry_gets_all_bytes_and_the_old_body_ends_with_an_error() {
    let mut early = early_answer(Plan::Wait("new"));
    assert_pending!(next(&mut early.first));
    early.seen.release();
    assert_pending!(early.response.poll());
    let (request, answer) = accept(&mut early.handle);

    assert!(early.first.is_woken(), "its connection would hang");
    assert_cut(&mut early.first);

    let mut second = task::spawn(request.into_body());
    assert_eq!(next(&mut second), yielded("a"));
    assert_eq!(next(&mut second), yielded("b"));
    assert_pending!(next(&mut second));
    early.feed.push(data("c"));
    assert!(second.is_woken());
    assert_eq!(next(&mut second), yielded("c"));
    early.feed.push(trailers("t"));
    early.feed.end();
    assert!(matches!(
        next(&mut second),
        Poll::Ready(Yielded::Trailers(_))
    ));
    assert_eq!(next(&mut second), END);

    answer.send_response(ok());
    assert_eq!(finish(&mut early.response).status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_source_can_be_taken_over_while_the_old_body_waits_for_it() {
    let (layer, seen) = layer(Plan::Wait("new"));
    let (mut service, mut handle) = mocked(layer);
    let body = Script::open([data("a")]);
    let feed = body.feed();
    let mut response = send(&mut service, post(body));
    let (request, answer) = accept(&mut handle);
    let mut first = task::spawn(request.into_body());
    assert_eq!(next(&mut first), yielded("a"));
    assert_pending!(next(&mut first));
    answer.send_response(demand());
    assert_pending!(response.poll());
    // what comes now wakes the old body, which must not take it
    feed.push(data("b"));
    feed.end();
    assert!(first.is_woken());
    assert_pending!(next(&mut first));
    seen.release();
    assert_pending!(response.poll());
    assert!(first.is_woken());
    assert_cut(&mut first);
    let (request, _answer) = accept(&mut handle);
    let mut second = task::spawn(request.into_body());
    assert_eq!(next(&mut second), yielded("a"));
    assert_eq!(next(&mut second), yielded("b"));
    assert_eq!(next(&mut second), END);
}

#[tokio::test(start_paused = true)]
async fn an_old_body_that_was_not_read_at_all_is_cut_too() {
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
    let mut response = send(&mut service, post(Script::exact([data("a")])));
    let (request, answer) = accept(&mut handle);
    answer.send_response(demand());
    assert_pending!(response.poll());
    assert_cut(&mut task::spawn(request.into_body()));
}

/// An attempt that has sent everything has nothing to lose: that it was replaced must not fail its connection.
#[tokio::test(start_paused = true)]
async fn an_old_body_that_was_sent_to_its_end_ends_without_an_error() {
    for script in [
        Script::exact([data("a")]),
        Script::new([data("a")]),
        Script::new([data("a"), trailers("t")]),
    ] {
        let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
        let mut response = send(&mut service, post(script));
        let (request, answer) = accept(&mut handle);
        let mut first = task::spawn(request.into_body());
        while !first.is_end_stream() {
            let _ = next(&mut first);
        }
        answer.send_response(demand());
        assert_pending!(response.poll());
        assert_eq!(next(&mut first), END);
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_body_does_not_disturb_the_new_one() {
    let mut early = early_answer(Plan::Wait("new"));
    early.seen.release();
    assert_pending!(early.response.poll());
    let (request, _answer) = accept(&mut early.handle);
    let mut second = task::spawn(request.into_body());
    assert_eq!(next(&mut second), yielded("a"));
    assert_cut(&mut early.first);
    assert_eq!(next(&mut second), yielded("b"));
    drop(early.first);
    assert_pending!(next(&mut second));
    early.feed.end();
    assert!(second.is_woken());
    assert_eq!(next(&mut second), END);
}

#[tokio::test(start_paused = true)]
async fn a_retry_may_go_on_beyond_the_limit() {
    let script = || Script::new([data("12345"), data("6789"), data("0123"), trailers("t")]);
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0.max_replay_bytes(10));
    let mut response = send(&mut service, post(script()));
    let (request, answer) = accept(&mut handle);
    let mut first = task::spawn(request.into_body());
    assert_eq!(next(&mut first), yielded("12345"));
    answer.send_response(demand());
    assert_pending!(response.poll());
    let (request, _answer) = accept(&mut handle);
    assert_eq!(read(request.into_body()), read(script()));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_in_the_retry_fails_the_retry() {
    let script = || Script::new([data("a"), data("b"), Step::Error("broken")]);
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
    let mut response = send(&mut service, post(script()));
    let (request, answer) = accept(&mut handle);
    let mut first = task::spawn(request.into_body());
    assert_eq!(next(&mut first), yielded("a"));
    answer.send_response(demand());
    assert_pending!(response.poll());
    let (request, _answer) = accept(&mut handle);
    let mut second = task::spawn(request.into_body());
    assert_eq!(transcript(&mut second), read(script()));
}

/// Regression: while the refusal's body was read the request's body went on, and could cross the limit, after which there was no
/// retry.
#[tokio::test(start_paused = true)]
async fn a_demand_by_head_stops_the_source_before_the_refusal_s_body_is_there() {
    let (layer, seen) = layer(Plan::Wait("new"));
    let (mut service, mut handle) = mocked(layer.max_replay_bytes(10));
    let script = || Script::new([data("123456"), data("789012")]);
    let mut response = send(&mut service, post(script()));
    let (request, answer) = accept(&mut handle);
    let mut first = task::spawn(request.into_body());
    assert_eq!(next(&mut first), yielded("123456"));
    let refusal = Script::open([]);
    let feed = refusal.feed();
    answer.send_response(demand_by_head(refusal));
    assert_pending!(response.poll());
    assert_eq!(seen.running(), 0, "the refusal is still being read");
    assert_pending!(next(&mut first));
    feed.end();
    assert_pending!(response.poll());
    assert_eq!(seen.running(), 1);
    seen.release();
    assert_pending!(response.poll());
    assert_cut(&mut first);
    let (request, _answer) = accept(&mut handle);
    assert_eq!(read(request.into_body()), read(script()));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_response_future_while_a_demand_by_head_is_read_ends_the_old_body() {
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
    let mut response = send(&mut service, post(Script::open([data("a")])));
    let (request, answer) = accept(&mut handle);
    let mut first = task::spawn(request.into_body());
    assert_eq!(next(&mut first), yielded("a"));
    answer.send_response(demand_by_head(Script::open([])));
    assert_pending!(response.poll());
    assert_pending!(next(&mut first));
    drop(response);
    assert!(first.is_woken(), "its connection would hang");
    assert_cut(&mut first);
}

/// Two threads, and no order between the body that is sent, the answer that comes and the retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_answer_comes_the_retry_sends_everything() {
    for round in 0..200_u32 {
        let inner = tower::service_fn(move |request: Request<ReplayBody<Script>>| async move {
            let is_first = !request.headers().contains_key(AUTHORIZATION);
            let reading = tokio::spawn(http_body_util::BodyExt::collect(request.into_body()));
            if is_first {
                for _ in 0..round % 7 {
                    tokio::task::yield_now().await;
                }
                return Ok::<_, BoxError>(demand());
            }
            let body = reading.await.unwrap().unwrap();
            assert_eq!(body.trailers().unwrap()["x-trailer"], "t");
            let body = body.to_bytes();
            Ok(Response::new(Script::exact([Step::Data(body)])))
        });
        let body = Script::open([data("a"), Step::Yield, data("b"), Step::Yield]);
        let feed = body.feed();
        let feeding = tokio::spawn(async move {
            for step in [data("c"), Step::Yield, data("d"), trailers("t")] {
                tokio::task::yield_now().await;
                feed.push(step);
            }
            feed.end();
        });
        let (layer, seen) = layer(Plan::Bearer("new"));
        let service = layer.layer(inner);
        let response = tower::ServiceExt::oneshot(service, post(body)).await;
        let body = http_body_util::BodyExt::collect(response.unwrap()).await;
        assert_eq!(body.unwrap().to_bytes(), "abcd", "round {round}");
        assert_eq!(seen.resolves(), 1);
        feeding.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_step_up_the_old_body_goes_on_to_its_end() {
    let mut early = early_answer(Plan::WaitAndFail);
    assert_pending!(next(&mut early.first));
    early.seen.release();
    let response = finish(&mut early.response);
    assert!(step_up_error(&response).is_rejected());
    assert!(early.first.is_woken());
    assert_eq!(next(&mut early.first), yielded("b"));
    assert_pending!(next(&mut early.first));
    early.feed.push(data("c"));
    early.feed.end();
    assert_eq!(next(&mut early.first), yielded("c"));
    assert_eq!(next(&mut early.first), END);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_response_future_during_the_step_up_ends_everything() {
    let mut early = early_answer(Plan::Wait("new"));
    assert_pending!(next(&mut early.first));
    drop(early.response);
    assert_eq!(early.seen.running(), 0, "the dialect's future is dropped");
    assert!(early.first.is_woken(), "its connection would hang");
    assert_cut(&mut early.first);
    drop(early.first);
    assert!(early.feed.is_dropped());
    assert_not_called(&mut early.handle);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_response_future_before_the_retry_is_sent_ends_both_bodies() {
    let mut early = early_answer(Plan::Wait("new"));
    assert_pending!(next(&mut early.first));
    early.handle.allow(0);
    early.seen.release();
    assert_pending!(early.response.poll());
    assert!(early.first.is_woken());
    assert_cut(&mut early.first);
    drop(early.first);
    drop(early.response);
    assert!(early.feed.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_response_future_during_the_retry_leaves_its_body_alone() {
    let mut early = early_answer(Plan::Wait("new"));
    early.seen.release();
    assert_pending!(early.response.poll());
    let (request, _answer) = accept(&mut early.handle);
    drop(early.response);
    early.feed.end();
    assert_eq!(
        read(request.into_body()),
        read(Script::new([data("a"), data("b")]))
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_response_future_while_a_body_is_peeked_leaves_the_old_body_alone() {
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
    let script = || Script::exact([data("a"), data("b")]);
    let mut response = send(&mut service, post(script()));
    let (request, answer) = accept(&mut handle);
    let body = Script::open([data("{")]);
    let feed = body.feed();
    answer.send_response(json(StatusCode::FORBIDDEN, body));
    assert_pending!(response.poll());
    drop(response);
    assert!(feed.is_dropped());
    assert_eq!(read(request.into_body()), read(script()));
}

// ===== requests that cannot be sent again =====

#[tokio::test(start_paused = true)]
async fn a_request_that_says_it_is_over_the_limit_is_passed_over() {
    let (layer, seen) = layer(Plan::Bearer("new"));
    let body = Script::exact([data(vec![b'x'; 64 * 1024 + 1])]);
    let response = refused(layer, post(body), demand());
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let error = step_up_error(&response);
    assert!(error.is_not_replayable() && error.is_passed_over());
    assert_eq!(seen.resolves(), 0);
    assert_eq!(
        read(response.into_body()),
        read(demand().into_body()),
        "the refusal is complete"
    );
}

/// The limit is about what was read: where the refusal came before that, the rest is not read before the retry does.
#[tokio::test(start_paused = true)]
async fn a_long_request_that_is_refused_before_the_limit_is_sent_again() {
    let script = || Script::new([data("123456"), data("789012")]);
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0.max_replay_bytes(10));
    let mut response = send(&mut service, post(script()));
    let (request, answer) = accept(&mut handle);
    let mut first = task::spawn(request.into_body());
    assert_eq!(next(&mut first), yielded("123456"));
    answer.send_response(demand());
    assert_pending!(response.poll());
    let (request, _answer) = accept(&mut handle);
    assert_eq!(read(request.into_body()), read(script()));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_failed_is_not_retried() {
    let (layer, seen) = layer(Plan::Bearer("new"));
    let (mut service, mut handle) = mocked(layer);
    let body = Script::new([data("a"), Step::Error("broken")]);
    let mut response = send(&mut service, post(body));
    let (request, answer) = accept(&mut handle);
    read(request.into_body());
    answer.send_response(demand());
    let response = finish(&mut response);
    assert!(step_up_error(&response).is_not_replayable());
    assert_eq!(seen.resolves(), 0);
    assert_not_called(&mut handle);
}

// ===== trust =====

fn to(uri: &str) -> Request<Script> {
    Request::get(uri).body(Script::empty()).unwrap()
}

/// Regression: the body was read before it was found that nothing would come of it, which held the response back for up to five
/// seconds.
#[tokio::test(start_paused = true)]
async fn a_demand_by_head_that_is_passed_over_is_handed_on_unread() {
    let long = post(Script::exact([data(vec![b'x'; 64 * 1024 + 1])]));
    for request in [to("https://api.example.com/a"), long] {
        let (layer, seen) = layer(Plan::Bearer("new"));
        let body = Script::open([data("a"), Step::Panic]);
        let feed = body.feed();
        let response = refused(layer, request, demand_by_head(body));
        assert_eq!(feed.polls(), 0);
        assert!(step_up_error(&response).is_passed_over());
        assert_eq!(seen.resolves(), 0);
        assert_eq!(next(&mut task::spawn(response.into_body())), yielded("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_host_is_trusted() {
    for uri in ["/", "/a?b=c", "*"] {
        let request = retry_of(layer(Plan::Bearer("new")).0, to(uri));
        assert_eq!(request.uri(), uri);
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_is_trusted_by_scheme_host_and_port() {
    for (trusted, uri, is_trusted) in [
        ("https://api.example.com", "https://api.example.com/a", true),
        (
            "https://api.example.com",
            "https://api.example.com:443/a",
            true,
        ),
        (
            "https://api.example.com:443",
            "https://api.example.com/a",
            true,
        ),
        ("https://api.example.com", "HTTPS://API.EXAMPLE.COM/a", true),
        ("http://localhost:8080", "http://localhost:8080/a", true),
        ("http://localhost", "http://localhost:80/a", true),
        ("https://api.example.com", "http://api.example.com/a", false),
        (
            "https://api.example.com",
            "http://api.example.com:443/a",
            false,
        ),
        (
            "https://api.example.com",
            "https://api.example.com:8443/a",
            false,
        ),
        (
            "https://api.example.com:8443",
            "https://api.example.com/a",
            false,
        ),
        ("https://api.example.com", "https://example.com/a", false),
        ("https://example.com", "https://api.example.com/a", false),
        (
            "https://api.example.com",
            "https://api.example.com.evil.example/a",
            false,
        ),
        (
            "https://api.example.com",
            "https://api.example.com@evil.example/a",
            false,
        ),
        (
            "https://api.example.com",
            "https://evil.example/https://api.example.com",
            false,
        ),
        ("https://api.example.com", "ftp://api.example.com/a", false),
        // a port that is none: a client might take it for any other
        (
            "https://api.example.com",
            "https://api.example.com:65979/a",
            false,
        ),
        // no scheme, as in a request for a tunnel
        ("https://api.example.com", "api.example.com:443", false),
    ] {
        let (layer, seen) = layer(Plan::Bearer("new"));
        let layer = layer.trust_origin(trusted).unwrap();
        if is_trusted {
            let request = retry_of(layer, to(uri));
            assert_eq!(request.uri(), uri, "{trusted} {uri}");
            assert_eq!(bearer(&request), ["Bearer new"], "{trusted} {uri}");
        } else {
            let response = refused(layer, to(uri), demand());
            assert!(
                step_up_error(&response).is_untrusted_origin(),
                "{trusted} {uri}"
            );
            assert_eq!(seen.resolves(), 0, "{trusted} {uri}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn several_origins_can_be_trusted() {
    let layer = layer(Plan::Bearer("new"))
        .0
        .trust_origin("https://a.example.com")
        .and_then(|layer| layer.trust_origin("https://b.example.com"))
        .unwrap();
    retry_of(layer.clone(), to("https://a.example.com/"));
    retry_of(layer.clone(), to("https://b.example.com/"));
    let response = refused(layer, to("https://c.example.com/"), demand());
    assert!(step_up_error(&response).is_untrusted_origin());
}

#[tokio::test(start_paused = true)]
async fn a_host_header_does_not_make_an_origin() {
    // a request to this process names whatever host its client called
    let mut request = get();
    request
        .headers_mut()
        .insert("host", HeaderValue::from_static("evil.example"));
    retry_of(layer(Plan::Bearer("new")).0, request);
    // and none is trusted for what it says of itself
    let mut request = to("https://evil.example/");
    request
        .headers_mut()
        .insert("host", HeaderValue::from_static("api.example.com"));
    let layer = layer(Plan::Bearer("new"))
        .0
        .trust_origin("https://api.example.com")
        .unwrap();
    let response = refused(layer, request, demand());
    assert!(step_up_error(&response).is_untrusted_origin());
}

#[tokio::test(start_paused = true)]
async fn a_demand_in_an_error_needs_trust_too() {
    let (layer, seen) = layer(Plan::Bearer("new"));
    let layer = layer.on_error(|_: &BoxError| Some(Demand::new()));
    let (mut service, mut handle) = mocked(layer);
    let mut response = send(&mut service, to("https://api.example.com/a"));
    accept(&mut handle).1.send_error("mfa");
    let error = assert_ready!(response.poll()).unwrap_err();
    assert_eq!(error.to_string(), "mfa");
    assert_eq!(seen.resolves(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_untrusted_refusal_lets_the_request_body_go_on() {
    let (mut service, mut handle) = mocked(layer(Plan::Bearer("new")).0);
    let script = || Script::exact([data("a"), data("b")]);
    let mut request = post(script());
    *request.uri_mut() = "https://api.example.com/".parse().unwrap();
    let mut response = send(&mut service, request);
    let (request, answer) = accept(&mut handle);
    answer.send_response(demand());
    finish(&mut response);
    assert_eq!(read(request.into_body()), read(script()));
}

// ===== events =====

/// Notes each event as one line.
fn noting(notes: &Arc<Mutex<Vec<String>>>) -> impl Fn(&Event<'_>) + Send + Sync + use<> + 'static {
    let notes = Arc::clone(notes);
    move |event| {
        let note = match event {
            Event::Started { request, .. } => {
                format!("started {} {}", request.method(), request.uri())
            }
            Event::Succeeded {
                request,
                stepped_up,
                ..
            } => format!(
                "succeeded {} {}: {:?}",
                request.method(),
                request.uri(),
                stepped_up.factor()
            ),
            Event::Failed { request, error, .. } => format!(
                "failed {} {}: {}",
                request.method(),
                request.uri(),
                error.outcome()
            ),
            _ => "another event".to_owned(),
        };
        notes.lock().unwrap().push(note);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_up_that_succeeds_says_so_before_the_retry_is_sent() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let (layer, seen) = layer(Plan::Wait("new"));
    let (mut service, mut handle) = mocked(layer.on_event(noting(&events)));
    let mut response = send(&mut service, post(Script::empty()));
    assert!(events.lock().unwrap().is_empty());
    accept(&mut handle).1.send_response(demand());
    assert_pending!(response.poll());
    assert_eq!(*events.lock().unwrap(), ["started POST /transfers"]);
    handle.allow(0);
    seen.release();
    assert_pending!(response.poll());
    let all = [
        "started POST /transfers",
        "succeeded POST /transfers: Some(Otp)",
    ];
    assert_eq!(*events.lock().unwrap(), all);
    handle.allow(1);
    assert_pending!(response.poll());
    accept(&mut handle).1.send_response(demand());
    finish(&mut response);
    assert_eq!(*events.lock().unwrap(), all);
}

#[tokio::test(start_paused = true)]
async fn a_step_up_that_fails_says_so() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let layer = layer(Plan::Fail).0.on_event(noting(&events));
    refused(layer, get(), demand());
    assert_eq!(
        *events.lock().unwrap(),
        ["started GET /", "failed GET /: rejected"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_demand_that_is_passed_over_says_so_and_starts_nothing() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let layer = layer(Plan::Bearer("new")).0.on_event(noting(&events));
    let uri = "https://api.example.com/a";
    refused(layer.clone(), to(uri), demand());
    let body = Script::exact([data("a")]);
    refused(layer.max_replay_bytes(0), post(body), demand());
    assert_eq!(
        *events.lock().unwrap(),
        [
            "failed GET https://api.example.com/a: untrusted_origin",
            "failed POST /transfers: not_replayable",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_demand_makes_no_event() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let layer = layer(Plan::Bearer("new")).0.on_event(noting(&events));
    let refusal = json(StatusCode::FORBIDDEN, Script::exact([data("{}")]));
    let response = refused(layer, get(), refusal);
    assert!(response.extensions().is_empty());
    assert!(events.lock().unwrap().is_empty());
}
