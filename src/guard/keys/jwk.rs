//! Keys as JSON (RFC 7517, RFC 7518 section 6, RFC 8037).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::guard::Algorithm;

use super::public_key::PublicKey;

/// A key as it was published.
pub(super) struct Described {
    pub(super) kid: Option<Box<str>>,
    pub(super) key: PublicKey,
    /// Never empty.
    pub(super) algorithms: Vec<Algorithm>,
}

/// The members of private and symmetric keys. Where one is published, anybody can sign.
const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl Described {
    /// Reads one key, or says why it cannot be used.
    pub(super) fn read(jwk: &Value) -> Result<Self, &'static str> {
        let jwk = jwk.as_object().ok_or("it is no JSON object")?;
        if SECRET.iter().any(|member| jwk.contains_key(*member)) {
            return Err("it holds a private or a symmetric key");
        }
        if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
            return Err("its `use` is not `sig`");
        }
        if jwk.get("key_ops").is_some_and(|operations| {
            !operations
                .as_array()
                .is_some_and(|all| all.iter().any(|operation| operation == "verify"))
        }) {
            return Err("its `key_ops` are without `verify`");
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.as_str().into()),
            Some(_) => return Err("its `kid` is no string"),
        };
        let key = public_key(jwk)?;
        let algorithms = match jwk.get("alg") {
            None => key.algorithms().to_vec(),
            Some(name) => {
                let named = name.as_str().and_then(Algorithm::from_name);
                match named.filter(|named| key.algorithms().contains(named)) {
                    Some(named) => vec![named],
                    None => return Err("its `alg` is unknown, or is not for keys of its kind"),
                }
            }
        };
        Ok(Self {
            kid,
            key,
            algorithms,
        })
    }

    /// A key without a name, and without more known than its kind.
    pub(super) fn bare(key: PublicKey) -> Self {
        let algorithms = key.algorithms().to_vec();
        Self {
            kid: None,
            key,
            algorithms,
        }
    }
}

/// The keys of a set, each of which may be unusable.
pub(super) fn keys_of(jwks: &Value) -> Result<&[Value], &'static str> {
    jwks.get("keys")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .ok_or("it has no `keys`, which every JWKS has (RFC 7517 section 5)")
}

fn public_key(jwk: &Map<String, Value>) -> Result<PublicKey, &'static str> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| {
        text(name)
            .and_then(|value| BASE64_URL_SAFE_NO_PAD.decode(value).ok())
            .ok_or("a member is missing, or is not base64url without padding")
    };
    match (text("kty"), text("crv")) {
        (Some("RSA"), _) => PublicKey::rsa(&bytes("n")?, &bytes("e")?),
        (Some("EC"), Some("P-256")) => PublicKey::p256(&point(&bytes("x")?, &bytes("y")?, 32)?),
        (Some("EC"), Some("P-384")) => PublicKey::p384(&point(&bytes("x")?, &bytes("y")?, 48)?),
        (Some("EC"), _) => Err("its curve is neither P-256 nor P-384"),
        (Some("OKP"), Some("Ed25519")) => PublicKey::ed25519(&bytes("x")?),
        (Some("OKP"), _) => Err("its curve is not Ed25519"),
        (Some("oct"), _) => Err("it is a symmetric key"),
        _ => Err("its `kty` is neither RSA, EC nor OKP"),
    }
}

/// Each coordinate has to be of full length (RFC 7518 section 6.2.1.2).
fn point(x: &[u8], y: &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    if x.len() != length || y.len() != length {
        return Err("its coordinates do not have the length of its curve");
    }
    Ok([&[4], x, y].concat())
}
