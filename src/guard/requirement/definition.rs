//! [`Requirement`]: the conditions and their check.

use std::sync::Arc;
use std::time::Duration;

use super::claim::{Claims, Test};
use super::freshness::Freshness;
use super::scope::Scopes;
use super::shortfall::Shortfall;
use super::strength::Strength;
use super::words;
use crate::error::ConfigError;
use crate::guard::{Reason, VerifiedToken};

/// What a request's token has to show.
///
/// It starts with [`login`](Self::login) or [`mfa`](Self::mfa), and each further method adds a condition: all of them have to be
/// met, and a claim that is missing meets none. There is no empty requirement, and one that no token could ever meet is an error
/// in the step that makes it so. Cloning is cheap; build a requirement once.
///
/// ```
/// use std::time::Duration;
///
/// use tower_mfa::guard::Requirement;
///
/// # fn main() -> Result<(), tower_mfa::ConfigError> {
/// // more than one factor, at most five minutes ago
/// let transfer = Requirement::mfa().max_age(Duration::from_secs(300));
///
/// // in the words of one's own authorization server, and only for clients with this scope
/// let gold = Requirement::login()
///     .acr_at_least("silver", ["bronze", "silver", "gold"])?
///     .scopes_all_of(["payments"])?;
///
/// // for servers that mark such logins in a claim of their own
/// let marked = Requirement::login().claim_is_true("https://example.com/mfa")?;
/// # Ok(())
/// # }
/// ```
///
/// A request that lacks a scope is answered with `insufficient_scope` (RFC 6750 section 3.1), one whose login was too weak or too
/// long ago with `insufficient_user_authentication` (RFC 9470 section 3). That answer names the `acr_values` and the `max_age` of the
/// whole requirement, so that one new login satisfies all of it. It has no words for `amr` and other claims: where these are
/// demanded, clients have to know by other means how to get them.
///
/// This is the server's side. What a client reads out of a demand is [`crate::Requirement`].
#[derive(Clone, Debug)]
#[must_use = "a requirement does nothing until a guard has it"]
pub struct Requirement {
    conditions: Arc<Conditions>,
}

#[derive(Clone, Debug, Default)]
struct Conditions {
    strength: Strength,
    claims: Claims,
    freshness: Freshness,
    scopes: Scopes,
    /// `acr_values` and `scope` of the answer, made when the requirement is.
    acr_values: Option<Arc<str>>,
    scope: Option<Arc<str>>,
}

impl Requirement {
    /// A valid token, and nothing more.
    pub fn login() -> Self {
        Self::of(Strength::default())
    }

    /// A login with more than one factor.
    ///
    /// The token's `amr` contains `mfa` (RFC 8176 section 2), or its `acr` is
    /// `http://schemas.openid.net/pape/policies/2007/06/multi-factor`, which is what the answer asks for. For an authorization
    /// server with other words take [`login`](Self::login) and one of the other conditions.
    pub fn mfa() -> Self {
        Self::of(Strength::multi_factor())
    }

    fn of(strength: Strength) -> Self {
        let conditions = Conditions {
            acr_values: strength.acr_values(),
            strength,
            ..Conditions::default()
        };
        Self {
            conditions: Arc::new(conditions),
        }
    }

    /// Demands one of these `acr` values, the preferred one first.
    ///
    /// Of two lists, what both name is left, in the order of the first.
    ///
    /// # Errors
    ///
    /// If the list is empty, shares no value with an earlier one, or has a value that could not be sent: only printable ASCII
    /// without spaces, quotes and backslashes can.
    pub fn acr_any_of(
        self,
        acr: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        let acr = words::list("acr", acr)?;
        self.with(|conditions| conditions.strength.restrict_acr(acr))
    }

    /// Demands an `acr` that is at least this one in your order, the weakest first.
    ///
    /// Only the order counts, never a number in a name, and an `acr` that is not in it does not suffice. The answer asks for the
    /// least that suffices first, so that users are asked for no more than is needed.
    ///
    /// # Errors
    ///
    /// If the value is not in the order, if the order names a value twice, and as for [`acr_any_of`](Self::acr_any_of).
    pub fn acr_at_least(
        self,
        least: &str,
        order: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        let order: Vec<String> = order.into_iter().map(Into::into).collect();
        words::list("acr", order.iter())?;
        self.with(|conditions| conditions.strength.restrict_acr_by_rank(least, order))
    }

    /// Demands all of these methods in `amr` (RFC 8176).
    ///
    /// # Errors
    ///
    /// If the list is empty or has a value that is no single word of printable ASCII.
    pub fn amr_all_of(
        self,
        amr: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        let amr = words::list("amr", amr)?;
        self.with(|conditions| {
            conditions.strength.require_amr(amr);
            Ok(())
        })
    }

    /// Demands one of these methods in `amr` (RFC 8176).
    ///
    /// # Errors
    ///
    /// As for [`amr_all_of`](Self::amr_all_of).
    pub fn amr_any_of(
        self,
        amr: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        let amr = words::list("amr", amr)?;
        self.with(|conditions| {
            conditions.strength.require_any_amr(amr);
            Ok(())
        })
    }

    /// Demands that the user logged in at most this long ago.
    ///
    /// The age is that of `auth_time`, which the token has to have: when it was issued says nothing about the user, who may have
    /// logged in days before. A login exactly as old as this is let through, one that is a second older is not; parts of a
    /// second are dropped. The verifier's leeway is not added. Of two ages the shorter one counts.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        Arc::make_mut(&mut self.conditions).freshness.limit(max_age);
        self
    }

    /// Demands all of these scopes.
    ///
    /// # Errors
    ///
    /// If the list is empty or has a value that is no scope (RFC 6749 section 3.3): several scopes are several items.
    pub fn scopes_all_of(
        self,
        scopes: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        let scopes = words::list("scope", scopes)?;
        self.with(|conditions| {
            conditions.scopes.require_all(scopes);
            Ok(())
        })
    }

    /// Demands one of these scopes, the one that clients should ask for first.
    ///
    /// # Errors
    ///
    /// As for [`scopes_all_of`](Self::scopes_all_of).
    pub fn scopes_any_of(
        self,
        scopes: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ConfigError> {
        let scopes = words::list("scope", scopes)?;
        self.with(|conditions| {
            conditions.scopes.require_any(scopes);
            Ok(())
        })
    }

    /// Demands that a claim is this string.
    ///
    /// # Errors
    ///
    /// If the name is empty, or that of a claim with conditions of its own (`acr`, `amr`, `auth_time`, `scope`, `scp`), or if
    /// another condition demands something else of the same claim.
    pub fn claim_equals(
        self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        self.with_claim(name.into(), Test::Equals(value.into()))
    }

    /// Demands that a claim is an array with this string in it, or this string alone, as some servers write an array of one.
    ///
    /// # Errors
    ///
    /// As for [`claim_equals`](Self::claim_equals).
    pub fn claim_contains(
        self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        self.with_claim(name.into(), Test::Contains(value.into()))
    }

    /// Demands that a claim is `true`: the JSON value, not the string.
    ///
    /// # Errors
    ///
    /// As for [`claim_equals`](Self::claim_equals).
    pub fn claim_is_true(self, name: impl Into<String>) -> Result<Self, ConfigError> {
        self.with_claim(name.into(), Test::IsTrue)
    }

    /// Demands that a claim is there and that this function says yes to it; it gets the claim as it is in the token, as JSON.
    ///
    /// # Errors
    ///
    /// If the name is empty.
    pub fn claim_matches(
        self,
        name: impl Into<String>,
        test: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        self.with_claim(name.into(), Test::Matches(Arc::new(test)))
    }

    /// Demands what another requirement demands as well.
    ///
    /// # Errors
    ///
    /// If no token could meet both.
    pub fn and(self, other: Self) -> Result<Self, ConfigError> {
        let other = Arc::unwrap_or_clone(other.conditions);
        self.with(|conditions| {
            conditions.strength.and(other.strength)?;
            conditions.claims.and(other.claims)?;
            conditions.freshness.and(&other.freshness);
            conditions.scopes.and(other.scopes);
            Ok(())
        })
    }

    fn with_claim(self, name: String, test: Test) -> Result<Self, ConfigError> {
        self.with(|conditions| conditions.claims.require(name, test))
    }

    fn with(
        mut self,
        add: impl FnOnce(&mut Conditions) -> Result<(), ConfigError>,
    ) -> Result<Self, ConfigError> {
        let conditions = Arc::make_mut(&mut self.conditions);
        add(conditions)?;
        conditions.acr_values = conditions.strength.acr_values();
        conditions.scope = conditions.scopes.to_list();
        Ok(self)
    }

    /// Whether code of the application takes part in [`check`](Self::check).
    pub(crate) fn has_predicates(&self) -> bool {
        self.conditions.claims.has_predicates()
    }

    /// Whether a token meets all conditions; times are seconds since 1970.
    ///
    /// Scopes come first: a client without them gets nothing from a stronger login.
    pub(crate) fn check(
        &self,
        token: &VerifiedToken,
        now: u64,
        leeway: u64,
    ) -> Result<(), Shortfall> {
        let conditions = &*self.conditions;
        if !conditions.scopes.is_met_by(token) {
            return Err(self.shortfall(Reason::Scope));
        }
        if !conditions.strength.is_met_by(token) || !conditions.claims.is_met_by(token) {
            return Err(self.shortfall(Reason::Weak));
        }
        if !conditions.freshness.is_met_by(token, now, leeway) {
            return Err(self.shortfall(Reason::Stale));
        }
        Ok(())
    }

    /// The scopes are named in any case: a client that asks for a new token without them would be refused for that next.
    fn shortfall(&self, reason: Reason) -> Shortfall {
        let conditions = &*self.conditions;
        let step_up = reason != Reason::Scope;
        Shortfall {
            reason,
            acr_values: conditions.acr_values.clone().filter(|_| step_up),
            max_age: conditions.freshness.max_age().filter(|_| step_up),
            scope: conditions.scope.clone(),
        }
    }
}
