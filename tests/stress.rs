//! One prompt under load: thousands of requests on several threads, many of which are dropped at random points.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "one_prompt/stage.rs"]
mod stage;
mod support;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::task::{JoinHandle, yield_now};
use tower_mfa::Mfa;

use stage::*;

/// Another one each time: these tests are about what no seed can repeat.
fn random(below: usize) -> usize {
    (RandomState::new().hash_one(0) % below as u64) as usize
}

/// A task that polls a request to its end.
fn to_its_end(service: &Mfa<Api>, user: &str) -> JoinHandle<Answer> {
    let (service, user) = (service.clone(), user.to_owned());
    tokio::spawn(async move {
        let mut call = call(&service, of(&user, "/transfers"));
        std::future::poll_fn(move |cx| call.poll_with(cx)).await
    })
}

/// A task that drops its request after so many polls, or lets it lie about for a while before that.
fn dropped(service: &Mfa<Api>, polls: usize, yields: usize) -> JoinHandle<()> {
    let service = service.clone();
    tokio::spawn(async move {
        let mut call = call(&service, alice());
        for _ in 0..polls {
            let poll = std::future::poll_fn(|cx| Poll::Ready(call.poll_with(cx))).await;
            if let Poll::Ready(answer) = poll {
                answer.accepted();
                return;
            }
            yield_now().await;
        }
        for _ in 0..yields {
            yield_now().await;
        }
    })
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_requests_of_one_principal_a_third_of_them_dropped_make_one_prompt() {
    const REQUESTS: usize = 10_000;
    let tasks = Handle::current().metrics().num_alive_tasks();
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    // one that stays: when all who wait are gone the prompt rightly goes too
    let mut survivors = vec![to_its_end(&stage.service, "alice")];
    until(|| stage.person.prompts() == 1).await;
    let opens_after = random(REQUESTS);
    let (mut drops, mut aborts) = (Vec::new(), Vec::new());
    for n in 1..REQUESTS {
        if n == opens_after {
            stage.person.gate().open();
        }
        match random(6) {
            0 => drops.push(dropped(&stage.service, random(4), random(20))),
            1 => aborts.push(to_its_end(&stage.service, "alice")),
            _ => survivors.push(to_its_end(&stage.service, "alice")),
        }
        if random(50) == 0 {
            yield_now().await;
        }
        if !aborts.is_empty() && random(3) == 0 {
            aborts[random(aborts.len())].abort();
        }
    }
    aborts.iter().for_each(JoinHandle::abort);
    stage.person.gate().open();
    let answered = survivors.len();
    for survivor in survivors {
        survivor.await.unwrap().accepted();
    }
    for task in drops {
        task.await.unwrap();
    }
    for task in aborts {
        if let Ok(answer) = task.await {
            answer.accepted();
        }
    }
    assert!(answered > REQUESTS / 2, "{answered}");
    assert_eq!(stage.counts(), (1, 1, 1));
    stage.assert_idle();
    until(|| Handle::current().metrics().num_alive_tasks() == tasks).await;
    // what is left is one elevation
    stage.world.tokens();
    stage.finish(of("alice", "/open")).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
}

/// All wait until the person answers: nobody is helped by what is remembered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_requests_that_all_wait_are_all_answered_by_one_prompt() {
    const REQUESTS: usize = 10_000;
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let first = to_its_end(&stage.service, "alice");
    until(|| stage.person.prompts() == 1).await;
    let calls: Vec<_> = (1..REQUESTS)
        .map(|n| (n % 3 == 0, to_its_end(&stage.service, "alice")))
        .collect();
    // all were refused, and wait
    until(|| stage.world.refusals() == REQUESTS).await;
    let mut survivors = vec![first];
    let opener = Arc::new(AtomicUsize::new(random(REQUESTS)));
    for (is_dropped, task) in calls {
        if opener.fetch_sub(1, SeqCst) == 1 {
            stage.person.gate().open();
        }
        if is_dropped {
            task.abort();
        } else {
            survivors.push(task);
        }
    }
    stage.person.gate().open();
    for survivor in survivors {
        survivor.await.unwrap().accepted();
    }
    assert_eq!(stage.counts(), (1, 1, 1));
    until(|| stage.layer.step_ups_under_way() == 0).await;
    stage.assert_idle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_principals_at_once_make_a_thousand_prompts() {
    const PRINCIPALS: usize = 1_000;
    let tasks = Handle::current().metrics().num_alive_tasks();
    let stage = Stage::new();
    stage.person.always(Reply::Code(RIGHT).waits());
    let name = |n: usize| format!("user{n}");
    let calls: Vec<_> = (0..3 * PRINCIPALS)
        .map(|n| to_its_end(&stage.service, &name(n % PRINCIPALS)))
        .collect();
    until(|| stage.world.refusals() == 3 * PRINCIPALS).await;
    until(|| stage.person.thinking() == PRINCIPALS).await;
    assert_eq!(stage.layer.step_ups_under_way(), PRINCIPALS);
    stage.person.gate().open();
    for task in calls {
        task.await.unwrap().accepted();
    }
    assert_eq!(stage.counts(), (PRINCIPALS, PRINCIPALS, PRINCIPALS));
    stage.assert_idle();
    until(|| Handle::current().metrics().num_alive_tasks() == tasks).await;
    // all are remembered, each for its own
    stage.world.tokens();
    for n in 0..PRINCIPALS {
        stage.finish(of(&name(n), "/transfers")).accepted();
    }
    assert_eq!(stage.world.tokens().len(), PRINCIPALS);
    assert_eq!(stage.counts(), (PRINCIPALS, PRINCIPALS, PRINCIPALS));
}
