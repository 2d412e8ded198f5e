//! How strong the login has to have been.

use std::sync::Arc;

use super::words;
use crate::error::ConfigError;
use crate::guard::VerifiedToken;

/// The `amr` of RFC 8176 for a login with more than one factor.
const MFA: &str = "mfa";

/// The `acr` that Auth0 and others use for the same.
const MULTI_FACTOR: &str = "http://schemas.openid.net/pape/policies/2007/06/multi-factor";

#[derive(Clone, Debug, Default)]
pub(super) struct Strength {
    mfa: bool,
    /// One of these, the preferred one first; `None` leaves the `acr` open.
    acr: Option<Vec<String>>,
    amr_all: Vec<String>,
    /// One of each of these.
    amr_any: Vec<Vec<String>>,
}

impl Strength {
    pub(super) fn multi_factor() -> Self {
        Self {
            mfa: true,
            ..Self::default()
        }
    }

    /// Keeps what both lists name, in the order of the list that was there first.
    pub(super) fn restrict_acr(&mut self, acr: Vec<String>) -> Result<(), ConfigError> {
        let Some(set) = &mut self.acr else {
            self.acr = Some(acr);
            return Ok(());
        };
        if !set.iter().any(|value| acr.contains(value)) {
            return Err(ConfigError::new(format!(
                "no acr value is in both {set:?} and {acr:?}, so no token can satisfy both: give one list, or two that share a value"
            )));
        }
        set.retain(|value| acr.contains(value));
        Ok(())
    }

    pub(super) fn restrict_acr_by_rank(
        &mut self,
        least: &str,
        order: Vec<String>,
    ) -> Result<(), ConfigError> {
        for (index, value) in order.iter().enumerate() {
            if order.iter().take(index).any(|earlier| earlier == value) {
                return Err(ConfigError::new(format!(
                    "{value:?} is twice in the order {order:?}, so its rank is not clear: name it once"
                )));
            }
        }
        let Some(rank) = order.iter().position(|value| value == least) else {
            return Err(ConfigError::new(format!(
                "{least:?} is not in the order {order:?}: add it where it belongs, the weakest value first"
            )));
        };
        self.restrict_acr(order.into_iter().skip(rank).collect())
    }

    pub(super) fn require_amr(&mut self, amr: Vec<String>) {
        for method in amr {
            words::add(&mut self.amr_all, method);
        }
    }

    pub(super) fn require_any_amr(&mut self, amr: Vec<String>) {
        self.amr_any.push(amr);
    }

    pub(super) fn and(&mut self, other: Self) -> Result<(), ConfigError> {
        if let Some(acr) = other.acr {
            self.restrict_acr(acr)?;
        }
        self.mfa |= other.mfa;
        self.require_amr(other.amr_all);
        self.amr_any.extend(other.amr_any);
        Ok(())
    }

    pub(super) fn is_met_by(&self, token: &VerifiedToken) -> bool {
        let acr = |wanted: &str| token.acr().any(|value| value == wanted);
        let amr = |wanted: &String| token.amr().any(|method| method == wanted);
        self.acr
            .as_ref()
            .is_none_or(|any| any.iter().any(|value| acr(value)))
            && (!self.mfa || acr(MULTI_FACTOR) || token.amr().any(|method| method == MFA))
            && self.amr_all.iter().all(amr)
            && self.amr_any.iter().all(|any| any.iter().any(amr))
    }

    pub(super) fn acr_values(&self) -> Option<Arc<str>> {
        let Some(acr) = &self.acr else {
            return self.mfa.then(|| MULTI_FACTOR.into());
        };
        let mut acr: Vec<&str> = acr.iter().map(String::as_str).collect();
        if self.mfa {
            // the only one that suffices by itself comes first; the sort keeps the order of the others
            acr.sort_by_key(|value| *value != MULTI_FACTOR);
        }
        Some(acr.join(" ").into())
    }
}
