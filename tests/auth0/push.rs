//! Approvals: how often the server is asked, and when it is asked no more.

use tokio::time::{sleep, timeout};
use tower_mfa::testing::{Endpoint, Fault, Policy};

use crate::harness::{Stage, alice, json_fault, seconds};

const PENDING: &str = r#"{"error":"authorization_pending","error_description":"Authorization pending: please repeat the request in a few seconds."}"#;

/// A server that would take polls at any pace.
fn patient(policy: Policy) -> Stage {
    Stage::build(alice().push("example-phone"), |builder| {
        builder
            .policy(policy)
            .poll_interval(seconds(0))
            .oob_exchanges_per_minute(10_000)
    })
}

#[tokio::test(start_paused = true)]
async fn polls_are_five_seconds_apart() {
    let stage = patient(Policy::always());
    stage.server.push().approve_after("alice", 3);
    stage.send().await.accepted();
    assert_eq!(stage.polled_at(), [5, 10, 15, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_denied_push_is_rejected_at_once() {
    let stage = patient(Policy::always());
    stage.server.push().deny_after("alice", 1);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_rejected(), "{error:?}");
    assert_eq!(stage.polled_at(), [5, 10]);
    assert_eq!(stage.api.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_push_denied_in_the_words_of_the_documents_is_rejected() {
    let stage = patient(Policy::always());
    stage.inject(
        Endpoint::Token,
        403,
        r#"{"error":"invalid_grant","error_description":"MFA Authorization rejected."}"#,
    );
    assert!(stage.send().await.refused().is_rejected());
    assert_eq!(stage.polled_at(), [5]);
}

#[tokio::test(start_paused = true)]
async fn slow_down_adds_five_seconds_for_good() {
    let stage = patient(Policy::always());
    stage.server.push().approve_after("alice", 2);
    stage.server.inject(
        Endpoint::Token,
        json_fault(400, r#"{"error":"slow_down"}"#).after(1),
    );
    stage.send().await.accepted();
    assert_eq!(stage.polled_at(), [5, 10, 20, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_slower_than_it_said_is_followed() {
    // it wants 7 s, does not say so, and answers `slow_down` to the second poll
    let stage = Stage::build(alice().push("example-phone"), |builder| {
        builder.poll_interval(seconds(7))
    });
    stage.server.push().approve_after("alice", 2);
    stage.send().await.accepted();
    assert_eq!(stage.polled_at(), [5, 10, 20, 30]);
}

#[tokio::test(start_paused = true)]
async fn the_servers_interval_is_used() {
    let stage = patient(Policy::always().interval(seconds(3)));
    stage.server.push().approve_after("alice", 2);
    stage.send().await.accepted();
    assert_eq!(stage.polled_at(), [3, 6, 9]);
}

#[tokio::test(start_paused = true)]
async fn the_servers_interval_is_kept_between_a_second_and_a_minute() {
    for (interval, expected) in [(0, [1, 2]), (3600, [60, 120])] {
        let stage = patient(Policy::always().interval(seconds(interval)));
        stage.server.push().approve_after("alice", 1);
        stage.send().await.accepted();
        assert_eq!(stage.polled_at(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_when_told_to_slow_down() {
    for (status, json) in [
        (400, r#"{"error":"slow_down"}"#),
        (429, r#"{"error":"too_many_requests"}"#),
        (429, r#"{"error":"too_many_attempts"}"#),
        (429, r#"{"error":"anything"}"#),
    ] {
        let stage = patient(Policy::always());
        stage.server.push().approve_after("alice", 1);
        stage.server.inject(
            Endpoint::Token,
            json_fault(status, json).header("retry-after", "30"),
        );
        stage.send().await.accepted();
        assert_eq!(stage.polled_at(), [5, 35, 45], "{json}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_in_html_with_retry_after_slows_polling_down_too() {
    let stage = patient(Policy::always());
    stage.server.push().approve_after("alice", 0);
    stage.server.inject(
        Endpoint::Token,
        Fault::status(429)
            .body("text/html", "<html>Too Many Requests</html>")
            .header("retry-after", "30"),
    );
    stage.send().await.accepted();
    assert_eq!(stage.polled_at(), [5, 35]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_a_fault_is_honoured() {
    // RFC 9110 section 10.2.3: with 503 it says how long the service is away
    let stage = patient(Policy::always());
    stage.server.push().approve_after("alice", 0);
    stage.server.inject(
        Endpoint::Token,
        Fault::status(503).header("retry-after", "30"),
    );
    stage.send().await.accepted();
    assert_eq!(stage.polled_at(), [5, 35]);
}

#[tokio::test(start_paused = true)]
async fn the_exchange_limit_of_a_session_is_lived_with() {
    // 12 a minute is Auth0's limit; a server with a lower one says how long to wait
    let stage = Stage::build(alice().push("example-phone"), |builder| {
        builder
            .poll_interval(seconds(0))
            .oob_exchanges_per_minute(2)
    });
    stage.server.push().approve_after("alice", 4);
    stage.send().await.accepted();
}

#[tokio::test(start_paused = true)]
async fn two_polls_are_never_under_way_at_once() {
    let stage = patient(Policy::always());
    stage.server.push().approve_after("alice", 3);
    stage
        .server
        .inject(Endpoint::Token, Fault::delay(seconds(8)).times(3));
    stage.send().await.accepted();
    assert_eq!(stage.tap.most_open(), 1);
    // the pause begins when the answer is there
    assert_eq!(stage.polled_at(), [5, 18, 31, 44]);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_nobody_answers_expires() {
    let stage = patient(Policy::always());
    let layer = stage.layer().deadline(seconds(1200));
    let answer = stage.send_by(&layer).await;
    let error = answer.refused();
    assert!(error.is_expired(), "{error:?}");
    // an `oob_code` lives for five minutes
    assert!(stage.elapsed() <= seconds(300), "{:?}", stage.elapsed());
    assert!(stage.elapsed() >= seconds(290), "{:?}", stage.elapsed());
    assert!(*stage.polled_at().last().unwrap() < 300);
    // no second notification was sent unasked
    assert_eq!(stage.count(Endpoint::Challenge), 1);
}

#[tokio::test(start_paused = true)]
async fn the_servers_expiry_is_never_polled_past() {
    let stage = patient(Policy::always().expires_in(seconds(17)));
    let answer = stage.send().await;
    assert!(answer.refused().is_expired());
    assert_eq!(stage.polled_at(), [5, 10, 15]);
    assert!(stage.elapsed() <= seconds(17));
    assert_eq!(
        stage.person.approvals()[0].expires_at(),
        Some(stage.start + seconds(17))
    );
}

#[tokio::test(start_paused = true)]
async fn an_approval_that_expired_at_the_server_ends_without_a_new_notification() {
    // the server's clock is ahead of what it said
    let stage = Stage::build(alice().push("example-phone"), |builder| {
        builder
            .policy(Policy::always().expires_in(seconds(60)))
            .oob_code_ttl(seconds(12))
    });
    let answer = stage.send().await;
    assert!(answer.refused().is_expired());
    assert_eq!(stage.polled_at(), [5, 10, 15]);
    assert_eq!(stage.count(Endpoint::Challenge), 1);
}

#[tokio::test(start_paused = true)]
async fn polling_backs_off_and_goes_on_after_faults() {
    let stage = patient(Policy::always());
    stage.server.push().approve_after("alice", 1);
    stage
        .server
        .inject(Endpoint::Token, Fault::drop_connection());
    stage.server.inject(
        Endpoint::Token,
        Fault::status(502).body("text/html", "<html>Bad Gateway</html>"),
    );
    stage.inject(Endpoint::Token, 500, r#"{"error":"server_error"}"#);
    let layer = stage.layer().deadline(seconds(1200));
    stage.send_by(&layer).await.accepted();
    // twice as long after each, and back to the pace when the server is back
    assert_eq!(stage.polled_at(), [5, 15, 35, 75, 80]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_hangs_is_given_up_and_repeated() {
    let stage = patient(Policy::always());
    stage.server.push().approve_after("alice", 0);
    stage.server.inject(Endpoint::Token, Fault::hang());
    stage.send().await.accepted();
    assert_eq!(stage.polled_at(), [5, 25]);
    assert_eq!(stage.tap.most_open(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_pause_after_faults_is_a_minute_at_most() {
    let stage = patient(Policy::always().expires_in(seconds(400)));
    stage
        .server
        .inject(Endpoint::Token, Fault::drop_connection().forever());
    let layer = stage.layer().deadline(seconds(1200));
    let answer = stage.send_by(&layer).await;
    assert!(answer.refused().is_expired());
    let polled_at = stage.polled_at();
    assert_eq!(polled_at[..6], [5, 15, 35, 75, 135, 195]);
    assert!(*polled_at.last().unwrap() < 400);
}

#[tokio::test(start_paused = true)]
async fn the_user_can_stop_the_waiting() {
    let stage = patient(Policy::always());
    stage.person.cancels_after(seconds(12));
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_declined(), "{error:?}");
    assert_eq!(stage.elapsed().as_secs(), 12);
    sleep(seconds(60)).await;
    assert_eq!(stage.polled_at(), [5, 10]);
}

#[tokio::test(start_paused = true)]
async fn the_waiting_ends_within_a_call() {
    let stage = patient(Policy::always());
    stage.person.cancels_after(seconds(6));
    stage.server.inject(Endpoint::Token, Fault::hang());
    let answer = stage.send().await;
    assert!(answer.refused().is_declined());
    assert_eq!(stage.elapsed().as_secs(), 6);
    assert_eq!(stage.tap.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_polls_no_more() {
    let stage = patient(Policy::always());
    let sent = timeout(seconds(12), stage.send()).await;
    assert!(sent.is_err());
    sleep(seconds(60)).await;
    assert_eq!(stage.polled_at(), [5, 10]);
    assert_eq!(stage.tap.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_polling() {
    let stage = patient(Policy::always());
    let layer = stage.layer().deadline(seconds(13));
    let answer = stage.send_by(&layer).await;
    assert!(answer.refused().is_timeout());
    sleep(seconds(60)).await;
    assert_eq!(stage.polled_at(), [5, 10]);
}

#[tokio::test(start_paused = true)]
async fn pending_in_a_200_is_pending() {
    // the vendor's old documents print it so
    let stage = patient(Policy::always());
    stage.server.push().approve_after("alice", 0);
    stage.inject(Endpoint::Token, 200, PENDING);
    stage.send().await.accepted();
    assert_eq!(stage.polled_at(), [5, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_without_an_end_ends_the_polling() {
    let stage = patient(Policy::always());
    stage.inject(Endpoint::Token, 429, r#"{"error":"too_many_requests"}"#);
    let answer = stage.send().await;
    let error = answer.refused();
    assert!(error.is_rate_limited(), "{error:?}");
    assert_eq!(error.retry_after(), None);
    assert_eq!(stage.polled_at(), [5]);
}
