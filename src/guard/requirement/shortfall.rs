//! [`Shortfall`]: what a good token lacks.

use std::sync::Arc;
use std::time::Duration;

use crate::guard::Reason;

/// What a token lacks that is good, but not strong, fresh or wide enough: the parameters of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    pub(crate) reason: Reason,
    pub(crate) acr_values: Option<Arc<str>>,
    pub(crate) max_age: Option<u64>,
    pub(crate) scope: Option<Arc<str>>,
}

impl Shortfall {
    /// [`Reason::Scope`], [`Reason::Weak`] or [`Reason::Stale`].
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The `acr` values of which one suffices, separated by spaces, the preferred one first.
    #[must_use]
    pub fn acr_values(&self) -> Option<&str> {
        self.acr_values.as_deref()
    }

    /// How old the login may be.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age.map(Duration::from_secs)
    }

    /// The scopes that are needed, separated by spaces.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }
}
