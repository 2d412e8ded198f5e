//! What is logged when a demand is passed over. A binary of its own, in which every test listens: `tracing` decides once for each place
//! in the code whether anybody does, and a test that does not could decide for one that does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use http::{Request, StatusCode};
use tokio_test::task;
use tower_mfa::{MfaLayer, code_fn};

use support::*;

fn to(uri: &str) -> Request<Script> {
    Request::get(uri).body(Script::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_turned_out_to_be_over_the_limit_is_passed_over_and_goes_on() {
    let log = Log::default();
    let _guard = log.install();
    let (layer, seen) = layer(Plan::Bearer("new"));
    let (mut service, mut handle) = mocked(layer.max_replay_bytes(10));
    let body = Script::new([data("123456"), data("78901"), data("2"), trailers("t")]);
    let mut plain = task::spawn(Script::new([data("2"), trailers("t")]));
    let mut response = send(&mut service, post(body));
    let (request, answer) = accept(&mut handle);
    let mut first = task::spawn(request.into_body());
    assert_eq!(next(&mut first), yielded("123456"));
    assert_eq!(next(&mut first), yielded("78901"));
    answer.send_response(demand());
    let response = finish(&mut response);
    assert!(step_up_error(&response).is_not_replayable());
    assert_eq!(seen.resolves(), 0);
    assert_eq!(transcript(&mut first), transcript(&mut plain));
    assert_not_called(&mut handle);
    let log = log.text();
    assert!(
        log.contains("WARN") && log.contains("max_replay_bytes(..)"),
        "{log}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_is_not_trusted_gets_no_step_up_and_no_code_is_asked() {
    let log = Log::default();
    let _guard = log.install();
    let (dialect, seen) = Scripted::new(Plan::Ask);
    let layer = MfaLayer::new(
        dialect,
        code_fn(|_| async { panic!("a code was asked for") }),
    );
    let response = refused(layer, to("https://api.example.com/a"), demand());
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let error = step_up_error(&response);
    assert!(error.is_untrusted_origin() && error.is_passed_over());
    assert_eq!(seen.resolves(), 0);
    assert_eq!(read(response.into_body()), read(demand().into_body()));
    let log = log.text();
    assert!(
        log.contains("WARN") && log.contains("trust_origin(..)"),
        "{log}"
    );
}

/// Collects what is logged at `WARN` on this thread.
#[derive(Clone, Default)]
struct Log {
    text: Arc<Mutex<Vec<u8>>>,
}

impl Log {
    fn install(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
