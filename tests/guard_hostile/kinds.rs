//! Good tokens of other kinds, by the same issuer and the same keys.

use serde_json::{Value, json};
use tower_mfa::guard::Reason;

use crate::forge::{AUDIENCE, Case, ISSUER, NOW, World, claims, header, sign};

const OTHER_TYPES: [&str; 24] = [
    "logout+jwt",
    "dpop+jwt",
    "secevent+jwt",
    "id_token+jwt",
    "application/logout+jwt",
    "application/dpop+jwt",
    "token-introspection+jwt",
    "oauth-authz-req+jwt",
    "entity-statement+jwt",
    "client-authentication+jwt",
    "dc+sd-jwt",
    "vc+jwt",
    "passport",
    "JOSE",
    "JOSE+JSON",
    "at+jwt ",
    " at+jwt",
    "at+jwt\0",
    "at_jwt",
    "at-jwt",
    "at+jwt; charset=utf-8",
    "text/at+jwt",
    "application/application/at+jwt",
    "",
];

pub(crate) fn types(world: &World) -> Vec<Case> {
    let mut cases = Vec::new();
    let typed = |typ: Value| {
        let mut header = header(world.es256());
        header["typ"] = typ;
        world.with_header(&header)
    };
    for typ in OTHER_TYPES {
        let token = typed(typ.into());
        cases.push(Case::new(
            format!("{typ:?}"),
            token.clone(),
            Reason::WrongType,
        ));
        cases.push(Case::new(format!("{typ:?}"), token, Reason::WrongType).of_any_jwt());
    }
    for typ in ["JWT", "jwt", "application/jwt", "JWS", "JWE"] {
        cases.push(Case::new(
            format!("{typ:?}"),
            typed(typ.into()),
            Reason::WrongType,
        ));
    }
    for typ in [
        json!(null),
        json!(1),
        json!(["at+jwt"]),
        json!({}),
        json!(true),
    ] {
        let token = typed(typ.clone());
        cases.push(Case::new(
            typ.to_string(),
            token.clone(),
            Reason::MalformedToken,
        ));
        cases.push(Case::new(typ.to_string(), token, Reason::MalformedToken).of_any_jwt());
    }
    let mut untyped = header(world.es256());
    untyped.as_object_mut().unwrap().remove("typ");
    cases.push(Case::new(
        "none",
        world.with_header(&untyped),
        Reason::WrongType,
    ));
    cases
}

/// Tokens that do not say what they are, for a verifier that takes such; told by their claims.
pub(crate) fn untyped(world: &World) -> Vec<Case> {
    let base =
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "test|ada", "iat": NOW, "exp": NOW + 600});
    let with = |members: Value| {
        let mut claims = base.clone();
        for (name, value) in members.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let kinds = [
        (
            "an ID token with a nonce",
            with(json!({"nonce": "test", "azp": AUDIENCE})),
        ),
        (
            "an ID token with at_hash",
            with(json!({"at_hash": "test", "amr": ["otp"], "acr": "mfa"})),
        ),
        ("an ID token with c_hash", with(json!({"c_hash": "test"}))),
        (
            "an ID token with a null nonce",
            with(json!({"nonce": null})),
        ),
        (
            "a logout token",
            with(
                json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": "test", "jti": "test"}),
            ),
        ),
        (
            "a security event token",
            with(
                json!({"events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}}}),
            ),
        ),
        (
            "a DPoP proof",
            with(json!({"htm": "POST", "htu": "https://api.example/transfer", "jti": "test"})),
        ),
        (
            "half a DPoP proof",
            with(json!({"htu": "https://api.example/transfer"})),
        ),
    ];
    let mut cases = Vec::new();
    for (name, claims) in kinds {
        for typ in [None, Some("JWT")] {
            let key = world.es256();
            let mut header = header(key);
            match typ {
                Some(typ) => header["typ"] = typ.into(),
                None => drop(header.as_object_mut().unwrap().remove("typ")),
            }
            let token = sign(key, header.to_string(), claims.to_string());
            let name = format!("{name}, typ {typ:?}");
            cases.push(Case::new(name.as_str(), token.clone(), Reason::WrongType).of_any_jwt());
            cases.push(Case::new(name.as_str(), token, Reason::WrongType));
        }
    }
    // As they really are: a proof has neither issuer nor audience nor end.
    let proof = json!({"htm": "GET", "htu": "https://api.example/", "iat": NOW, "jti": "test"});
    let key = world.es256();
    let dpop = json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": key.jwk()});
    let token = sign(key, dpop.to_string(), proof.to_string());
    cases.push(Case::new(
        "a whole DPoP proof",
        token,
        Reason::MalformedToken,
    ));
    cases
}

/// A token that only the owner of a key may use.
pub(crate) fn bound(world: &World) -> Vec<Case> {
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let mut cases = Vec::new();
    for cnf in [
        json!({"jkt": thumbprint}),
        json!({"x5t#S256": thumbprint}),
        json!({"jwk": world.attacker.key(world.es256().algorithm).jwk()}),
        json!({"kid": "test"}),
        json!({"jku": "https://attacker.example/"}),
        json!({}),
        json!([]),
        json!(null),
        json!(""),
        json!(false),
    ] {
        let token = world.with_claim("cnf", &cnf.to_string());
        cases.push(Case::new(cnf.to_string(), token.clone(), Reason::Bound));
        cases.push(Case::new(cnf.to_string(), token, Reason::Bound).of_any_jwt());
    }
    let escaped = claims().to_string().replacen('{', "{\"c\\u006ef\":{},", 1);
    cases.push(Case::new(
        "by an escaped name",
        world.with_claims_text(&escaped),
        Reason::Bound,
    ));
    cases
}
