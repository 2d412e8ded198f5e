//! One step-up, from the demand to the remedy: the deadline, the span, the events.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Response};
use tracing::{Instrument, Span, field::Empty};

use crate::demand::Demand;
use crate::dialect::{Context, Remedy, RemedyKind};
use crate::error::{Kind, StepUpError};
use crate::event::{Event, SteppedUp};
use crate::layer::Config;
use crate::request::RequestHead;
use crate::subject::differ;
use crate::token::{AccessToken, Secret, TokenSet};

/// How long the code provider may take to store a new recovery code, before the request goes on.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a step-up brought, and what to tell the caller of it.
#[derive(Clone, Debug)]
pub(crate) struct Met {
    pub(crate) outcome: Outcome,
    pub(crate) stepped_up: SteppedUp,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The request is sent again, with these headers.
    Retry(RetryHeaders),
    /// This is the answer.
    Answer(Response<Bytes>),
}

/// The headers that the retry has and the first attempt had not.
#[derive(Clone, Debug)]
pub(crate) struct RetryHeaders(HeaderMap);

pub(crate) type SteppingUp = Pin<Box<dyn Future<Output = Result<Met, StepUpError>> + Send>>;

/// Meets a demand.
pub(crate) fn step_up(config: Arc<Config>, demand: Demand, request: RequestHead) -> SteppingUp {
    let span = tracing::info_span!(
        "mfa.step_up",
        dialect = config.dialect.name(),
        factor = Empty,
        attempts = Empty,
        outcome = Empty,
    );
    let asked = Arc::new(AtomicU32::new(0));
    let job = async move {
        config.emit(&Event::Started { request: &request });
        let result = resolve(&config, demand, &request, &asked).await;
        let attempts = asked.load(Ordering::Relaxed);
        let span = Span::current();
        span.record("attempts", attempts);
        match &result {
            Ok(met) => {
                if let Some(factor) = met.stepped_up.factor() {
                    span.record("factor", factor.as_str());
                }
                span.record("outcome", "stepped_up");
                config.emit(&Event::Succeeded {
                    request: &request,
                    stepped_up: &met.stepped_up,
                });
                hand_over_recovery_code(&config, &met.stepped_up).await;
            }
            Err(error) => {
                span.record("outcome", error.outcome());
                report(&config, &request, error);
            }
        }
        result
    };
    Box::pin(job.instrument(span))
}

/// Tells the log and the caller's hook that there will be no retry.
pub(crate) fn report(config: &Config, request: &RequestHead, error: &StepUpError) {
    let advice = match error.kind() {
        // somebody has to change a setting
        Kind::Configuration
        | Kind::EnrollmentRequired
        | Kind::NotReplayable
        | Kind::UnsupportedFactor
        | Kind::UntrustedOrigin => true,
        _ => false,
    };
    if advice {
        tracing::warn!(
            reason = error.outcome(),
            "a demand for multi-factor authentication was passed over: {error}"
        );
    } else {
        tracing::debug!(reason = error.outcome(), "the step-up failed: {error}");
    }
    config.emit(&Event::Failed { request, error });
}

async fn resolve(
    config: &Config,
    demand: Demand,
    request: &RequestHead,
    asked: &Arc<AtomicU32>,
) -> Result<Met, StepUpError> {
    let context = Context::new(
        Arc::clone(&config.codes),
        Arc::clone(&config.clock),
        request.clone(),
        config.max_code_attempts,
        Arc::clone(asked),
    );
    let resolving = Arc::clone(&config.dialect).resolve(demand, context);
    let remedy = tokio::time::timeout(config.deadline, resolving)
        .await
        .map_err(|_| {
            StepUpError::new(
                Kind::Timeout,
                format!(
                    "the step-up took longer than its deadline of {} s; make the request again, or set a longer one with `deadline(..)`",
                    config.deadline.as_secs_f32()
                ),
            )
        })??;
    let met = Met::new(remedy, asked.load(Ordering::Relaxed))?;
    if let Outcome::Retry(RetryHeaders(headers)) = &met.outcome
        && differ(request.headers(), headers)
    {
        return Err(StepUpError::new(
            Kind::SubjectMismatch,
            "the step-up brought a token of another user than the one of the refused request; check whose `mfa_token` the service relays",
        ));
    }
    Ok(met)
}

async fn hand_over_recovery_code(config: &Config, stepped_up: &SteppedUp) {
    let Some(code) = stepped_up.recovery_code() else {
        return;
    };
    let handed_over = config.codes.new_recovery_code(Secret::clone(code));
    match tokio::time::timeout(HAND_OVER_TIMEOUT, handed_over).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = %error,
            "the code provider did not take the new recovery code: take it from the response's `SteppedUp` extension, the old one is dead"
        ),
        Err(_) => tracing::warn!(
            "the code provider did not take the new recovery code within 10 s: take it from the response's `SteppedUp` extension, the old one is dead"
        ),
    }
}

impl Met {
    fn new(remedy: Remedy, attempts: u32) -> Result<Self, StepUpError> {
        let (kind, factor, tokens) = remedy.into_parts();
        let outcome = match kind {
            RemedyKind::Bearer => {
                let token = tokens.as_ref().map(TokenSet::access_token);
                let value = token.and_then(AccessToken::to_header_value);
                let value = value.ok_or_else(|| {
                    StepUpError::new(
                        Kind::Protocol,
                        "the authorization server issued an access token that no header can carry",
                    )
                })?;
                Outcome::Retry(RetryHeaders(HeaderMap::from_iter([(AUTHORIZATION, value)])))
            }
            RemedyKind::Headers(headers) => Outcome::Retry(RetryHeaders(headers)),
            RemedyKind::Response(response) => Outcome::Answer(response),
        };
        Ok(Self {
            outcome,
            stepped_up: SteppedUp::new(factor, attempts, tokens),
        })
    }
}

impl RetryHeaders {
    /// Puts them on the head of the retry: overwrites, never adds a second value to what was there.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for name in self.0.keys() {
            let mut values = self.0.get_all(name).into_iter().cloned();
            // `insert` keeps the header's place, which removing and adding would not
            if let Some(first) = values.next() {
                headers.insert(name, first);
            }
            for value in values {
                headers.append(name, value);
            }
        }
    }
}
