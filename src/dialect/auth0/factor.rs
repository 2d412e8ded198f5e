//! Which factor is taken: what the demand allows, the code provider can answer, and the user has enrolled.

use crate::challenge::{Authenticator, Factor};
use crate::demand::Requirement;
use crate::dialect::Context;
use crate::dialect::auth0::Auth0;
use crate::dialect::auth0::answer::{Answer, enrollment_required};
use crate::error::StepUpError;
use crate::token::Secret;

/// A factor to try; the authenticator is known if the list was asked for.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) factor: Factor,
    pub(super) authenticator: Option<Authenticator>,
}

/// The factors to try, the best first.
pub(super) struct Candidates {
    pub(super) factors: Vec<Candidate>,
    /// The user's list has no others.
    pub(super) are_all: bool,
}

/// The factors that a type of the wire stands for: the names differ from page to page and from SDK to SDK.
fn factors(kind: &str) -> &'static [Factor] {
    match kind {
        "otp" | "totp" => &[Factor::Otp],
        "push-notification" | "push" | "auth0" => &[Factor::Push],
        "phone" => &[Factor::Sms, Factor::Voice],
        "sms" => &[Factor::Sms],
        "voice" => &[Factor::Voice],
        "email" => &[Factor::Email],
        "oob" => &[Factor::Push, Factor::Sms, Factor::Email, Factor::Voice],
        "recovery-code" => &[Factor::RecoveryCode],
        _ => &[],
    }
}

/// Whether the answer comes by a channel of its own, so that `oob` alone does not say which.
fn is_out_of_band(factor: Factor) -> bool {
    !matches!(factor, Factor::Otp | Factor::RecoveryCode)
}

impl Auth0 {
    /// The factors to try, the best first. The user's authenticators are listed only if that can change anything.
    pub(super) async fn candidates(
        &self,
        handle: &Secret,
        requirement: &Requirement,
        context: &Context,
    ) -> Result<Candidates, StepUpError> {
        if requirement.is_enrollment_only() {
            return Err(enrollment_required());
        }
        let usable = self.usable(requirement, context);
        let Some(best) = usable.first() else {
            return Err(no_factor(requirement));
        };
        let must_list = context.wants_to_choose()
            || requirement.challenge().is_empty() && usable.len() > 1
            || !self.is_clear(*best, requirement);
        if must_list {
            let listed = self.listed(handle, requirement, context, &[]).await?;
            return Ok(Candidates {
                factors: listed,
                are_all: true,
            });
        }
        let (clear, unclear): (Vec<_>, Vec<_>) = usable
            .into_iter()
            .partition(|factor| self.is_clear(*factor, requirement));
        let candidate = |factor| Candidate {
            factor,
            authenticator: None,
        };
        Ok(Candidates {
            factors: clear.into_iter().map(candidate).collect(),
            are_all: unclear.is_empty(),
        })
    }

    /// The same from the list of what the user has enrolled, without the factors that were tried.
    pub(super) async fn listed(
        &self,
        handle: &Secret,
        requirement: &Requirement,
        context: &Context,
        tried: &[Factor],
    ) -> Result<Vec<Candidate>, StepUpError> {
        let enrolled = self
            .list(handle, context)
            .await
            .map_err(Answer::into_error)?;
        if enrolled.is_nothing {
            return Err(enrollment_required());
        }
        let usable = self.usable(requirement, context);
        let rank = |authenticator: &Authenticator| {
            let factor = authenticator.factor();
            usable.iter().position(|other| *other == factor)
        };
        let mut ranked: Vec<_> = enrolled
            .usable
            .into_iter()
            .filter(|authenticator| rank(authenticator).is_some())
            .filter(|authenticator| !tried.contains(&authenticator.factor()))
            .collect();
        ranked.sort_by_key(rank);
        if context.wants_to_choose() && ranked.len() > 1 {
            ranked = vec![context.choose(ranked).await?];
        }
        if ranked.is_empty() {
            return Err(no_factor(requirement));
        }
        let candidate = |authenticator: Authenticator| Candidate {
            factor: authenticator.factor(),
            authenticator: Some(authenticator),
        };
        Ok(ranked.into_iter().map(candidate).collect())
    }

    /// What the demand allows and the code provider can answer, the best first.
    fn usable(&self, requirement: &Requirement, context: &Context) -> Vec<Factor> {
        let possible = self.preference.iter().copied();
        possible
            .filter(|factor| allows(requirement, *factor) && context.supports(*factor))
            .collect()
    }

    /// Whether the server knows what is meant without an authenticator's id: `oob` may be any channel that the demand allows.
    fn is_clear(&self, factor: Factor, requirement: &Requirement) -> bool {
        let channels = self
            .preference
            .iter()
            .filter(|other| is_out_of_band(**other) && allows(requirement, **other));
        !is_out_of_band(factor) || channels.count() == 1
    }
}

/// Whether a demand can be met by a factor.
fn allows(requirement: &Requirement, factor: Factor) -> bool {
    let types = requirement.challenge();
    types.is_empty() || types.iter().any(|kind| factors(kind).contains(&factor))
}

fn no_factor(requirement: &Requirement) -> StepUpError {
    let wanted = match requirement.challenge() {
        [] => "any that the user has enrolled".to_owned(),
        types => types.join(", ").escape_debug().take(200).collect(),
    };
    StepUpError::unsupported_factor(format!(
        "the code provider can answer none of the factors that are possible ({wanted}); give the layer one that can, or let the user enroll another"
    ))
}
