//! [`ResponseFuture`]: what a request behind a guard waits for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::guard::keys::Fetch;
use crate::guard::layer::{Config, Outcome, Refused, Rule};
use crate::guard::relay::Relaying;

/// How long the application may take to come by an `mfa_required` answer: two calls to an authorization server.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);

pin_project! {
    /// The response future of [`Guarded`](super::Guarded).
    ///
    /// # Cancel safety
    ///
    /// See [`Guarded`](super::Guarded#cancel-safety).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    // A request that goes on, or is answered at once, is in the first or the second state only.
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<S, B, F> {
        // The inner service.
        Allowed { #[pin] future: F },
        // Nothing: the answer is here.
        Refused { response: Box<Response<Bytes>> },
        // The application's own words for the answer.
        Relay { relay: Box<Relay> },
        // Keys that are being fetched.
        Keys { waiting: Box<Waiting<S, B>> },
        // The inner service's readiness.
        Ready { ready: Box<(S, Request<B>)> },
        // Nothing: the answer was given.
        Done,
    }
}

struct Relay {
    relaying: Relaying,
    timeout: Pin<Box<Sleep>>,
    response: Response<Bytes>,
}

struct Waiting<S, B> {
    fetch: Fetch,
    request: Request<B>,
    service: S,
    rule: Arc<Rule>,
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    pub(crate) fn allowed(future: S::Future) -> Self {
        Self {
            state: State::Allowed { future },
        }
    }

    pub(crate) fn refused(config: &Config, refused: Refused) -> Self {
        Self {
            state: State::refuse(config, refused),
        }
    }

    pub(crate) fn wait(fetch: Fetch, request: Request<B>, service: S, rule: Arc<Rule>) -> Self {
        Self {
            state: State::Keys {
                waiting: Box::new(Waiting {
                    fetch,
                    request,
                    service,
                    rule,
                }),
            },
        }
    }
}

impl<S, B, F> State<S, B, F> {
    fn refuse(config: &Config, Refused { refusal, token }: Refused) -> Self {
        let response = config.wording().answer(&refusal);
        match (config.relay(), token, refusal.shortfall) {
            (Some(relay), Some(token), Some(shortfall)) => Self::Relay {
                relay: Box::new(Relay {
                    relaying: relay(token, shortfall),
                    timeout: Box::pin(tokio::time::sleep(RELAY_TIMEOUT)),
                    response,
                }),
            },
            _ => Self::Refused {
                response: Box::new(response),
            },
        }
    }
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(answer) = self.relaying.as_mut().poll(cx) {
            if let Some(answer) = answer {
                *self.response.body_mut() = answer.into_json();
            }
            return Poll::Ready(());
        }
        self.timeout.as_mut().poll(cx)
    }
}

impl<S, B> Waiting<S, B> {
    /// Decides with the keys that there are now.
    fn decide<F>(self) -> State<S, B, F> {
        let (mut request, outcome) = self.rule.decide(self.request, false);
        match outcome {
            Outcome::Allow(token) => {
                if let Some(token) = token {
                    request.extensions_mut().insert(token);
                }
                State::Ready {
                    ready: Box::new((self.service, request)),
                }
            }
            Outcome::Refuse(refused) => State::refuse(self.rule.config(), *refused),
            // not given by a decision that may not wait
            Outcome::Wait(fetch) => State::Keys {
                waiting: Box::new(Self {
                    fetch: *fetch,
                    request,
                    ..self
                }),
            },
        }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Allowed { future } => {
                    let result = ready!(future.poll(cx));
                    state.set(State::Done);
                    return Poll::Ready(
                        result.map(|response| response.map(ResponseBody::streamed)),
                    );
                }
                StateProj::Refused { response } => {
                    let response = std::mem::take(&mut **response);
                    state.set(State::Done);
                    return Poll::Ready(Ok(response.map(ResponseBody::whole)));
                }
                StateProj::Relay { relay } => {
                    ready!(relay.poll(cx));
                    let response = std::mem::take(&mut relay.response);
                    state.set(State::Done);
                    return Poll::Ready(Ok(response.map(ResponseBody::whole)));
                }
                StateProj::Keys { waiting } => {
                    ready!(waiting.fetch.poll_unpin(cx));
                    match state.as_mut().project_replace(State::Done) {
                        StateOwned::Keys { waiting } => waiting.decide(),
                        _ => continue,
                    }
                }
                StateProj::Ready { ready } => {
                    if let Err(error) = ready!(ready.0.poll_ready(cx)) {
                        state.set(State::Done);
                        return Poll::Ready(Err(error));
                    }
                    match state.as_mut().project_replace(State::Done) {
                        StateOwned::Ready { ready } => {
                            let (mut service, request) = *ready;
                            State::Allowed {
                                future: service.call(request),
                            }
                        }
                        _ => continue,
                    }
                }
                // a future must not be polled after it was ready; this one then waits, rather than panics
                StateProj::Done => return Poll::Pending,
            };
            state.set(next);
        }
    }
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Allowed { .. } => "allowed",
            State::Refused { .. } => "refused",
            State::Relay { .. } => "relay",
            State::Keys { .. } => "keys",
            State::Ready { .. } => "ready",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &format_args!("{state}"))
            .finish_non_exhaustive()
    }
}
