//! [`Origin`]: scheme, host and port (RFC 6454), with default ports filled in.

use http::Uri;
use http::uri::Scheme;

use crate::error::ConfigError;

/// Where a request goes, in a form that two spellings of the same place share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin that a setting names. No path, no user information, no wildcards.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let bad = |why: &str| {
            ConfigError::new(format!(
                "`{}` is not an origin ({why}): write it as https://api.example.com or http://127.0.0.1:8080",
                text.escape_debug()
            ))
        };
        let uri: Uri = text.trim().parse().map_err(|_| bad("not a URI"))?;
        if uri
            .path_and_query()
            .is_some_and(|path| path.as_str() != "/")
        {
            return Err(bad("it has a path"));
        }
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(bad("it has user information"));
        }
        if uri.host().is_some_and(|host| host.contains('*')) {
            return Err(bad("it has a wildcard"));
        }
        Self::of(&uri).ok_or_else(|| bad("it needs http or https, and a host"))
    }

    /// Whether a URI is of this origin: as [`of`](Self::of) and `==`, without an allocation.
    pub(crate) fn is_of(&self, uri: &Uri) -> bool {
        self.is_plainly_of(uri) || self.is_by_parts_of(uri)
    }

    /// Whether a URI names the origin just as it is stored, as nearly all do. This is asked for every request.
    fn is_plainly_of(&self, uri: &Uri) -> bool {
        let scheme = match self.https {
            true => &Scheme::HTTPS,
            false => &Scheme::HTTP,
        };
        let authority = uri.authority();
        authority.is_some_and(|authority| self.is_plain_authority(authority.as_str()))
            && uri.scheme() == Some(scheme)
    }

    #[inline]
    fn is_plain_authority(&self, authority: &str) -> bool {
        let default = if self.https { 443 } else { 80 };
        let port = authority.strip_prefix(self.host.as_str());
        port.is_some_and(|port| match port.strip_prefix(':') {
            Some(digits) if digits.as_bytes().first().is_some_and(u8::is_ascii_digit) => {
                digits.parse() == Ok(self.port)
            }
            _ => port.is_empty() && self.port == default,
        })
    }

    fn is_by_parts_of(&self, uri: &Uri) -> bool {
        let Some((https, host, port)) = parts(uri) else {
            return false;
        };
        self.https == https && self.port == port && self.host.eq_ignore_ascii_case(host)
    }

    /// As text that no other origin has.
    pub(crate) fn to_text(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    /// The origin of a request's URI; `None` if it names no host, or a scheme that is not HTTP.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (https, host, port) = parts(uri)?;
        Some(Self {
            https,
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

/// Whether it is https, the host, and the port, with the default one filled in.
fn parts(uri: &Uri) -> Option<(bool, &str, u16)> {
    let https = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return None,
    };
    let host = uri.host()?.trim_end_matches('.');
    if host.is_empty() {
        return None;
    }
    let authority = uri.authority()?.as_str();
    let after_host = authority.rsplit(['@', ']']).next().unwrap_or_default();
    let port = match after_host.split_once(':') {
        // not a default one for a port that is none, such as 65979: who knows what a client makes of it
        Some((_, port)) if !port.is_empty() => uri.port()?.as_u16(),
        _ if https => 443,
        _ => 80,
    };
    Some((https, host, port))
}

/// Which origins are trusted: one, or all below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trusted {
    origin: Origin,
    /// The origin's host stands for its sub-domains, not for itself.
    subdomains: bool,
}

impl Trusted {
    /// What a setting names: an origin, or `https://*.example.com`.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let Some((scheme, rest)) = text.split_once("://*.") else {
            return Ok(Self {
                origin: Origin::parse(text)?,
                subdomains: false,
            });
        };
        let origin = Origin::parse(&format!("{scheme}://{rest}"))?;
        if !origin.host.contains('.') || origin.host.parse::<std::net::IpAddr>().is_ok() {
            return Err(ConfigError::new(format!(
                "`{}` trusts too much: sub-domains are of a domain with a dot, such as https://*.example.com",
                text.escape_debug()
            )));
        }
        Ok(Self {
            origin,
            subdomains: true,
        })
    }

    /// Whether it includes the origin with these parts, as long as they are spelled as they are stored.
    pub(crate) fn is_plainly(&self, scheme: &str, authority: &str) -> bool {
        let is_scheme = match self.origin.https {
            true => scheme == "https",
            false => scheme == "http",
        };
        let label = match self.subdomains {
            true => authority
                .find(self.origin.host.as_str())
                .unwrap_or_default(),
            false => 0,
        };
        let (label, authority) = authority.split_at(label);
        is_scheme
            && label.is_empty() != self.subdomains
            && (label.is_empty() || label.ends_with('.'))
            && self.origin.is_plain_authority(authority)
    }

    pub(crate) fn includes(&self, origin: &Origin) -> bool {
        if !self.subdomains {
            return self.origin == *origin;
        }
        let below = origin.host.strip_suffix(self.origin.host.as_str());
        self.origin.https == origin.https
            && self.origin.port == origin.port
            && below.is_some_and(|label| label.len() > 1 && label.ends_with('.'))
    }
}

/// A URL that secrets may be sent to, and keys taken from: https, or http on this machine. Otherwise why it is none.
pub(crate) fn secure_url(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url.trim().parse().map_err(|_| "it is not a URL")?;
    let host = uri.host().ok_or("it names no host")?;
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("it has user information");
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback(host) => Ok(uri),
        Some("http") => Err(
            "codes, tokens and keys travel over https only (http is accepted for loopback addresses)",
        ),
        _ => Err("it has to start with https://"),
    }
}

/// Whether a host is this machine, by a name or an address that no resolver can point elsewhere (RFC 6761 section 6.3,
/// RFC 1122 section 3.2.1.3).
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    #[test]
    fn spellings_of_one_origin_are_equal() {
        for (one, other) in [
            ("https://api.example.com", "https://api.example.com:443/"),
            ("https://API.example.com", "https://api.example.com."),
            ("http://[::1]", "http://[::1]:80"),
        ] {
            assert_eq!(origin(one), origin(other));
        }
        for (one, other) in [
            ("https://api.example.com", "http://api.example.com"),
            ("https://api.example.com", "https://example.com"),
            ("https://api.example.com", "https://api.example.com:8443"),
        ] {
            assert_ne!(origin(one), origin(other));
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "not a URI"),
            ("api.example.com", "http or https"),
            ("/path", "has a path"),
            ("ftp://example.com", "http or https"),
            ("https://example.com/v1", "has a path"),
            ("https://user@example.com", "user information"),
            ("https://*.example.com", "wildcard"),
        ] {
            let error = Origin::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn an_origin_is_of_the_uris_that_it_equals() {
        let api = origin("https://api.example.com");
        for (uri, is) in [
            ("https://api.example.com/x", true),
            ("https://API.example.com.:443/x", true),
            ("https://api.example.com:444/x", false),
            ("http://api.example.com/x", false),
            ("https://apiexample.com/x", false),
            ("/x", false),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(api.is_of(&uri), is, "{uri}");
            assert_eq!(
                Origin::of(&uri).is_some_and(|other| other == api),
                is,
                "{uri}"
            );
        }
    }

    #[test]
    fn sub_domains_are_trusted_by_an_explicit_form_only() {
        let trusted = Trusted::parse("https://*.example.com").unwrap();
        for (other, is) in [
            ("https://api.example.com", true),
            ("https://a.b.EXAMPLE.com", true),
            ("https://example.com", false),
            ("https://notexample.com", false),
            ("https://api.example.com.evil.test", false),
            ("http://api.example.com", false),
            ("https://api.example.com:8443", false),
        ] {
            assert_eq!(trusted.includes(&origin(other)), is, "{other}");
        }
        assert!(
            !Trusted::parse("https://example.com")
                .unwrap()
                .includes(&origin("https://api.example.com"))
        );
        for bad in [
            "https://*.com",
            "https://*",
            "https://*.*.example.com",
            "https://api.*.example.com",
            "https://*.1.2.3.4",
            "*.example.com",
        ] {
            assert!(Trusted::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "10.0.0.1",
            "0.0.0.0",
            "127.0.0.1.example.com",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
