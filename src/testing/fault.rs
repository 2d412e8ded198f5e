//! [`Fault`]: what can go wrong at an endpoint, on purpose.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{answer::Answer, body::Body, calls::Endpoint};

/// Something that goes wrong at an endpoint, once unless told otherwise.
///
/// Given to [`AuthorizationServer::inject`](super::AuthorizationServer::inject). Faults of one endpoint take effect one
/// after the other, in the order they were injected.
#[derive(Clone)]
pub struct Fault {
    kind: Kind,
    headers: Vec<(HeaderName, HeaderValue)>,
    skip: u32,
    /// How often it still takes effect; nothing for ever.
    left: Option<u32>,
}

#[derive(Clone)]
enum Kind {
    Answer { status: StatusCode, body: Bytes },
    Delay(Duration),
    Drop,
    Hang,
    LostAnswer,
}

/// What the server does about a fault.
pub(super) enum Effect {
    Answer(Box<Answer>),
    /// Wait, then work as usual.
    Delay(Duration),
    Drop,
    Hang,
    /// Work as usual, then drop the connection in place of answering.
    LostAnswer,
}

impl Fault {
    /// Answers with this status and an empty body, and does nothing else.
    ///
    /// A number that is no status becomes 500.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(Kind::Answer {
            status,
            body: Bytes::new(),
        })
    }

    /// Answers 200 with a JSON body of this many bytes (at least 14).
    #[must_use]
    pub fn body_of(bytes: usize) -> Self {
        const AROUND: usize = r#"{"padding":""}"#.len();
        let body = format!(
            r#"{{"padding":"{}"}}"#,
            "x".repeat(bytes.saturating_sub(AROUND))
        );
        Self::status(200).body("application/json", body)
    }

    /// Waits on Tokio's clock, then works as usual.
    #[must_use]
    pub const fn delay(delay: Duration) -> Self {
        Self::new(Kind::Delay(delay))
    }

    /// Never answers.
    #[must_use]
    pub const fn hang() -> Self {
        Self::new(Kind::Hang)
    }

    /// Drops the connection, having done nothing. A served connection closes; in process the service gives an error.
    #[must_use]
    pub const fn drop_connection() -> Self {
        Self::new(Kind::Drop)
    }

    /// Does what was asked and then drops the connection in place of answering: a code is used up, a refresh token
    /// rotated, and the client does not know.
    #[must_use]
    pub const fn lost_answer() -> Self {
        Self::new(Kind::LostAnswer)
    }

    /// The body of [`Fault::status`], with its media type; without effect on other faults.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        if let Kind::Answer { body, .. } = &mut self.kind {
            *body = bytes.into();
            self.headers
                .retain(|(name, _)| *name != header::CONTENT_TYPE);
            self.headers
                .push((header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
        }
        self
    }

    /// Adds a header field to the answer of [`Fault::status`].
    ///
    /// # Panics
    ///
    /// If the name (lower case) or the value cannot be in a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        ));
        self
    }

    /// How often it happens; defaults to once, so that a test sees the endpoint recover.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    /// Makes it happen every time, until [`AuthorizationServer::clear_faults`](super::AuthorizationServer::clear_faults).
    #[must_use]
    pub const fn forever(mut self) -> Self {
        self.left = None;
        self
    }

    /// Lets this many calls through first; defaults to none.
    #[must_use]
    pub const fn after(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            headers: Vec::new(),
            skip: 0,
            left: Some(1),
        }
    }

    fn effect(&self) -> Effect {
        match &self.kind {
            Kind::Answer { status, body } => {
                let mut answer = Response::new(Body::from(body.clone()));
                *answer.status_mut() = *status;
                for (name, value) in &self.headers {
                    answer.headers_mut().append(name, value.clone());
                }
                Effect::Answer(Box::new(answer))
            }
            Kind::Delay(delay) => Effect::Delay(*delay),
            Kind::Drop => Effect::Drop,
            Kind::Hang => Effect::Hang,
            Kind::LostAnswer => Effect::LostAnswer,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Answer { status, body } => format!("answer {status} with {} bytes", body.len()),
            Kind::Delay(delay) => format!("delay of {delay:?}"),
            Kind::Drop => "drop_connection".to_owned(),
            Kind::Hang => "hang".to_owned(),
            Kind::LostAnswer => "lost_answer".to_owned(),
        };
        f.debug_struct("Fault")
            .field("kind", &kind)
            .field("after", &self.skip)
            .field("left", &self.left)
            .finish()
    }
}

/// The faults that wait for their calls.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Endpoint, Fault)>);

impl Faults {
    pub(super) fn inject(&mut self, endpoint: Endpoint, fault: Fault) {
        self.0.push((endpoint, fault));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happens to the next call of an endpoint.
    pub(super) fn next(&mut self, endpoint: Endpoint) -> Option<Effect> {
        self.0.retain(|(_, fault)| fault.left != Some(0));
        let (_, fault) = self.0.iter_mut().find(|(at, _)| *at == endpoint)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.left = fault.left.map(|left| left - 1);
        Some(fault.effect())
    }
}
