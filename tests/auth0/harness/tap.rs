//! [`Tap`]: the line to the authorization server.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use serde_json::Value;
use tower::ServiceExt as _;
use tower_mfa::{
    BoxError,
    testing::{AuthorizationServer, Body},
    transport::{RequestBody, Transport},
};

use super::lock;

/// One request to the authorization server, as it left the crate.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Sent {
    /// The parameters of the body, form or JSON.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(members)) => members
                .into_iter()
                .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            _ => form_urlencoded::parse(&self.body).into_owned().collect(),
        }
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let found = self.parameters().into_iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value)
    }

    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

type Intercept = Box<dyn Fn(&Sent) -> Option<Response<Body>> + Send>;

/// The line to the authorization server: writes down what goes out, and may answer in its place.
#[derive(Clone)]
pub(crate) struct Tap {
    server: AuthorizationServer,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    sent: Mutex<Vec<Sent>>,
    intercept: Mutex<Option<Intercept>>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Tap {
    pub(super) fn new(server: &AuthorizationServer) -> Self {
        Self {
            server: server.clone(),
            line: Arc::default(),
        }
    }

    pub(crate) fn transport(&self) -> Transport {
        let tap = self.clone();
        Transport::new(tower::service_fn(move |request: Request<RequestBody>| {
            tap.clone().pass(request)
        }))
    }

    async fn pass(self, request: Request<RequestBody>) -> Result<Response<Body>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.into_bytes();
        let sent = Sent {
            method: head.method.clone(),
            uri: head.uri.clone(),
            headers: head.headers.clone(),
            body: body.clone(),
        };
        lock(&self.line.sent).push(sent.clone());
        let _open = Open::new(&self.line);
        let intercepted = lock(&self.line.intercept).as_ref().and_then(|f| f(&sent));
        match intercepted {
            Some(response) => Ok(response),
            None => {
                let request = Request::from_parts(head, Body::from(body));
                self.server.clone().oneshot(request).await
            }
        }
    }

    /// Answers in the server's place where this gives an answer.
    pub(crate) fn intercept(
        &self,
        answer: impl Fn(&Sent) -> Option<Response<Body>> + Send + 'static,
    ) {
        *lock(&self.line.intercept) = Some(Box::new(answer));
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        lock(&self.line.sent).clone()
    }

    /// What went to this path.
    pub(crate) fn sent_to(&self, path: &str) -> Vec<Sent> {
        let all = self.sent().into_iter();
        all.filter(|sent| sent.uri.path() == path).collect()
    }

    /// The largest number of requests that were under way at once.
    pub(crate) fn most_open(&self) -> usize {
        self.line.most_open.load(Ordering::SeqCst)
    }

    /// How many requests are under way.
    pub(crate) fn open(&self) -> usize {
        self.line.open.load(Ordering::SeqCst)
    }
}

/// A request under way, counted until it is answered or dropped.
struct Open<'a>(&'a Line);

impl<'a> Open<'a> {
    fn new(line: &'a Line) -> Self {
        let open = line.open.fetch_add(1, Ordering::SeqCst) + 1;
        line.most_open.fetch_max(open, Ordering::SeqCst);
        Self(line)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}
