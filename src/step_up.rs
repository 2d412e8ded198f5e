//! One step-up, from the demand to what meets it: what is remembered, the limits, the deadline, the span, the events.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderValue;
use tracing::{Instrument, Span, field::Empty};

use crate::cooperation::{self, Elsewhere};
use crate::demand::Demand;
use crate::dialect::Context;
use crate::elevation::Elevation;
use crate::error::{Kind, StepUpError};
use crate::event::{Event, SteppedUp};
use crate::flight::{Joined, Landed, Purpose, panicked};
use crate::layer::Config;
use crate::met::{Met, check};
use crate::origin::Origin;
use crate::principal::Principal;
use crate::request::RequestHead;
use crate::store::StoreKey;
use crate::subject::differs_by;
use crate::token::Secret;

/// How long the code provider may take to store a new recovery code, before the request goes on.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(10);

/// What has become of a demand.
pub(crate) enum Begun {
    /// It is met already: another step-up has ended between the refusal and now.
    Met(Arc<Met>),
    UnderWay(Joined),
}

pub(crate) type SteppingUp = Pin<Box<dyn Future<Output = Landed> + Send>>;

/// What has to be met, and for whom.
pub(crate) struct Asked {
    pub(crate) request: RequestHead,
    pub(crate) demand: Demand,
    /// None if it is nobody else's business: no principal, or a request for tokens.
    purpose: Option<Arc<Purpose>>,
    /// The elevated token that was refused just now.
    refused: Option<HeaderValue>,
    /// The number of the step-up that was started for it.
    flight: u64,
}

impl Asked {
    fn new(
        principal: Option<&[u8]>,
        request: &RequestHead,
        demand: Demand,
        refused: Option<&HeaderValue>,
    ) -> Self {
        let purpose = principal.map(|principal| {
            Arc::new(Purpose {
                principal: Principal::new(principal),
                origin: Origin::of(request.uri()),
                requirement: demand.requirement().clone(),
            })
        });
        Self {
            request: request.clone(),
            demand,
            purpose,
            refused: refused.cloned(),
            flight: 0,
        }
    }

    /// Whether a remembered token is worth a try.
    pub(crate) fn is_news(&self, authorization: &HeaderValue) -> bool {
        self.refused.as_ref() != Some(authorization)
    }

    /// Whether a remembered token is another user's than the refused one: a principal of the caller's own may be several users'.
    pub(crate) fn is_another_users(&self, authorization: &HeaderValue) -> bool {
        differs_by(self.request.headers(), authorization)
    }

    /// Whether others are to use what this brings: nobody has forgotten the principal meanwhile.
    pub(crate) fn is_for_others(&self, config: &Config) -> bool {
        let purpose = self.purpose.as_ref();
        purpose.is_some_and(|purpose| config.flights.is_open(&purpose.principal, self.flight))
    }
}

/// Meets a demand, together with all others who ask for the same. `refused` is the elevated token that was refused just now.
pub(crate) fn step_up(
    config: &Arc<Config>,
    principal: Option<&[u8]>,
    request: &RequestHead,
    demand: Demand,
    refused: Option<&HeaderValue>,
) -> Result<Begun, StepUpError> {
    // first, since thousands may: nothing is made for them that only the one needs who starts it
    if let Some(joined) = principal.and_then(|principal| {
        config
            .flights
            .join(principal, request.uri(), demand.requirement())
    }) {
        return Ok(Begun::UnderWay(joined));
    }
    let mut asked = Asked::new(principal, request, demand, refused);
    if let Some(met) = remembered(config, &asked) {
        return Ok(Begun::Met(Arc::new(met)));
    }
    let purpose = asked.purpose.clone();
    let start = |id| -> SteppingUp {
        let config = Arc::clone(config);
        asked.flight = id;
        Box::pin(async move { meet(&config, asked).await })
    };
    config
        .flights
        .join_or_start(purpose, config.max_step_ups, start)
        .map(Begun::UnderWay)
}

/// Tells the log and the caller's hook that there will be no retry.
pub(crate) fn report(config: &Config, request: &RequestHead, error: &StepUpError) {
    let advice = match error.kind() {
        // somebody has to change a setting
        Kind::Configuration
        | Kind::EnrollmentRequired
        | Kind::NotReplayable
        | Kind::Overloaded
        | Kind::Panicked
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

async fn meet(config: &Config, asked: Asked) -> Landed {
    // once more: one may have ended just before this one was started
    if let Some(met) = remembered(config, &asked) {
        return Ok(Arc::new(met));
    }
    let purpose = asked.purpose.as_ref();
    if let Some(error) = purpose.and_then(|purpose| config.flights.held_off(purpose)) {
        report(config, &asked.request, &error);
        return Err(error);
    }
    let span = tracing::info_span!(
        "mfa.step_up",
        dialect = config.dialect.name(),
        factor = Empty,
        attempts = Empty,
        outcome = Empty,
    );
    ask(config, asked).instrument(span).await
}

async fn ask(config: &Config, asked: Asked) -> Landed {
    let request = &asked.request;
    let store = config.store.as_ref().and_then(|store| {
        let purpose = asked.purpose.as_ref()?;
        Some((store, purpose.key()))
    });
    config.emit(&Event::Started { request });
    let codes = Arc::new(AtomicU32::new(0));
    let meeting = async {
        match &store {
            Some((store, key)) => {
                let prompt = prompt(config, &asked, &codes);
                match cooperation::meet(store, key, config, &asked, prompt).await {
                    Elsewhere::Met(met) => Ok(met),
                    Elsewhere::Here(result) => result,
                }
            }
            None => prompt(config, &asked, &codes).await,
        }
    };
    let meeting = AssertUnwindSafe(meeting).catch_unwind();
    let unfinished = match tokio::time::timeout(config.deadline, meeting).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) => Err(panicked()),
        Err(_) => Err(StepUpError::new(
            Kind::Timeout,
            format!(
                "the step-up took longer than its deadline of {} s; make the request again, or set a longer one with `deadline(..)`",
                config.deadline.as_secs_f32()
            ),
        )),
    };
    let result = match unfinished {
        Ok(result) => result,
        Err(error) => {
            // it may have the lease, and others wait for that
            if let Some((store, key)) = &store {
                cooperation::give_up(store, key, config).await;
            }
            Err(error)
        }
    };
    let span = Span::current();
    span.record("attempts", codes.load(Ordering::Relaxed));
    match result {
        Ok(met) => {
            if let Some(factor) = met.stepped_up.factor() {
                span.record("factor", factor.as_str());
            }
            span.record("outcome", "stepped_up");
            if asked.is_for_others(config) {
                remember(config, &asked, &met);
            }
            config.emit(&Event::Succeeded {
                request,
                stepped_up: &met.stepped_up,
            });
            hand_over_recovery_code(config, &met.stepped_up).await;
            Ok(Arc::new(met.checked_for(request)))
        }
        Err(error) => {
            span.record("outcome", error.outcome());
            let by_a_person = matches!(
                error.kind(),
                Kind::Declined | Kind::Rejected | Kind::WrongCode
            );
            if let Some(purpose) = &asked.purpose
                && by_a_person
                && config.codes.is_interactive()
            {
                let purpose = Arc::clone(purpose);
                config.flights.hold_off(purpose, &error, config.hold_off);
            }
            report(config, request, &error);
            Err(error)
        }
    }
}

/// Asks the person, by the dialect.
async fn prompt(
    config: &Config,
    asked: &Asked,
    codes: &Arc<AtomicU32>,
) -> Result<Met, StepUpError> {
    if let Some(purpose) = &asked.purpose
        && config.codes.is_interactive()
    {
        let principal = purpose.principal.id();
        config.prompt_limit.take(StoreKey::of_parts([principal]))?;
    }
    let context = Context::new(
        Arc::clone(&config.codes),
        Arc::clone(&config.clock),
        asked.request.clone(),
        config.max_code_attempts,
        Arc::clone(codes),
    );
    let resolving = Arc::clone(&config.dialect).resolve(asked.demand.clone(), context);
    let met = Met::new(resolving.await?, codes.load(Ordering::Relaxed))?;
    check(config, &asked.request, &met)?;
    Ok(met)
}

fn remembered(config: &Config, asked: &Asked) -> Option<Met> {
    let purpose = asked.purpose.as_ref()?;
    let found = config.elevations.find(
        &purpose.principal,
        asked.request.uri(),
        &purpose.requirement,
        config.clock.now(),
    )?;
    let is_good =
        asked.is_news(&found.authorization) && !asked.is_another_users(&found.authorization);
    is_good.then(|| Met::by_token(found.authorization).checked_for(&asked.request))
}

fn remember(config: &Config, asked: &Asked, met: &Met) {
    let Some((authorization, expires_at)) = met.token() else {
        return;
    };
    let Some(purpose) = &asked.purpose else {
        return;
    };
    config.elevations.insert(Elevation::new(
        purpose.principal.clone(),
        purpose.origin.clone(),
        purpose.requirement.clone(),
        authorization.clone(),
        expires_at,
        config.clock.now(),
    ));
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
