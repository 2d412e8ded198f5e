//! Header fields on their way through: which end here, and which begin here.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Version, request, response};
use tower_mfa::guard::VerifiedToken;

/// The fields that are for one connection (RFC 9110 section 7.6.1), besides those that `connection` names.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
const USER: HeaderName = HeaderName::from_static("x-forwarded-user");

/// Makes the head of a request ready for the upstream. What ends here is taken out first, so that nothing which a client
/// writes, in `connection` or elsewhere, touches the fields that are set after that.
pub(crate) fn for_upstream(head: &mut request::Parts, peer: IpAddr, host: &Authority) {
    let headers = &mut head.headers;
    let wants_trailers = lists(headers, &TE, "trailers");
    remove_hop_by_hop(headers);
    // fields in the trailers of a request would get past what is done here, so they are not announced, and hyper drops them
    headers.remove(TRAILER);
    remove_forwarded(headers);
    // the client sets it to where the request goes now
    headers.remove(HOST);
    join_cookies(headers);

    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    let node = match peer {
        IpAddr::V4(peer) => peer.to_string(),
        IpAddr::V6(peer) => format!("\"[{peer}]\""),
    };
    // this gateway ends no TLS, so whoever comes here comes by plain http
    let forwarded = format!("for={node};host=\"{host}\";proto=http");
    for (name, value) in [
        ("forwarded", forwarded.as_str()),
        ("x-forwarded-for", &peer.to_string()),
        ("x-forwarded-host", host.as_str()),
        ("x-forwarded-proto", "http"),
    ] {
        // an address and a host are always good values
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    // whom the guard has let through; on a public path, and for a name that no field can carry, it says nothing
    let subject = head.extensions.get().and_then(VerifiedToken::subject);
    if let Some(Ok(user)) = subject.map(HeaderValue::from_str) {
        headers.insert(USER, user);
    }
    headers.append(VIA, via(head.version));
}

/// Makes the head of a response ready for the client. `trailer` goes on: the trailers of a response do.
pub(crate) fn for_client(head: &mut response::Parts) {
    remove_hop_by_hop(&mut head.headers);
    head.headers.append(VIA, via(head.version));
    head.version = Version::HTTP_11;
}

/// The host that a request is for, if it is clear (RFC 9112 section 3.2).
pub(crate) fn host(head: &request::Parts) -> Option<Authority> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (head.uri.authority(), hosts.next()) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => Authority::try_from(host.as_bytes()).ok()?,
        (None, None) => return None,
    };
    (hosts.next().is_none() && !host.as_str().contains('@')).then_some(host)
}

/// Whether a body's length can be read in two ways, or its transfer coding is more than `chunked`, which hyper undoes.
pub(crate) fn has_odd_framing(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
        || headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some()
}

/// Whether the client asks for another protocol on this connection. `h2c` is left out: HTTP clients offer it with ordinary
/// requests, and it may be ignored (RFC 9110 section 7.8).
pub(crate) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && !lists(headers, &UPGRADE, "h2c")
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // next to a transfer coding it means nothing (RFC 9112 section 6.3), and without one it would
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let named: Vec<HeaderName> = items(headers, &CONNECTION)
        .filter_map(|name| name.parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes what says where a request came from: only the next hop knows, and here that is this gateway. Many servers take `_`
/// in a name for `-`.
fn remove_forwarded(headers: &mut HeaderMap) {
    let is_forwarded = |name: &&HeaderName| {
        let name = name.as_str().replace('_', "-");
        name.starts_with("x-forwarded") || name == "forwarded" || name == "x-real-ip"
    };
    let forwarded: Vec<HeaderName> = headers.keys().filter(is_forwarded).cloned().collect();
    for name in forwarded {
        headers.remove(name);
    }
}

/// HTTP/2 clients may send cookies in several fields, HTTP/1.1 has one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

fn via(received: Version) -> HeaderValue {
    HeaderValue::from_static(match received {
        Version::HTTP_10 => "1.0 gateway",
        Version::HTTP_2 => "2 gateway",
        _ => "1.1 gateway",
    })
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(wanted))
}

/// The items of a field that is a list of words.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
