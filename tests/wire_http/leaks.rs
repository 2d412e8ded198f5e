//! Connections are used again where they can be, and nothing of a step-up stays.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use http_body_util::BodyExt as _;
use tower::{Layer as _, ServiceExt as _};

use crate::harness::{
    FRAMINGS, Protocol, Server, alive_tasks, over_http1_and_http2, pattern, until,
    until_all_is_gone, until_clients_are_gone, within,
};
use crate::support::{Plan, Script, data, demand, demand_by_head};

over_http1_and_http2! {
    #[guard = 60]
    a_thousand_step_ups_leave_nothing,
    #[guard = 60]
    a_hundred_early_refusals_leave_nothing,
}

async fn a_thousand_step_ups_leave_nothing(protocol: Protocol) {
    let baseline = alive_tasks();
    let server = Server::start(protocol, |call| async move {
        if call.is_stepped_up() {
            return call.echo().await;
        }
        call.bytes().await;
        demand()
    });
    let (layer, seen) = server.layer(Plan::Bearer("new"));
    let service = layer.layer(protocol.client());
    let (mut at_ten, mut number) = (0, 0);
    while number < 1_000 {
        let body = Script::exact([data(format!("request {number}"))]);
        let response = service.clone().oneshot(server.request(body)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let echoed = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(echoed, format!("request {number}"));
        number += 1;
        if number == 10 {
            at_ten = alive_tasks();
        }
    }
    assert_eq!(seen.resolves(), 1_000);
    assert_eq!(server.calls(), 2_000);
    assert_eq!(server.accepted(), 1);
    until(|| alive_tasks() <= at_ten).await;
    drop(service);
    until_all_is_gone(baseline, server).await;
}

/// Over HTTP/1.1 each of them costs a connection, since the upload was cut; none of them stays.
async fn a_hundred_early_refusals_leave_nothing(protocol: Protocol) {
    let baseline = alive_tasks();
    let held = Arc::new(Mutex::new(Vec::new()));
    let hold = Arc::clone(&held);
    let server = Server::start(protocol, move |call| {
        let hold = Arc::clone(&hold);
        async move {
            if call.is_stepped_up() {
                return call.echo().await;
            }
            hold.lock().unwrap().push(call.request.into_body());
            demand_by_head(Script::empty())
        }
    });
    let service = server.layer(Plan::Bearer("new")).0.layer(protocol.client());
    let whole = pattern(3_000);
    for number in 0..100 {
        let (body, feed) = FRAMINGS[number % 2].open(whole.len());
        feed.push(data(whole.slice(..1_000)));
        let response = tokio::spawn(service.clone().oneshot(server.request(body)));
        until(|| server.calls() == 2 * (number + 1)).await;
        feed.push(data(whole.slice(1_000..)));
        feed.end();
        let response = response.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let echoed = response.into_body().collect().await.unwrap().to_bytes();
        assert!(echoed == whole);
    }
    if protocol == Protocol::Http2 {
        assert_eq!(server.accepted(), 1);
    }
    drop(service);
    until_clients_are_gone(baseline, &server).await;
    // only now: the server did not help by letting the bodies go
    assert_eq!(held.lock().unwrap().drain(..).count(), 100);
    until_all_is_gone(baseline, server).await;
}

/// The refusal is read or dropped before the retry, so that its connection is free.
#[tokio::test]
async fn the_retry_uses_the_connection_of_a_small_refusal() {
    within(10, async {
        for by_head in [true, false] {
            let connections = Arc::new(Mutex::new(Vec::new()));
            let notes = Arc::clone(&connections);
            let server = Server::start(Protocol::Http1, move |call| {
                notes.lock().unwrap().push(call.connection);
                async move {
                    if call.is_stepped_up() {
                        return call.echo().await;
                    }
                    call.bytes().await;
                    if by_head {
                        demand_by_head(Script::exact([data("a small refusal")]))
                    } else {
                        demand()
                    }
                }
            });
            let service = server
                .layer(Plan::Bearer("new"))
                .0
                .layer(Protocol::Http1.client());
            let request = server.request(Script::exact([data("a small body")]));
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(*connections.lock().unwrap(), [0, 0]);
            assert_eq!(server.accepted(), 1);
        }
    })
    .await;
}
