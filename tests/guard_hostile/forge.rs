//! Tokens put together from parts, any of which may be wrong.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_mfa::guard::{Algorithm, Reason, TokenType};

use crate::keys::{Key, Keyring};

pub(crate) const ISSUER: &str = "https://issuer.example/";
pub(crate) const AUDIENCE: &str = "https://api.example";
/// What the clock shows.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const LEEWAY: u64 = 60;

/// A token that has to be refused, and why.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) reason: Reason,
    /// What the verifier takes.
    pub(crate) token_type: TokenType,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, token: impl Into<String>, reason: Reason) -> Self {
        Self {
            name: name.into(),
            token: token.into(),
            reason,
            token_type: TokenType::AccessToken,
        }
    }

    /// For a verifier that takes any JWT.
    pub(crate) fn of_any_jwt(mut self) -> Self {
        self.token_type = TokenType::Jwt;
        self
    }
}

/// An issuer that can be trusted, and somebody who knows its public keys and has others of the same names.
pub(crate) struct World {
    pub(crate) issuer: Keyring,
    pub(crate) attacker: Keyring,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            issuer: Keyring::generate(),
            attacker: Keyring::generate(),
        }
    }

    pub(crate) fn es256(&self) -> &Key {
        self.issuer.key(Algorithm::Es256)
    }

    pub(crate) fn rs256(&self) -> &Key {
        self.issuer.key(Algorithm::Rs256)
    }

    /// A good token but for its header, which is signed.
    pub(crate) fn with_header(&self, header: &Value) -> String {
        sign(self.es256(), header.to_string(), claims().to_string())
    }

    /// A good token but for some more text in its header, which is signed.
    pub(crate) fn with_header_text(&self, members: &str) -> String {
        let header = header(self.es256()).to_string();
        let header = header.replacen('{', &format!("{{{members},"), 1);
        sign(self.es256(), &header, claims().to_string())
    }

    /// A good token but for its claims, which are signed.
    pub(crate) fn with_claims(&self, claims: &Value) -> String {
        self.with_claims_text(&claims.to_string())
    }

    pub(crate) fn with_claims_text(&self, claims: &str) -> String {
        sign(self.es256(), header(self.es256()).to_string(), claims)
    }

    /// A good token but for one claim, given as JSON text so that it can be what no writer writes.
    pub(crate) fn with_claim(&self, name: &str, value: &str) -> String {
        let mut others = claims();
        others.as_object_mut().unwrap().remove(name);
        let others = others.to_string();
        self.with_claims_text(&others.replacen('{', &format!("{{\"{name}\":{value},"), 1))
    }

    pub(crate) fn without_claim(&self, name: &str) -> String {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        self.with_claims(&claims)
    }
}

/// The header of a good token.
pub(crate) fn header(key: &Key) -> Value {
    json!({"alg": key.algorithm.name(), "typ": "at+jwt", "kid": key.kid})
}

/// The claims of a good token.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "test|ada", "client_id": "test-app", "jti": "test-1",
        "iat": NOW - 60, "auth_time": NOW - 120, "exp": NOW + 600, "scope": "read write", "acr": "mfa", "amr": ["otp"],
    })
}

pub(crate) fn good(key: &Key) -> String {
    sign(key, header(key).to_string(), claims().to_string())
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Encodes and signs what it is given, whatever it is.
pub(crate) fn sign(key: &Key, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    sign_parts(key, &encode(header), &encode(claims))
}

/// Signs two parts that are encoded already, well or badly.
pub(crate) fn sign_parts(key: &Key, header: &str, claims: &str) -> String {
    let signed = format!("{header}.{claims}");
    let signature = encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// The three parts of a token.
pub(crate) fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().unwrap()
}

/// A token with another signature.
pub(crate) fn signed_by(token: &str, signature: impl AsRef<[u8]>) -> String {
    let [header, claims, _] = parts(token);
    format!("{header}.{claims}.{}", encode(signature))
}
