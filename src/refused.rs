//! What becomes of a request that was refused: whether a step-up is of any use, its start, and what comes after it.

use http::Request;
use http_body::Body;
use tower_service::Service;

use crate::body::{ReplayBody, ResponseBody};
use crate::code::CodeError;
use crate::demand::Demand;
use crate::error::{Kind, StepUpError};
use crate::flight::Landed;
use crate::future::State;
use crate::met::{Outcome, subject_mismatch};
use crate::service::Restored;
use crate::step::{Refusal, Retry, Step, Waiting};
use crate::step_up::{Begun, report, step_up};

impl<S, B> Restored<S, B> {
    /// After an elevated token was refused: forgets it, and gives the body of another attempt with the request's own credentials. The
    /// elevated token may be weaker in other ways, or have been revoked.
    pub(crate) fn fall_back(&mut self) -> Option<ReplayBody<B>>
    where
        B: Body,
    {
        self.forget_elevated()?;
        let may_retry = self.config.may_retry(self.head.request());
        may_retry.then_some(())?;
        self.replay.take_over()
    }

    /// Forgets the elevated token that the attempt carried, if it carried one.
    fn forget_elevated(&mut self) -> Option<()> {
        let elevated = self.head.elevated.take()?;
        if let Some(principal) = self.config.principal_id(self.head.parts()) {
            self.config.elevations.remove(&principal, &elevated);
        }
        self.refused = Some(Box::new(elevated));
        Some(())
    }

    /// Whether what is asked for are tokens: then the step-up brings the answer, and is nobody else's.
    fn is_token_request(&self) -> bool {
        let request = self.head.request();
        let dialect = &self.config.dialect;
        dialect.is_token_request(request.method(), request.uri())
    }

    /// Why there is no use in a step-up.
    pub(crate) fn obstacle(&self, demand: &Demand) -> Option<StepUpError> {
        let config = &self.config;
        let request = self.head.request();
        let is_token_request = self.is_token_request();
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
    pub(crate) fn begin<R>(self, demand: Demand, refusal: Refusal<R, S::Error>) -> Step<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        B: Body,
        R: Body,
    {
        // first, so that what is possible now stays possible until the retry
        self.replay.pause();
        match self.obstacle(&demand) {
            Some(obstacle) => self.pass_over(obstacle, refusal),
            None => self.step_up(demand, refusal),
        }
    }

    /// Starts the step-up, or joins one.
    pub(crate) fn step_up<R>(
        mut self,
        demand: Demand,
        refusal: Refusal<R, S::Error>,
    ) -> Step<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        B: Body,
        R: Body,
    {
        self.forget_elevated();
        let principal = match self.is_token_request() {
            true => None,
            false => self.config.principal_id(self.head.parts()),
        };
        let started = step_up(
            &self.config,
            principal.as_deref(),
            self.head.request(),
            demand,
            self.refused.as_deref(),
        );
        drop(principal);
        match started {
            Ok(Begun::Met(met)) => self.land(Ok(met), refusal),
            Ok(Begun::UnderWay(step_up)) => Step::Next(State::StepUp {
                waiting: Box::new(Waiting {
                    step_up,
                    checkpoint: self,
                    refusal,
                }),
            }),
            Err(error) => self.pass_over(error, refusal),
        }
    }

    /// Goes on after the step-up: to the retry, or back to the caller.
    pub(crate) fn land<R>(self, result: Landed, refusal: Refusal<R, S::Error>) -> Step<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        B: Body,
        R: Body,
    {
        let answered = match result {
            // the step-up may have been another request's, with another token
            Ok(met) if met.is_another_users(&self.head.parts().headers) => Err(subject_mismatch()),
            Ok(met) => match &met.outcome {
                Outcome::Answer(response) => {
                    let mut response = response.clone().map(ResponseBody::whole);
                    response.extensions_mut().insert(met.stepped_up.clone());
                    Ok(response)
                }
                Outcome::Token(_) | Outcome::Headers(_) => match self.replay.take_over() {
                    Some(body) => {
                        // before the readiness of the inner service is awaited, which may depend on a free connection
                        drop(refusal);
                        return Step::Next(State::Ready {
                            retry: Box::new(Retry {
                                checkpoint: self,
                                body,
                                met: Some(met),
                            }),
                        });
                    }
                    None => Err(not_replayable(self.config.max_replay_bytes)),
                },
            },
            Err(error) => Err(error),
        };
        // nothing is sent again: let the first attempt go on
        self.replay.resume();
        Step::Answer(match answered {
            Ok(response) => Ok(response),
            Err(error) => refusal.give_back(error),
        })
    }

    /// Gives the refusal to the caller.
    pub(crate) fn pass_over<R>(
        mut self,
        error: StepUpError,
        refusal: Refusal<R, S::Error>,
    ) -> Step<S, B, R>
    where
        S: Service<Request<ReplayBody<B>>>,
        R: Body,
    {
        self.forget_elevated();
        self.replay.resume();
        report(&self.config, self.head.request(), &error);
        Step::Answer(refusal.give_back(error))
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

pub(crate) fn not_restorable() -> StepUpError {
    StepUpError::new(
        Kind::NotReplayable,
        "the request cannot be sent again: its head has a value that `http` would not accept, put there by `unsafe` code",
    )
}
