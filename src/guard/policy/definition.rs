//! [`Policy`]: which requirement applies to a request.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;

use super::Routes;
use crate::guard::{Reason, Requirement};

/// Which requirement applies to a request: one for all, one by [`Routes`], or one that a function chooses.
///
/// ```
/// use std::time::Duration;
///
/// use tower_mfa::guard::{Policy, Requirement};
///
/// let login = Requirement::login();
/// let mfa = Requirement::mfa().max_age(Duration::from_secs(300));
/// // over a limit more is demanded; and so it is where the amount cannot be read
/// let policy = Policy::dynamic(move |request| {
///     let amount = request.headers.get("x-amount");
///     let amount = amount.and_then(|amount| amount.to_str().ok()?.parse::<u64>().ok());
///     match amount {
///         Some(..=1000) => login.clone(),
///         _ => mfa.clone(),
///     }
/// });
/// # drop(policy);
/// ```
#[derive(Clone)]
#[must_use = "a policy does nothing until a guard has it"]
pub struct Policy {
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Dynamic(Arc<dyn Fn(&Parts) -> Policy + Send + Sync>),
    Public,
    Require(Requirement),
    Routes(Arc<Routes>),
}

/// What a policy says about one request.
#[derive(Debug)]
pub(crate) enum Selected {
    Public,
    Require(Requirement),
}

impl Policy {
    /// No token is needed: one that is sent is neither verified nor passed on as verified.
    pub fn public() -> Self {
        Self { kind: Kind::Public }
    }

    /// Chooses by the head of the request, with a function that gives a [`Requirement`] or another policy.
    ///
    /// It is called for every request and before the token is looked at, so everything that it reads may be a lie: what it
    /// cannot make sense of should get the strongest requirement. Make requirements outside of it and clone them.
    pub fn dynamic<P: Into<Self>>(choose: impl Fn(&Parts) -> P + Send + Sync + 'static) -> Self {
        Self {
            kind: Kind::Dynamic(Arc::new(move |parts| choose(parts).into())),
        }
    }

    /// The requirement that applies to all requests alike, if there is one.
    pub(crate) fn fixed(&self) -> Option<&Requirement> {
        match &self.kind {
            Kind::Require(requirement) => Some(requirement),
            _ => None,
        }
    }

    /// What applies to a request.
    pub(crate) fn select(&self, parts: &Parts) -> Result<Selected, Reason> {
        match &self.kind {
            Kind::Dynamic(choose) => choose(parts).select(parts),
            Kind::Public => Ok(Selected::Public),
            Kind::Require(requirement) => Ok(Selected::Require(requirement.clone())),
            Kind::Routes(routes) => routes.find(parts)?.select(parts),
        }
    }
}

impl From<Requirement> for Policy {
    fn from(requirement: Requirement) -> Self {
        Self {
            kind: Kind::Require(requirement),
        }
    }
}

impl From<Routes> for Policy {
    fn from(routes: Routes) -> Self {
        Self {
            kind: Kind::Routes(Arc::new(routes)),
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Dynamic(_) => f.write_str("Dynamic"),
            Kind::Public => f.write_str("Public"),
            Kind::Require(requirement) => requirement.fmt(f),
            Kind::Routes(routes) => routes.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope_of(policy: &Policy, amount: &str) -> String {
        let request = http::Request::get("/transfer").header("x-amount", amount);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        match policy.select(&parts).unwrap() {
            Selected::Public => "public".into(),
            Selected::Require(requirement) => format!("{requirement:?}"),
        }
    }

    #[test]
    fn a_requirement_is_fixed_and_nothing_else_is() {
        let policy = Policy::from(Requirement::mfa());
        assert!(policy.fixed().is_some());
        assert!(scope_of(&policy, "1").contains("mfa: true"));
        assert!(Policy::public().fixed().is_none());
        assert_eq!(scope_of(&Policy::public(), "1"), "public");
        assert!(
            Policy::from(Routes::new(Requirement::mfa()))
                .fixed()
                .is_none()
        );
    }

    #[test]
    fn a_function_chooses_by_the_request_and_may_give_another_policy() {
        let policy = Policy::dynamic(|parts| match parts.headers["x-amount"].as_bytes() {
            b"0" => Policy::public(),
            b"1" => Requirement::login().into(),
            _ => Routes::new(Requirement::mfa()).into(),
        });
        assert!(policy.fixed().is_none());
        assert_eq!(scope_of(&policy, "0"), "public");
        assert!(scope_of(&policy, "1").contains("mfa: false"));
        assert!(scope_of(&policy, "2").contains("mfa: true"));
        assert_eq!(format!("{policy:?}"), "Dynamic");
    }
}
