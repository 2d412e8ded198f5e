//! [`Step`]: what comes after each thing that a request has waited for. `future.rs` waits; this decides.

use std::sync::Arc;

use http::{Request, Response, StatusCode, response};
use http_body::Body;
use tower_service::Service;

use crate::body::{Peek, ReplayBody, ResponseBody, is_peekable};
use crate::code::CodeError;
use crate::demand::Demand;
use crate::dialect::{Detection, ResponseHead};
use crate::error::{Kind, StepUpError};
use crate::flight::{Joined, Landed};
use crate::future::State;
use crate::met::{Met, Outcome, is_another_users, subject_mismatch};
use crate::principal::Principal;
use crate::request::RequestHead;
use crate::service::Checkpoint;
use crate::step_up::{Asked, report, step_up};

pub(crate) struct Peeking<S, B, R: Body> {
    checkpoint: Checkpoint<S, B>,
    head: response::Parts,
    pub(crate) peek: Peek<R>,
    /// The demand, if the head was enough to find it. The body is read in any case, as far as it is short: it may have to be
    /// given to the caller minutes later, and until then nobody would read it off its connection.
    demand: Option<Demand>,
}

pub(crate) struct Waiting<S, B, R: Body, E> {
    checkpoint: Checkpoint<S, B>,
    refusal: Refusal<R, E>,
    pub(crate) step_up: Joined,
}

pub(crate) struct Retry<S, B> {
    pub(crate) checkpoint: Checkpoint<S, B>,
    body: ReplayBody<B>,
    /// What a step-up brought; without it the request goes out as it came, after an elevated token was refused.
    met: Option<Arc<Met>>,
}

/// What the caller gets if there is no retry.
pub(crate) enum Refusal<R: Body, E> {
    Response(Response<ResponseBody<R>>),
    Error(E),
}

pub(crate) type Answer<R, E> = Result<Response<ResponseBody<R>>, E>;

#[expect(
    clippy::large_enum_variant,
    reason = "it is moved once, after a refusal; a box would cost more"
)]
pub(crate) enum Step<S, B, R>
where
    S: Service<Request<ReplayBody<B>>>,
    R: Body,
{
    Next(State<S, B, R>),
    Answer(Answer<R, S::Error>),
}

pub(crate) fn stream<R: Body, E>(result: Result<Response<R>, E>) -> Answer<R, E> {
    result.map(|response| response.map(ResponseBody::streamed))
}

/// Whether a server says that a token is not good enough, for whatever reason.
pub(crate) fn is_refusal(status: StatusCode) -> bool {
    status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN
}

impl<S, B> Checkpoint<S, B> {
    /// Looks at the answer to the first attempt.
    pub(crate) fn inspect<R>(mut self, result: Result<Response<R>, S::Error>) -> Step<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        S::Error: 'static,
        B: Body,
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
        if is_refusal(response.status())
            && let Some(body) = self.fall_back()
        {
            return Step::Next(State::Ready {
                retry: Box::new(Retry {
                    checkpoint: self,
                    body,
                    met: None,
                }),
            });
        }
        let head = ResponseHead::new(response.status(), response.headers());
        let demand = match self.config.dialect.detect(head) {
            Detection::Demand(demand) => {
                // from here on, so that what is possible now stays possible while the refusal is read
                self.replay.pause();
                if self.obstacle(&self.request_head(), &demand).is_some() {
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

    /// After an elevated token was refused: forgets it, and gives the body of another attempt with the request's own credentials. The
    /// elevated token may be weaker in other ways, or have been revoked.
    fn fall_back(&mut self) -> Option<ReplayBody<B>>
    where
        B: Body,
    {
        self.forget_elevated()?;
        let config = &self.config;
        config.may_retry(&self.request_head()).then_some(())?;
        self.replay.take_over()
    }

    /// Forgets the elevated token that the attempt carried, if it carried one.
    fn forget_elevated(&mut self) -> Option<()> {
        let elevated = self.elevated.take()?;
        if let Some(principal) = self.config.principal_id(&self.head) {
            self.config.elevations.remove(&principal, &elevated);
        }
        self.refused = Some(elevated);
        Some(())
    }

    /// Why there is no use in a step-up.
    fn obstacle(&self, request: &RequestHead, demand: &Demand) -> Option<StepUpError> {
        let config = &self.config;
        let is_token_request = config
            .dialect
            .is_token_request(request.method(), request.uri());
        if !is_token_request && !config.trusts(request.uri()) {
            return Some(StepUpError::new(
                Kind::UntrustedOrigin,
                "a step-up was demanded by an origin that is not trusted; if it should be, name it with `trust_origin(..)`",
            ));
        }
        if let Some(error) = config.dialect.obstacle(demand) {
            return Some(error);
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
    fn begin<R>(mut self, demand: Demand, refusal: Refusal<R, S::Error>) -> Step<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        R: Body,
    {
        self.forget_elevated();
        let request = self.request_head();
        // first, so that what is possible now stays possible until the retry
        self.replay.pause();
        let started = match self.obstacle(&request, &demand) {
            Some(error) => Err(error),
            None => {
                let is_nobodys = self
                    .config
                    .dialect
                    .is_token_request(request.method(), request.uri());
                let principal = self.config.principal_id(&self.head);
                step_up(
                    &self.config,
                    Asked {
                        request: request.clone(),
                        demand,
                        principal: principal.filter(|_| !is_nobodys).map(Principal::new),
                        refused: self.refused.clone(),
                        flight: 0,
                    },
                )
            }
        };
        match started {
            Ok(step_up) => Step::Next(State::StepUp {
                waiting: Box::new(Waiting {
                    step_up,
                    checkpoint: self,
                    refusal,
                }),
            }),
            Err(error) => {
                self.replay.resume();
                report(&self.config, &request, &error);
                Step::Answer(refusal.give_back(error))
            }
        }
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
    pub(crate) fn decide(self) -> Step<S, B, R> {
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
    pub(crate) fn decide(self, result: Landed) -> Step<S, B, R> {
        let Self {
            checkpoint,
            refusal,
            ..
        } = self;
        let limit = checkpoint.config.max_replay_bytes;
        let answered = match result {
            // the step-up may have been another request's, with another token
            Ok(met) if is_another_users(&checkpoint.head.headers, &met) => Err(subject_mismatch()),
            Ok(met) => match &met.outcome {
                Outcome::Answer(response) => {
                    let mut response = response.clone().map(ResponseBody::whole);
                    response.extensions_mut().insert(met.stepped_up.clone());
                    Ok(response)
                }
                Outcome::Token(_) | Outcome::Headers(_) => match checkpoint.replay.take_over() {
                    Some(body) => {
                        // before the readiness of the inner service is awaited, which may depend on a free connection
                        drop(refusal);
                        return Step::Next(State::Ready {
                            retry: Box::new(Retry {
                                checkpoint,
                                body,
                                met: Some(met),
                            }),
                        });
                    }
                    None => Err(not_replayable(limit)),
                },
            },
            Err(error) => Err(error),
        };
        // nothing is sent again: let the first attempt go on
        checkpoint.replay.resume();
        Step::Answer(match answered {
            Ok(response) => Ok(response),
            Err(error) => refusal.give_back(error),
        })
    }
}

impl<S, B> Retry<S, B>
where
    S: Service<Request<ReplayBody<B>>>,
{
    /// Sends the same request again.
    pub(crate) fn send<R: Body>(self) -> Step<S, B, R> {
        let Self {
            mut checkpoint,
            body,
            met,
        } = self;
        let Some(met) = met else {
            let head = checkpoint.head.clone();
            return Step::Next(State::Attempt {
                future: checkpoint.service.call(Request::from_parts(head, body)),
                checkpoint,
            });
        };
        let Checkpoint {
            mut head,
            mut service,
            ..
        } = checkpoint;
        met.apply(&mut head.headers);
        Step::Next(State::Retry {
            future: service.call(Request::from_parts(head, body)),
            stepped_up: Some(met.stepped_up.clone()),
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
