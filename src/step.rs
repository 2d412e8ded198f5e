//! [`Step`]: what comes after each thing that a request has waited for. `future.rs` waits; this decides.

use std::sync::Arc;

use http::{Request, Response, StatusCode, response};
use http_body::Body;
use tower_service::Service;

use crate::body::{Peek, ReplayBody, ResponseBody, is_peekable};
use crate::demand::Demand;
use crate::dialect::{Detection, ResponseHead};
use crate::error::StepUpError;
use crate::flight::{Joined, Landed};
use crate::future::State;
use crate::met::Met;
use crate::refused::not_restorable;
use crate::service::{Checkpoint, Restored};

pub(crate) struct Peeking<S, B, R: Body> {
    sought: Sought<S, B>,
    head: response::Parts,
    pub(crate) peek: Peek<R>,
}

/// What is sought in a body.
enum Sought<S, B> {
    Demand(Checkpoint<S, B>),
    /// Nothing: the head was enough, and there is no obstacle. The body is read in any case, as far as it is short: it may have to be
    /// given to the caller minutes later, and until then nobody would read it off its connection.
    Nothing(Restored<S, B>, Demand),
}

pub(crate) struct Waiting<S, B, R: Body, E> {
    pub(crate) checkpoint: Restored<S, B>,
    pub(crate) refusal: Refusal<R, E>,
    pub(crate) step_up: Joined,
}

pub(crate) struct Retry<S, B> {
    pub(crate) checkpoint: Restored<S, B>,
    pub(crate) body: ReplayBody<B>,
    /// What a step-up brought; without it the request goes out as it came, after an elevated token was refused.
    pub(crate) met: Option<Arc<Met>>,
}

/// What the caller gets if there is no retry.
pub(crate) enum Refusal<R: Body, E> {
    Response(Response<ResponseBody<R>>),
    Error(E),
}

pub(crate) type Answer<R, E> = Result<Response<ResponseBody<R>>, E>;

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
    pub(crate) fn inspect<R>(self, result: Result<Response<R>, S::Error>) -> Step<S, B, R>
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
        let mut checkpoint = self;
        if checkpoint.head.is_elevated() && is_refusal(response.status()) {
            let Some(mut restored) = checkpoint.restore() else {
                return Step::Answer(stream(Ok(response)));
            };
            if let Some(body) = restored.fall_back() {
                return Step::Next(State::Ready {
                    retry: Box::new(Retry {
                        checkpoint: restored,
                        body,
                        met: None,
                    }),
                });
            }
            checkpoint = restored.keep();
        }
        let max_peek_bytes = checkpoint.config.max_peek_bytes;
        let head = ResponseHead::new(response.status(), response.headers());
        let sought = match checkpoint.config.dialect.detect(head) {
            Detection::Demand(demand) => {
                let refusal =
                    |response: Response<R>| Refusal::Response(response.map(ResponseBody::streamed));
                let Some(restored) = checkpoint.restore() else {
                    return Step::Answer(refusal(response).give_back(not_restorable()));
                };
                // from here on, so that what is possible now stays possible while the refusal is read
                restored.replay.pause();
                if let Some(obstacle) = restored.obstacle(&demand) {
                    return restored.pass_over(obstacle, refusal(response));
                }
                restored.config.dialect.anticipate();
                if response.body().is_end_stream() {
                    return restored.step_up(demand, refusal(response));
                }
                Sought::Nothing(restored, demand)
            }
            Detection::Body
                if is_peekable(checkpoint.head.method(), head.status(), head.headers()) =>
            {
                checkpoint.anticipate();
                Sought::Demand(checkpoint)
            }
            _ => return Step::Answer(stream(Ok(response))),
        };
        let (head, body) = response.into_parts();
        Step::Next(State::Peek {
            peeking: Box::new(Peeking {
                peek: Peek::new(body, max_peek_bytes),
                sought,
                head,
            }),
        })
    }

    /// Starts the step-up, if there is any use in it.
    fn begin<R>(self, demand: Demand, refusal: Refusal<R, S::Error>) -> Step<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        B: Body,
        R: Body,
    {
        match self.restore() {
            Some(restored) => restored.begin(demand, refusal),
            None => Step::Answer(refusal.give_back(not_restorable())),
        }
    }
}

impl<S, B, R> Peeking<S, B, R>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
    R: Body,
{
    /// Decides whether what was read is a demand.
    pub(crate) fn decide(self) -> Step<S, B, R> {
        let peeked = self.peek.into_peeked();
        let head = ResponseHead::new(self.head.status, &self.head.headers);
        let found = match &self.sought {
            Sought::Nothing(..) => None,
            Sought::Demand(checkpoint) => peeked
                .whole()
                .and_then(|body| checkpoint.config.dialect.detect_body(head, &body)),
        };
        let response = Response::from_parts(self.head, ResponseBody::peeked(peeked));
        match (self.sought, found) {
            (Sought::Nothing(restored, demand), _) => {
                restored.step_up(demand, Refusal::Response(response))
            }
            (Sought::Demand(checkpoint), Some(demand)) => {
                checkpoint.begin(demand, Refusal::Response(response))
            }
            (Sought::Demand(_), None) => Step::Answer(Ok(response)),
        }
    }
}

impl<S, B, R> Waiting<S, B, R, S::Error>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
    R: Body,
{
    pub(crate) fn decide(self, result: Landed) -> Step<S, B, R> {
        self.checkpoint.land(result, self.refusal)
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
            let head = checkpoint.head.parts().clone();
            return Step::Next(State::Attempt {
                future: checkpoint.service.call(Request::from_parts(head, body)),
                checkpoint: checkpoint.keep(),
            });
        };
        let Checkpoint {
            head, mut service, ..
        } = checkpoint;
        let mut head = head.into_parts();
        met.apply(&mut head.headers);
        Step::Next(State::Retry {
            future: service.call(Request::from_parts(head, body)),
            stepped_up: Some(met.stepped_up.clone()),
        })
    }
}

impl<R: Body, E> Refusal<R, E> {
    /// The refusal as it came, with the reason in its extensions.
    pub(crate) fn give_back(self, error: StepUpError) -> Answer<R, E> {
        match self {
            Self::Response(mut response) => {
                response.extensions_mut().insert(error);
                Ok(response)
            }
            Self::Error(original) => Err(original),
        }
    }
}
