//! What the client has to have been granted.

use std::sync::Arc;

use super::words;
use crate::guard::VerifiedToken;

#[derive(Clone, Debug, Default)]
pub(super) struct Scopes {
    all: Vec<String>,
    /// One of each of these.
    any: Vec<Vec<String>>,
}

impl Scopes {
    pub(super) fn require_all(&mut self, scopes: Vec<String>) {
        for scope in scopes {
            words::add(&mut self.all, scope);
        }
    }

    pub(super) fn require_any(&mut self, scopes: Vec<String>) {
        self.any.push(scopes);
    }

    pub(super) fn and(&mut self, other: Self) {
        self.require_all(other.all);
        self.any.extend(other.any);
    }

    pub(super) fn is_met_by(&self, token: &VerifiedToken) -> bool {
        self.all.iter().all(|scope| token.has_scope(scope))
            && self
                .any
                .iter()
                .all(|any| any.iter().any(|scope| token.has_scope(scope)))
    }

    /// The smallest set that suffices: clients add what they are told to what they have, so naming every alternative would make
    /// them ask for all.
    pub(super) fn to_list(&self) -> Option<Arc<str>> {
        let mut needed = self.all.clone();
        for any in &self.any {
            if !any.iter().any(|scope| needed.contains(scope)) {
                needed.extend(any.first().cloned());
            }
        }
        (!needed.is_empty()).then(|| needed.join(" ").into())
    }
}
