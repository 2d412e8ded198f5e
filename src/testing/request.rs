//! A request as the endpoints see it: its parameters, whether they came as a form or as JSON.

use http::{HeaderMap, Method, header, request};
use serde_json::Value;

use super::{answer::Refusal, calls::Endpoint};

/// A request whose body was read and taken apart.
pub(super) struct Received {
    pub(super) endpoint: Endpoint,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) parameters: Parameters,
    /// Why the body could not be taken apart, if so.
    pub(super) broken: Option<&'static str>,
}

impl Received {
    pub(super) fn new(head: request::Parts, body: Result<&[u8], &'static str>) -> Self {
        let path = head.uri.path().to_owned();
        let (parameters, broken) =
            match body.and_then(|body| Parameters::parse(&head.headers, body)) {
                Ok(parameters) => (parameters, None),
                Err(reason) => (Parameters::default(), Some(reason)),
            };
        let endpoint = Endpoint::of(&head.method, &path);
        Self {
            endpoint,
            method: head.method,
            path,
            headers: head.headers,
            parameters,
            broken,
        }
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        bearer(&self.headers)
    }
}

/// The bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The parameters of a request, in the order they came.
#[derive(Clone, Default)]
pub(super) struct Parameters(Vec<(String, Value)>);

impl Parameters {
    fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, &'static str> {
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if body.is_empty() {
            Ok(Self::default())
        } else if media_type.eq_ignore_ascii_case("application/json") {
            match serde_json::from_slice(body) {
                Ok(Value::Object(members)) => Ok(Self(members.into_iter().collect())),
                _ => Err("The body is not a JSON object"),
            }
        } else if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let mut parameters = Vec::new();
            for (name, value) in form_urlencoded::parse(body) {
                // RFC 6749 section 3.2: "Request and response parameters MUST NOT be included more than once."
                if parameters.iter().any(|(known, _)| *known == name) {
                    return Err("A parameter was sent more than once");
                }
                parameters.push((name.into_owned(), Value::String(value.into_owned())));
            }
            Ok(Self(parameters))
        } else {
            Err("The body is neither a form nor JSON")
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// A parameter that has a text; an empty one counts as absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str().filter(|text| !text.is_empty())
    }

    pub(super) fn require(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| Refusal::missing(name))
    }

    /// The first text of a parameter that is a list; a bare text counts as a list of one.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        let value = self.value(name)?;
        value
            .as_str()
            .or_else(|| value.as_array()?.first()?.as_str())
    }
}
