//! The corpus once more, in requests: what a client is answered.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_mfa::guard::{Guard, Requirement, TokenType, VerifiedToken};

use crate::forge::ISSUER;
use crate::{Count, GOOD, cases, keys, verifier};

type Body = Full<Bytes>;

/// A service behind a guard that says whom it was called by.
async fn send(guard: &Guard, credentials: HeaderValue) -> (StatusCode, Option<HeaderValue>, Bytes) {
    let service =
        guard
            .require(Requirement::login())
            .layer(service_fn(async |request: Request<Body>| {
                let token = request.extensions().get::<VerifiedToken>();
                let issuer = token.map_or("unknown", VerifiedToken::issuer);
                Ok::<_, Infallible>(Response::new(Body::from(issuer.to_owned())))
            }));
    let request = Request::get("https://api.example/transfer")
        .header(AUTHORIZATION, credentials)
        .body(Body::default())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        assert_eq!(head.headers[CACHE_CONTROL], "no-store");
    }
    let challenge = head.headers.get(WWW_AUTHENTICATE).cloned();
    (
        head.status,
        challenge,
        body.collect().await.unwrap().to_bytes(),
    )
}

fn credentials(token: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(format!("Bearer {token}").as_bytes()).ok()
}

/// `b64token` of RFC 6750 section 2.1.
fn is_bearer_token(token: &str) -> bool {
    let text = token.trim_end_matches('=');
    let known = |letter: char| letter.is_ascii_alphanumeric() || "-._~+/".contains(letter);
    !text.is_empty() && text.chars().all(known)
}

fn guards() -> [(TokenType, Guard); 2] {
    [TokenType::AccessToken, TokenType::Jwt]
        .map(|token_type| (token_type, Guard::new(verifier(keys(), token_type))))
}

#[tokio::test]
async fn hostile_tokens_are_answered_by_rfc_6750() {
    try_hostile(&guards()).await;
}

/// Where the good ones are looked at where they are stored.
#[tokio::test]
async fn nor_are_they_taken_for_good_ones_that_were_seen() {
    let guards = guards().map(|(token_type, guard)| (token_type, guard.insert_token(false)));
    for _ in 0..2 {
        try_good(&guards, "unknown").await;
        try_hostile(&guards).await;
    }
}

async fn try_hostile(guards: &[(TokenType, Guard)]) {
    let mut count = Count::default();
    let mut unsendable = 0;
    for (class, case) in cases() {
        let (_, guard) = guards
            .iter()
            .find(|(token_type, _)| *token_type == case.token_type)
            .unwrap();
        // Some texts are in no header, and white space in front is the header's own.
        let Some(credentials) =
            credentials(&case.token).filter(|_| case.token.trim_ascii_start() == case.token)
        else {
            unsendable += 1;
            continue;
        };
        let expected = if is_bearer_token(&case.token) {
            (StatusCode::UNAUTHORIZED, "invalid_token")
        } else {
            (StatusCode::BAD_REQUEST, "invalid_request")
        };
        count.tried += 1;
        let (status, challenge, body) = send(guard, credentials).await;
        count.accepted += usize::from(status == StatusCode::OK);
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        let error = format!("Bearer error=\"{}\"", expected.1);
        let challenged = challenge.is_some_and(|value| value.to_str().unwrap().starts_with(&error));
        if (status, json["error"].as_str()) != (expected.0, Some(expected.1)) || !challenged {
            count.wrong.push(format!(
                "{class}: {}: {status} {json} instead of {expected:?}",
                case.name
            ));
        }
        let members: Vec<_> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(members, ["error", "error_description"], "{}", case.name);
    }
    println!("{unsendable} cannot be sent in a header");
    count.check("hostile, in requests");
    assert!(unsendable < 60 && count.tried > 800);
}

#[tokio::test]
async fn good_tokens_reach_the_service() {
    try_good(&guards(), ISSUER).await;
}

async fn try_good(guards: &[(TokenType, Guard)], issuer: &str) {
    for good in GOOD.iter() {
        let (_, guard) = guards
            .iter()
            .find(|(token_type, _)| *token_type == good.token_type)
            .unwrap();
        let (status, _, body) = send(guard, credentials(&good.token).unwrap()).await;
        assert_eq!(
            (status, &body[..]),
            (StatusCode::OK, issuer.as_bytes()),
            "{}",
            good.name
        );
    }
}
