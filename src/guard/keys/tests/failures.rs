//! What happens when keys cannot be fetched.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use crate::transport::RequestBody;

/// Whatever comes in place of the keys, the old ones go on.
#[tokio::test(start_paused = true)]
async fn the_endpoint_is_down_and_old_keys_go_on() {
    let private = r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#;
    let document = |body: &str| Fault::status(200).body("application/json", body.to_owned());
    for (endpoint, fault) in [
        (Endpoint::Jwks, Fault::status(500)),
        (
            Endpoint::Jwks,
            Fault::status(302).header("location", "https://elsewhere.example.com/"),
        ),
        (Endpoint::Jwks, Fault::status(204)),
        (Endpoint::Jwks, Fault::hang()),
        (Endpoint::Jwks, Fault::drop_connection()),
        (Endpoint::Jwks, Fault::body_of(70_000)),
        (Endpoint::Jwks, document("{\"keys\": [")),
        (Endpoint::Jwks, document("<html>")),
        (Endpoint::Jwks, document("{}")),
        (Endpoint::Jwks, document("{\"keys\": []}")),
        (Endpoint::Jwks, document(private)),
        (Endpoint::Configuration, Fault::status(500)),
        (Endpoint::Configuration, Fault::hang()),
        (Endpoint::Configuration, document("{}")),
    ] {
        let issuer = Issuer::warm().await;
        let key = issuer.found("test-es256");
        issuer.server.inject(endpoint, fault.clone().forever());
        issuer.server.rotate_keys();
        let new = issuer.token();
        // it may be a good one: not refused
        let (outcome, waited) = timed(issuer.check(&new)).await;
        assert!(
            matches!(outcome, Outcome::Unavailable(25 | 30)),
            "{fault:?}: {outcome:?}"
        );
        assert!(waited <= 5 * SECOND, "{fault:?}: {waited:?}");
        for _ in 0..40 {
            assert!(Arc::ptr_eq(&key, &issuer.found("test-es256")), "{fault:?}");
            advance(60 * SECOND).await;
        }
        assert!(!key.is_retired(), "{fault:?}");
        issuer.server.clear_faults();
        advance(COOLDOWN).await;
        assert_eq!(issuer.check(&new).await, Outcome::Accepted, "{fault:?}");
    }
}

/// A new key that came during an outage is not remembered as unknown.
#[tokio::test(start_paused = true)]
async fn an_outage_does_not_make_a_new_key_unknown() {
    let issuer = Issuer::warm().await;
    issuer.server.rotate_keys();
    issuer.server.inject(Endpoint::Jwks, Fault::status(503));
    let new = issuer.token();
    assert_eq!(issuer.check(&new).await, Outcome::Unavailable(30));
    advance(10 * SECOND).await;
    assert_eq!(issuer.check(&new).await, Outcome::Unavailable(20));
    advance(20 * SECOND).await;
    assert_eq!(issuer.check(&new).await, Outcome::Accepted);
    assert_eq!(issuer.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_hang_of_five_seconds_does_not_hold_other_requests() {
    let issuer = Arc::new(Issuer::warm().await);
    let known = issuer.token();
    issuer.server.rotate_keys();
    issuer.server.inject(Endpoint::Jwks, Fault::hang());
    let waiting = tokio::spawn({
        let issuer = issuer.clone();
        async move { timed(issuer.check(&issuer.token())).await }
    });
    settle().await;
    for _ in 0..40 {
        let (outcome, waited) = timed(issuer.check(&known)).await;
        assert_eq!((outcome, waited), (Outcome::Accepted, Duration::ZERO));
        advance(Duration::from_millis(100)).await;
    }
    let (outcome, waited) = waiting.await.unwrap();
    assert_eq!((outcome, waited), (Outcome::Unavailable(25), 5 * SECOND));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn started_with_the_endpoint_down_it_answers_503_and_recovers_by_itself() {
    let issuer = Issuer::new();
    issuer
        .server
        .inject(Endpoint::Configuration, Fault::status(502).forever());
    assert!(!issuer.keys.prefetch().await);
    let token = issuer.token();
    let mut tries = 1;
    assert_eq!(issuer.tries(), tries);
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(issuer.check(&token).await, Outcome::Unavailable(pause));
        advance(Duration::from_secs(pause) - SECOND / 10).await;
        assert_eq!(issuer.check(&token).await, Outcome::Unavailable(1));
        assert_eq!(issuer.tries(), tries);
        advance(SECOND / 10).await;
        // the next request tries again
        assert!(matches!(
            issuer.check(&token).await,
            Outcome::Unavailable(_)
        ));
        tries += 1;
        assert_eq!(issuer.tries(), tries);
    }
    issuer.server.clear_faults();
    advance(COOLDOWN).await;
    assert_eq!(issuer.check(&token).await, Outcome::Accepted);
}

/// With no keys yet, requests wait for a slow endpoint, but not for longer than the timeout.
#[tokio::test(start_paused = true)]
async fn started_with_a_slow_endpoint_requests_wait_no_longer_than_the_timeout() {
    let issuer = Issuer::with(|keys| keys.timeout(2 * SECOND));
    issuer.server.inject(Endpoint::Jwks, Fault::hang());
    let (outcome, waited) = timed(issuer.check(&issuer.token())).await;
    assert_eq!((outcome, waited), (Outcome::Unavailable(1), 2 * SECOND));
    advance(SECOND).await;
    issuer.server.inject(Endpoint::Jwks, Fault::delay(SECOND));
    let (outcome, waited) = timed(issuer.check(&issuer.token())).await;
    assert_eq!((outcome, waited), (Outcome::Accepted, SECOND));
}

#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_used_are_skipped() {
    let issuer = Issuer::new();
    let published: Value = serde_json::from_str(&issuer.server.jwks()).unwrap();
    let good = &published["keys"][0];
    issuer.publish_once(format!(
        r#"{{"keys": [1, {{"kty": "oct", "k": "AA"}}, {{"kty": "RSA", "n": "AQ", "e": "AQAB"}}, {good}, {good}]}}"#
    ));
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    let nameless = issuer
        .server
        .token("alice")
        .json_header("kid", "null")
        .sign();
    assert_eq!(
        issuer.check(&nameless).await,
        Outcome::Accepted,
        "one key, though published twice"
    );
}

/// Somebody else's document would bring somebody else's keys.
#[tokio::test(start_paused = true)]
async fn a_discovery_document_has_to_be_of_the_issuer_and_to_name_a_secure_url() {
    let issuer = Issuer::new();
    // every URL leads to this server, which would give its keys
    let own = issuer.server.issuer();
    for (of, jwks_uri) in [
        (
            "https://evil.example.com/",
            "https://evil.example.com/.well-known/jwks.json",
        ),
        (
            own.trim_end_matches('/'),
            "https://tenant.example.com/.well-known/jwks.json",
        ),
        (
            own.as_str(),
            "http://tenant.example.com/.well-known/jwks.json",
        ),
        (own.as_str(), "http://127.0.0.1/.well-known/jwks.json"),
        (own.as_str(), "/.well-known/jwks.json"),
        (
            own.as_str(),
            "ftp://tenant.example.com/.well-known/jwks.json",
        ),
    ] {
        let document = format!(r#"{{"issuer": "{of}", "jwks_uri": "{jwks_uri}"}}"#);
        let fault = Fault::status(200).body("application/json", document);
        issuer.server.inject(Endpoint::Configuration, fault);
        assert!(!issuer.keys.prefetch().await, "{of} {jwks_uri}");
        advance(COOLDOWN).await;
    }
    assert_eq!(issuer.fetches(), 0);
    assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_is_a_failed_fetch() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = AuthorizationServer::builder()
        .signing(Signing::Es256)
        .build();
    let transport = Transport::new(tower::service_fn({
        let (calls, server) = (calls.clone(), server.clone());
        move |request: Request<RequestBody>| {
            assert!(
                calls.fetch_add(1, Ordering::Relaxed) > 0,
                "this panic is part of the test"
            );
            tower::ServiceExt::oneshot(server.clone(), request)
        }
    }));
    let keys = Keys::from(RemoteKeys::discovery().transport(transport));
    let keys = keys.bind(&server.issuer()).unwrap();
    let token = server.access_token("alice");
    assert_eq!(check(&keys, &token).await, Outcome::Unavailable(1));
    advance(SECOND).await;
    assert_eq!(check(&keys, &token).await, Outcome::Accepted);
}

#[test]
fn without_a_runtime_nothing_is_fetched_and_nothing_panics() {
    let issuer = Issuer::new();
    let lookup = issuer.keys.find(Some("test-es256"), Algorithm::Es256);
    assert!(matches!(lookup, Lookup::Unavailable { .. }), "{lookup:?}");
    assert_eq!(issuer.tries(), 0);
}

/// A runtime that ends takes its fetch with it; the next one starts anew.
#[test]
fn a_fetch_cut_off_with_its_runtime_is_a_failed_one() {
    let issuer = Issuer::new();
    issuer.server.inject(Endpoint::Configuration, Fault::hang());
    let paused = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let runtime = paused();
    runtime.block_on(async {
        assert!(matches!(
            issuer.keys.find(Some("test-es256"), Algorithm::Es256),
            Lookup::Wait(_)
        ));
        settle().await;
    });
    drop(runtime);
    assert_eq!(issuer.tries(), 1);
    paused().block_on(async {
        let outcome = issuer.check(&issuer.token()).await;
        assert!(
            matches!(outcome, Outcome::Unavailable(1 | 2)),
            "{outcome:?}"
        );
        advance(2 * SECOND).await;
        assert_eq!(issuer.check(&issuer.token()).await, Outcome::Accepted);
    });
}

/// One warning when fetching starts to fail, and one line when it works again.
#[tokio::test(start_paused = true)]
async fn an_outage_is_told_once() {
    let log = Log::default();
    let lines = log.0.clone();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log));
    let issuer = Issuer::warm().await;
    issuer
        .server
        .inject(Endpoint::Jwks, Fault::status(500).times(3));
    for number in 0..5 {
        issuer.check(&issuer.token_of(&number.to_string())).await;
        advance(COOLDOWN).await;
    }
    let lines = lines.lock().unwrap().clone();
    let of = |level: tracing::Level| lines.iter().filter(|line| line.0 == level).count();
    assert_eq!(
        (of(tracing::Level::WARN), of(tracing::Level::INFO)),
        (1, 1),
        "{lines:?}"
    );
    let warned = lines
        .iter()
        .find(|line| line.0 == tracing::Level::WARN)
        .unwrap();
    assert!(
        warned.1.contains("status 500") && warned.1.contains(&issuer.server.issuer()),
        "{warned:?}"
    );
}

/// What this crate logs, line by line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(tracing::Level, String)>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut line = String::new();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                line += &format!("{field}={value:?} ");
            },
        );
        self.0
            .lock()
            .unwrap()
            .push((*event.metadata().level(), line));
    }
}

/// An endpoint that answers with an unusual but good set.
#[tokio::test(start_paused = true)]
async fn a_service_of_ones_own_is_a_transport() {
    let server = AuthorizationServer::builder()
        .signing(Signing::Es256)
        .build();
    let jwks = server.jwks();
    let transport = Transport::new(tower::service_fn(move |_: Request<RequestBody>| {
        let answer = Response::new(jwks.clone());
        async move { Ok::<_, std::io::Error>(answer) }
    }));
    let keys: Keys = RemoteKeys::jwks_uri("http://127.0.0.1:1/keys")
        .unwrap()
        .transport(transport)
        .into();
    assert_eq!(
        check(&keys, &server.access_token("alice")).await,
        Outcome::Accepted
    );
}
