//! [`Demand`] and [`Requirement`]: what was asked for.

use std::sync::Arc;
use std::time::Duration;

use http::Extensions;

use crate::token::Secret;

/// "More factors needed": what a refused request brought back, in the words of no dialect.
///
/// A [`Dialect`](crate::dialect::Dialect) finds it in a response, or a function given to
/// [`MfaLayer::on_error`](crate::MfaLayer::on_error) finds it in the service's own error.
///
/// ```
/// use tower_mfa::Demand;
///
/// // what `on_error` gives for an error that carries the handle of the authorization server
/// let demand = Demand::new().with_handle("test-mfa-token");
/// assert!(demand.handle().is_some());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Demand {
    handle: Option<Secret>,
    requirement: Requirement,
    extensions: Extensions,
}

impl Demand {
    /// A demand that says nothing but that there is one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the handle by which the authorization server knows this transaction: Auth0's `mfa_token`.
    #[must_use]
    pub fn with_handle(mut self, handle: impl Into<Secret>) -> Self {
        self.handle = Some(handle.into());
        self
    }

    /// Sets what would satisfy the demand.
    #[must_use]
    pub fn with_requirement(mut self, requirement: Requirement) -> Self {
        self.requirement = requirement;
        self
    }

    /// The handle by which the authorization server knows this transaction, if the demand brought one.
    #[must_use]
    pub fn handle(&self) -> Option<&Secret> {
        self.handle.as_ref()
    }

    /// What would satisfy the demand, as far as it said so.
    #[must_use]
    pub fn requirement(&self) -> &Requirement {
        &self.requirement
    }

    /// Typed data that a dialect passes from its `detect` to its `resolve`.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Typed data that a dialect passes from its `detect` to its `resolve`, to write to.
    #[must_use]
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

/// What would satisfy a demand: two equal requirements are met by the same step-up.
///
/// The names of factor types are kept as the server wrote them, known or not, and so is the JSON they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requirement {
    challenge: Vec<String>,
    enroll: Vec<String>,
    json: Option<Arc<str>>,
    /// Absent if it says nothing. Few dialects have it, and thousands of requirements may be remembered.
    login: Option<Box<Login>>,
}

/// What another login has to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Login {
    acr_values: Vec<String>,
    max_age: Option<Duration>,
    scope: Option<String>,
}

impl Requirement {
    /// A requirement that leaves everything open.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the factor types that the user can be challenged with.
    #[must_use]
    pub fn with_challenge(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.challenge = types.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the factor types that the user may enroll.
    #[must_use]
    pub fn with_enroll(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.enroll = types.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the authentication context class references of which one suffices, the preferred one first.
    #[must_use]
    pub fn with_acr_values(self, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.edit_login(|login| login.acr_values = values.into_iter().map(Into::into).collect())
    }

    /// Sets how long ago the last active login may be.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        self.edit_login(|login| login.max_age = Some(max_age))
    }

    /// Sets the scope that is needed, space separated.
    #[must_use]
    pub fn with_scope(self, scope: impl Into<String>) -> Self {
        self.edit_login(|login| login.scope = Some(scope.into()))
    }

    /// Sets the JSON the requirement was read from.
    #[must_use]
    pub fn with_json(mut self, json: impl Into<Arc<str>>) -> Self {
        self.json = Some(json.into());
        self
    }

    /// The factor types that the user can be challenged with; empty if the demand left the choice open.
    #[must_use]
    pub fn challenge(&self) -> &[String] {
        &self.challenge
    }

    /// The factor types that the user may enroll.
    #[must_use]
    pub fn enroll(&self) -> &[String] {
        &self.enroll
    }

    /// The authentication context class references of which one suffices, the preferred one first; empty if the demand named none.
    #[must_use]
    pub fn acr_values(&self) -> &[String] {
        self.login
            .as_ref()
            .map_or(&[], |login| login.acr_values.as_slice())
    }

    /// How long ago the last active login may be, if the demand said so.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.login.as_ref()?.max_age
    }

    /// The scope that is needed, space separated, if the demand said so.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.login.as_ref()?.scope.as_deref()
    }

    /// The requirement as the server wrote it (Auth0's `mfa_requirements`), with members that this crate does not know.
    #[must_use]
    pub fn json(&self) -> Option<&str> {
        self.json.as_deref()
    }

    fn edit_login(mut self, edit: impl FnOnce(&mut Login)) -> Self {
        let mut login = self.login.take().unwrap_or_default();
        edit(&mut login);
        self.login = (*login != Login::default()).then_some(login);
        self
    }

    /// As text that no other requirement has.
    pub(crate) fn to_key(&self) -> String {
        format!("{self:?}")
    }

    /// Whether the user has nothing to be challenged with and has to enroll first.
    #[must_use]
    pub fn is_enrollment_only(&self) -> bool {
        self.challenge.is_empty() && !self.enroll.is_empty()
    }
}
