use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::guard::token::VerifiedToken;

const ISSUER: &str = "https://issuer.example/";
const AUDIENCE: &str = "https://api.example";

fn rules(typ: TokenType) -> Rules {
    Rules {
        token_type: typ,
        ..Rules::new(ISSUER.to_owned(), AUDIENCE.to_owned())
    }
}

fn token(header: &str, claims: &str) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(header), part(claims), part("signature"))
}

const HEADER: &str = r#"{"alg":"ES256","typ":"at+jwt","kid":"one"}"#;
const CLAIMS: &str =
    r#"{"iss":"https://issuer.example/","aud":"https://api.example","sub":"ada","exp":2000}"#;

/// At a time when nothing has ended, and nothing is in the future.
fn parse<'t>(token: &'t str, rules: &Rules) -> Result<Unverified<'t>, Reason> {
    let at = At {
        now: 0,
        leeway: u64::MAX,
    };
    super::parse(token, rules, &KnownHeader::default(), at)
}

fn read(header: &str, claims: &str) -> Result<(), Reason> {
    parse(&token(header, claims), &rules(TokenType::AccessToken)).map(drop)
}

/// The usual claims with some members more, or instead.
fn with(members: &[(&str, &str)]) -> String {
    let mut all = vec![
        ("iss", r#""https://issuer.example/""#),
        ("aud", r#""https://api.example""#),
        ("exp", "2000"),
    ];
    all.retain(|(name, _)| !members.iter().any(|(other, _)| name == other));
    all.extend(members);
    all.retain(|(_, value)| !value.is_empty());
    let members: Vec<String> = all
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn claims(members: &[(&str, &str)]) -> Claims {
    let token = token(HEADER, &with(members));
    match parse(&token, &rules(TokenType::AccessToken)) {
        Ok(parsed) => parsed.claims,
        Err(reason) => panic!("{members:?}: {reason}"),
    }
}

#[test]
fn a_token_comes_apart() {
    let token = token(HEADER, CLAIMS);
    let parsed = parse(&token, &rules(TokenType::AccessToken)).unwrap();
    assert_eq!(
        parsed.signed,
        token.rsplit_once('.').unwrap().0.as_bytes(),
        "what is signed is what was sent"
    );
    assert_eq!(parsed.signature, b"signature");
    assert_eq!(parsed.header.algorithm, Algorithm::Es256);
    assert_eq!(parsed.header.kid.as_deref(), Some("one"));
    assert_eq!(parsed.claims.json, CLAIMS);
}

#[test]
fn every_claim_is_read() {
    let json = json!({
        "iss": ISSUER, "sub": "ada", "aud": [AUDIENCE, "other"], "client_id": "app", "azp": "not asked", "jti": "7",
        "scope": "read  write", "scp": ["admin"], "acr": ["mfa", "phr"], "amr": "otp", "auth_time": 900, "exp": 2000,
        "nbf": 1000, "iat": 1000, "https://api.example/tier": {"name": "a\u{e4}b"},
    });
    let token = token(HEADER, &json.to_string());
    let parsed = parse(&token, &rules(TokenType::AccessToken));
    let verified = VerifiedToken::new(parsed.unwrap().claims);
    assert_eq!(verified.issuer(), ISSUER);
    assert_eq!(verified.subject(), Some("ada"));
    assert_eq!(verified.audience().collect::<Vec<_>>(), [AUDIENCE, "other"]);
    assert_eq!(verified.client_id(), Some("app"));
    assert_eq!(verified.id(), Some("7"));
    assert_eq!(verified.scopes().collect::<Vec<_>>(), ["read", "write"]);
    assert!(verified.has_scope("write") && !verified.has_scope("admin"));
    assert_eq!(verified.acr().collect::<Vec<_>>(), ["mfa", "phr"]);
    assert_eq!(verified.amr().collect::<Vec<_>>(), ["otp"]);
    let fields = verified.fields();
    assert_eq!(
        (
            fields.auth_time,
            fields.expires_at,
            fields.not_before,
            fields.issued_at
        ),
        (Some(900), 2000, Some(1000), Some(1000))
    );
    assert_eq!(
        verified.claim_json("https://api.example/tier"),
        Some(r#"{"name":"aäb"}"#)
    );
    assert_eq!(verified.claim_json("name"), None, "of the outermost only");
    assert_eq!(verified.claim_json("jti"), Some("\"7\""));
}

#[test]
fn scopes_of_each_shape() {
    let scopes = |members: &[(&str, &str)]| -> Vec<String> {
        let verified = VerifiedToken::new(claims(members));
        verified.scopes().map(str::to_owned).collect()
    };
    assert_eq!(scopes(&[("scp", r#""a b""#)]), ["a", "b"]);
    assert_eq!(scopes(&[("scope", r#"["a","b c"]"#)]), ["a", "b c"]);
    assert_eq!(
        scopes(&[("scope", "\"\""), ("scp", "[\"a\"]")]),
        [""; 0],
        "`scp` does not add to an empty `scope`"
    );
    assert_eq!(scopes(&[]), [""; 0]);
}

#[test]
fn the_client_is_azp_where_there_is_no_client_id() {
    assert_eq!(
        claims(&[("azp", "\"app\"")]).client_id.as_deref(),
        Some("app")
    );
}

#[test]
fn headers_that_are_taken() {
    for header in [
        r#"{"alg":"RS256","typ":"application/at+jwt"}"#,
        r#"{"alg":"PS512","typ":"Application/AT+JWT","x5t":"unused","cty":"JWT"}"#,
        r#" {"typ":"at+jwt" , "alg":"EdDSA"} "#,
        r#"{"typ":"at+jwt","alg":"ES\u0032\u00356"}"#,
        &format!(
            r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#,
            "k".repeat(256)
        ),
        &format!(
            r#"{{"typ":"at+jwt","alg":"ES256","deep":{}1{}}}"#,
            "[".repeat(7),
            "]".repeat(7)
        ),
    ] {
        assert_eq!(read(header, CLAIMS), Ok(()), "{header}");
    }
}

#[test]
fn headers_that_are_refused() {
    use Reason::{MalformedToken, UnsupportedAlgorithm, WrongType};
    let long_kid = format!(
        r#"{{"typ":"at+jwt","alg":"ES256","kid":"{}"}}"#,
        "k".repeat(257)
    );
    let deep = format!(
        r#"{{"typ":"at+jwt","alg":"ES256","deep":{}1{}}}"#,
        "[".repeat(8),
        "]".repeat(8)
    );
    let many: String = (0..63).map(|n| format!(r#","m{n}":0"#)).collect();
    let many = format!(r#"{{"typ":"at+jwt","alg":"ES256"{many}}}"#);
    let with = |more: &str| format!(r#"{{"typ":"at+jwt","alg":"ES256",{more}}}"#);
    let cases = [
        (r#"{"alg":"none","typ":"at+jwt"}"#, UnsupportedAlgorithm),
        (r#"{"alg":"nOnE","typ":"at+jwt"}"#, UnsupportedAlgorithm),
        (r#"{"alg":"HS256","typ":"at+jwt"}"#, UnsupportedAlgorithm),
        (r#"{"alg":"es256","typ":"at+jwt"}"#, UnsupportedAlgorithm),
        (r#"{"alg":"","typ":"at+jwt"}"#, UnsupportedAlgorithm),
        (r#"{"alg":null,"typ":"at+jwt"}"#, MalformedToken),
        (r#"{"alg":["ES256"],"typ":"at+jwt"}"#, MalformedToken),
        (r#"{"typ":"at+jwt"}"#, MalformedToken),
        (r#"{"alg":"ES256"}"#, WrongType),
        (r#"{"alg":"ES256","typ":"JWT"}"#, WrongType),
        (r#"{"alg":"ES256","typ":"at+jwt "}"#, WrongType),
        (r#"{"alg":"ES256","typ":"logout+jwt"}"#, WrongType),
        (
            r#"{"alg":"ES256","typ":"application/application/at+jwt"}"#,
            WrongType,
        ),
        (r#"{"alg":"ES256","typ":1}"#, MalformedToken),
        (&with(r#""crit":["exp"]"#), MalformedToken),
        (&with(r#""crit":[]"#), MalformedToken),
        (&with(r#""b64":true"#), MalformedToken),
        (&with(r#""jwk":{}"#), MalformedToken),
        (&with(r#""jku":"https://keys.example""#), MalformedToken),
        (&with(r#""x5u":"https://keys.example""#), MalformedToken),
        (&with(r#""x5c":[]"#), MalformedToken),
        (&with(r#""zip":"DEF""#), MalformedToken),
        (&with(r#""enc":"A256GCM""#), MalformedToken),
        (&with(r#""kid":"""#), MalformedToken),
        (&with(r#""kid":7"#), MalformedToken),
        (&with(r#""kid":"a\u0000b""#), MalformedToken),
        (&with(r#""alg":"ES256""#), MalformedToken),
        (&with(r#""\u0061lg":"none""#), MalformedToken),
        (&with(r#""x":{"y":[{"z":1,"z":1}]}"#), MalformedToken),
        (&with(r#""x":"\ud800""#), MalformedToken),
        (&long_kid, MalformedToken),
        (&deep, MalformedToken),
        (&many, MalformedToken),
        ("[]", MalformedToken),
        ("\"ES256\"", MalformedToken),
        (
            "\u{feff}{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}",
            MalformedToken,
        ),
        (r#"{"alg":"ES256","typ":"at+jwt"}{}"#, MalformedToken),
        (r#"{"alg":"ES256","typ":"at+jwt"}x"#, MalformedToken),
        (r#"{"alg":"ES256","typ":"at+jwt",}"#, MalformedToken),
    ];
    for (header, reason) in cases {
        assert_eq!(read(header, CLAIMS), Err(reason), "{header}");
    }
}

#[test]
fn an_algorithm_that_is_known_can_still_be_forbidden() {
    let mut rules = rules(TokenType::AccessToken);
    rules.algorithms = vec![Algorithm::Rs256];
    let refused = parse(&token(HEADER, CLAIMS), &rules).map(drop);
    assert_eq!(refused, Err(Reason::UnsupportedAlgorithm));
}

#[test]
fn claims_that_are_refused() {
    for (name, values) in [
        (
            "exp",
            &[
                "",
                "\"2000\"",
                "-1",
                "-0",
                "2000.0",
                "2e3",
                "null",
                "true",
                "[2000]",
                "253402300800",
                "99999999999999999999",
                "1e400",
                "{}",
            ][..],
        ),
        ("nbf", &["\"1\"", "-1", "1.5", "null", "253402300800"]),
        ("iat", &["\"1\"", "-1", "1.5", "null", "253402300800"]),
        ("auth_time", &["\"1\"", "-1", "1.5", "null", "253402300800"]),
        (
            "iss",
            &["", "\"\"", "null", "[\"https://issuer.example/\"]", "1"],
        ),
        (
            "aud",
            &[
                "",
                "[]",
                "null",
                "1",
                "{}",
                "[[\"https://api.example\"]]",
                "[\"https://api.example\",1]",
                "[null]",
                "{\"https://api.example\":1}",
            ],
        ),
        ("sub", &["\"\"", "null", "1", "[\"ada\"]"]),
        (
            "scope",
            &["null", "1", "{}", "[1]", "[\"a\",null]", "[[\"a\"]]"],
        ),
        ("scp", &["null", "1", "{}"]),
        ("acr", &["null", "2", "{}", "[2]"]),
        ("amr", &["null", "2", "{}", "[[\"otp\"]]"]),
        ("jti", &["null", "7"]),
        ("client_id", &["null", "7", "[]"]),
        ("azp", &["null", "7"]),
        (
            "x",
            &[
                "\"\\udc00\"",
                "01",
                "tru",
                "'a'",
                "NaN",
                "{\"a\":1,\"a\":1}",
            ],
        ),
    ] {
        for value in values {
            let claims = with(&[(name, value)]);
            assert_eq!(
                read(HEADER, &claims),
                Err(Reason::MalformedToken),
                "{claims}"
            );
        }
    }
}

#[test]
fn a_claim_is_there_once() {
    for again in [
        r#""exp":2000"#,
        r#""e\u0078p":9000"#,
        r#""sub":"eve","s\u0075b":"eve""#,
        r#""x":{"a":[{"b":0,"\u0062":0}]}"#,
        r#""":0,"":0"#,
    ] {
        let claims = CLAIMS.replace("\"exp\":2000", &format!("\"exp\":2000,{again}"));
        assert_eq!(
            read(HEADER, &claims),
            Err(Reason::MalformedToken),
            "{claims}"
        );
    }
    assert_eq!(
        read(HEADER, &with(&[("x", r#"[{"exp":1},{"exp":1}]"#)])),
        Ok(()),
        "in different objects a name may be the same"
    );
}

#[test]
fn structure_is_bounded() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let many = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("\"m{n}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    for (value, expected) in [
        (nested(15), Ok(())),
        (nested(16), Err(Reason::MalformedToken)),
        (nested(4000), Err(Reason::MalformedToken)),
        (objects(15), Ok(())),
        (objects(16), Err(Reason::MalformedToken)),
        (objects(1500), Err(Reason::MalformedToken)),
        // three usual claims, and the one that holds these
        (many(252), Ok(())),
        (many(253), Err(Reason::MalformedToken)),
        // an array is no object; how much there is of it is bounded by the token's length
        (format!("[{}1]", "1,".repeat(1000)), Ok(())),
    ] {
        assert_eq!(read(HEADER, &with(&[("x", &value)])), expected, "{value}");
    }
}

#[test]
fn forms_that_are_refused() {
    let good = token(HEADER, CLAIMS);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    // The last character of two bytes has two bits to spare, that of one byte has four.
    let spare = |text: &str| format!("{header}.{claims}.{text}");
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!(".{claims}.{signature}"),
        format!("{header}..{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}.{header}.{claims}.{claims}.{signature}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}\0"),
        format!("\u{feff}{good}"),
        format!("{header} .{claims}.{signature}"),
        format!("{header}\n.{claims}.{signature}"),
        spare("QQ=="),
        spare("QR"),
        spare("QUJ"),
        spare("A"),
        spare("+/+/"),
        spare("\u{e4}\u{e4}"),
        good.to_uppercase(),
        json!({"protected": header, "payload": claims, "signature": signature}).to_string(),
    ] {
        let refused = parse(&bad, &rules(TokenType::AccessToken)).map(drop);
        assert_eq!(refused, Err(Reason::MalformedToken), "{bad}");
    }
    let not_utf8 =
        BASE64_URL_SAFE_NO_PAD.encode(b"{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"x\":\"\xff\"}");
    let not_utf8 = format!("{not_utf8}.{claims}.{signature}");
    let refused = parse(&not_utf8, &rules(TokenType::AccessToken));
    assert_eq!(refused.map(drop), Err(Reason::MalformedToken));
}

#[test]
fn length_is_bounded() {
    let mut rules = rules(TokenType::AccessToken);
    let good = token(HEADER, CLAIMS);
    rules.max_token_bytes = good.len();
    assert!(parse(&good, &rules).is_ok());
    rules.max_token_bytes -= 1;
    assert_eq!(parse(&good, &rules).map(drop), Err(Reason::MalformedToken));
}

#[test]
fn other_kinds_are_told_by_type_and_by_claims() {
    let jwt = rules(TokenType::Jwt);
    for typ in [
        "",
        r#","typ":"JWT""#,
        r#","typ":"jwt""#,
        r#","typ":"application/jwt""#,
        r#","typ":"at+jwt""#,
    ] {
        let header = format!(r#"{{"alg":"ES256"{typ}}}"#);
        assert!(parse(&token(&header, CLAIMS), &jwt).is_ok(), "{header}");
        for claim in ["nonce", "at_hash", "c_hash", "events", "htm", "htu"] {
            let other = with(&[(claim, "\"x\"")]);
            let refused = parse(&token(&header, &other), &jwt).map(drop);
            assert_eq!(refused, Err(Reason::WrongType), "{other}");
        }
    }
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "id_token",
        "JWS",
        "",
        "application/",
    ] {
        let header = json!({"alg": "ES256", "typ": typ}).to_string();
        let refused = parse(&token(&header, CLAIMS), &jwt).map(drop);
        assert_eq!(refused, Err(Reason::WrongType), "{header}");
    }
}

#[test]
fn bindings() {
    let checked = |members: &[(&str, &str)]| {
        let mut rules = rules(TokenType::AccessToken);
        rules.audiences.push("second".to_owned());
        parse(&token(HEADER, &with(members)), &rules).map(drop)
    };
    assert_eq!(checked(&[]), Ok(()));
    assert_eq!(checked(&[("aud", r#"["x","second"]"#)]), Ok(()));
    assert_eq!(checked(&[("aud", r#"["x"]"#)]), Err(Reason::WrongAudience));
    for issuer in [
        "https://issuer.example",
        "https://ISSUER.example/",
        "https://issuer.example/x",
    ] {
        let issuer = Value::from(issuer).to_string();
        assert_eq!(checked(&[("iss", &issuer)]), Err(Reason::WrongIssuer));
    }
    for cnf in ["{\"jkt\":\"x\"}", "{}", "null", "\"\"", "false"] {
        assert_eq!(checked(&[("cnf", cnf)]), Err(Reason::Bound), "{cnf}");
    }
}

#[test]
fn times_at_their_bounds() {
    let at = |members: &[(&str, &str)], now, leeway| claims(members).check_times(now, leeway);
    assert_eq!(at(&[], 1999, 0), Ok(()));
    assert_eq!(at(&[], 2000, 0), Err(Reason::Expired));
    assert_eq!(at(&[], 2059, 60), Ok(()));
    assert_eq!(at(&[], 2060, 60), Err(Reason::Expired));
    for name in ["nbf", "iat", "auth_time"] {
        let members = [(name, "1000")];
        assert_eq!(at(&members, 1000, 0), Ok(()), "{name}");
        assert_eq!(at(&members, 999, 0), Err(Reason::NotYetValid), "{name}");
        assert_eq!(at(&members, 940, 60), Ok(()), "{name}");
        assert_eq!(at(&members, 939, 60), Err(Reason::NotYetValid), "{name}");
    }
    let last = [("exp", "253402300799"), ("nbf", "0")];
    assert_eq!(at(&last, 0, u64::MAX), Ok(()));
    assert_eq!(at(&last, u64::MAX, u64::MAX), Err(Reason::Expired));
    assert_eq!(at(&last, 253_402_300_799, 0), Err(Reason::Expired));
}

/// Whatever is taken has one spelling only.
fn taken_or_refused(text: &str) -> Result<(), TestCaseError> {
    for typ in [TokenType::AccessToken, TokenType::Jwt] {
        let Ok(parsed) = parse(text, &rules(typ)) else {
            continue;
        };
        let (header, _) = text.split_once('.').unwrap();
        let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
        let parts = [&header, parsed.claims.json.as_bytes(), &parsed.signature];
        let again = parts
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part))
            .join(".");
        prop_assert_eq!(&again, text);
        prop_assert!(text.as_bytes().starts_with(parsed.signed));
        // An independent reader finds the same.
        let value: Value = serde_json::from_str(&parsed.claims.json).unwrap();
        prop_assert_eq!(value["exp"].as_u64(), Some(parsed.claims.expires_at));
        prop_assert_eq!(value["iss"].as_str(), Some(&*parsed.claims.issuer));
        prop_assert!(parsed.claims.bytes() > parsed.claims.json.len());
        let _ = parsed.claims.check_times(u64::MAX, u64::MAX);
    }
    Ok(())
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just("\"exp\":1".to_owned()),
        Just(format!("\"iss\":\"{ISSUER}\"")),
        Just(format!("\"aud\":\"{AUDIENCE}\"")),
        Just("\"cnf\":".to_owned()),
        Just("\"\\u0000\\ud83d\\ude00\":".to_owned()),
        Just("-1.5e9".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        taken_or_refused(&text)?;
    }

    #[test]
    fn any_bytes_in_each_part(header in vec(any::<u8>(), 0..64), claims in vec(any::<u8>(), 0..64)) {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        taken_or_refused(&format!("{}.{}.AAAA", encode(&header), encode(&claims)))?;
        taken_or_refused(&format!("{}.{}.AAAA", encode(HEADER.as_bytes()), encode(&claims)))?;
    }

    #[test]
    fn claims_from_pieces(inner in pieces()) {
        taken_or_refused(&token(HEADER, &inner))?;
        taken_or_refused(&token(HEADER, &with(&[("x", &inner)])))?;
    }

    #[test]
    fn changed_tokens(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        at_json in any::<bool>(),
    ) {
        let change = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            for (index, byte) in &changes {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let text = if at_json {
            token(HEADER, &change(CLAIMS))
        } else {
            change(&token(HEADER, CLAIMS))
        };
        taken_or_refused(&text)?;
    }
}
