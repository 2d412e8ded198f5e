//! [`Story`]: prints what was seen, by whoever saw it.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body::Body;
use tower_mfa::testing::{AuthorizationServer, Endpoint};
use tower_mfa::time::{Clock, SystemClock};
use tower_mfa::{BindingMethod, Challenge, Event};

/// Prints what happened, one numbered line each, with the milliseconds since the beginning.
pub(crate) struct Story {
    server: AuthorizationServer,
    began: SystemTime,
    lines: AtomicUsize,
    /// How many of the authorization server's calls have a line.
    calls: AtomicUsize,
    attempts: AtomicUsize,
}

impl Story {
    pub(crate) fn begin(title: &str, server: &AuthorizationServer) -> Arc<Self> {
        println!("{title}");
        server.calls().clear();
        Arc::new(Self {
            server: server.clone(),
            began: SystemClock::new().now(),
            lines: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
        })
    }

    /// A request leaves, below the layer.
    pub(crate) fn request<B: Body>(&self, request: Request<B>) -> Request<B> {
        let what = match self.attempts.fetch_add(1, Relaxed) {
            0 => "request",
            _ => "retry",
        };
        // tokens are not printed; what they say about how the user logged in is the point of it all
        let token = request.headers().get(AUTHORIZATION);
        let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let claims = token.and_then(|token| self.server.verify(token).ok());
        let factors = claims.map_or_else(|| "none".to_owned(), |claims| claims.amr().join("+"));
        let bytes = request.body().size_hint().exact().unwrap_or_default();
        let (method, path) = (request.method(), request.uri().path());
        self.tell(
            what,
            format_args!("{method} {path}, {bytes} bytes, token by {factors}"),
        );
        request
    }

    /// A response comes in, below the layer.
    pub(crate) fn answer<B>(&self, response: Response<B>) -> Response<B> {
        let status = response.status();
        let what = if status.is_success() {
            "answer"
        } else {
            "refusal"
        };
        self.tell(what, status);
        response
    }

    /// The layer asks the code provider for a code, or to say that an approval is awaited.
    pub(crate) fn challenge(&self, challenge: &Challenge) {
        let factor = challenge.factor();
        match challenge.binding_method() {
            BindingMethod::Prompt => {
                let left = challenge.attempts_left();
                self.tell(
                    "asked",
                    format_args!("{factor} code, attempts left: {left}"),
                );
            }
            _ => self.tell(
                "asked",
                format_args!("{factor} approval, polled until it is there"),
            ),
        }
    }

    /// The layer tells what it does.
    pub(crate) fn event(&self, event: &Event<'_>) {
        match event {
            Event::Started { .. } => self.tell("step-up", "started"),
            Event::Succeeded { stepped_up, .. } => {
                let factor = stepped_up.factor().map_or("?", |factor| factor.as_str());
                let codes = stepped_up.attempts();
                self.tell(
                    "step-up",
                    format_args!("succeeded by {factor}, codes asked: {codes}"),
                );
            }
            Event::Failed { error, .. } => self.tell("step-up", format_args!("failed: {error}")),
            _ => {}
        }
    }

    /// Prints a line, and before it the calls that the authorization server got since the last one.
    pub(crate) fn tell(&self, what: &str, text: impl Display) {
        let calls = self.server.calls().all();
        for call in calls.iter().skip(self.calls.swap(calls.len(), Relaxed)) {
            // the grants have long names: http://auth0.com/oauth/grant-type/mfa-otp
            let kind = call
                .grant_type()
                .or_else(|| call.parameter("challenge_type"));
            let kind = kind.as_deref().unwrap_or_default();
            let kind = kind.rsplit('/').next().unwrap_or_default();
            let what = match call.endpoint() {
                Endpoint::Challenge => "challenge",
                Endpoint::Token => "exchange",
                _ => "call",
            };
            let (method, path) = (call.method(), call.path());
            let status = call.status().map_or(0, |status| status.as_u16());
            self.line(
                call.at(),
                what,
                format_args!("{method} {path} {kind} -> {status}"),
            );
        }
        self.line(SystemClock::new().now(), what, text);
    }

    fn line(&self, at: SystemTime, what: &str, text: impl Display) {
        let number = self.lines.fetch_add(1, Relaxed) + 1;
        let passed = at.duration_since(self.began).unwrap_or_default();
        println!(
            "{number:>3}. {:>5} ms  {what:<10} {text}",
            passed.as_millis()
        );
    }

    /// Counts the round trips, of which the API saw so many.
    pub(crate) fn end(&self, api: usize) {
        let server = self.server.calls().len();
        let now = SystemClock::new().now();
        let passed = now.duration_since(self.began).unwrap_or_default();
        println!(
            "{} round trips: {api} to the API, {server} to the authorization server; {} ms",
            api + server,
            passed.as_millis()
        );
    }
}
