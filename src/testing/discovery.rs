//! The two discovery documents.

use serde_json::json;

use super::{
    answer::{self, Answer},
    exchange,
    keys::Signing,
    ring::Ring,
};

pub(super) fn configuration(issuer: &str, signing: Signing) -> Answer {
    answer::ok(&json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}authorize"),
        "token_endpoint": format!("{issuer}oauth/token"),
        "mfa_challenge_endpoint": format!("{issuer}mfa/challenge"),
        "jwks_uri": format!("{issuer}.well-known/jwks.json"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [signing.name()],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "RS384", "PS256", "ES256"],
        "grant_types_supported": [
            "password", "refresh_token", "client_credentials",
            exchange::OTP, exchange::OOB, exchange::RECOVERY_CODE,
        ],
        "scopes_supported": ["openid", "profile", "offline_access"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "acr", "amr"],
    }))
}

pub(super) fn jwks(ring: &Ring) -> Answer {
    answer::ok(&json!({"keys": ring.jwks()}))
}
