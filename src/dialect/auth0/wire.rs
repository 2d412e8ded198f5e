//! Reads the JSON of the MFA API. Members of unexpected types are as good as absent, unknown ones are no error.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::challenge::{Authenticator, Factor};
use crate::demand::{Demand, Requirement};
use crate::token::Secret;

/// A JSON object of which single members are read.
pub(super) struct Object<'a> {
    members: HashMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Object<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json)
            .ok()
            .map(|members| Self { members })
    }

    /// A member that is a string and not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str::<String>(self.raw(name)?)
            .ok()
            .filter(|text| !text.is_empty())
    }

    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// A member that is a number of seconds, or a string of digits, as some servers write it.
    pub(super) fn seconds(&self, name: &str) -> Option<Duration> {
        match serde_json::from_str(self.raw(name)?).ok()? {
            Value::Number(number) => number
                .as_u64()
                .map(Duration::from_secs)
                .or_else(|| Duration::try_from_secs_f64(number.as_f64()?).ok()),
            Value::String(text) => text.trim().parse().ok().map(Duration::from_secs),
            _ => None,
        }
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.members.get(name).map(|raw| raw.get())
    }
}

/// The demand in a body, if its `error` or its `code` is `mfa_required`. Nothing else counts, least of all the text.
pub(super) fn demand(body: &[u8]) -> Option<Demand> {
    let object = Object::parse(body)?;
    let is = |name| object.text(name).as_deref() == Some("mfa_required");
    (is("error") || is("code")).then(|| read_demand(&object))
}

/// A demand from an object that is known to be one.
pub(super) fn read_demand(object: &Object<'_>) -> Demand {
    let mut demand = Demand::new();
    if let Some(handle) = object.secret("mfa_token") {
        demand = demand.with_handle(handle);
    }
    match object.raw("mfa_requirements") {
        Some(json) if json != "null" => demand.with_requirement(requirement(json)),
        _ => demand,
    }
}

/// `{"challenge":[{"type":…}], "enroll":[…]}`, or `{"challenge_types":[…]}`; entries may be objects or plain strings.
fn requirement(json: &str) -> Requirement {
    let value: Value = serde_json::from_str(json).unwrap_or_default();
    let types = |name: &str| -> Vec<String> {
        let entries = value.get(name).and_then(Value::as_array);
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.get("type").unwrap_or(entry).as_str())
            .map(str::to_owned)
            .collect()
    };
    let mut challenge = types("challenge");
    challenge.extend(types("challenge_types"));
    Requirement::new()
        .with_challenge(challenge)
        .with_enroll(types("enroll"))
        .with_json(json)
}

/// What a user has enrolled.
pub(super) struct Enrolled {
    /// Active, and of a kind that has a code or an approval.
    pub(super) usable: Vec<Authenticator>,
    /// Nothing is active, of whatever kind.
    pub(super) is_nothing: bool,
}

/// The list of a user's authenticators.
pub(super) fn enrolled(body: &[u8]) -> Option<Enrolled> {
    let list: Vec<Value> = serde_json::from_slice(body).ok()?;
    Some(Enrolled {
        usable: list.iter().filter_map(authenticator).collect(),
        is_nothing: !list.iter().any(is_active),
    })
}

/// An enrollment that was never confirmed cannot be challenged.
fn is_active(entry: &Value) -> bool {
    entry.get("active") == Some(&Value::Bool(true))
}

fn authenticator(entry: &Value) -> Option<Authenticator> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    if !is_active(entry) {
        return None;
    }
    // the wire has `oob_channel`; a documentation page and two SDKs have `oob_channels`
    let channel = text("oob_channel").or_else(|| match entry.get("oob_channels")? {
        Value::Array(channels) => channels.first()?.as_str(),
        other => other.as_str(),
    });
    let factor = match (text("authenticator_type"), channel) {
        (Some("otp" | "totp"), _) => Factor::Otp,
        (Some("recovery-code"), _) => Factor::RecoveryCode,
        (_, Some("sms")) => Factor::Sms,
        (_, Some("voice")) => Factor::Voice,
        (_, Some("email")) => Factor::Email,
        (_, Some("auth0")) => Factor::Push,
        _ => return None,
    };
    let authenticator = Authenticator::new(text("id")?, factor);
    Some(match text("name") {
        Some(name) => authenticator.with_name(name),
        None => authenticator,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_or_code_makes_a_demand_and_nothing_else_does() {
        for body in [
            r#"{"error":"mfa_required"}"#,
            r#"{"error":"MFA required","code":"mfa_required","message":"x"}"#,
            r#"{"error":"mfa_required","mfa_token":17,"mfa_requirements":"?"}"#,
        ] {
            assert!(demand(body.as_bytes()).is_some(), "{body}");
        }
        for body in [
            "",
            "null",
            "[]",
            r#""mfa_required""#,
            r#"{"error":"access_denied","error_description":"mfa_required"}"#,
            r#"{"error":"mfa_required_not"}"#,
            r#"{"error":["mfa_required"]}"#,
            r#"{"message":"mfa_required"}"#,
            r#"{"error":{"code":"mfa_required"}}"#,
            r#"{"error":"mfa_required""#,
        ] {
            assert!(demand(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn every_shape_of_the_requirements_is_read_and_kept() {
        let read = |requirements: &str| {
            let body = format!(
                r#"{{"error":"mfa_required","mfa_token":"test","mfa_requirements":{requirements}}}"#
            );
            demand(body.as_bytes()).unwrap().requirement().clone()
        };
        let both = read(
            r#"{"challenge":[{"type":"otp"},{"type":"new-kind","x":1}],"enroll":[{"type":"phone"}],"more":{}}"#,
        );
        assert_eq!(both.challenge(), ["otp", "new-kind"]);
        assert_eq!(both.enroll(), ["phone"]);
        assert!(both.json().unwrap().contains(r#""more":{}"#));
        assert_eq!(
            read(r#"{"challenge_types":["otp","oob"]}"#).challenge(),
            ["otp", "oob"]
        );
        assert!(read(r#"{"enroll":[{"type":"otp"}]}"#).is_enrollment_only());
        for open in [
            "null",
            "{}",
            "[]",
            "17",
            r#"{"challenge":"otp"}"#,
            r#"{"challenge":[{}]}"#,
        ] {
            assert!(read(open).challenge().is_empty(), "{open}");
        }
    }

    #[test]
    fn both_spellings_of_the_channel_are_read_and_inactive_ones_are_left_out() {
        let list = enrolled(
            br#"[
                {"id":"sms|dev_1","authenticator_type":"oob","active":true,"oob_channel":"sms","name":"XXX1"},
                {"id":"email|dev_2","authenticator_type":"oob","active":true,"oob_channels":["email"]},
                {"id":"push|dev_3","authenticator_type":"oob","active":true,"oob_channels":"auth0"},
                {"id":"totp|dev_4","authenticator_type":"otp","active":false},
                {"id":"totp|dev_5","authenticator_type":"otp"},
                {"id":"duo|dev_6","authenticator_type":"oob","active":true,"oob_channel":"duo"},
                {"authenticator_type":"otp","active":true},
                "?", null
            ]"#,
        )
        .unwrap()
        .usable;
        let seen: Vec<_> = list
            .iter()
            .map(|a| (a.id(), a.factor(), a.name()))
            .collect();
        assert_eq!(
            seen,
            [
                ("sms|dev_1", Factor::Sms, Some("XXX1")),
                ("email|dev_2", Factor::Email, None),
                ("push|dev_3", Factor::Push, None),
            ]
        );
    }

    #[test]
    fn seconds_are_read_leniently_and_never_negative() {
        let object = Object::parse(br#"{"a":5,"b":"5","c":5.0,"d":-5,"e":"x","f":1e400}"#);
        // a number that no f64 holds makes the whole document unreadable, not only its member
        assert!(object.is_none() || object.as_ref().unwrap().seconds("f").is_none());
        let object = Object::parse(br#"{"a":5,"b":"5","c":5.0,"d":-5,"e":"x","g":1e300}"#).unwrap();
        for name in ["a", "b", "c"] {
            assert_eq!(object.seconds(name), Some(Duration::from_secs(5)), "{name}");
        }
        for name in ["d", "e", "g", "absent"] {
            assert_eq!(object.seconds(name), None, "{name}");
        }
    }
}
