//! Continuity: a step-up must not turn one user into another.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Whether the bearer tokens of two requests name different users. Tokens that are no JWTs, and JWTs without a `sub`, name
/// nobody.
///
/// The tokens are not verified, which is for whoever accepts them: what is read here can only refuse.
pub(crate) fn differ(old: &HeaderMap, new: &HeaderMap) -> bool {
    matches!((subject(old), subject(new)), (Some(old), Some(new)) if old != new)
}

fn subject(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let [_, claims, _] = token.trim().split('.').collect::<Vec<_>>()[..] else {
        return None;
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
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
