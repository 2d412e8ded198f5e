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
    ) -> Result<Vec<Candidate>, StepUpError> {
        if requirement.is_enrollment_only() {
            return Err(enrollment_required());
        }
        let open = requirement.challenge().is_empty();
        let named: Vec<Factor> = requirement
            .challenge()
            .iter()
            .flat_map(|kind| factors(kind))
            .copied()
            .collect();
        let allowed = |factor: &Factor| open || named.contains(factor);
        let usable: Vec<Factor> = self
            .preference
            .iter()
            .copied()
            .filter(|factor| allowed(factor) && context.supports(*factor))
            .collect();
        let Some(best) = usable.first().copied() else {
            return Err(no_factor(requirement));
        };
        let channels = self
            .preference
            .iter()
            .filter(|factor| allowed(factor) && is_out_of_band(**factor))
            .count();
        let must_list = context.wants_to_choose()
            || open && usable.len() > 1
            || is_out_of_band(best) && channels > 1;
        if !must_list {
            // without a list, `oob` stands for one channel or it may be any
            let clear = |factor: &Factor| !is_out_of_band(*factor) || channels == 1;
            let candidate = |factor| Candidate {
                factor,
                authenticator: None,
            };
            return Ok(usable.into_iter().filter(clear).map(candidate).collect());
        }

        let listed = self
            .list(handle, context)
            .await
            .map_err(Answer::into_error)?;
        if listed.is_empty() {
            return Err(enrollment_required());
        }
        let rank = |authenticator: &Authenticator| {
            usable
                .iter()
                .position(|factor| *factor == authenticator.factor())
        };
        let mut ranked: Vec<_> = listed
            .into_iter()
            .filter(|authenticator| rank(authenticator).is_some())
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
