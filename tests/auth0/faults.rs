//! A server that is busy, broken, silent or strange.

use tower_mfa::{
    Factor,
    testing::{Endpoint, Fault},
};

use crate::harness::{Stage, alice, json_fault, seconds, with_totp};

/// The three steps of a code that is sent by a message.
const STEPS: [Endpoint; 3] = [
    Endpoint::Authenticators,
    Endpoint::Challenge,
    Endpoint::Token,
];

fn stage() -> Stage {
    Stage::new(alice().sms("+15550100"))
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_ends_the_step_up_and_says_for_how_long() {
    for step in STEPS {
        let stage = stage();
        let fault = json_fault(429, r#"{"error":"too_many_requests"}"#);
        stage.server.inject(step, fault.header("retry-after", "42"));
        let answer = stage.send().await;
        let error = answer.refused();
        assert!(error.is_rate_limited(), "{step:?} {error:?}");
        assert_eq!(error.retry_after(), Some(seconds(42)), "{step:?}");
        assert_eq!(stage.count(step), 1, "{step:?}");
        assert_eq!(stage.api.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_to_say_too_many_is_a_rate_limit() {
    for (status, json) in [
        (429, r#"{"error":"too_many_attempts"}"#),
        (429, r#"{"error":"anything"}"#),
        (
            400,
            r#"{"error":"invalid_request","error_description":"Too many SMS sent by the user. Wait for some minutes before retrying."}"#,
        ),
        (
            403,
            r#"{"error":"invalid_request","error_description":"Too many failed codes. Wait for some minutes before retrying."}"#,
        ),
    ] {
        for step in [Endpoint::Challenge, Endpoint::Token] {
            let stage = stage();
            stage.inject(step, status, json);
            let answer = stage.send().await;
            let error = answer.refused();
            assert!(error.is_rate_limited(), "{step:?} {error:?}");
            assert_eq!(error.retry_after(), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_in_html_is_a_rate_limit() {
    for step in STEPS {
        let stage = stage();
        stage.server.inject(
            step,
            Fault::status(429)
                .body("text/html", "<html>Too Many Requests</html>")
                .header("x-ratelimit-reset", "1767225660"),
        );
        let answer = stage.send().await;
        let error = answer.refused();
        assert!(error.is_rate_limited(), "{step:?} {error:?}");
        // the paused clock starts at 1767225600
        assert_eq!(error.retry_after(), Some(seconds(60)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateways_error_page_is_a_transport_error() {
    for step in STEPS {
        for status in [500, 502, 503, 504] {
            let stage = stage();
            stage.server.inject(
                step,
                Fault::status(status).body("text/html", "<html>Bad Gateway</html>"),
            );
            let answer = stage.send().await;
            let error = answer.refused();
            assert!(error.is_transport(), "{step:?} {status} {error:?}");
            assert_eq!(stage.count(step), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connection_is_a_transport_error() {
    for step in STEPS {
        for fault in [Fault::drop_connection(), Fault::lost_answer()] {
            let stage = stage();
            stage.server.inject(step, fault);
            let answer = stage.send().await;
            let error = answer.refused();
            assert!(error.is_transport(), "{step:?} {error:?}");
            // a code may have been used up: it is not sent again
            assert_eq!(stage.count(step), 1);
            assert!(std::error::Error::source(error).is_some());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_given_up_after_ten_seconds() {
    for step in STEPS {
        let stage = stage();
        stage.server.inject(step, Fault::hang());
        let answer = stage.send().await;
        let error = answer.refused();
        assert!(error.is_transport(), "{step:?} {error:?}");
        assert_eq!(stage.elapsed().as_secs(), 10, "{step:?}");
        assert_eq!(stage.tap.open(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_slow_is_waited_for() {
    for step in STEPS {
        let stage = stage();
        stage.server.inject(step, Fault::delay(seconds(9)));
        stage.send().await.accepted();
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_within_a_call() {
    for step in STEPS {
        let stage = stage();
        stage.server.inject(step, Fault::hang());
        let layer = stage.layer().deadline(seconds(4));
        let answer = stage.send_by(&layer).await;
        assert!(answer.refused().is_timeout(), "{step:?}");
        assert_eq!(stage.elapsed().as_secs(), 4, "{step:?}");
        assert_eq!(stage.tap.open(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_json_is_a_protocol_error() {
    for step in STEPS {
        for body in [
            "",
            "{",
            "null",
            "17",
            r#""text""#,
            "<html>",
            "\u{feff}{}",
            "{}",
        ] {
            let stage = stage();
            stage.inject(step, 200, body);
            let answer = stage.send().await;
            let error = answer.refused();
            assert!(error.is_protocol(), "{step:?} `{body}` {error:?}");
            assert_eq!(stage.count(step), 1);
            assert_eq!(stage.api.requests(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_two_megabytes_is_not_read() {
    for step in STEPS {
        let stage = stage();
        stage.server.inject(step, Fault::body_of(2 << 20));
        let answer = stage.send().await;
        let error = answer.refused();
        assert!(error.is_transport(), "{step:?} {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_without_an_access_token_is_a_protocol_error() {
    for json in [
        r#"{"token_type":"Bearer"}"#,
        r#"{"access_token":17}"#,
        r#"{"access_token":null}"#,
        r#"{"access_token":""}"#,
        r#"{"access_token":["test"]}"#,
        r#"{"access_token":"a\nb"}"#,
    ] {
        let stage = stage();
        stage.inject(Endpoint::Token, 200, json);
        let answer = stage.send().await;
        let error = answer.refused();
        assert!(error.is_protocol(), "{json} {error:?}");
        assert_eq!(stage.api.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_with_an_error_is_an_error() {
    for (json, outcome) in [
        (
            r#"{"error":"access_denied","access_token":"test-token"}"#,
            "rejected",
        ),
        (r#"{"error":"invalid_client"}"#, "configuration"),
        (r#"{"error":"something_new"}"#, "other"),
        (
            r#"{"error":"expired_token","error_description":"mfa_token is expired"}"#,
            "expired",
        ),
    ] {
        let stage = stage();
        stage.inject(Endpoint::Token, 200, json);
        let answer = stage.send().await;
        assert_eq!(answer.refused().outcome(), outcome, "{json}");
        assert_eq!(stage.api.requests(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn members_of_wrong_types_are_as_good_as_absent() {
    for (expires_in, life) in [
        (r#""3600""#, Some(3600)),
        ("3600.0", Some(3600)),
        ("-1", None),
        (r#""soon""#, None),
        ("null", None),
        ("[3600]", None),
        ("18446744073709551615", None),
    ] {
        let stage = stage();
        let token = stage.server.elevated_token("alice");
        stage.inject(
            Endpoint::Token,
            200,
            &format!(
                r#"{{"access_token":"{token}","expires_in":{expires_in},"token_type":7,"refresh_token":{{}},"scope":[],"unknown":[{{}}]}}"#
            ),
        );
        let answer = stage.send().await;
        let tokens = answer.accepted().tokens().unwrap();
        assert_eq!(
            tokens.access_token().expires_at(),
            life.map(|life| stage.start + seconds(life)),
            "{expires_in}"
        );
        assert!(tokens.refresh_token().is_none());
        assert!(tokens.scope().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed() {
    for step in STEPS {
        for status in [301, 302, 307, 308] {
            let stage = stage();
            let fault = Fault::status(status).header("location", "http://localhost:1/oauth/token");
            stage.server.inject(step, fault);
            let answer = stage.send().await;
            let error = answer.refused();
            assert!(error.is_protocol(), "{step:?} {status} {error:?}");
            assert_eq!(stage.count(step), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_is_passed_on_for_unknown_errors() {
    let stage = Stage::new(with_totp());
    stage.person.has([Factor::Otp]);
    stage.inject(
        Endpoint::Challenge,
        418,
        r#"{"error":"teapot","error_description":"I am\na teapot"}"#,
    );
    let answer = stage.send().await;
    let error = answer.refused();
    assert_eq!(error.outcome(), "other");
    let text = error.to_string();
    assert!(text.contains("teapot: I ama teapot"), "{text}");
    assert!(text.contains("418"), "{text}");
}
