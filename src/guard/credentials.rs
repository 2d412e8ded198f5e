//! The bearer token of a request (RFC 6750 section 2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::guard::reason::Reason;

const SCHEME: &[u8] = b"bearer";

/// What a request has for a token; whether it has the form of one was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent<'a>(&'a [u8]);

/// The token in the `authorization` header. It is taken from nowhere else: a token in a URL ends in logs, one in a form is in the
/// way of every other body.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<Sent<'_>, Reason> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let value = values.next().ok_or(Reason::Missing)?;
    if values.next().is_some() {
        return Err(Reason::MalformedRequest);
    }
    // credentials of another kind are none for this guard
    let (scheme, rest) = value
        .as_bytes()
        .split_at_checked(SCHEME.len())
        .ok_or(Reason::Missing)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || rest.first().is_some_and(|byte| *byte != b' ') {
        return Err(Reason::Missing);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    Ok(Sent(&rest[spaces..]))
}

impl<'a> Sent<'a> {
    /// To be compared with tokens that were verified before: what equals one of them has its form.
    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The token, if it has the form of one.
    pub(crate) fn token(self) -> Result<&'a str, Reason> {
        std::str::from_utf8(self.0)
            .ok()
            .filter(|token| is_b64token(token.as_bytes()))
            .ok_or(Reason::MalformedRequest)
    }
}

/// `b64token` of RFC 6750 section 2.1.
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let text = &token[..token.len() - padding];
    // all of it, in any case: without an early end the compiler looks at many bytes at a time
    !text.is_empty() && text.iter().fold(true, |fits, byte| fits & is_b64(*byte))
}

const fn is_b64(byte: u8) -> bool {
    // from `-` to `9` there are `.` and `/` and the other digits
    byte.is_ascii_alphabetic() | matches!(byte, b'-'..=b'9') | matches!(byte, b'_' | b'~' | b'+')
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

    fn token(headers: &HeaderMap) -> Result<&str, Reason> {
        bearer_token(headers)?.token()
    }

    #[test]
    fn every_byte_is_in_a_token_or_not() {
        for byte in 0..=u8::MAX {
            let listed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_b64token(&[b'a', byte, b'a']), listed, "{byte}");
        }
    }

    #[test]
    fn the_scheme_is_compared_without_case() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(token(&headers(&[value.as_bytes()])), Ok("a.b.c"));
        }
    }

    #[test]
    fn other_schemes_are_no_credentials() {
        for value in ["Basic dGVzdA==", "DPoP a.b.c", "Bearerx a", "", "Token"] {
            assert_eq!(token(&headers(&[value.as_bytes()])), Err(Reason::Missing));
        }
        assert_eq!(token(&HeaderMap::new()), Err(Reason::Missing));
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
                token(&headers(values)),
                Err(Reason::MalformedRequest),
                "{values:?}"
            );
        }
    }
}
