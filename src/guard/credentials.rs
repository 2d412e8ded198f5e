//! The bearer token of a request (RFC 6750 section 2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::guard::reason::Reason;

/// The token in the `authorization` header. It is taken from nowhere else: a token in a URL ends in logs, one in a form is in the
/// way of every other body.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<&str, Reason> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let value = values.next().ok_or(Reason::Missing)?;
    if values.next().is_some() {
        return Err(Reason::MalformedRequest);
    }
    let value = value.as_bytes();
    let end = value
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        // credentials of another kind are none for this guard
        return Err(Reason::Missing);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let token = &rest[spaces..];
    if !is_b64token(token) {
        return Err(Reason::MalformedRequest);
    }
    std::str::from_utf8(token).map_err(|_| Reason::MalformedRequest)
}

/// `b64token` of RFC 6750 section 2.1.
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let text = &token[..token.len() - padding];
    !text.is_empty()
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        values
            .iter()
            .map(|value| (AUTHORIZATION, HeaderValue::from_bytes(value).unwrap()))
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            })
    }

    #[test]
    fn the_scheme_is_compared_without_case() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(bearer_token(&headers(&[value.as_bytes()])), Ok("a.b.c"));
        }
    }

    #[test]
    fn other_schemes_are_no_credentials() {
        for value in ["Basic dGVzdA==", "DPoP a.b.c", "Bearerx a", "", "Token"] {
            assert_eq!(
                bearer_token(&headers(&[value.as_bytes()])),
                Err(Reason::Missing)
            );
        }
        assert_eq!(bearer_token(&HeaderMap::new()), Err(Reason::Missing));
    }

    #[test]
    fn two_headers_and_what_is_no_token_are_malformed() {
        for values in [
            &[&b"Bearer a"[..], b"Bearer a"][..],
            &[b"Basic dGVzdA==", b"Bearer a"],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"Bearer ="],
            &[b"Bearer a b"],
            &[b"Bearer a,b"],
            &[b"Bearer \"a\""],
            &[b"Bearer a=b"],
            &[b"Bearer \xef\xbb\xbfa"],
            &[b"Bearer a\tb"],
            &[b"Bearer \ta"],
            &[b"Bearer a "],
        ] {
            assert_eq!(
                bearer_token(&headers(values)),
                Err(Reason::MalformedRequest),
                "{values:?}"
            );
        }
    }
}
