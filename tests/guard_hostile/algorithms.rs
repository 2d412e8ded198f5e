//! The algorithm is the key's, not the token's.

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use tower_mfa::guard::{Algorithm, Reason};

use crate::forge::{Case, World, claims, encode, header, sign, sign_parts};
use crate::keys::Key;

/// No signature at all, by each name that libraries have taken for it.
pub(crate) fn none(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "none ",
        "\u{ff4e}one",
        "null",
        "",
    ] {
        let mut header = header(world.rs256());
        header["alg"] = alg.into();
        let signed = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims().to_string())
        );
        cases.push(Case::new(
            format!("{alg:?}, empty signature"),
            format!("{signed}."),
            Reason::MalformedToken,
        ));
        cases.push(Case::new(
            format!("{alg:?}, some signature"),
            format!("{signed}.{}", encode("test")),
            Reason::UnsupportedAlgorithm,
        ));
        cases.push(Case::new(
            format!("{alg:?}, signed all the same"),
            format!("{signed}.{}", encode(world.rs256().sign(signed.as_bytes()))),
            Reason::UnsupportedAlgorithm,
        ));
    }
    cases
}

/// The public key, in every form it is published in, as the secret of an HMAC.
pub(crate) fn hmac_with_the_public_key(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let keys = [
        world.rs256(),
        world.es256(),
        world.issuer.key(Algorithm::EdDsa),
    ];
    for key in keys {
        for (alg, algorithm) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            for (form, secret) in forms(key) {
                let header = json!({"alg": alg, "typ": "at+jwt", "kid": key.kid});
                let signed = format!(
                    "{}.{}",
                    encode(header.to_string()),
                    encode(claims().to_string())
                );
                let secret = hmac::Key::new(algorithm, &secret);
                let tag = hmac::sign(&secret, signed.as_bytes());
                cases.push(Case::new(
                    format!("{alg} with {form} of {}", key.kid),
                    format!("{signed}.{}", encode(tag)),
                    Reason::UnsupportedAlgorithm,
                ));
            }
        }
    }
    cases
}

fn forms(key: &Key) -> Vec<(&'static str, Vec<u8>)> {
    let pem = key.pem();
    let jwk = key.jwk();
    vec![
        ("the PEM", pem.clone().into_bytes()),
        (
            "the PEM without its last newline",
            pem.trim_end().to_owned().into_bytes(),
        ),
        ("the PEM with CRLF", pem.replace('\n', "\r\n").into_bytes()),
        ("the DER", key.der()),
        ("the JWK", jwk.to_string().into_bytes()),
        ("the JWKS", json!({"keys": [jwk]}).to_string().into_bytes()),
        ("the bare key", key.bare()),
        ("the bare key, encoded", encode(key.bare()).into_bytes()),
        ("the name", key.kid.clone().into_bytes()),
        ("nothing", Vec::new()),
    ]
}

/// One key, taken for another algorithm.
pub(crate) fn confusion(world: &World) -> Vec<Case> {
    use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    let mut cases = Vec::new();
    // The token names the algorithm that it is really signed with; the key is for another one.
    for (of_key, used) in [
        (Rs256, Ps256),
        (Rs256, Rs384),
        (Rs256, Rs512),
        (Rs512, Rs256),
        (Ps256, Rs256),
        (Ps256, Ps384),
        (Ps512, Ps256),
        (Ps384, Rs384),
    ] {
        let key = world.issuer.key(of_key);
        let signed = unsigned(used.name(), &key.kid);
        let signature = key.sign_as(used, signed.as_bytes());
        cases.push(Case::new(
            format!("a key for {} with {}", of_key.name(), used.name()),
            format!("{signed}.{}", encode(signature)),
            Reason::UnknownKey,
        ));
        // It names the key's algorithm, and is signed with the other one.
        let signed = unsigned(of_key.name(), &key.kid);
        let signature = key.sign_as(used, signed.as_bytes());
        cases.push(Case::new(
            format!("{} that is {}", of_key.name(), used.name()),
            format!("{signed}.{}", encode(signature)),
            Reason::Signature,
        ));
    }
    // Keys of other kinds.
    for (of_key, named) in [
        (Rs256, Es256),
        (Rs256, EdDsa),
        (Es256, Rs256),
        (Es256, Es384),
        (Es384, Es256),
        (EdDsa, Es256),
        (EdDsa, Rs256),
        (Ps256, Es256),
    ] {
        let key = world.issuer.key(of_key);
        let signed = unsigned(named.name(), &key.kid);
        cases.push(Case::new(
            format!(
                "{} by the name of a key for {}",
                named.name(),
                of_key.name()
            ),
            format!("{signed}.{}", encode(key.sign(signed.as_bytes()))),
            Reason::UnknownKey,
        ));
    }
    cases
}

fn unsigned(alg: &str, kid: &str) -> String {
    let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid});
    format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims().to_string())
    )
}

/// Names that are almost algorithms, those of other purposes, and values that are no names.
pub(crate) fn names(world: &World) -> Vec<Case> {
    let key = world.rs256();
    let mut cases = Vec::new();
    for alg in [
        "rs256",
        "Rs256",
        "RS256 ",
        " RS256",
        "RS256\0",
        "RS-256",
        "RSA256",
        "SHA256withRSA",
        "ES256K",
        "ES512",
        "Ed25519",
        "EdDSA448",
        "ML-DSA-44",
        "HS1",
        "dir",
        "RSA-OAEP",
        "A128KW",
        "PBES2-HS256+A128KW",
        "x",
    ] {
        let mut header = header(key);
        header["alg"] = alg.into();
        let token = sign(key, header.to_string(), claims().to_string());
        cases.push(Case::new(
            format!("{alg:?}"),
            token,
            Reason::UnsupportedAlgorithm,
        ));
    }
    for alg in [
        Value::Null,
        json!(256),
        json!(true),
        json!(["RS256"]),
        json!({"RS256": true}),
    ] {
        let mut header = header(key);
        header["alg"] = alg.clone();
        let token = sign(key, header.to_string(), claims().to_string());
        cases.push(Case::new(alg.to_string(), token, Reason::MalformedToken));
    }
    let header = json!({"typ": "at+jwt", "kid": key.kid});
    let token = sign(key, header.to_string(), claims().to_string());
    cases.push(Case::new("no algorithm", token, Reason::MalformedToken));
    let empty = sign_parts(key, &encode("{}"), &encode(claims().to_string()));
    cases.push(Case::new("an empty header", empty, Reason::MalformedToken));
    cases
}
