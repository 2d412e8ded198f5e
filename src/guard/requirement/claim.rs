//! What any other claim has to say.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::error::ConfigError;
use crate::guard::VerifiedToken;

#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    name: String,
    test: Test,
}

#[derive(Clone)]
pub(super) enum Test {
    Contains(String),
    Equals(String),
    IsTrue,
    Matches(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Claims {
    pub(super) fn require(&mut self, name: String, test: Test) -> Result<(), ConfigError> {
        if name.is_empty() {
            return Err(ConfigError::new(
                "a claim needs a name: give the one that your authorization server writes, such as https://example.com/mfa",
            ));
        }
        if let Some(instead) = test.instead(&name) {
            return Err(ConfigError::new(format!(
                "the claim {name:?} has more than one shape and its own conditions: use {instead} instead"
            )));
        }
        let others = self.rules.iter().filter(|rule| rule.name == name);
        if others
            .clone()
            .any(|rule| rule.test.contradicts(&test) || test.contradicts(&rule.test))
        {
            return Err(ConfigError::new(format!(
                "no token can satisfy all that is demanded of the claim {name:?}: demand one value, or take `claim_matches` for one of several"
            )));
        }
        self.rules.push(Rule { name, test });
        Ok(())
    }

    pub(super) fn and(&mut self, other: Self) -> Result<(), ConfigError> {
        for Rule { name, test } in other.rules {
            self.require(name, test)?;
        }
        Ok(())
    }

    pub(super) fn has_predicates(&self) -> bool {
        let mut tests = self.rules.iter().map(|rule| &rule.test);
        tests.any(|test| matches!(test, Test::Matches(_)))
    }

    pub(super) fn is_met_by(&self, token: &VerifiedToken) -> bool {
        self.rules.iter().all(|rule| {
            token
                .claim_json(&rule.name)
                .is_some_and(|json| rule.test.is_met_by(json))
        })
    }
}

impl Test {
    /// The method that reads a claim as its standard says. A predicate of the user's own may read any claim in any way.
    fn instead(&self, name: &str) -> Option<&'static str> {
        if matches!(self, Self::Matches(_)) {
            return None;
        }
        match name {
            "acr" => Some("`acr_any_of`"),
            "amr" => Some("`amr_all_of` or `amr_any_of`"),
            "auth_time" => Some("`max_age`"),
            "scope" | "scp" => Some("`scopes_all_of` or `scopes_any_of`"),
            _ => None,
        }
    }

    fn contradicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Equals(value), Self::Equals(other) | Self::Contains(other)) => value != other,
            (Self::IsTrue, Self::Equals(_) | Self::Contains(_)) => true,
            _ => false,
        }
    }

    fn is_met_by(&self, json: &str) -> bool {
        match self {
            Self::Contains(value) => is_string(json, value) || has_string(json, value),
            Self::Equals(value) => is_string(json, value),
            Self::IsTrue => json.trim() == "true",
            Self::Matches(test) => test(json),
        }
    }
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(value) => f.debug_tuple("Contains").field(value).finish(),
            Self::Equals(value) => f.debug_tuple("Equals").field(value).finish(),
            Self::IsTrue => f.write_str("IsTrue"),
            Self::Matches(_) => f.write_str("Matches"),
        }
    }
}

/// Whether a JSON text is this string. Only a string with escapes is copied.
fn is_string(json: &str, value: &str) -> bool {
    match serde_json::from_str::<&str>(json) {
        Ok(text) => text == value,
        Err(_) => serde_json::from_str::<String>(json).is_ok_and(|text| text == value),
    }
}

/// Whether a JSON text is an array with this string in it: item by item, so that no list of them is made.
fn has_string(json: &str, value: &str) -> bool {
    let Some(mut rest) = json.trim_start().strip_prefix('[') else {
        return false;
    };
    loop {
        let mut items = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let Some(Ok(item)) = items.next() else {
            return false;
        };
        if is_string(item.get(), value) {
            return true;
        }
        let end = items.byte_offset();
        let Some(next) = rest
            .get(end..)
            .and_then(|rest| rest.trim_start().strip_prefix(','))
        else {
            return false;
        };
        rest = next;
    }
}
