//! [`Routes`]: a policy by method and path.

use http::Method;
use http::request::Parts;

use super::Policy;
use super::path;
use crate::error::ConfigError;
use crate::guard::Reason;

/// Which policy applies by path prefix and method: for gateways, and for one guard around a whole router.
///
/// ```
/// use std::time::Duration;
///
/// use http::Method;
/// use tower_mfa::guard::{Policy, Requirement, Routes};
///
/// # fn main() -> Result<(), tower_mfa::ConfigError> {
/// let mfa = Requirement::mfa().max_age(Duration::from_secs(300));
/// let routes = Routes::new(Requirement::login())
///     .prefix("/health", Policy::public())?
///     .prefix("/admin", mfa.clone())?
///     .method_prefix(Method::POST, "/transfer", mfa)?;
/// # drop(routes);
/// # Ok(())
/// # }
/// ```
///
/// A prefix stands for whole segments: `/admin` is for `/admin`, `/admin/` and `/admin/x`, not for `/administrator`. The longest
/// prefix wins, and of two rules with the same prefix the one that names the method. A rule for `GET` is for `HEAD` too, unless
/// the same prefix has a rule for `HEAD`: servers answer `HEAD` by the handler of `GET`, and it must not have a weaker rule.
///
/// Paths are compared as this guard sees them (inside a nested router of axum: without what the nesting took off), byte by byte
/// after percent-decoding, and with regard to case. If what is behind the guard reads paths more loosely, let the
/// strongest requirement be the one for all other paths.
///
/// A path that can be read in two ways is refused with 400, whatever the rules say: with `.`, `..` or empty segments, with a
/// backslash or `;`, with an encoded slash or control character, with an encoded percent sign that begins another encoding, with
/// encodings that are broken or not of UTF-8. Path parameters (`/users;v=1`) are among them, because some servers drop them
/// before they route; an API that has them needs [`Policy::dynamic`].
///
/// Requests without a path (`OPTIONS *`, `CONNECT host:port`) get what all other paths get. The preflight requests of browsers
/// carry no token: put the layer that answers them outside of the guard.
#[derive(Clone, Debug)]
#[must_use = "routes do nothing until a guard has them"]
pub struct Routes {
    rules: Vec<Rule>,
    otherwise: Policy,
}

#[derive(Clone, Debug)]
struct Rule {
    method: Option<Method>,
    /// Decoded, as paths are for the comparison.
    prefix: String,
    policy: Policy,
}

impl Routes {
    /// Routes with the policy for every path that no rule names.
    ///
    /// It has to be given, so that nothing is open by accident.
    pub fn new(otherwise: impl Into<Policy>) -> Self {
        Self {
            rules: Vec::new(),
            otherwise: otherwise.into(),
        }
    }

    /// Adds a rule for a path and all paths below it, with any method.
    ///
    /// # Errors
    ///
    /// If the prefix does not begin with `/`, ends with `/` (but `/` itself is one), is a pattern or could be read in two ways,
    /// or if it has such a rule.
    pub fn prefix(self, prefix: &str, policy: impl Into<Policy>) -> Result<Self, ConfigError> {
        self.with(None, prefix, policy.into())
    }

    /// Adds a rule for a path and all paths below it, with one method.
    ///
    /// # Errors
    ///
    /// As for [`prefix`](Self::prefix).
    pub fn method_prefix(
        self,
        method: Method,
        prefix: &str,
        policy: impl Into<Policy>,
    ) -> Result<Self, ConfigError> {
        self.with(Some(method), prefix, policy.into())
    }

    fn with(
        mut self,
        method: Option<Method>,
        text: &str,
        policy: Policy,
    ) -> Result<Self, ConfigError> {
        let prefix = read_prefix(text)?;
        if self
            .rules
            .iter()
            .any(|rule| rule.prefix == prefix && rule.method == method)
        {
            let method = method.as_ref().map_or("any method", Method::as_str);
            return Err(ConfigError::new(format!(
                "the prefix {text:?} has two rules for {method}: leave one of them"
            )));
        }
        self.rules.push(Rule {
            method,
            prefix,
            policy,
        });
        Ok(self)
    }

    pub(super) fn find(&self, parts: &Parts) -> Result<&Policy, Reason> {
        let path = parts.uri.path();
        // `CONNECT` to an authority and `OPTIONS *`: a `CONNECT` with a path (RFC 8441) is a request like others
        if path.is_empty() || path == "*" {
            return Ok(&self.otherwise);
        }
        let path = path::canonical(path).ok_or(Reason::AmbiguousPath)?;
        let rules = self.rules.iter().filter(|rule| rule.covers(&path));
        let ranked = rules.filter_map(|rule| {
            let rank = rule.rank(&parts.method)?;
            Some(((rule.prefix.len(), rank), rule))
        });
        let found = ranked.max_by_key(|(rank, _)| *rank);
        Ok(found.map_or(&self.otherwise, |(_, rule)| &rule.policy))
    }
}

impl Rule {
    fn covers(&self, path: &str) -> bool {
        if self.prefix == "/" {
            return true;
        }
        path.strip_prefix(self.prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// How well the rule fits a method; `None` if it does not.
    fn rank(&self, method: &Method) -> Option<u8> {
        match &self.method {
            Some(own) if own == method => Some(2),
            Some(own) if own == Method::GET && method == Method::HEAD => Some(1),
            Some(_) => None,
            None => Some(0),
        }
    }
}

fn read_prefix(prefix: &str) -> Result<String, ConfigError> {
    let bad = |why: &str| {
        ConfigError::new(format!(
            "{prefix:?} is no path prefix ({why}): write whole segments, such as /admin or /v1/payments"
        ))
    };
    if !prefix.starts_with('/') {
        return Err(bad("it does not begin with a slash"));
    }
    if prefix.len() > 1 && prefix.ends_with('/') {
        return Err(bad("it ends with a slash"));
    }
    if prefix.contains(['?', '#']) {
        return Err(bad("it has a query or a fragment"));
    }
    // what routers take for a pattern would be compared letter by letter here, and match nothing
    if prefix.contains(['*', '{', '}']) || prefix.contains("/:") {
        return Err(bad(
            "patterns are not known here; percent-encode such a character to mean itself",
        ));
    }
    let path = path::canonical(prefix).ok_or_else(|| bad("it can be read in two ways"))?;
    Ok(path.into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Selected;
    use super::*;
    use crate::guard::Requirement;

    fn named(name: &str) -> Policy {
        Requirement::login().scopes_all_of([name]).unwrap().into()
    }

    fn found(routes: &Routes, method: Method, uri: &str) -> Result<String, Reason> {
        let request = http::Request::builder().method(method).uri(uri);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Policy::from(routes.clone())
            .select(&parts)
            .map(|selected| match selected {
                Selected::Public => "public".into(),
                Selected::Require(requirement) => {
                    let claims = crate::guard::token::Claims::default();
                    let token = crate::guard::VerifiedToken::new(claims);
                    let shortfall = requirement.check(&token, 0, 0).unwrap_err();
                    shortfall.scope.unwrap().to_string()
                }
            })
    }

    fn routes() -> Routes {
        Routes::new(named("otherwise"))
            .prefix("/health", Policy::public())
            .and_then(|routes| routes.prefix("/admin", named("admin")))
            .and_then(|routes| routes.prefix("/admin/users", named("users")))
            .and_then(|routes| routes.method_prefix(Method::POST, "/admin", named("post")))
            .and_then(|routes| routes.method_prefix(Method::GET, "/read", named("get")))
            .and_then(|routes| routes.method_prefix(Method::GET, "/both", named("get")))
            .and_then(|routes| routes.method_prefix(Method::HEAD, "/both", named("head")))
            .and_then(|routes| routes.prefix("/both", named("any")))
            .unwrap()
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_wins() {
        let routes = routes();
        for (method, uri, policy) in [
            (Method::GET, "/", "otherwise"),
            (Method::GET, "/health", "public"),
            (Method::GET, "/healthy", "otherwise"),
            (Method::GET, "/admin", "admin"),
            (Method::GET, "/admin/", "admin"),
            (Method::GET, "/admin?a=/health", "admin"),
            (Method::GET, "/admin/x", "admin"),
            (Method::GET, "/administrator", "otherwise"),
            (Method::GET, "/Admin", "otherwise"),
            (Method::GET, "/x/admin", "otherwise"),
            (Method::GET, "/%61dmin", "admin"),
            (Method::GET, "https://example.com/admin/x", "admin"),
            (Method::GET, "/admin/users/7", "users"),
            (Method::POST, "/admin/x", "post"),
            // a longer prefix wins over a method
            (Method::POST, "/admin/users", "users"),
            (Method::GET, "/read/x", "get"),
            (Method::HEAD, "/read/x", "get"),
            (Method::POST, "/read/x", "otherwise"),
            (Method::GET, "/both", "get"),
            (Method::HEAD, "/both", "head"),
            (Method::PUT, "/both", "any"),
            (Method::OPTIONS, "*", "otherwise"),
            (Method::CONNECT, "example.com:443", "otherwise"),
            (Method::CONNECT, "https://example.com/admin", "admin"),
        ] {
            let at = format!("{method} {uri}");
            assert_eq!(found(&routes, method, uri).as_deref(), Ok(policy), "{at}");
        }
    }

    #[test]
    fn the_order_of_the_rules_does_not_matter() {
        let mut routes = routes();
        routes.rules.reverse();
        assert_eq!(found(&routes, Method::HEAD, "/both").unwrap(), "head");
        assert_eq!(found(&routes, Method::POST, "/admin").unwrap(), "post");
        assert_eq!(
            found(&routes, Method::GET, "/admin/users").unwrap(),
            "users"
        );
    }

    #[test]
    fn the_prefix_of_all_paths_is_a_slash() {
        let routes = Routes::new(named("otherwise"))
            .method_prefix(Method::GET, "/", named("get"))
            .unwrap();
        assert_eq!(found(&routes, Method::GET, "/").unwrap(), "get");
        assert_eq!(found(&routes, Method::GET, "/a/b").unwrap(), "get");
        assert_eq!(found(&routes, Method::POST, "/a/b").unwrap(), "otherwise");
    }

    #[test]
    fn a_path_with_two_readings_gets_no_rule() {
        let open = Routes::new(Policy::public());
        for uri in [
            "/health/../admin",
            "/health/%2e%2E/admin",
            "/health//x",
            "/health%2f..%2fadmin",
            "/health\\..\\admin",
            "/admin;x",
            "/admin%00",
        ] {
            for routes in [&routes(), &open] {
                let found = found(routes, Method::GET, uri);
                assert_eq!(found, Err(Reason::AmbiguousPath), "{uri}");
            }
        }
    }

    #[test]
    fn an_encoded_prefix_means_what_it_decodes_to() {
        let routes = Routes::new(named("otherwise"))
            .prefix("/caf%C3%A9/%2A", named("encoded"))
            .unwrap();
        assert_eq!(
            found(&routes, Method::GET, "/caf%c3%a9/*/x").unwrap(),
            "encoded"
        );
    }

    #[test]
    fn prefixes_that_cannot_work_are_refused() {
        for prefix in [
            "",
            "admin",
            "/admin/",
            "//",
            "/a//b",
            "/a/../b",
            "/a/%2e",
            "/a;b",
            "/a%2fb",
            "/a\\b",
            "/%zz",
            "/a?b",
            "/a#b",
            "/a/*",
            "/a/{id}",
            "/a/:id",
            "https://example.com/a",
            "/a\n",
        ] {
            let error = Routes::new(Policy::public())
                .prefix(prefix, Requirement::login())
                .unwrap_err();
            assert!(
                error.to_string().contains("such as /admin"),
                "{prefix}: {error}"
            );
        }
        let twice = routes().prefix("/%61dmin", Policy::public()).unwrap_err();
        assert!(
            twice.to_string().contains("two rules for any method"),
            "{twice}"
        );
        let twice = routes().method_prefix(Method::POST, "/admin", Policy::public());
        assert!(
            twice
                .unwrap_err()
                .to_string()
                .contains("two rules for POST")
        );
    }
}
