//! [`Guarded`]: the service behind a guard.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::guard::future::ResponseFuture;
use crate::guard::layer::{Outcome, Rule};

/// A service that gets only the requests which meet a requirement; made by a [`GuardLayer`](super::GuardLayer).
///
/// The request's body is untouched, the error is the inner service's, and so is the response of a request that is let
/// through, streamed. It never waits for anything but keys that have to be fetched, and then holds no readiness of the inner
/// service.
///
/// # Cancel safety
///
/// Dropping the response future drops the inner service's. A fetch of keys goes on, for the other requests.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    rule: Arc<Rule>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(inner: S, rule: Arc<Rule>) -> Self {
        Self { inner, rule }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, to write to.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the inner service back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let outcome = match self.rule.decide_by_reference(&request, true) {
            Some(outcome) => outcome,
            None => {
                let outcome;
                (request, outcome) = self.rule.decide(request, true);
                outcome
            }
        };
        match outcome {
            Outcome::Allow(token) => {
                if let Some(token) = token {
                    request.extensions_mut().insert(token);
                }
                ResponseFuture::allowed(self.inner.call(request))
            }
            Outcome::Refuse(refused) => ResponseFuture::refused(self.rule.config(), *refused),
            // the service that was polled ready stays here for the next request; the clone is polled ready when there are keys
            Outcome::Wait(fetch) => {
                let service = self.inner.clone();
                ResponseFuture::wait(*fetch, request, service, Arc::clone(&self.rule))
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("inner", &self.inner)
            .field("rule", &self.rule)
            .finish()
    }
}
