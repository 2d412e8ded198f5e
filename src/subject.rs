//! Continuity: a step-up must not turn one user into another.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

/// Whether the bearer token that a request is to carry names another user than the one that it carries. Tokens that are no JWTs,
/// and JWTs without a `sub`, name nobody.
///
/// The tokens are not verified, which is for whoever accepts them: what is read here can only refuse.
pub(crate) fn differs_by(old: &HeaderMap, new: &HeaderValue) -> bool {
    let new = bearer(new).and_then(subject);
    new.is_some_and(|new| is_another(old, &new))
}

/// Whether a JWT, such as an ID token, names another user than the bearer token of a request.
pub(crate) fn differs_from(old: &HeaderMap, jwt: &str) -> bool {
    subject(jwt).is_some_and(|new| is_another(old, &new))
}

fn is_another(old: &HeaderMap, new: &str) -> bool {
    let old = old.get(AUTHORIZATION).and_then(bearer).and_then(subject);
    old.is_some_and(|old| old != new)
}

fn bearer(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn subject(jwt: &str) -> Option<String> {
    let [_, claims, _] = jwt.split('.').collect::<Vec<_>>()[..] else {
        return None;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("sub")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(scheme: &str, claims: &str) -> HeaderMap {
        let token = format!("{scheme} test.{}.test", URL_SAFE_NO_PAD.encode(claims));
        HeaderMap::from_iter([(AUTHORIZATION, token.parse().unwrap())])
    }

    fn differ(old: &HeaderMap, new: &HeaderMap) -> bool {
        new.get(AUTHORIZATION)
            .is_some_and(|new| differs_by(old, new))
    }

    #[test]
    fn two_jwts_of_two_users_differ_and_nothing_else_does() {
        let alice = bearer("Bearer", r#"{"sub":"alice"}"#);
        assert!(differ(&alice, &bearer("bearer", r#"{"sub":"bob"}"#)));
        for same in [
            bearer("Bearer", r#"{"sub":"alice","scope":"more"}"#),
            bearer("Bearer", r#"{"scope":"more"}"#),
            bearer("Bearer", r#"{"sub":17}"#),
            bearer("Bearer", "no JSON"),
            bearer("Basic", r#"{"sub":"bob"}"#),
            HeaderMap::from_iter([(AUTHORIZATION, "Bearer opaque-test".parse().unwrap())]),
            HeaderMap::new(),
        ] {
            assert!(!differ(&alice, &same), "{same:?}");
        }
    }
}
