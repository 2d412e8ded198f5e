//! [`Calls`]: the log of what was asked of the server.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use http::{HeaderMap, Method, StatusCode};

use super::request::{Parameters, Received};

/// An endpoint of the server: a path together with its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `POST /mfa/associate`.
    Associate,
    /// `GET /mfa/authenticators`.
    Authenticators,
    /// `POST /mfa/challenge`.
    Challenge,
    /// `GET /.well-known/openid-configuration`.
    Configuration,
    /// `DELETE /mfa/authenticators/{id}`.
    DeleteAuthenticator,
    /// `GET /.well-known/jwks.json`.
    Jwks,
    /// Everything else, which is answered with 404 or 405.
    Other,
    /// `POST /oauth/token`.
    Token,
}

/// The paths of fixed spelling, and what is at each.
const PATHS: [(&str, Method, Endpoint); 6] = [
    ("/oauth/token", Method::POST, Endpoint::Token),
    ("/mfa/challenge", Method::POST, Endpoint::Challenge),
    ("/mfa/authenticators", Method::GET, Endpoint::Authenticators),
    ("/mfa/associate", Method::POST, Endpoint::Associate),
    (
        "/.well-known/openid-configuration",
        Method::GET,
        Endpoint::Configuration,
    ),
    ("/.well-known/jwks.json", Method::GET, Endpoint::Jwks),
];

impl Endpoint {
    pub(super) fn of(method: &Method, path: &str) -> Self {
        match Self::at(path) {
            Some((allowed, endpoint)) if allowed == *method => endpoint,
            _ => Self::Other,
        }
    }

    /// What is at a path, and the method it wants.
    pub(super) fn at(path: &str) -> Option<(Method, Self)> {
        if path
            .strip_prefix("/mfa/authenticators/")
            .is_some_and(|id| !id.is_empty())
        {
            return Some((Method::DELETE, Self::DeleteAuthenticator));
        }
        PATHS
            .into_iter()
            .find(|(known, ..)| *known == path)
            .map(|(_, method, endpoint)| (method, endpoint))
    }
}

/// One request to the server, and how it was answered.
///
/// `Debug` names the parameters without their values, which are secrets more often than not.
#[derive(Clone)]
pub struct Call {
    endpoint: Endpoint,
    method: Method,
    path: String,
    at: SystemTime,
    headers: HeaderMap,
    parameters: Parameters,
    status: Option<StatusCode>,
}

impl Call {
    /// Which endpoint was called.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The method of the request.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The path of the request, as it was sent, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// When the request came in, by the server's clock.
    #[must_use]
    pub const fn at(&self) -> SystemTime {
        self.at
    }

    /// The header fields of the request, with their secrets.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The `grant_type` of a token request.
    #[must_use]
    pub fn grant_type(&self) -> Option<String> {
        self.parameter("grant_type")
    }

    /// A parameter of the body, form or JSON, with its secret; what is not a text is given as JSON.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let value = self.parameters.value(name)?;
        Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        )
    }

    /// The names of the parameters of the body; those of a form in the order they were sent.
    #[must_use]
    pub fn parameter_names(&self) -> Vec<String> {
        self.parameters.names().map(str::to_owned).collect()
    }

    /// The status of the answer; nothing while there is none, or when the connection was dropped.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        self.status
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut call = f.debug_struct("Call");
        call.field("endpoint", &self.endpoint)
            .field("method", &self.method)
            .field("path", &self.path);
        call.field("grant_type", &self.grant_type())
            .field("parameters", &self.parameter_names());
        call.field("status", &self.status).finish_non_exhaustive()
    }
}

/// The log of the requests to a server, oldest first.
///
/// Clones show the same log.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    calls: Vec<Call>,
    /// Grows when the log is cleared, so that an answer under way then finds no foreign call to write to.
    generation: u64,
}

/// The place of a call in the log.
#[derive(Clone, Copy)]
pub(super) struct Place {
    generation: u64,
    index: usize,
}

impl Calls {
    /// All calls.
    #[must_use]
    pub fn all(&self) -> Vec<Call> {
        self.log().calls.clone()
    }

    /// The calls of one endpoint.
    #[must_use]
    pub fn of(&self, endpoint: Endpoint) -> Vec<Call> {
        self.log()
            .calls
            .iter()
            .filter(|call| call.endpoint == endpoint)
            .cloned()
            .collect()
    }

    /// The newest call of one endpoint.
    #[must_use]
    pub fn last(&self, endpoint: Endpoint) -> Option<Call> {
        self.log()
            .calls
            .iter()
            .rfind(|call| call.endpoint == endpoint)
            .cloned()
    }

    /// How often an endpoint was called.
    #[must_use]
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.log()
            .calls
            .iter()
            .filter(|call| call.endpoint == endpoint)
            .count()
    }

    /// How many calls there were in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log().calls.len()
    }

    /// Whether nothing was called.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all calls.
    pub fn clear(&self) {
        let mut log = self.log();
        log.calls.clear();
        log.generation += 1;
    }

    pub(super) fn record(&self, received: &Received, at: SystemTime) -> Place {
        let mut log = self.log();
        log.calls.push(Call {
            endpoint: received.endpoint,
            method: received.method.clone(),
            path: received.path.clone(),
            at,
            headers: received.headers.clone(),
            parameters: received.parameters.clone(),
            status: None,
        });
        Place {
            generation: log.generation,
            index: log.calls.len() - 1,
        }
    }

    pub(super) fn answered(&self, place: Place, status: StatusCode) {
        let mut log = self.log();
        if log.generation == place.generation
            && let Some(call) = log.calls.get_mut(place.index)
        {
            call.status = Some(status);
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
