//! Signatures that are not the issuer's, or not of this token.

use serde_json::json;
use tower_mfa::guard::{Algorithm, Reason};

use crate::forge::{Case, NOW, World, claims, encode, good, header, parts, sign, signed_by};
use crate::keys::ALGORITHMS;

/// The order of the group of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of the group of Ed25519, the little end first.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10,
];

/// The same for each algorithm.
pub(crate) fn broken(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    for algorithm in ALGORITHMS {
        let key = world.issuer.key(algorithm);
        let good = good(key);
        let signature = crate::forge::decode(parts(&good)[2]);
        let flipped = |index: usize, bit: u8| {
            let mut changed = signature.clone();
            changed[index] ^= bit;
            changed
        };
        let mut other = claims();
        other["sub"] = "test|eve".into();
        let other = sign(key, header(key).to_string(), other.to_string());
        for (what, bytes) in [
            (
                "without its last byte",
                signature[..signature.len() - 1].to_vec(),
            ),
            ("without its first byte", signature[1..].to_vec()),
            ("half of it", signature[..signature.len() / 2].to_vec()),
            ("a byte", vec![signature[0]]),
            ("a zero after it", [&signature[..], &[0]].concat()),
            ("a zero before it", [&[0], &signature[..]].concat()),
            ("twice", [&signature[..], &signature[..]].concat()),
            ("zeros", vec![0; signature.len()]),
            ("ones", vec![0xff; signature.len()]),
            ("the first bit", flipped(0, 0x80)),
            ("the last bit", flipped(signature.len() - 1, 1)),
            ("a bit in the middle", flipped(signature.len() / 2, 0x10)),
            ("backwards", signature.iter().rev().copied().collect()),
            ("of another token", crate::forge::decode(parts(&other)[2])),
            ("of the claims alone", key.sign(parts(&good)[1].as_bytes())),
            ("of the JSON", key.sign(claims().to_string().as_bytes())),
            ("of nothing", key.sign(b"")),
            (
                "by a key of the same name",
                world
                    .attacker
                    .key(algorithm)
                    .sign(good.rsplit_once('.').unwrap().0.as_bytes()),
            ),
        ] {
            let token = signed_by(&good, bytes);
            let name = format!("{}: {what}", algorithm.name());
            cases.push(Case::new(name, token, Reason::Signature));
        }
        let [header, claims, _] = parts(&good);
        cases.push(Case::new(
            format!("{}: empty", algorithm.name()),
            format!("{header}.{claims}."),
            Reason::MalformedToken,
        ));
    }
    cases
}

/// Forms and values that one algorithm has and a careless verifier takes.
pub(crate) fn special(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case =
        |name: &str, token: String| cases.push(Case::new(name, token, Reason::Signature));

    let key = world.es256();
    let good_token = good(key);
    let message = good_token.rsplit_once('.').unwrap().0.as_bytes();
    let signature = key.sign(message);
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let mut one = zero;
    one[31] = 1;
    let pair = |r: &[u8], s: &[u8]| signed_by(&good_token, [r, s].concat());
    case(
        "ES256: DER",
        signed_by(&good_token, key.sign_in_der(message)),
    );
    case("ES256: r is 0", pair(&zero, s));
    case("ES256: s is 0", pair(r, &zero));
    case("ES256: both are 1", pair(&one, &one));
    case("ES256: r is the order", pair(&ORDER, s));
    case("ES256: s is the order", pair(r, &ORDER));
    case("ES256: both are the order", pair(&ORDER, &ORDER));
    case("ES256: r and s the other way round", pair(s, r));
    case("ES256: r twice", pair(r, r));
    case(
        "ES256: as wide as P-384",
        signed_by(&good_token, [&[0; 16], r, &[0; 16], s].concat()),
    );
    case(
        "ES256: by a key for ES384",
        signed_by(
            &good_token,
            world.issuer.key(Algorithm::Es384).sign(message),
        ),
    );

    let key = world.issuer.key(Algorithm::EdDsa);
    let good_token = good(key);
    let message = good_token.rsplit_once('.').unwrap().0.as_bytes();
    let signature = key.sign(message);
    let mut more = signature.clone();
    let mut carry = 0;
    for (byte, order) in more[32..].iter_mut().zip(ED25519_ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    case("EdDSA: S and the order", signed_by(&good_token, more));
    let mut identity = vec![0; 64];
    identity[0] = 1;
    case(
        "EdDSA: the identity and 0",
        signed_by(&good_token, identity),
    );
    let scalar = [&signature[..32], &[0; 32]].concat();
    case("EdDSA: S is 0", signed_by(&good_token, scalar));

    let key = world.rs256();
    let good_token = good(key);
    let modulus = key.bare();
    let mut one = vec![0; modulus.len()];
    one[modulus.len() - 1] = 1;
    let mut minus_one = modulus.clone();
    minus_one[modulus.len() - 1] -= 1;
    case("RS256: 1", signed_by(&good_token, one));
    case("RS256: the modulus", signed_by(&good_token, &modulus));
    case(
        "RS256: the modulus less 1",
        signed_by(&good_token, minus_one),
    );
    let signature = key.sign(good_token.rsplit_once('.').unwrap().0.as_bytes());
    case(
        "RS256: and the modulus",
        signed_by(&good_token, sum(&signature, &modulus)),
    );
    cases
}

fn sum(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut bytes: Vec<u8> = one
        .iter()
        .zip(other)
        .rev()
        .map(|(one, other)| {
            let sum = u16::from(*one) + u16::from(*other) + carry;
            carry = sum >> 8;
            sum.to_le_bytes()[0]
        })
        .collect();
    // As long as the modulus where it fits: only its size tells it from the signature.
    if carry > 0 {
        bytes.push(1);
    }
    bytes.into_iter().rev().collect()
}

/// Parts of good tokens, put together anew.
pub(crate) fn swapped(world: &World) -> Vec<Case> {
    use Reason::{Signature, UnknownKey, UnsupportedAlgorithm};
    let mut cases = Vec::new();
    let key = world.es256();
    let mine = good(key);
    let mut other = claims();
    other["sub"] = "test|eve".into();
    other["scope"] = "admin".into();
    let theirs = sign(key, header(key).to_string(), other.to_string());
    let by_rsa = good(world.rs256());
    let ([h1, c1, s1], [h2, c2, s2]) = (parts(&mine), parts(&theirs));
    let [h3, c3, s3] = parts(&by_rsa);
    let join = |parts: [&str; 3]| parts.join(".");
    cases.push(Case::new(
        "the claims of another",
        join([h1, c2, s1]),
        Signature,
    ));
    cases.push(Case::new(
        "the signature of another",
        join([h2, c1, s2]),
        Signature,
    ));
    cases.push(Case::new(
        "the header of another algorithm",
        join([h3, c1, s1]),
        Signature,
    ));
    cases.push(Case::new(
        "the signature of another algorithm",
        join([h1, c3, s3]),
        Signature,
    ));
    cases.push(Case::new(
        "the claims as the header",
        join([c1, h1, s1]),
        Reason::MalformedToken,
    ));
    cases.push(Case::new(
        "the header as the claims",
        join([h1, h1, s1]),
        Reason::MalformedToken,
    ));

    let edited = |name: &str, value: serde_json::Value| {
        let mut claims = claims();
        claims[name] = value;
        join([h1, &encode(claims.to_string()), s1])
    };
    cases.push(Case::new(
        "another subject",
        edited("sub", "test|eve".into()),
        Signature,
    ));
    cases.push(Case::new(
        "more scopes",
        edited("scope", "read write admin".into()),
        Signature,
    ));
    cases.push(Case::new(
        "a later end",
        edited("exp", (NOW + 86_400).into()),
        Signature,
    ));
    cases.push(Case::new(
        "a later login",
        edited("auth_time", NOW.into()),
        Signature,
    ));
    cases.push(Case::new(
        "a stronger login",
        edited("acr", "phr".into()),
        Signature,
    ));
    let respaced = claims().to_string().replacen(':', ": ", 1);
    cases.push(Case::new(
        "the same claims, written otherwise",
        join([h1, &encode(respaced), s1]),
        Signature,
    ));
    let reordered = json!({"kid": key.kid, "typ": "at+jwt", "alg": "ES256", "x": 0}).to_string();
    cases.push(Case::new(
        "one more header",
        join([&encode(reordered), c1, s1]),
        Signature,
    ));
    let none = json!({"alg": "none", "typ": "at+jwt"}).to_string();
    cases.push(Case::new(
        "none in a good token",
        join([&encode(none), c1, s1]),
        UnsupportedAlgorithm,
    ));

    for algorithm in ALGORITHMS {
        let attacker = world.attacker.key(algorithm);
        let mut unnamed = header(attacker);
        unnamed.as_object_mut().unwrap().remove("kid");
        let reason = match algorithm {
            Algorithm::Es256 => UnknownKey,
            _ => Signature,
        };
        cases.push(Case::new(
            format!(
                "{} by another issuer's key without a name",
                algorithm.name()
            ),
            sign(attacker, unnamed.to_string(), claims().to_string()),
            reason,
        ));
        let mut renamed = header(attacker);
        renamed["kid"] = "attacker-key".into();
        cases.push(Case::new(
            format!(
                "{} by another issuer's key of its own name",
                algorithm.name()
            ),
            sign(attacker, renamed.to_string(), claims().to_string()),
            UnknownKey,
        ));
    }
    cases
}
