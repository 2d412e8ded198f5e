//! [`Claims`]: what a token says; [`TokenBuilder`]: a token made to order.

use std::{
    error::Error,
    fmt,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};

use super::{
    keys::{Unverified, random_text, unix},
    policy::DEFAULT_SCOPE,
    server::AuthorizationServer,
    state::State,
    user::sub,
};

/// The `acr` of a token obtained with more than one factor.
pub(super) const MULTI_FACTOR: &str =
    "http://schemas.openid.net/pape/policies/2007/06/multi-factor";

/// The claims of an access token that was verified.
#[derive(Clone, Debug)]
pub struct Claims(Value);

impl Claims {
    /// Whom the token speaks for.
    #[must_use]
    pub fn sub(&self) -> &str {
        self.text("sub").unwrap_or_default()
    }

    /// The client the token was issued to.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.text("client_id").unwrap_or_default()
    }

    /// Which API the token is for.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.text("aud").unwrap_or_default()
    }

    /// The scopes, separated by spaces.
    #[must_use]
    pub fn scope(&self) -> &str {
        self.text("scope").unwrap_or_default()
    }

    /// Whether this scope was granted.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope()
            .split_ascii_whitespace()
            .any(|granted| granted == scope)
    }

    /// The authentication context class.
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.text("acr")
    }

    /// The authentication methods.
    #[must_use]
    pub fn amr(&self) -> Vec<&str> {
        self.0["amr"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// When the user last authenticated.
    #[must_use]
    pub fn auth_time(&self) -> Option<SystemTime> {
        self.time("auth_time")
    }

    /// When the token was issued.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.time("iat")
    }

    /// When the token expires.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.time("exp")
    }

    /// The unique name of the token.
    #[must_use]
    pub fn jti(&self) -> &str {
        self.text("jti").unwrap_or_default()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    fn time(&self, name: &str) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(self.0[name].as_u64()?))
    }
}

/// Why a token was refused.
#[derive(Clone, Debug)]
pub struct VerifyError(&'static str);

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for VerifyError {}

/// Verifies an access token: its type, signature, issuer and expiry.
pub(super) fn verify(state: &State, token: &str, now: SystemTime) -> Result<Claims, VerifyError> {
    let token = Unverified::parse(token).ok_or(VerifyError("the token is malformed"))?;
    let key = token.header["kid"]
        .as_str()
        .and_then(|kid| state.ring.named(kid))
        .ok_or(VerifyError("the token names no known key"))?;
    if !key.verifies(&token) {
        return Err(VerifyError("the token's signature is wrong"));
    }
    if token.header["typ"] != "at+jwt" {
        return Err(VerifyError("the token is not an access token"));
    }
    if token.claims["iss"] != state.issuer.as_str() {
        return Err(VerifyError("the token is from another issuer"));
    }
    if token.claims["exp"]
        .as_u64()
        .is_none_or(|exp| exp <= unix(now))
    {
        return Err(VerifyError("the token is expired"));
    }
    Ok(Claims(token.claims))
}

/// An access token made to order, without a grant; from [`AuthorizationServer::token`].
///
/// Everything has a default, stated at its method. `Debug` shows no token, since there is none before
/// [`TokenBuilder::sign`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenBuilder {
    server: AuthorizationServer,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl TokenBuilder {
    pub(super) fn new(server: AuthorizationServer, user: &str, client_id: &str) -> Self {
        let now = server.now();
        let mut token = Self {
            header: Map::new(),
            claims: Map::new(),
            server,
        };
        token.set("sub", sub(user));
        token.set("client_id", client_id);
        token.set("jti", random_text());
        token.set("iat", unix(now));
        token.set("amr", json!(["pwd"]));
        let ttl = token.server.shared.access_token_ttl;
        let audience = token.server.shared.audience.clone();
        token
            .audience(audience)
            .scope(DEFAULT_SCOPE)
            .auth_time(now)
            .expires_at(now + ttl)
    }

    /// The scopes, separated by spaces; default `openid profile`, as in Auth0's examples.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.set("scope", scope.into());
        self
    }

    /// The API the token is for; defaults to the server's.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.set("aud", audience.into());
        self
    }

    /// The client the token is issued to; defaults to the server's first.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.set("client_id", client_id.into());
        self
    }

    /// The authentication context class; absent by default.
    pub fn acr(mut self, acr: impl Into<String>) -> Self {
        self.set("acr", acr.into());
        self
    }

    /// The authentication methods; defaults to `pwd`. With none the claim is left out.
    pub fn amr<const N: usize>(mut self, methods: [&str; N]) -> Self {
        if N == 0 {
            self.claims.remove("amr");
        } else {
            self.set("amr", methods.to_vec());
        }
        self
    }

    /// When the user last authenticated; defaults to now.
    pub fn auth_time(mut self, at: SystemTime) -> Self {
        self.set("auth_time", unix(at));
        self
    }

    /// When the token expires; defaults to the server's lifetime of access tokens from now.
    pub fn expires_at(mut self, at: SystemTime) -> Self {
        self.set("exp", unix(at));
        self
    }

    /// Sets a claim to a text, whatever its name: for tokens that are wrong on purpose.
    pub fn claim(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value.into());
        self
    }

    /// Sets a claim to a JSON value: for claims that are no text.
    ///
    /// # Panics
    ///
    /// If it is no JSON.
    pub fn json_claim(mut self, name: &str, json: &str) -> Self {
        self.set(name, parse(json));
        self
    }

    /// The type of the token; defaults to `at+jwt`.
    pub fn typ(self, typ: &str) -> Self {
        self.header("typ", typ)
    }

    /// Sets a member of the header to a text. By default there are `alg`, `typ` and `kid`, which can be set, too: the signature is
    /// the server's all the same.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.header.insert(name.to_owned(), value.into().into());
        self
    }

    /// Sets a member of the header to a JSON value; `null` leaves it out.
    ///
    /// # Panics
    ///
    /// If it is no JSON.
    pub fn json_header(mut self, name: &str, json: &str) -> Self {
        self.header.insert(name.to_owned(), parse(json));
        self
    }

    /// Leaves a claim out.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// The signed token.
    #[must_use]
    pub fn sign(mut self) -> String {
        if !self.claims.contains_key("iss") {
            let issuer = self.server.issuer();
            self.set("iss", issuer);
        }
        let key = self.server.state().ring.current();
        let mut header = json!({"alg": key.alg(), "typ": "at+jwt", "kid": key.kid()});
        for (name, value) in self.header {
            header[name] = value;
        }
        if let Some(members) = header.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        key.sign_with(&header, &Value::Object(self.claims))
    }

    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.claims.insert(name.to_owned(), value.into());
    }
}

#[expect(clippy::expect_used, reason = "stated at the methods that take JSON")]
fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("a JSON value")
}
