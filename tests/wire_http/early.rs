//! A refusal that comes before the upload is over: the retry takes the body over and waits for nothing (rule 3).

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::sync::Notify;
use tower::{Layer as _, ServiceExt as _};
use tower_mfa::body::BodyFactory;
use tower_mfa::{StepUpError, SteppedUp};

use crate::harness::{
    FRAMINGS, Protocol, Server, alive_tasks, over_http1_and_http2, pattern, read_bytes, until,
    until_all_is_gone, within,
};
use crate::raw::{OK, REFUSED, Raw};
use crate::support::{Plan, Script, data, demand_by_head};

over_http1_and_http2! {
    a_refusal_from_the_head_alone_is_retried_while_the_body_still_comes,
    a_refusal_in_the_middle_of_the_upload_is_retried,
    a_refusal_after_the_upload_is_retried,
    a_refusal_from_the_head_is_retried_when_the_whole_body_was_under_way,
    a_server_that_never_reads_gets_the_retry_though_nothing_can_be_written,
    requests_that_are_refused_at_once_keep_their_bodies_apart,
    over_the_cap_the_refusal_is_handed_on_and_the_upload_goes_on,
    a_body_that_can_be_made_anew_is_made_anew_in_the_middle_of_the_upload,
}

/// How much of a body of 20,000 bytes a server reads before it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Nothing,
    AQuarter,
    Everything,
}

/// What a server does with the rest of a body it has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    IsDropped,
    IsHeldUnread,
}

/// Refuses the first attempt after reading so much. Unless that was everything, the second half of the body comes only when the
/// retry is under way.
async fn retried(protocol: Protocol, reads: Reads) {
    let whole = pattern(20_000);
    for framing in FRAMINGS {
        for rest in [Rest::IsDropped, Rest::IsHeldUnread] {
            let baseline = alive_tasks();
            let held = Arc::new(Mutex::new(None::<Incoming>));
            let hold = Arc::clone(&held);
            let server = Server::start(protocol, move |call| {
                let hold = Arc::clone(&hold);
                async move {
                    if call.is_stepped_up() {
                        return call.echo().await;
                    }
                    let mut body = call.request.into_body();
                    match reads {
                        Reads::Nothing => {}
                        Reads::AQuarter => drop(read_bytes(&mut body, 5_000).await),
                        Reads::Everything => {
                            let read = (&mut body).collect().await.unwrap();
                            assert_eq!(read.to_bytes().len(), 20_000);
                        }
                    }
                    if rest == Rest::IsHeldUnread {
                        *hold.lock().unwrap() = Some(body);
                    }
                    demand_by_head(Script::exact([data("no")]))
                }
            });
            let (body, feed) = framing.open(whole.len());
            feed.push(data(whole.slice(..3_000)));
            feed.push(data(whole.slice(3_000..10_000)));
            if reads == Reads::Everything {
                feed.push(data(whole.slice(10_000..)));
                feed.end();
            }
            let service = server.layer(Plan::Bearer("new")).0.layer(protocol.client());
            let response = tokio::spawn(service.oneshot(server.request(body)));

            // the retry is there although the body it takes over is not
            until(|| server.calls() == 2).await;
            if reads != Reads::Everything {
                feed.push(data(whole.slice(10_000..)));
                feed.end();
            }
            let response = response.await.unwrap().unwrap();
            let case = format!("{framing:?}, the rest {rest:?}");
            assert_eq!(response.status(), StatusCode::OK, "{case}");
            assert!(response.extensions().get::<SteppedUp>().is_some());
            let echoed = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(echoed, whole, "{case}");
            assert_eq!(server.calls(), 2, "{case}");

            // the first attempt was cut, and does not look whole
            let held = held.lock().unwrap().take();
            if let Some(body) = held
                && reads != Reads::Everything
            {
                assert!(body.collect().await.is_err(), "{case}");
            }
            until_all_is_gone(baseline, server).await;
        }
    }
}

async fn a_refusal_from_the_head_alone_is_retried_while_the_body_still_comes(protocol: Protocol) {
    retried(protocol, Reads::Nothing).await;
}

async fn a_refusal_in_the_middle_of_the_upload_is_retried(protocol: Protocol) {
    retried(protocol, Reads::AQuarter).await;
}

async fn a_refusal_after_the_upload_is_retried(protocol: Protocol) {
    retried(protocol, Reads::Everything).await;
}

async fn a_refusal_from_the_head_is_retried_when_the_whole_body_was_under_way(protocol: Protocol) {
    let server = Server::start(protocol, |call| async move {
        if call.is_stepped_up() {
            call.echo().await
        } else {
            demand_by_head(Script::empty())
        }
    });
    let whole = pattern(20_000);
    let service = server.layer(Plan::Bearer("new")).0.layer(protocol.client());
    let request = server.request(Full::new(whole.clone()));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        whole
    );
}

/// The case that hangs others: the connection is kept open, the server never reads, and the body is not there yet. hyper keeps such
/// a connection, and the body with it, for as long as the body lives (hyper#4176).
#[tokio::test]
async fn a_server_that_keeps_the_connection_and_never_reads_gets_the_retry_on_another() {
    within(10, async {
        for framing in FRAMINGS {
            let baseline = alive_tasks();
            let read_on = Arc::new(Notify::new());
            let (reads_on, (seen, mut cut)) =
                (Arc::clone(&read_on), tokio::sync::mpsc::unbounded_channel());
            let server = Server::raw(move |number, stream| {
                let (read_on, seen) = (Arc::clone(&reads_on), seen.clone());
                async move {
                    let mut connection = Raw::new(stream);
                    if number == 0 {
                        let head = connection.head().await.unwrap();
                        connection.write(REFUSED).await;
                        read_on.notified().await;
                        let rest = connection.rest().await;
                        seen.send((head, rest)).unwrap();
                    } else {
                        let request = connection.request().await.unwrap();
                        assert!(request.is_stepped_up());
                        connection.write(OK).await;
                        seen.send((request.head, request.content)).unwrap();
                        connection.rest().await;
                    }
                }
            });
            let whole = pattern(20_000);
            let (body, feed) = framing.open(whole.len());
            feed.push(data(whole.slice(..3_000)));
            let client = Protocol::Http1.client();
            let service = server.layer(Plan::Bearer("new")).0.layer(client.clone());
            let response = tokio::spawn(service.oneshot(server.request(body)));
            until(|| server.accepted() == 2).await;
            feed.push(data(whole.slice(3_000..)));
            feed.end();
            let response = response.await.unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let (_, content) = cut.recv().await.unwrap();
            assert!(content == whole, "{framing:?}");
            drop(response);

            // the client has given the first connection up, with no help from the server: what lives is the server's accepting
            // task, its two connections, and the client's connection of the retry, which waits in the pool
            until(|| alive_tasks() <= baseline + 4).await;
            read_on.notify_one();
            let (head, rest) = cut.recv().await.unwrap();
            assert!(head.contains("\r\nauthorization: Bearer old\r\n"));
            assert!(rest.len() < whole.len(), "{framing:?}: {}", rest.len());
            until(|| server.open() == 1).await;

            drop(client);
            until_all_is_gone(baseline, server).await;
        }
    })
    .await;
}

/// A body longer than all buffers on the way: the first attempt cannot even be told, since nothing can be written. It is cut as
/// soon as something can.
async fn a_server_that_never_reads_gets_the_retry_though_nothing_can_be_written(
    protocol: Protocol,
) {
    let baseline = alive_tasks();
    let whole = pattern(4 << 20);
    let held = Arc::new(Mutex::new(None::<Incoming>));
    let hold = Arc::clone(&held);
    let server = Server::narrow(protocol, move |call| {
        let hold = Arc::clone(&hold);
        async move {
            if call.is_stepped_up() {
                return call.echo().await;
            }
            *hold.lock().unwrap() = Some(call.request.into_body());
            demand_by_head(Script::empty())
        }
    });
    let mut connector = HttpConnector::new();
    connector.set_send_buffer_size(Some(64 * 1024));
    let frames: Vec<_> = (0..64)
        .map(|frame| data(whole.slice(frame << 16..(frame + 1) << 16)))
        .collect();
    let service = server
        .layer(Plan::Bearer("new"))
        .0
        .max_replay_bytes(8 << 20)
        .layer(protocol.client_by(connector));
    let request = server.request(Script::exact(frames));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let echoed = response.into_body().collect().await.unwrap().to_bytes();
    assert!(echoed == whole);

    let held = held.lock().unwrap().take().unwrap();
    assert!(held.collect().await.is_err());
    until_all_is_gone(baseline, server).await;
}

/// The same, and the server closes without a look at what has come.
#[tokio::test]
async fn a_server_that_never_reads_and_then_closes_leaves_nothing() {
    within(10, async {
        let baseline = alive_tasks();
        let close = Arc::new(Notify::new());
        let closes = Arc::clone(&close);
        let server = Server::raw(move |number, stream| {
            let close = Arc::clone(&closes);
            async move {
                let mut connection = Raw::new(stream);
                if number == 0 {
                    connection.head().await.unwrap();
                    connection.write(REFUSED).await;
                    close.notified().await;
                    return;
                }
                let request = connection.request().await.unwrap();
                assert_eq!(request.content.len(), 4 << 20);
                connection.write(OK).await;
                connection.rest().await;
            }
        });
        let body = Script::new((0..64).map(|_| data(vec![b'x'; 64 << 10])));
        let feed = body.feed();
        let service = server
            .layer(Plan::Bearer("new"))
            .0
            .max_replay_bytes(8 << 20)
            .layer(Protocol::Http1.client());
        let response = service.oneshot(server.request(body)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        drop(response);
        close.notify_one();
        until(|| feed.is_dropped()).await;
        until_all_is_gone(baseline, server).await;
    })
    .await;
}

/// A factory's body is over the cap, and the first attempt is stuck with one that never ends.
async fn a_body_that_can_be_made_anew_is_made_anew_in_the_middle_of_the_upload(protocol: Protocol) {
    let whole = pattern(200_000);
    for framing in FRAMINGS {
        let baseline = alive_tasks();
        let held = Arc::new(Mutex::new(None::<Incoming>));
        let hold = Arc::clone(&held);
        let server = Server::start(protocol, move |call| {
            let hold = Arc::clone(&hold);
            async move {
                if call.is_stepped_up() {
                    return call.echo().await;
                }
                let mut body = call.request.into_body();
                read_bytes(&mut body, 100_000).await;
                *hold.lock().unwrap() = Some(body);
                demand_by_head(Script::empty())
            }
        });
        let (body, feed) = framing.open(whole.len());
        feed.push(data(whole.slice(..100_000)));
        let mut request = server.request(body);
        let again = whole.clone();
        request.extensions_mut().insert(BodyFactory::new(move || {
            let (body, feed) = framing.open(again.len());
            feed.push(data(again.clone()));
            feed.end();
            body
        }));
        let service = server.layer(Plan::Bearer("new")).0.layer(protocol.client());
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let echoed = response.into_body().collect().await.unwrap().to_bytes();
        assert!(echoed == whole, "{framing:?}");
        let held = held.lock().unwrap().take().unwrap();
        assert!(held.collect().await.is_err());
        until(|| feed.is_dropped()).await;
        until_all_is_gone(baseline, server).await;
    }
}

async fn requests_that_are_refused_at_once_keep_their_bodies_apart(protocol: Protocol) {
    let baseline = alive_tasks();
    let server = Server::start(protocol, |call| async move {
        if call.is_stepped_up() {
            call.echo().await
        } else {
            demand_by_head(Script::empty())
        }
    });
    let service = server.layer(Plan::Bearer("new")).0.layer(protocol.client());
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..40_u8 {
        let (service, framing) = (service.clone(), FRAMINGS[usize::from(number) % 2]);
        let (body, feed) = framing.open(3_000);
        let request = server.request(body);
        requests.spawn(async move {
            let response = service.oneshot(request);
            let fed = async {
                for _ in 0..3 {
                    feed.push(data(vec![number; 1_000]));
                    tokio::task::yield_now().await;
                }
                feed.end();
            };
            let (response, ()) = tokio::join!(response, fed);
            let response = response.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let echoed = response.into_body().collect().await.unwrap().to_bytes();
            assert!(echoed == vec![number; 3_000]);
        });
    }
    while let Some(result) = requests.join_next().await {
        result.unwrap();
    }
    assert_eq!(server.calls(), 80);
    drop(service);
    until_all_is_gone(baseline, server).await;
}

/// Rule 1: what cannot be sent again is not made worse.
async fn over_the_cap_the_refusal_is_handed_on_and_the_upload_goes_on(protocol: Protocol) {
    let whole = pattern(20_000);
    for framing in FRAMINGS {
        let (done, mut uploaded) = tokio::sync::mpsc::unbounded_channel();
        let server = Server::start(protocol, move |call| {
            let done = done.clone();
            async move {
                let mut body = call.request.into_body();
                let mut bytes = read_bytes(&mut body, 10_000).await;
                tokio::spawn(async move {
                    let rest = body.collect().await.map(|rest| rest.to_bytes());
                    bytes.extend(rest.unwrap_or_default());
                    done.send(bytes).unwrap();
                });
                demand_by_head(Script::exact([data("the refusal")]))
            }
        });
        let (body, feed) = framing.open(whole.len());
        feed.push(data(whole.slice(..10_000)));
        let (layer, seen) = server.layer(Plan::Bearer("new"));
        let service = layer.max_replay_bytes(9_999).layer(protocol.client());
        let mut response = service.oneshot(server.request(body)).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let error: &StepUpError = response.extensions().get().unwrap();
        assert!(error.is_not_replayable(), "{error:?}");
        assert_eq!(seen.resolves(), 0);
        let refusal = response.body_mut().collect().await.unwrap().to_bytes();
        assert_eq!(refusal, "the refusal");

        feed.push(data(whole.slice(10_000..)));
        feed.end();
        assert!(uploaded.recv().await.unwrap() == whole, "{framing:?}");
        assert_eq!(server.calls(), 1);
    }
}

/// A source that fails once it was taken over fails the retry, and nothing waits.
#[tokio::test]
async fn a_body_that_fails_in_the_retry_ends_the_request() {
    within(10, async {
        let server = Server::start(Protocol::Http1, |call| async move {
            if call.is_stepped_up() {
                assert!(call.request.into_body().collect().await.is_err());
                return crate::support::ok();
            }
            demand_by_head(Script::empty())
        });
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let body = StreamBody::new(frames);
        sender
            .send(Ok(http_body::Frame::data(Bytes::from("begun"))))
            .unwrap();
        let service = server
            .layer(Plan::Bearer("new"))
            .0
            .layer(Protocol::Http1.client());
        let response = tokio::spawn(service.oneshot(server.request(body)));
        until(|| server.calls() == 2).await;
        sender
            .send(Err(std::io::Error::other("the disk failed")))
            .unwrap();
        let error = response.await.unwrap().unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        let cause = std::error::Error::source(source).unwrap();
        assert_eq!(cause.to_string(), "the disk failed");
    })
    .await;
}
