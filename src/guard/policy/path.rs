//! Paths that everybody reads in the same way.

use std::borrow::Cow;

/// A path as rules compare it: with every percent-encoding decoded. `None` if somebody behind the guard could read it as another
/// path than the guard does.
///
/// That is so for whatever some servers rewrite before they route: `.` and `..` segments, empty segments (but for a slash at the
/// end), backslashes, and `;`, from which on some drop the rest of a segment. These may be percent-encoded as well, as may be
/// slashes and control characters, or a percent sign that begins another encoding. Bytes that are not UTF-8 and broken
/// encodings are decoded by some and kept by others.
pub(super) fn canonical(path: &str) -> Option<Cow<'_, str>> {
    let path = if path.contains('%') {
        Cow::Owned(decode(path)?)
    } else {
        Cow::Borrowed(path)
    };
    if path
        .bytes()
        .any(|byte| byte.is_ascii_control() || byte == b'\\' || byte == b';')
    {
        return None;
    }
    let mut segments = path.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_inner = segments.peek().is_some();
        if matches!(segment, "." | "..") || (segment.is_empty() && is_inner) {
            return None;
        }
    }
    Some(path)
}

fn decode(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let byte = encoded(rest)?;
            if byte == b'/' {
                return None;
            }
            decoded.push(byte);
            rest = tail.get(2..)?;
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    // what is left of `%25` must not make sense to somebody who decodes twice
    if decoded.windows(3).any(|window| encoded(window).is_some()) {
        return None;
    }
    String::from_utf8(decoded).ok()
}

/// The byte that is percent-encoded at the beginning of a text.
fn encoded(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_paths_are_compared_decoded() {
        for (path, read) in [
            ("/", "/"),
            ("/admin", "/admin"),
            ("/admin/", "/admin/"),
            ("/%61dmin", "/admin"),
            ("/%61%64%6D%69%6e/x", "/admin/x"),
            ("/a.b/..c/...", "/a.b/..c/..."),
            ("/%7Euser/a%20b", "/~user/a b"),
            ("/caf%C3%A9", "/café"),
            ("/café", "/café"),
            ("/100%25", "/100%"),
            ("/100%25/2f", "/100%/2f"),
            ("/what%3F", "/what?"),
            ("/a:b@c,d=e+f", "/a:b@c,d=e+f"),
        ] {
            assert_eq!(canonical(path).as_deref(), Some(read), "{path}");
        }
        assert!(matches!(canonical("/admin/x"), Some(Cow::Borrowed(_))));
    }

    #[test]
    fn paths_with_two_readings_are_refused() {
        for path in [
            "",
            "*",
            "admin",
            "//",
            "//admin",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/./admin",
            "/x/../admin",
            "/x/%2e%2e/admin",
            "/x/%2E./admin",
            "/x/.%2e",
            "/%2e",
            "/x%2fadmin",
            "/x%2Fadmin",
            "/x%5cadmin",
            "/x%5Cadmin",
            "/x\\admin",
            "/admin;x",
            "/admin;/x",
            "/x/..;/admin",
            "/admin%3bx",
            "/admin%3B",
            "/admin%00",
            "/admin%0d%0a",
            "/admin%1f",
            "/admin%7f",
            "/admin\u{7f}",
            "/%",
            "/%6",
            "/admin%",
            "/%zz",
            "/%u0061dmin",
            "/%+1",
            "/% 1",
            "/%2561dmin",
            "/%252e%252e/admin",
            "/%25%36%31dmin",
            "/%%36%31dmin",
            "/%c0%af",
            "/%c0%ae%c0%ae/admin",
            "/%ff",
            "/%e9",
        ] {
            assert_eq!(canonical(path), None, "{path}");
        }
    }
}
