//! Claims of other shapes than they have, for somebody else, or at another time.

use serde_json::json;
use tower_mfa::guard::Reason;

use crate::forge::{AUDIENCE, Case, ISSUER, LEEWAY, NOW, World, claims};

pub(crate) fn issuers(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for issuer in [
        "https://issuer.example",
        "https://issuer.example//",
        "https://ISSUER.example/",
        "HTTPS://issuer.example/",
        "http://issuer.example/",
        "https://issuer.example./",
        "https://issuer.example:443/",
        "https://issuer.example/?",
        "https://issuer.example/tenant",
        "https://issuer.example/%2e",
        "https://issuer.example@attacker.example/",
        "https://attacker.example/?https://issuer.example/",
        " https://issuer.example/",
        "https://issuer.example/ ",
        "https://issuer.example/\0",
        "https://i\u{455}suer.example/",
        "https://attacker.example/",
        "*",
        "null",
    ] {
        let token = world.with_claim("iss", &json!(issuer).to_string());
        cases.push(Case::new(format!("{issuer:?}"), token, Reason::WrongIssuer));
    }
    for issuer in [
        json!(""),
        json!(null),
        json!(1),
        json!(true),
        json!([ISSUER]),
        json!({"url": ISSUER}),
    ] {
        let token = world.with_claim("iss", &issuer.to_string());
        cases.push(Case::new(issuer.to_string(), token, Reason::MalformedToken));
    }
    let token = world.without_claim("iss");
    cases.push(Case::new("none", token, Reason::MalformedToken));
    cases
}

pub(crate) fn audiences(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for audience in [
        json!("https://other.example"),
        json!("https://api.example/"),
        json!("https://api.example "),
        json!("https://API.example"),
        json!("https://api.exampl"),
        json!("https://api.example.attacker.example"),
        json!("https://api.example,https://other.example"),
        json!("https://other.example https://api.example"),
        json!("*"),
        json!(""),
        json!([""]),
        json!(["https://other.example"]),
        json!(["https://other.example", "https://api.example/"]),
        json!([ISSUER]),
    ] {
        let token = world.with_claim("aud", &audience.to_string());
        cases.push(Case::new(
            audience.to_string(),
            token,
            Reason::WrongAudience,
        ));
    }
    for audience in [
        json!({AUDIENCE: true}),
        json!({"0": AUDIENCE}),
        json!({"aud": AUDIENCE}),
        json!([]),
        json!(null),
        json!(1),
        json!(true),
        json!([[AUDIENCE]]),
        json!([AUDIENCE, 1]),
        json!([AUDIENCE, null]),
        json!([AUDIENCE, {}]),
        json!([{"aud": AUDIENCE}]),
    ] {
        let token = world.with_claim("aud", &audience.to_string());
        cases.push(Case::new(
            audience.to_string(),
            token,
            Reason::MalformedToken,
        ));
    }
    let token = world.without_claim("aud");
    cases.push(Case::new("none", token, Reason::MalformedToken));
    cases
}

pub(crate) fn shapes(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, values) in [
        (
            "sub",
            &["\"\"", "null", "1", "true", "[\"test|ada\"]", "{}"][..],
        ),
        (
            "scope",
            &[
                "null",
                "1",
                "{\"read\":true}",
                "[1]",
                "[[\"read\"]]",
                "[\"read\",null]",
            ],
        ),
        ("scp", &["null", "true", "{\"read\":true}", "[{}]"]),
        (
            "acr",
            &["null", "3", "true", "{\"mfa\":true}", "[[\"mfa\"]]", "[3]"],
        ),
        (
            "amr",
            &["null", "1", "{\"otp\":true}", "[[\"otp\"]]", "[null]"],
        ),
        ("client_id", &["null", "1", "[\"test-app\"]"]),
        ("azp", &["null", "{}"]),
        ("jti", &["null", "1"]),
    ] {
        for value in values {
            let token = world.with_claim(name, value);
            cases.push(Case::new(
                format!("{name} {value}"),
                token,
                Reason::MalformedToken,
            ));
        }
    }
    cases
}

/// Times that are written as no time is written.
pub(crate) fn time_shapes(world: &World) -> Vec<Case> {
    let ahead = NOW + 600;
    let past = NOW - 600;
    let mut cases = Vec::new();
    for (name, time) in [
        ("exp", ahead),
        ("nbf", past),
        ("iat", past),
        ("auth_time", past),
    ] {
        for value in [
            format!("\"{time}\""),
            format!("-{time}"),
            format!("{time}.0"),
            format!("{time}.5"),
            format!("{time}e0"),
            format!("{}E10", 1),
            format!("{time}e999"),
            format!("+{time}"),
            format!("0{time}"),
            format!("0x{time:x}"),
            format!("[{time}]"),
            format!("{{\"t\":{time}}}"),
            "-0".to_owned(),
            "-1".to_owned(),
            "null".to_owned(),
            "true".to_owned(),
            "\"\"".to_owned(),
            "\"2057-01-15T08:00:00Z\"".to_owned(),
            "NaN".to_owned(),
            "Infinity".to_owned(),
            "253402300800".to_owned(),
            format!("{time}000"),
            i64::MAX.to_string(),
            u64::MAX.to_string(),
            "18446744073709551616".to_owned(),
            "9".repeat(400),
        ] {
            let token = world.with_claim(name, &value);
            cases.push(Case::new(
                format!("{name} {value}"),
                token,
                Reason::MalformedToken,
            ));
        }
    }
    let token = world.without_claim("exp");
    cases.push(Case::new("no exp", token, Reason::MalformedToken));
    cases
}

/// Too late, or too early.
pub(crate) fn times(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, time, reason) in [
        ("exp", 0, Reason::Expired),
        ("exp", 1, Reason::Expired),
        ("exp", NOW - 86_400, Reason::Expired),
        ("exp", NOW - LEEWAY - 1, Reason::Expired),
        ("exp", NOW - LEEWAY, Reason::Expired),
        ("nbf", NOW + LEEWAY + 1, Reason::NotYetValid),
        ("nbf", NOW + 86_400, Reason::NotYetValid),
        ("nbf", 253_402_300_799, Reason::NotYetValid),
        ("iat", NOW + LEEWAY + 1, Reason::NotYetValid),
        ("iat", 253_402_300_799, Reason::NotYetValid),
        ("auth_time", NOW + LEEWAY + 1, Reason::NotYetValid),
        ("auth_time", 253_402_300_799, Reason::NotYetValid),
    ] {
        let token = world.with_claim(name, &time.to_string());
        cases.push(Case::new(format!("{name} {time}"), token, reason));
    }
    cases
}

/// Claims that are there twice, so that two readers may read two things.
pub(crate) fn repeated(world: &World) -> Vec<Case> {
    let good = claims();
    let mut cases = Vec::new();
    for (name, other) in [
        ("iss", "\"https://attacker.example/\""),
        ("aud", "\"https://other.example\""),
        ("sub", "\"test|eve\""),
        ("exp", "1"),
        ("iat", "1"),
        ("auth_time", "1"),
        ("scope", "\"admin\""),
        ("acr", "\"phr\""),
        ("amr", "[\"hwk\"]"),
        ("client_id", "\"test-other\""),
        ("jti", "\"test-2\""),
    ] {
        let first = good
            .to_string()
            .replacen('{', &format!("{{\"{name}\":{other},"), 1);
        let last = good.to_string();
        let last = format!("{},\"{name}\":{other}}}", last.trim_end_matches('}'));
        // The same name in another spelling, and the same value again.
        let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
        let same = good
            .to_string()
            .replacen('{', &format!("{{\"{escaped}\":{},", good[name]), 1);
        for (place, text) in [("first", first), ("last", last), ("escaped", same)] {
            let token = world.with_claims_text(&text);
            cases.push(Case::new(
                format!("{name} {place}"),
                token,
                Reason::MalformedToken,
            ));
        }
    }
    for members in [
        r#""x":1,"x":1"#,
        r#""":1,"":1"#,
        r#""cnf":{},"cnf":{}"#,
        r#""scp":["a"],"s\u0063p":["b"]"#,
        r#""address":{"country":"a","country":"b"}"#,
        r#""x":[[{"y":{"z":1,"\u007A":1}}]]"#,
        r#""E\u0078p":1,"E\u0078\u0070":1"#,
    ] {
        let text = good.to_string().replacen('{', &format!("{{{members},"), 1);
        let token = world.with_claims_text(&text);
        cases.push(Case::new(members, token, Reason::MalformedToken));
    }
    cases
}
