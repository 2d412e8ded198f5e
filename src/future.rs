//! [`ResponseFuture`]: the flow of one request, one state for each thing it waits for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response, response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::{Peek, ReplayBody, ResponseBody, is_peekable};
use crate::code::CodeError;
use crate::demand::Demand;
use crate::dialect::{Detection, ResponseHead};
use crate::error::{BoxError, Kind, StepUpError};
use crate::event::SteppedUp;
use crate::request::RequestHead;
use crate::service::Checkpoint;
use crate::step_up::{Met, Outcome, RetryHeaders, SteppingUp, report, step_up};

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
    enum State<S, B, R>
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

struct Peeking<S, B, R: Body> {
    checkpoint: Checkpoint<S, B>,
    head: response::Parts,
    peek: Peek<R>,
    /// The demand, if the head was enough to find it. The body is read in any case, as far as it is short: it may have to be
    /// given to the caller minutes later, and until then nobody would read it off its connection.
    demand: Option<Demand>,
}

struct Waiting<S, B, R: Body, E> {
    checkpoint: Checkpoint<S, B>,
    refusal: Refusal<R, E>,
    step_up: SteppingUp,
}

struct Retry<S, B> {
    checkpoint: Checkpoint<S, B>,
    body: ReplayBody<B>,
    headers: RetryHeaders,
    stepped_up: SteppedUp,
}

/// What the caller gets if there is no retry.
enum Refusal<R: Body, E> {
    Response(Response<ResponseBody<R>>),
    Error(E),
}

type Answer<R, E> = Result<Response<ResponseBody<R>>, E>;

enum Step<S, B, R>
where
    S: Service<Request<ReplayBody<B>>>,
    R: Body,
{
    Next(State<S, B, R>),
    Answer(Answer<R, S::Error>),
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let step = match state.as_mut().project() {
                StateProj::Passed { future } => Step::Answer(stream(ready!(future.poll(cx)))),
                StateProj::Attempt { future, checkpoint } => {
                    let result = ready!(future.poll(cx));
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
                    let result = ready!(waiting.step_up.as_mut().poll(cx));
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
}

fn stream<R: Body, E>(result: Result<Response<R>, E>) -> Answer<R, E> {
    result.map(|response| response.map(ResponseBody::streamed))
}

/// The cheap question, on the path of every request.
fn may_be_demand<R, E, S, B>(
    result: &Result<Response<R>, E>,
    checkpoint: &Checkpoint<S, B>,
) -> bool {
    match result {
        Ok(response) => checkpoint.config.statuses.contains(&response.status()),
        Err(_) => true,
    }
}

impl<S, B> Checkpoint<S, B> {
    /// Looks at the answer to the first attempt.
    fn inspect<R>(self, result: Result<Response<R>, S::Error>) -> Step<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        S::Error: 'static,
        R: Body,
    {
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                return match self.config.detect_error(&error) {
                    Some(demand) => self.begin(demand, Refusal::Error(error)),
                    None => Step::Answer(Err(error)),
                };
            }
        };
        let head = ResponseHead::new(response.status(), response.headers());
        let demand = match self.config.dialect.detect(head) {
            Detection::Demand(demand) => {
                // from here on, so that what is possible now stays possible while the refusal is read
                self.replay.pause();
                if self.obstacle(&self.request_head()).is_some() {
                    let refusal = response.map(ResponseBody::streamed);
                    return self.begin(demand, Refusal::Response(refusal));
                }
                Some(demand)
            }
            Detection::Body if is_peekable(&self.head.method, head.status(), head.headers()) => {
                None
            }
            _ => return Step::Answer(stream(Ok(response))),
        };
        let (head, body) = response.into_parts();
        Step::Next(State::Peek {
            peeking: Box::new(Peeking {
                peek: Peek::new(body, self.config.max_peek_bytes),
                checkpoint: self,
                head,
                demand,
            }),
        })
    }

    /// Why there is no use in a step-up.
    fn obstacle(&self, request: &RequestHead) -> Option<StepUpError> {
        let config = &self.config;
        let is_token_request = config.dialect.is_token_request(request);
        if !is_token_request && !config.trusts(request.uri()) {
            return Some(StepUpError::new(
                Kind::UntrustedOrigin,
                "a step-up was demanded by an origin that is not trusted; if it should be, name it with `trust_origin(..)`",
            ));
        }
        if !config.codes.is_available(request) {
            return Some(CodeError::NotInteractive.into());
        }
        if is_token_request {
            return None;
        }
        if !config.may_retry(request) {
            return Some(StepUpError::new(
                Kind::Vetoed,
                "`retry_if(..)` says that this request must not be sent again",
            ));
        }
        (!self.replay.is_possible()).then(|| not_replayable(config.max_replay_bytes))
    }

    /// Starts the step-up, if there is any use in it.
    fn begin<R>(self, demand: Demand, refusal: Refusal<R, S::Error>) -> Step<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        R: Body,
    {
        let request = self.request_head();
        // first, so that what is possible now stays possible until the retry
        self.replay.pause();
        if let Some(error) = self.obstacle(&request) {
            self.replay.resume();
            report(&self.config, &request, &error);
            return Step::Answer(refusal.give_back(error));
        }
        Step::Next(State::StepUp {
            waiting: Box::new(Waiting {
                step_up: step_up(self.config.clone(), demand, request),
                checkpoint: self,
                refusal,
            }),
        })
    }
}

fn not_replayable(limit: usize) -> StepUpError {
    StepUpError::new(
        Kind::NotReplayable,
        format!(
            "the request cannot be sent again: its body failed or is longer than {limit} bytes; raise `max_replay_bytes(..)`"
        ),
    )
}

impl<S, B, R> Peeking<S, B, R>
where
    S: Service<Request<ReplayBody<B>>>,
    R: Body,
{
    /// Decides whether what was read is a demand.
    fn decide(self) -> Step<S, B, R> {
        let peeked = self.peek.into_peeked();
        let head = ResponseHead::new(self.head.status, &self.head.headers);
        let demand = self.demand.or_else(|| {
            let body = peeked.whole()?;
            self.checkpoint.config.dialect.detect_body(head, &body)
        });
        let response = Response::from_parts(self.head, ResponseBody::peeked(peeked));
        match demand {
            Some(demand) => self.checkpoint.begin(demand, Refusal::Response(response)),
            None => Step::Answer(Ok(response)),
        }
    }
}

impl<S, B, R> Waiting<S, B, R, S::Error>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
    R: Body,
{
    /// Goes on after the step-up: to the retry, or back to the caller.
    fn decide(self, result: Result<Met, StepUpError>) -> Step<S, B, R> {
        let Self {
            checkpoint,
            refusal,
            ..
        } = self;
        let result = match result {
            Ok(Met {
                outcome: Outcome::Retry(headers),
                stepped_up,
            }) => match checkpoint.replay.take_over() {
                Some(body) => {
                    // before the readiness of the inner service is awaited, which may depend on a free connection
                    drop(refusal);
                    return Step::Next(State::Ready {
                        retry: Box::new(Retry {
                            checkpoint,
                            body,
                            headers,
                            stepped_up,
                        }),
                    });
                }
                None => Err(not_replayable(checkpoint.config.max_replay_bytes)),
            },
            Ok(Met {
                outcome: Outcome::Answer(response),
                stepped_up,
            }) => Ok((response, stepped_up)),
            Err(error) => Err(error),
        };
        // nothing is sent again: let the first attempt go on
        checkpoint.replay.resume();
        Step::Answer(match result {
            Ok((response, stepped_up)) => {
                let mut response = response.map(ResponseBody::whole);
                response.extensions_mut().insert(stepped_up);
                Ok(response)
            }
            Err(error) => refusal.give_back(error),
        })
    }
}

impl<S, B> Retry<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
{
    /// Sends the same request again, with the remedy on its head.
    fn send<R: Body>(self) -> Step<S, B, R> {
        let Checkpoint {
            mut head,
            mut service,
            ..
        } = self.checkpoint;
        self.headers.apply(&mut head.headers);
        Step::Next(State::Retry {
            future: service.call(Request::from_parts(head, self.body)),
            stepped_up: Some(self.stepped_up),
        })
    }
}

impl<R: Body, E> Refusal<R, E> {
    /// The refusal as it came, with the reason in its extensions.
    fn give_back(self, error: StepUpError) -> Answer<R, E> {
        match self {
            Self::Response(mut response) => {
                response.extensions_mut().insert(error);
                Ok(response)
            }
            Self::Error(original) => Err(original),
        }
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
