//! From a demand to a token: choose a factor, challenge, get the answer, exchange; again for each factor in a chain.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use futures_util::future::{Either, select};

use crate::challenge::{Authenticator, BindingMethod, Challenge, CodeRejection, Factor};
use crate::code::Code;
use crate::demand::Demand;
use crate::dialect::auth0::Auth0;
use crate::dialect::auth0::answer::Answer;
use crate::dialect::auth0::call::{Granted, Issued, Proof};
use crate::dialect::auth0::factor::{Candidate, Candidates};
use crate::dialect::{Context, Dialect, Remedy};
use crate::error::{Kind, StepUpError};
use crate::token::Secret;

/// How many demands are followed that come instead of a token: nobody has five factors, and a server that goes on asking is
/// broken.
const MAX_CHAINED: usize = 3;

/// How long an `oob_code` lives. The answer does not say; the vendor's documentation does.
const OOB_CODE_LIFE: Duration = Duration::from_secs(5 * 60);

pub(super) async fn resolve(
    auth0: &Auth0,
    mut demand: Demand,
    mut context: Context,
) -> Result<Remedy, StepUpError> {
    for _ in 0..=MAX_CHAINED {
        match auth0.meet(&demand, &mut context).await {
            Ok((Granted { tokens, answer }, factor)) => {
                let remedy = if auth0
                    .is_token_request(context.request().method(), context.request().uri())
                {
                    Remedy::response(answer, tokens)
                } else {
                    Remedy::bearer(tokens)
                };
                return Ok(remedy.with_factor(factor));
            }
            Err(Answer::Chained(next)) => demand = next,
            Err(other) => return Err(other.into_error()),
        }
    }
    Err(StepUpError::new(
        Kind::ChainTooLong,
        format!(
            "the authorization server demanded more than {MAX_CHAINED} further factors; check its MFA policy"
        ),
    ))
}

impl Auth0 {
    /// Meets one demand, by the first factor that works.
    async fn meet(
        &self,
        demand: &Demand,
        context: &mut Context,
    ) -> Result<(Granted, Factor), Answer> {
        let Some(handle) = demand.handle() else {
            return Err(Answer::Final(StepUpError::new(
                Kind::MissingHandle,
                "the demand came without an `mfa_token`, so there is nothing to challenge; let the service relay the one it got from the token endpoint",
            )));
        };
        let requirement = demand.requirement();
        let candidates = self.candidates(handle, requirement, context).await;
        let Candidates {
            mut factors,
            mut are_all,
        } = candidates.map_err(Answer::Final)?;
        let mut last = None;
        let mut tried = Vec::new();
        loop {
            for candidate in factors {
                match self.attempt(handle, &candidate, context).await {
                    Err(Answer::FactorUnavailable(error)) => {
                        tracing::debug!(%error, factor = %candidate.factor, "trying the next factor");
                        tried.push(candidate.factor);
                        last = Some(error);
                    }
                    done => return done,
                }
            }
            if are_all {
                break;
            }
            let listed = self.listed(handle, requirement, context, &tried).await;
            factors = listed.map_err(Answer::Final)?;
            are_all = true;
        }
        let none = || StepUpError::unsupported_factor("there is no factor to try");
        Err(Answer::Final(last.unwrap_or_else(none)))
    }

    async fn attempt(
        &self,
        handle: &Secret,
        candidate: &Candidate,
        context: &mut Context,
    ) -> Result<(Granted, Factor), Answer> {
        let authenticator = candidate.authenticator.as_ref();
        let destination = authenticator.and_then(Authenticator::name);
        let asked = Challenge::new(candidate.factor, context.request().clone())
            .with_destination(destination.map(str::to_owned))
            // what has no date of its own ends with the transaction
            .with_expires_at(sealed_expiry(handle, context.now()));
        loop {
            let issued = match candidate.factor {
                // there is nothing to send to the user
                Factor::RecoveryCode => Issued::Otp,
                Factor::Otp if !self.challenge_otp => Issued::Otp,
                Factor::Otp => {
                    self.challenge(handle, "otp", authenticator, context)
                        .await?
                }
                _ => {
                    self.challenge(handle, "oob", authenticator, context)
                        .await?
                }
            };
            let result = match &issued {
                Issued::Otp => self.ask(handle, asked.clone(), None, context).await,
                Issued::Oob {
                    oob_code,
                    binding_method: BindingMethod::Prompt,
                    expires_in,
                    ..
                } => {
                    let end = expiry(oob_code, *expires_in, context.now());
                    let asked = asked.clone().with_expires_at(Some(end));
                    self.ask(handle, asked, Some(oob_code), context).await
                }
                Issued::Oob {
                    oob_code,
                    binding_method,
                    number,
                    expires_in,
                    interval,
                } => {
                    let end = expiry(oob_code, *expires_in, context.now());
                    let life = end.duration_since(context.now()).unwrap_or_default();
                    let shown = asked
                        .clone()
                        .with_binding_method(*binding_method)
                        .with_number(number.clone())
                        .with_expires_at(Some(end));
                    let notice = pin!(context.awaiting_approval(shown));
                    let polling = pin!(self.poll(handle, oob_code, life, *interval, context));
                    match select(notice, polling).await {
                        Either::Left((error, _)) => Err(Answer::Final(error)),
                        // nobody has typed anything: do not send another one unasked
                        Either::Right((Err(Answer::ChallengeExpired(error)), _)) => {
                            Err(Answer::Final(error))
                        }
                        Either::Right((result, _)) => {
                            result.map(|granted| (granted, candidate.factor))
                        }
                    }
                }
            };
            match result {
                // a new message is sent only if the user is there to answer: they have just typed the old code
                Err(Answer::ChallengeExpired(_)) => context
                    .reject(CodeRejection::Expired)
                    .map_err(Answer::Final)?,
                done => return done,
            }
        }
    }

    /// Asks for codes until one is accepted, the attempts are used up, or the challenge ends.
    async fn ask(
        &self,
        handle: &Secret,
        challenge: Challenge,
        oob_code: Option<&Secret>,
        context: &mut Context,
    ) -> Result<(Granted, Factor), Answer> {
        loop {
            let code = context
                .ask(challenge.clone())
                .await
                .map_err(Answer::Final)?;
            let proof = proof(&code, challenge.factor(), oob_code);
            let factor = match proof {
                // a recovery code may be given in place of any other
                Proof::RecoveryCode(_) => Factor::RecoveryCode,
                _ => challenge.factor(),
            };
            match self.exchange(handle, &proof, context).await {
                Err(Answer::WrongCode) => {
                    context
                        .reject(CodeRejection::Wrong)
                        .map_err(Answer::Final)?;
                }
                Err(Answer::Chained(next)) => {
                    context.accept();
                    return Err(Answer::Chained(next));
                }
                done => return done.map(|granted| (granted, factor)),
            }
        }
    }
}

fn proof<'a>(code: &'a Code, factor: Factor, oob_code: Option<&'a Secret>) -> Proof<'a> {
    match oob_code {
        _ if code.is_recovery() || factor == Factor::RecoveryCode => Proof::RecoveryCode(code),
        Some(oob_code) => Proof::Oob {
            oob_code,
            binding_code: Some(code),
        },
        None => Proof::Otp(code),
    }
}

/// When a challenge ends: as the answer says, else as the `oob_code` says, else as the vendor's documentation says.
fn expiry(oob_code: &Secret, expires_in: Option<Duration>, now: SystemTime) -> SystemTime {
    let documented = now + OOB_CODE_LIFE;
    match expires_in {
        Some(life) => now.checked_add(life).unwrap_or(documented),
        None => sealed_expiry(oob_code, now).unwrap_or(documented),
    }
}

/// The date that Auth0 writes in the clear into its sealed strings: the sixth of eight parts, in milliseconds since 1970.
/// A hint only: believed if it lies ahead and no more than an hour.
fn sealed_expiry(sealed: &Secret, now: SystemTime) -> Option<SystemTime> {
    let parts: Vec<&str> = sealed.expose().split('*').collect();
    let [_, _, _, _, _, expiry, _, _] = parts[..] else {
        return None;
    };
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(expiry.parse().ok()?))?;
    let life = end.duration_since(now).ok()?;
    (life <= Duration::from_secs(60 * 60)).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn the_expiry_of_a_challenge_is_the_best_that_is_known() {
        let now = at(1_726_829_900_000);
        let sealed = Secret::from("Fe26.2*TEST_1*aa*bb*cc*1726830032592*dd*ee");
        let opaque = Secret::from("test-oob-code");
        let said = Some(Duration::from_secs(60));
        assert_eq!(expiry(&sealed, said, now), at(1_726_829_960_000));
        assert_eq!(expiry(&sealed, None, now), at(1_726_830_032_592));
        assert_eq!(expiry(&opaque, None, now), now + OOB_CODE_LIFE);
        assert_eq!(
            expiry(&opaque, Some(Duration::MAX), now),
            now + OOB_CODE_LIFE
        );
    }

    #[test]
    fn a_sealed_date_that_is_past_or_far_ahead_is_not_believed() {
        let sealed = Secret::from("Fe26.2*TEST_1*aa*bb*cc*1726830032592*dd*ee");
        assert_eq!(sealed_expiry(&sealed, at(1_726_830_032_593)), None);
        assert_eq!(sealed_expiry(&sealed, at(0)), None);
        for other in [
            "",
            "*****",
            "Fe26.2*a*b*c*d**e*f",
            "Fe26.2*a*b*c*d*x*e*f",
            "Fe26.2*a*b*c*d*18446744073709551615*e*f",
        ] {
            assert_eq!(sealed_expiry(&Secret::from(other), at(0)), None, "{other}");
        }
    }
}
