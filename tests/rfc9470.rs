//! A step-up challenge of RFC 9470 is found by the grammar of its header alone, and handed back: nobody is prompted, nothing is sent
//! again, and the refusal is untouched.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use tokio_test::task;
use tower_mfa::body::ResponseBody;
use tower_mfa::dialect::{Detection, Dialect, ResponseHead, StepUpChallenge};
use tower_mfa::{
    CodeError, Demand, Event, MfaLayer, Principal, Requirement, Rfc9470, StepUpError, code_fn,
    www_authenticate,
};

use support::*;

const STEP_UP: &str = r#"Bearer error="insufficient_user_authentication", error_description="Log in again, with \"more\"", acr_values="urn:example:gold urn:example:silver", max_age="5", scope="pay", resource_metadata="https://api.example.com/.well-known/oauth-protected-resource""#;
const BARE: &str = r#"Bearer error="insufficient_user_authentication""#;
const SCOPE: &str = r#"Bearer error="insufficient_scope", scope="files:read files:write""#;

fn headers(lines: &[&str]) -> HeaderMap {
    lines
        .iter()
        .map(|line| (WWW_AUTHENTICATE, HeaderValue::try_from(*line).unwrap()))
        .collect()
}

fn detect(dialect: &Rfc9470, status: u16, lines: &[&str]) -> Option<Demand> {
    let status = StatusCode::from_u16(status).unwrap();
    match dialect.detect(ResponseHead::new(status, &headers(lines))) {
        Detection::Demand(demand) => Some(demand),
        Detection::Nothing => None,
        other => panic!("{other:?}"),
    }
}

fn demand_of(lines: &[&str]) -> Option<Demand> {
    detect(&Rfc9470::new(), 401, lines)
}

fn requirement_of(line: &str) -> Requirement {
    demand_of(&[line]).unwrap().requirement().clone()
}

/// The layer with a code provider that must not be asked.
fn layer_with(dialect: Rfc9470) -> MfaLayer {
    MfaLayer::new(
        dialect,
        code_fn(|_| async { panic!("somebody was prompted") }),
    )
}

fn refusal(status: u16, lines: &[&str], body: Script) -> Response<Script> {
    let mut response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    response.headers_mut().extend(headers(lines));
    response.extensions_mut().insert(7_u32);
    response
}

fn through(dialect: Rfc9470, refusal: Response<Script>) -> Response<ResponseBody<Script>> {
    refused(layer_with(dialect), get(), refusal)
}

// ===== the demand is handed back =====

#[tokio::test(start_paused = true)]
async fn the_demand_is_handed_back_untouched_and_unread_with_the_error() {
    let body = Script::open([data("a"), Step::Panic]);
    let feed = body.feed();
    let answer = refusal(401, &[STEP_UP], body);
    let head: Vec<(String, String)> = lines(answer.headers())
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();

    let response = through(Rfc9470::new(), answer);

    assert_eq!(feed.polls(), 0);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let same = lines(response.headers())
        .into_iter()
        .eq(head.iter().map(|(name, value)| (&**name, &**value)));
    assert!(same, "{:?}", response.headers());
    assert_eq!(response.extensions().get(), Some(&7_u32));
    let error = step_up_error(&response);
    assert!(error.is_handed_back() && error.is_passed_over(), "{error}");
    assert_eq!(error.outcome(), "handed_back");
    assert!(error.to_string().contains("www-authenticate"), "{error}");
    assert_eq!(next(&mut task::spawn(response.into_body())), yielded("a"));
}

#[tokio::test(start_paused = true)]
async fn what_was_demanded_can_be_read_from_the_handed_back_response() {
    let response = through(
        Rfc9470::new(),
        refusal(401, &["Basic realm=\"x\"", STEP_UP], Script::empty()),
    );
    let challenges = www_authenticate::parse(response.headers());
    let step_up = challenges
        .into_iter()
        .find_map(StepUpChallenge::read)
        .unwrap();
    assert_eq!(step_up.max_age(), Some(Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_and_no_prompt_is_charged() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&events);
    let layer = layer_with(Rfc9470::new())
        .principal(|_| Some(Principal::new("alice")))
        .prompt_limit(1, Duration::from_secs(600))
        .on_event(move |event| {
            noted.lock().unwrap().push(match event {
                Event::Failed { error, .. } => error.outcome(),
                _ => "something else",
            });
        });
    for _ in 0..10 {
        let response = refused(layer.clone(), get(), refusal(401, &[BARE], Script::empty()));
        assert!(step_up_error(&response).is_handed_back());
    }
    assert_eq!(*events.lock().unwrap(), ["handed_back"; 10]);
}

#[tokio::test(start_paused = true)]
async fn it_needs_neither_a_person_nor_a_request_that_can_be_sent_again() {
    let layer = MfaLayer::new(
        Rfc9470::new(),
        code_fn(|_| async { Err(CodeError::NotInteractive) }),
    );
    let long = post(Script::exact([data(vec![b'x'; 64 * 1024 + 1])]));
    let response = refused(layer, long, refusal(401, &[BARE], Script::empty()));
    assert!(step_up_error(&response).is_handed_back());
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_is_not_trusted_is_told_apart() {
    let request = Request::get("https://api.example.com/a")
        .body(Script::empty())
        .unwrap();
    let layer = layer_with(Rfc9470::new());
    let response = refused(layer, request, refusal(401, &[BARE], Script::empty()));
    assert!(step_up_error(&response).is_untrusted_origin());
}

// ===== what is a demand =====

#[test]
fn all_that_is_demanded_is_typed_data_in_its_order() {
    let demand = demand_of(&[STEP_UP]).unwrap();
    let requirement = demand.requirement();
    let acr_values = ["urn:example:gold", "urn:example:silver"];
    assert_eq!(requirement.acr_values(), acr_values);
    assert_eq!(requirement.max_age(), Some(Duration::from_secs(5)));
    assert_eq!(requirement.scope(), Some("pay"));
    assert!(demand.handle().is_none());

    let challenge: &StepUpChallenge = demand.extensions().get().unwrap();
    assert_eq!(challenge.acr_values(), acr_values);
    assert_eq!(challenge.max_age(), Some(Duration::from_secs(5)));
    assert_eq!(challenge.scope(), Some("pay"));
    assert_eq!(
        challenge.resource_metadata(),
        Some("https://api.example.com/.well-known/oauth-protected-resource")
    );
    assert_eq!(
        challenge.error_description(),
        Some(r#"Log in again, with "more""#)
    );
    assert!(!challenge.is_insufficient_scope());
    assert!(challenge.challenge().is_scheme("bearer"));
}

#[test]
fn the_challenge_may_be_anywhere_among_others() {
    for lines in [
        &[r#"Basic realm="x", Bearer error="insufficient_user_authentication", max_age=5"#][..],
        &[r#"Bearer error=insufficient_user_authentication, max_age="5", Basic realm="x""#],
        &[
            "Basic realm=x",
            "Bearer error=insufficient_user_authentication, max_age=5",
        ],
        &["Bearer, DPoP algs=\"ES256\", error=\"insufficient_user_authentication\", max_age=5"],
        &["bearer error=\"insufficient_user_authentication\" max_age=5"],
        &[
            "DPoP error=\"insufficient_user_authentication\", max_age=5",
            "Bearer error=invalid_token",
        ],
        &[
            "Basic realm=\"broken",
            "Bearer error=insufficient_user_authentication, max_age=5",
        ],
    ] {
        let demand = demand_of(lines).unwrap();
        let max_age = demand.requirement().max_age();
        assert_eq!(max_age, Some(Duration::from_secs(5)), "{lines:?}");
    }
}

#[test]
fn of_several_demands_the_first_counts() {
    let demand = demand_of(&[
        "DPoP error=insufficient_user_authentication, max_age=5, Bearer error=insufficient_user_authentication, max_age=6",
    ]);
    let max_age = demand.unwrap().requirement().max_age();
    assert_eq!(max_age, Some(Duration::from_secs(5)));
}

#[test]
fn two_demands_are_equal_if_they_demand_the_same() {
    let same = requirement_of(&format!("{BARE}, acr_values=\"a b\", max_age=5"));
    assert_eq!(
        same,
        requirement_of(&format!(
            "{BARE}, error_description=x, max_age=\"5\", acr_values=\"a b\""
        ))
    );
    for other in [
        "acr_values=\"b a\", max_age=5",
        "acr_values=\"a\", max_age=5",
        "acr_values=\"a b\", max_age=6",
        "acr_values=\"a b\", max_age=0",
        "acr_values=\"a b\"",
        "acr_values=\"a b\", max_age=5, scope=x",
    ] {
        assert_ne!(same, requirement_of(&format!("{BARE}, {other}")), "{other}");
    }
}

#[test]
fn a_max_age_that_is_no_number_of_seconds_counts_as_absent_and_the_demand_stands() {
    for (text, seconds) in [
        ("0", Some(0)),
        ("0005", Some(5)),
        ("4294967295", Some(4_294_967_295)),
        ("4294967296", None),
        ("99999999999999999999999999", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1e3", None),
        (" 5", None),
        ("five", None),
        ("", None),
    ] {
        let requirement = requirement_of(&format!("{BARE}, max_age=\"{text}\""));
        assert_eq!(
            requirement.max_age(),
            seconds.map(Duration::from_secs),
            "{text:?}"
        );
    }
}

#[test]
fn empty_parameters_count_as_absent() {
    let demand = demand_of(&[&format!(
        r#"{BARE}, acr_values="", scope="", resource_metadata="", error_description="""#
    )]);
    let demand = demand.unwrap();
    assert_eq!(*demand.requirement(), Requirement::new());
    let challenge: &StepUpChallenge = demand.extensions().get().unwrap();
    assert_eq!(challenge.resource_metadata(), None);
    assert_eq!(challenge.error_description(), None);
    let spaces = requirement_of(&format!(r#"{BARE}, acr_values="  a   b ""#));
    assert_eq!(spaces.acr_values(), ["a", "b"]);
}

#[test]
fn a_403_is_a_demand_on_request_only() {
    let accepting = Rfc9470::new().accept_forbidden(true);
    assert!(detect(&Rfc9470::new(), 403, &[STEP_UP]).is_none());
    assert!(detect(&accepting, 403, &[STEP_UP]).is_some());
    assert!(detect(&accepting, 401, &[STEP_UP]).is_some());
    assert!(detect(&accepting, 403, &[SCOPE]).is_none());
    for status in [200, 400, 402, 404, 407, 428, 500] {
        assert!(detect(&accepting, status, &[STEP_UP]).is_none(), "{status}");
    }
}

#[test]
fn insufficient_scope_is_a_demand_on_request_only() {
    let accepting = Rfc9470::new().accept_insufficient_scope(true);
    assert!(detect(&Rfc9470::new(), 403, &[SCOPE]).is_none());
    let demand = detect(&accepting, 403, &[SCOPE]).unwrap();
    let requirement = demand.requirement();
    assert_eq!(requirement.scope(), Some("files:read files:write"));
    let challenge: &StepUpChallenge = demand.extensions().get().unwrap();
    assert!(challenge.is_insufficient_scope());
    // RFC 6750 section 3.1 says 403; and without a scope there is nothing to ask for
    assert!(detect(&accepting, 401, &[SCOPE]).is_none());
    for line in [
        r#"Bearer error="insufficient_scope""#,
        r#"Bearer error="insufficient_scope", scope="""#,
    ] {
        assert!(detect(&accepting, 403, &[line]).is_none(), "{line}");
    }
    assert!(detect(&accepting, 403, &[STEP_UP]).is_none());
    assert!(detect(&accepting, 401, &[STEP_UP]).is_some());
}

// ===== what is none =====

#[tokio::test(start_paused = true)]
async fn what_only_looks_like_a_demand_passes_untouched() {
    let all = Rfc9470::new()
        .accept_forbidden(true)
        .accept_insufficient_scope(true);
    for lines in [
        &[][..],
        &["Bearer"],
        &[r#"Bearer realm="x""#],
        &[r#"Bearer error="invalid_token""#],
        &[r#"Bearer error="invalid_request""#],
        &[r#"DPoP error="use_dpop_nonce""#],
        &[r#"Bearer error="invalid_token", error_description="insufficient_user_authentication""#],
        &[
            r#"Bearer error="invalid_token", error_description="x\", error=\"insufficient_user_authentication""#,
        ],
        &[r#"Bearer error_description="error=\"insufficient_user_authentication\"""#],
        &[r#"Basic realm="Bearer error=insufficient_user_authentication""#],
        &[r#"Basic realm=", Bearer error=\"insufficient_user_authentication\"""#],
        &[r#"Basic error="insufficient_user_authentication""#],
        &[r#"X-Bearer error="insufficient_user_authentication""#],
        &[r#"Bearer x_error="insufficient_user_authentication""#],
        &[r#"Bearer error="INSUFFICIENT_USER_AUTHENTICATION""#],
        &[r#"Bearer error="insufficient_user_authentication ""#],
        &[r#"Bearer error="insufficient_user_authentication_x""#],
        &["Bearer insufficient_user_authentication"],
        // of two errors nobody knows which is meant
        &[r#"Bearer error="invalid_token", error="insufficient_user_authentication""#],
        // out of its grammar
        &[r#"Bearer error="insufficient_user_authentication"#],
        &[r#"Bearer error="insufficient_user_authentication"; max_age=5"#],
        &["Bearer", r#"error="insufficient_user_authentication""#],
    ] {
        for status in [401, 403] {
            tokio::task::yield_now().await;
            let body = Script::exact([data(
                r#"{"error":"insufficient_user_authentication","max_age":5}"#,
            )]);
            let feed = body.feed();
            let response = through(all.clone(), refusal(status, lines, body));
            assert_eq!(feed.polls(), 0, "{lines:?}");
            let error = response.extensions().get::<StepUpError>();
            assert!(error.is_none(), "{lines:?}");
        }
    }
}

#[test]
fn a_demand_in_64_kib_of_header_is_none() {
    let long = format!(r#"{BARE}, x="{}""#, "x".repeat(64 * 1024));
    assert!(demand_of(&[&long]).is_none());
}
