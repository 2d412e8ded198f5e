//! [`ScriptedApi`]: an API that answers what a test wants.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use tower::Service;
use tower_mfa::{BoxError, body::ReplayBody, testing::Body};

use super::{json_response, lock};

/// An API with scripted answers; when they are used up it answers 200. A missing answer is an error of the service.
#[derive(Clone, Default)]
pub(crate) struct ScriptedApi {
    script: Arc<Script>,
}

#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Option<Response<Body>>>>,
    requests: Mutex<Vec<(HeaderMap, Bytes)>>,
}

impl ScriptedApi {
    pub(crate) fn new<const N: usize>(answers: [Option<Response<Body>>; N]) -> Self {
        let api = Self::default();
        lock(&api.script.answers).extend(answers);
        api
    }

    /// An API that refuses once, with this body.
    pub(crate) fn refusing(json: impl Into<String>) -> Self {
        Self::new([Some(json_response(403, json))])
    }

    /// The head and the body of each request.
    pub(crate) fn requests(&self) -> Vec<(HeaderMap, Bytes)> {
        lock(&self.script.requests).clone()
    }
}

impl Service<Request<ReplayBody<Body>>> for ScriptedApi {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<Body>>) -> Self::Future {
        let script = Arc::clone(&self.script);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            lock(&script.requests).push((head.headers, body));
            match lock(&script.answers).pop_front() {
                Some(Some(response)) => Ok(response),
                Some(None) => Err("the service failed".into()),
                None => Ok(json_response(200, "{}")),
            }
        })
    }
}
