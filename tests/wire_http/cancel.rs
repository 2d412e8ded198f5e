//! A caller that goes away, at every point of the flow: nothing hangs, no connection and no task stays.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use tower::{Layer as _, ServiceExt as _};
use tower_mfa::{Code, MfaLayer, code_fn};

use crate::harness::{
    FRAMINGS, Framing, Protocol, Server, alive_tasks, over_http1_and_http2, until,
    until_all_is_gone, until_clients_are_gone,
};
use crate::support::{Plan, Script, Scripted, Step, data, demand, demand_by_head, ok};

over_http1_and_http2! {
    #[guard = 60]
    a_future_dropped_after_any_poll_leaves_nothing,
    a_future_dropped_while_it_steps_up_lets_a_stuck_upload_go,
    a_future_dropped_while_the_retry_is_under_way_lets_the_body_go,
}

/// Drops a future after so many polls, unless it is done by then.
struct DropAfter<F> {
    future: Option<Pin<Box<F>>>,
    polls: usize,
}

impl<F: Future> Future for DropAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        self.polls -= 1;
        if self.polls == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

/// A layer whose user takes three polls to find the code.
fn asking(server: &Server) -> MfaLayer {
    let codes = code_fn(|_challenge| async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        Ok(Code::new("new"))
    });
    server.trusted(MfaLayer::new(Scripted::new(Plan::Ask).0, codes))
}

#[derive(Clone, Copy, Debug)]
enum Refuses {
    FromTheHead,
    AfterTheUpload,
}

async fn a_future_dropped_after_any_poll_leaves_nothing(protocol: Protocol) {
    for refuses in [Refuses::FromTheHead, Refuses::AfterTheUpload] {
        for framing in FRAMINGS {
            let mut polls = 1;
            loop {
                let done = dropped_after(polls, protocol, framing, refuses).await;
                if done {
                    break;
                }
                polls += 1;
            }
            assert!(
                polls > 5,
                "{polls} polls are too few for two attempts and a step-up"
            );
        }
    }
}

/// Whether the request was done before its future was dropped.
async fn dropped_after(
    polls: usize,
    protocol: Protocol,
    framing: Framing,
    refuses: Refuses,
) -> bool {
    let baseline = alive_tasks();
    let server = Server::start(protocol, move |call| async move {
        let stepped_up = call.is_stepped_up();
        if stepped_up || matches!(refuses, Refuses::AfterTheUpload) {
            // nothing of it, if it was cut
            drop(call.request.into_body().collect().await);
        }
        match (stepped_up, refuses) {
            (true, _) => ok(),
            (false, Refuses::FromTheHead) => demand_by_head(Script::empty()),
            (false, Refuses::AfterTheUpload) => demand(),
        }
    });
    let steps = [
        data(vec![b'a'; 1_000]),
        Step::Yield,
        data(vec![b'b'; 1_000]),
        Step::Yield,
        Step::Yield,
        data(vec![b'c'; 1_000]),
    ];
    let body = match framing {
        Framing::Sized => Script::exact(steps),
        Framing::Chunked => Script::new(steps),
    };
    let feed = body.feed();
    let service = asking(&server).layer(protocol.client());
    let response = service.oneshot(server.request(body));
    let dropping = DropAfter {
        future: Some(Box::pin(response)),
        polls,
    };
    let done = match dropping.await {
        None => false,
        Some(response) => {
            assert_eq!(response.unwrap().status(), StatusCode::OK);
            true
        }
    };
    until(|| feed.is_dropped()).await;
    until_all_is_gone(baseline, server).await;
    done
}

/// The upload waits for bytes that never come, the server does not read, and the user is still being asked.
async fn a_future_dropped_while_it_steps_up_lets_a_stuck_upload_go(protocol: Protocol) {
    for framing in FRAMINGS {
        let baseline = alive_tasks();
        let held = Arc::new(Mutex::new(Vec::new()));
        let hold = Arc::clone(&held);
        let server = Server::start(protocol, move |call| {
            hold.lock().unwrap().push(call.request.into_body());
            async { demand_by_head(Script::empty()) }
        });
        let (body, feed) = framing.open(3_000);
        feed.push(data(vec![b'a'; 1_000]));
        let (layer, seen) = server.layer(Plan::Wait("new"));
        let client = protocol.client();
        let service = layer.layer(client.clone());
        let request = tokio::spawn(service.oneshot(server.request(body)));
        until(|| seen.running() == 1).await;
        request.abort();
        until(|| seen.running() == 0).await;
        until(|| feed.is_dropped()).await;
        if protocol == Protocol::Http1 {
            // although the client lives on
            until_clients_are_gone(baseline, &server).await;
        }
        drop(client);
        until_clients_are_gone(baseline, &server).await;
        assert_eq!(held.lock().unwrap().drain(..).count(), 1);
        until_all_is_gone(baseline, server).await;
    }
}

async fn a_future_dropped_while_the_retry_is_under_way_lets_the_body_go(protocol: Protocol) {
    for framing in FRAMINGS {
        let baseline = alive_tasks();
        let held = Arc::new(Mutex::new(Vec::new()));
        let go_on = Arc::new(Notify::new());
        let (hold, waits) = (Arc::clone(&held), Arc::clone(&go_on));
        let server = Server::start(protocol, move |call| {
            let stepped_up = call.is_stepped_up();
            hold.lock().unwrap().push(call.request.into_body());
            let waits = Arc::clone(&waits);
            async move {
                if stepped_up {
                    waits.notified().await;
                }
                demand_by_head(Script::empty())
            }
        });
        let (body, feed) = framing.open(3_000);
        feed.push(data(vec![b'a'; 1_000]));
        let service = server.layer(Plan::Bearer("new")).0.layer(protocol.client());
        let request = tokio::spawn(service.oneshot(server.request(body)));
        until(|| server.calls() == 2).await;
        request.abort();
        until(|| feed.is_dropped()).await;
        until_clients_are_gone(baseline, &server).await;
        assert_eq!(held.lock().unwrap().drain(..).count(), 2);
        go_on.notify_one();
        until_all_is_gone(baseline, server).await;
    }
}
