//! What is said in the log about one prompt: each thing once. These tests install a subscriber each, so they are a binary of
//! their own: one without it would let `tracing` find out that nobody is interested.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "one_prompt/stage.rs"]
mod stage;
mod support;
#[path = "one_prompt/watched.rs"]
mod watched;

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use stage::*;
use watched::{Mood, Watched};

/// The warnings, one a line.
#[derive(Clone, Default)]
struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.bytes).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The warnings, since this was asked last.
    fn warnings(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *lock(&self.bytes));
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_one(&self, of: &str) {
        let warnings = self.warnings();
        assert!(
            warnings.len() == 1 && warnings[0].contains(of),
            "{warnings:?}"
        );
    }

    #[track_caller]
    fn assert_none(&self) {
        assert_eq!(self.warnings(), [""; 0]);
    }
}

const FAILS: &str = "the token store fails";

/// A step-up of somebody who never had one.
async fn step_up(stage: &Stage, user: &str) {
    let service = stage.service.clone();
    let mut call = call(&service, of(user, "/transfers"));
    std::future::poll_fn(|cx| call.poll_with(cx))
        .await
        .accepted();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_hangs_is_one_warning_until_it_works_again() {
    let (log, _guard) = Log::start();
    let store = Watched::default();
    let stage = Stage::with(|layer| layer.store(store.clone()));
    step_up(&stage, "user-0").await;
    log.assert_none();
    let moods = [
        Mood::Fails,
        Mood::Hangs,
        Mood::FailsToWrite,
        Mood::HangsToWrite,
    ];
    for (n, mood) in moods.into_iter().enumerate() {
        store.set(mood);
        for again in 0..3 {
            step_up(&stage, &format!("user-{n}-{again}")).await;
            if matches!(mood, Mood::Fails | Mood::Hangs) {
                if again == 0 {
                    log.assert_one(FAILS);
                } else {
                    log.assert_none();
                }
            }
        }
        log.warnings();
        store.set(Mood::Works);
        step_up(&stage, &format!("user-{n}-works")).await;
        log.assert_none();
    }
}

/// It can be read, and leases are given: nothing tells that it works but a write.
#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_written_to_is_one_warning() {
    for mood in [Mood::FailsToWrite, Mood::HangsToWrite] {
        let (log, _guard) = Log::start();
        let store = Watched::default();
        let stage = Stage::with(|layer| layer.store(store.clone()));
        store.set(mood);
        step_up(&stage, "alice").await;
        log.assert_one(FAILS);
        for n in 0..3 {
            step_up(&stage, &format!("user-{n}")).await;
        }
        log.assert_none();
    }
}

/// What shows that it works again is a token that it gave.
#[tokio::test(start_paused = true)]
async fn a_store_that_gave_a_token_works_again() {
    let (log, _guard) = Log::start();
    let store = Watched::default();
    let world = World::new();
    let instance = || Stage::instance(&world, |layer| layer.store(store.clone()));
    let (a, b) = (instance(), instance());
    step_up(&a, "alice").await;
    store.set(Mood::Fails);
    step_up(&b, "bob").await;
    log.assert_one(FAILS);
    store.set(Mood::Works);
    step_up(&b, "alice").await;
    assert_eq!(b.person.prompts(), 1, "hers was there");
    store.set(Mood::Fails);
    step_up(&b, "carol").await;
    log.assert_one(FAILS);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_while_a_person_types_is_one_warning() {
    let (log, _guard) = Log::start();
    let store = Watched::default();
    let stage = Stage::with(|layer| layer.store(store.clone()));
    stage.person.then(Reply::Code(RIGHT).after(seconds(120)));
    let service = stage.service.clone();
    let typing = tokio::spawn(async move {
        let mut call = call(&service, alice());
        std::future::poll_fn(move |cx| call.poll_with(cx)).await
    });
    wait(seconds(10)).await;
    store.set(Mood::Fails);
    typing.await.unwrap().accepted();
    log.assert_one(FAILS);
}

#[tokio::test(start_paused = true)]
async fn forty_requests_that_fail_together_are_one_warning() {
    let (log, _guard) = Log::start();
    let stage = Stage::new();
    stage.person.then(Reply::Panics.waits());
    let calls = page(&stage);
    stage.person.gate().open();
    finish_all(calls);
    log.assert_one("panicked");
}
