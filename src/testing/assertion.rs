//! Checks the signed assertions of `private_key_jwt` clients (RFC 7523).

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::{keys::Unverified, state::State};

/// The only `client_assertion_type` there is.
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Whom an assertion speaks for, by its own word.
pub(super) fn subject(assertion: &str) -> Option<String> {
    Some(
        Unverified::parse(assertion)?.claims["sub"]
            .as_str()?
            .to_owned(),
    )
}

/// Whether an assertion was signed with the client's key, for this server, is still good, and was not used before.
pub(super) fn verify(
    state: &mut State,
    assertion: &str,
    pem: &[u8],
    client_id: &str,
    now: SystemTime,
) -> bool {
    let Some(token) = Unverified::parse(assertion) else {
        return false;
    };
    // The algorithm is taken from the token only within the family of the registered key.
    let key = match token.algorithm() {
        Some(Algorithm::RS256 | Algorithm::RS384 | Algorithm::PS256) => {
            DecodingKey::from_rsa_pem(pem)
        }
        Some(Algorithm::ES256) => DecodingKey::from_ec_pem(pem),
        _ => return false,
    };
    let (Some(algorithm), Ok(key)) = (token.algorithm(), key) else {
        return false;
    };
    if !token.verifies(algorithm, &key) {
        return false;
    }
    let claims = &token.claims;
    let expiry = claims["exp"]
        .as_u64()
        .map(|exp| SystemTime::UNIX_EPOCH + Duration::from_secs(exp));
    let (Some(expiry), Some(jti)) = (expiry, claims["jti"].as_str()) else {
        return false;
    };
    claims["iss"] == client_id
        && claims["sub"] == client_id
        && addressed_to(&claims["aud"], &state.issuer)
        && expiry > now
        && state.assertions.insert(format!("{client_id} {jti}"))
}

/// Whether the audience is this server: its issuer, with or without the slash, or its token endpoint.
fn addressed_to(audience: &Value, issuer: &str) -> bool {
    let this = |value: &Value| {
        value.as_str().is_some_and(|named| {
            named == issuer
                || named == issuer.trim_end_matches('/')
                || named == format!("{issuer}oauth/token")
        })
    };
    audience
        .as_array()
        .map_or_else(|| this(audience), |several| several.iter().any(this))
}
