//! Answers: JSON, and OAuth errors with the words Auth0 uses.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::{body::Body, keys::unix};

pub(super) type Answer = Response<Body>;

/// An answer of JSON that nobody may cache.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Body::from(value.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(super) fn ok(value: &Value) -> Answer {
    json(StatusCode::OK, value)
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// A request refused with an OAuth error.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    error: &'static str,
    description: Cow<'static, str>,
    limit: Option<Limit>,
}

/// What a 429 says about its limit.
#[derive(Debug)]
struct Limit {
    burst: u32,
    wait: Duration,
    reset: SystemTime,
}

impl Refusal {
    pub(super) fn new(
        status: u16,
        error: &'static str,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            error,
            description: description.into(),
            limit: None,
        }
    }

    pub(super) fn missing(parameter: &str) -> Self {
        Self::new(
            400,
            "invalid_request",
            format!("Missing required parameter: {parameter}"),
        )
    }

    pub(super) fn limited(mut self, burst: u32, wait: Duration, now: SystemTime) -> Self {
        self.limit = Some(Limit {
            burst,
            wait,
            reset: now + wait,
        });
        self
    }

    pub(super) fn into_answer(self) -> Answer {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut answer = json(
            status,
            &json!({"error": self.error, "error_description": self.description}),
        );
        if let Some(limit) = self.limit {
            let headers = answer.headers_mut();
            // Rounded up: a client that waits as told must find a place.
            let seconds = limit.wait.as_millis().div_ceil(1000);
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
            );
            headers.insert("x-ratelimit-limit", HeaderValue::from(limit.burst));
            headers.insert("x-ratelimit-remaining", HeaderValue::from(0));
            headers.insert(
                "x-ratelimit-reset",
                HeaderValue::from(unix(limit.reset + Duration::from_millis(999))),
            );
        }
        answer
    }
}
