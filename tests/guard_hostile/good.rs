//! Tokens that have to be taken, some of them barely.

use serde_json::{Value, json};
use tower_mfa::guard::{Algorithm, TokenType};

use crate::encoding::exactly;
use crate::forge::{AUDIENCE, LEEWAY, NOW, World, claims, good, header, sign};
use crate::keys::ALGORITHMS;

pub(crate) struct Good {
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) token_type: TokenType,
}

pub(crate) fn tokens(world: &World) -> Vec<Good> {
    let mut tokens = access_tokens(world);
    let key = world.es256();
    for typ in [
        "JWT",
        "jwt",
        "application/jwt",
        "at+jwt",
        "Application/AT+JWT",
        "",
    ] {
        let mut header = header(key);
        header["typ"] = typ.into();
        if typ.is_empty() {
            header.as_object_mut().unwrap().remove("typ");
        }
        tokens.push(Good {
            name: format!("any JWT: typ {typ:?}"),
            token: world.with_header(&header),
            token_type: TokenType::Jwt,
        });
    }
    tokens
}

fn access_tokens(world: &World) -> Vec<Good> {
    let mut tokens = Vec::new();
    let mut take = |name: String, token: String| {
        tokens.push(Good {
            name,
            token,
            token_type: TokenType::AccessToken,
        });
    };
    for algorithm in ALGORITHMS {
        let key = world.issuer.key(algorithm);
        take(algorithm.name().to_owned(), good(key));
        // There are two keys for this one.
        if algorithm != Algorithm::Es256 {
            let mut unnamed = header(key);
            unnamed.as_object_mut().unwrap().remove("kid");
            let token = sign(key, unnamed.to_string(), claims().to_string());
            take(format!("{} without a name", algorithm.name()), token);
        }
    }
    take(
        "the other key for ES256".to_owned(),
        good(world.issuer.named("test-next")),
    );
    for typ in ["application/at+jwt", "AT+JWT", "Application/At+Jwt"] {
        let mut header = header(world.es256());
        header["typ"] = typ.into();
        take(format!("typ {typ:?}"), world.with_header(&header));
    }
    for members in [
        r#""x5t":"test","x5t#S256":"test","cty":"JWT""#,
        r#""https://issuer.example/x":{"y":[[[[[1]]]]]}"#,
    ] {
        take(format!("header {members}"), world.with_header_text(members));
    }
    for (name, value) in [
        ("aud", json!([AUDIENCE])),
        ("aud", json!(["https://other.example", AUDIENCE])),
        ("scope", json!("")),
        ("scope", json!(["read", "write"])),
        ("scp", json!(["read", "write"])),
        ("scp", json!("read write")),
        ("acr", json!(["mfa", "phr"])),
        ("acr", json!([])),
        ("amr", json!("otp")),
        ("amr", json!(["pwd", "otp"])),
        ("azp", json!("test-app")),
        ("nonce", json!("test")),
        ("events", json!({})),
        ("exp", json!(NOW - LEEWAY + 1)),
        ("exp", json!(253_402_300_799_u64)),
        ("nbf", json!(0)),
        ("nbf", json!(NOW + LEEWAY)),
        ("iat", json!(NOW + LEEWAY)),
        ("auth_time", json!(NOW + LEEWAY)),
        ("roles", Value::from(vec!["test-role"; 500])),
        (
            "address",
            json!({"country": "a", "b": {"country": "c", "iss": 1, "exp": "never"}}),
        ),
        ("name", json!("\u{e4}\u{1f600}\u{0}\u{feff}")),
        ("x", json!([-1, 0.5, 1e300, null, true, "", {}, []])),
    ] {
        let value = value.to_string();
        let name = format!("{name} {}", value.get(..40).unwrap_or(&value));
        take(
            name.clone(),
            world.with_claim(name.split(' ').next().unwrap(), &value),
        );
    }
    for name in [
        "sub",
        "iat",
        "auth_time",
        "scope",
        "acr",
        "amr",
        "jti",
        "client_id",
    ] {
        take(format!("no {name}"), world.without_claim(name));
    }
    let least = json!({"iss": claims()["iss"], "aud": AUDIENCE, "exp": NOW + 600});
    take(
        "the least there can be".to_owned(),
        world.with_claims(&least),
    );
    let escaped = claims().to_string().replace("\"exp\"", "\"e\\u0078p\"");
    take(
        "an escaped name".to_owned(),
        world.with_claims_text(&escaped),
    );
    let spaced = serde_json::to_string_pretty(&claims()).unwrap();
    take(
        "spaces in JSON".to_owned(),
        world.with_claims_text(&spaced.replace('\n', "\r\n")),
    );
    let arrays = format!("{}1{}", "[".repeat(15), "]".repeat(15));
    take("15 arrays".to_owned(), world.with_claim("x", &arrays));
    let members: Vec<String> = (0..240).map(|n| format!("\"m{n}\":0")).collect();
    take(
        "240 members".to_owned(),
        world.with_claim("x", &format!("{{{}}}", members.join(","))),
    );
    let text = |length: usize| world.with_claim("x", &format!("\"{}\"", "x".repeat(length)));
    let longest = exactly(16 * 1024 - 1, text);
    assert!((16 * 1024 - 1..=16 * 1024).contains(&longest.len()));
    take("16 KiB".to_owned(), longest);
    tokens
}
