//! [`ResponseFuture`]: the flow of one request, one state for each thing it waits for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::ReplayBody;
use crate::error::BoxError;
use crate::event::SteppedUp;
use crate::service::Checkpoint;
use crate::step::{Answer, Peeking, Retry, Step, Waiting, is_refusal, stream};

pin_project! {
    /// The response future of [`Mfa`](crate::Mfa).
    ///
    /// # Cancel safety
    ///
    /// See [`Mfa`](crate::Mfa#cancel-safety).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        R: Body,
    {
        #[pin]
        state: State<S, B, R>,
    }
}

pin_project! {
    // What a request waits for. One that is never refused is in the first or the second state only; what the others hold is
    // boxed, since a future pays for its largest state with every move.
    #[project = StateProj]
    #[project_replace = StateOwned]
    pub(crate) enum State<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        R: Body,
    {
        // The inner service; its answer goes to the caller, whatever it is.
        Passed { #[pin] future: S::Future },
        // The inner service, for the first time.
        Attempt { #[pin] future: S::Future, checkpoint: Checkpoint<S, B> },
        // The beginning of the refusal's body.
        Peek { peeking: Box<Peeking<S, B, R>> },
        // A person, or the authorization server.
        StepUp { waiting: Box<Waiting<S, B, R, S::Error>> },
        // The inner service's readiness.
        Ready { retry: Box<Retry<S, B>> },
        // The inner service, for the second time; its answer goes to the caller, whatever it is.
        Retry { #[pin] future: S::Future, stepped_up: Option<SteppedUp> },
        // Nothing: the answer was given.
        Done,
    }
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<ReplayBody<B>>>,
    R: Body,
{
    pub(crate) fn passed(future: S::Future) -> Self {
        Self {
            state: State::Passed { future },
        }
    }

    pub(crate) fn attempt(future: S::Future, checkpoint: Checkpoint<S, B>) -> Self {
        Self {
            state: State::Attempt { future, checkpoint },
        }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    S::Error: 'static,
    B: Body + Unpin,
    B::Error: Into<BoxError>,
    R: Body,
{
    type Output = Answer<R, S::Error>;

    // small, so that it can be made a part of the caller: what nearly every request goes through
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        let result = match state.as_mut().project() {
            // stays what it is: there is nothing to let go of
            StateProj::Passed { future } => return future.poll(cx).map(stream),
            StateProj::Attempt { future, checkpoint } => {
                let result = ready!(future.poll(cx));
                if may_be_demand(&result, checkpoint) {
                    return go_on(state, Some(result), cx);
                }
                result
            }
            _ => return go_on(state, None, cx),
        };
        state.set(State::Done);
        Poll::Ready(stream(result))
    }
}

/// Goes on with a request whose attempt was answered by what may be a demand, or is past that already.
#[cold]
#[inline(never)]
fn go_on<S, B, R>(
    mut state: Pin<&mut State<S, B, R>>,
    mut result: Option<Result<Response<R>, S::Error>>,
    cx: &mut Context<'_>,
) -> Poll<Answer<R, S::Error>>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>>,
    S::Error: 'static,
    B: Body + Unpin,
    B::Error: Into<BoxError>,
    R: Body,
{
    loop {
        let step = match state.as_mut().project() {
            StateProj::Passed { future } => Step::Answer(stream(ready!(future.poll(cx)))),
            StateProj::Attempt { future, checkpoint } => {
                let result = match result.take() {
                    Some(result) => result,
                    None => ready!(future.poll(cx)),
                };
                if may_be_demand(&result, checkpoint) {
                    match state.as_mut().project_replace(State::Done) {
                        StateOwned::Attempt { checkpoint, .. } => checkpoint.inspect(result),
                        _ => continue,
                    }
                } else {
                    Step::Answer(stream(result))
                }
            }
            StateProj::Peek { peeking } => {
                ready!(peeking.peek.poll(cx));
                match state.as_mut().project_replace(State::Done) {
                    StateOwned::Peek { peeking } => peeking.decide(),
                    _ => continue,
                }
            }
            StateProj::StepUp { waiting } => {
                let result = ready!(waiting.step_up.poll_unpin(cx));
                match state.as_mut().project_replace(State::Done) {
                    StateOwned::StepUp { waiting } => waiting.decide(result),
                    _ => continue,
                }
            }
            StateProj::Ready { retry } => {
                let ready = ready!(retry.checkpoint.service.poll_ready(cx));
                match (ready, state.as_mut().project_replace(State::Done)) {
                    (Ok(()), StateOwned::Ready { retry }) => retry.send(),
                    (Err(error), _) => Step::Answer(Err(error)),
                    _ => continue,
                }
            }
            StateProj::Retry { future, stepped_up } => {
                let result = ready!(future.poll(cx));
                let stepped_up = stepped_up.take();
                Step::Answer(stream(result).map(|mut response| {
                    if let Some(stepped_up) = stepped_up {
                        response.extensions_mut().insert(stepped_up);
                    }
                    response
                }))
            }
            // a future must not be polled after it was ready; this one then waits, rather than panics
            StateProj::Done => return Poll::Pending,
        };
        match step {
            Step::Next(next) => state.set(next),
            Step::Answer(answer) => {
                state.set(State::Done);
                return Poll::Ready(answer);
            }
        }
    }
}

/// The cheap question, on the path of every request.
fn may_be_demand<R, E, S, B>(
    result: &Result<Response<R>, E>,
    checkpoint: &Checkpoint<S, B>,
) -> bool {
    match result {
        Ok(response) => {
            let status = response.status();
            checkpoint.config.statuses.contains(status)
                || checkpoint.head.is_elevated() && is_refusal(status)
        }
        Err(_) => true,
    }
}

impl<S, B, R> fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<ReplayBody<B>>>,
    R: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Passed { .. } => "passed",
            State::Attempt { .. } => "attempt",
            State::Peek { .. } => "peek",
            State::StepUp { .. } => "step-up",
            State::Ready { .. } => "ready",
            State::Retry { .. } => "retry",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &format_args!("{state}"))
            .finish_non_exhaustive()
    }
}
