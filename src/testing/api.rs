//! [`ProtectedApi`]: an API that demands multi-factor authentication.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request};
use serde_json::{Value, json};
use tower_service::Service;

use super::{
    answer::{self, Answer},
    body::{Body, BoxError, Collected, collect},
    claims::{Claims, MULTI_FACTOR},
    request::bearer,
    serve::{self, Serving},
    server::AuthorizationServer,
    user::sub,
};

/// How a [`ProtectedApi`] demands multi-factor authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Demanding {
    /// 403 with `{"error":"MFA required","code":"mfa_required","message":…}`: no `mfa_token`.
    Code,
    /// 403 with `WWW-Authenticate: Bearer error="insufficient_scope"`.
    InsufficientScope,
    /// 401 with `WWW-Authenticate: Bearer error="insufficient_user_authentication"` (RFC 9470).
    InsufficientUserAuthentication,
    /// The `mfa_required` answer of the token endpoint, relayed with its `mfa_token`: the default.
    #[default]
    Relayed,
}

/// An API that wants a token obtained with more than one factor, and echoes what it got.
///
/// - No token, or a bad one: 401 with `WWW-Authenticate: Bearer`.
/// - A good token whose `amr` lacks `mfa`: the demand, in the shape chosen with [`ProtectedApi::demanding`].
/// - Else 200 with a JSON object: `method`, `path` (with the query), `headers` (a list of name and value, in order,
///   without the value of `authorization`), `body` (text) or `body_base64` (other bytes), `trailers` (like
///   `headers`), and `sub`.
///
/// Clones are cheap and count together; settings belong before cloning.
#[derive(Clone)]
pub struct ProtectedApi {
    server: AuthorizationServer,
    demanding: Demanding,
    scope: Option<String>,
    refuse_early: bool,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    requests: usize,
    accepted: usize,
    bodies: Vec<Bytes>,
}

impl ProtectedApi {
    /// An API that trusts the tokens of this server.
    #[must_use]
    pub fn new(server: &AuthorizationServer) -> Self {
        Self {
            server: server.clone(),
            demanding: Demanding::default(),
            scope: None,
            refuse_early: false,
            seen: Arc::default(),
        }
    }

    /// How it demands multi-factor authentication; defaults to [`Demanding::Relayed`].
    #[must_use]
    pub const fn demanding(mut self, demanding: Demanding) -> Self {
        self.demanding = demanding;
        self
    }

    /// Accepts tokens by this scope in place of `amr`, as an API behind Auth0 has to.
    #[must_use]
    pub fn require_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Whether a refusal comes before the body was read; defaults to `false`.
    ///
    /// With `true` the answer is made from the head alone, as most servers do it, and the body is dropped unread.
    #[must_use]
    pub const fn refuse_early(mut self, early: bool) -> Self {
        self.refuse_early = early;
        self
    }

    /// How many requests came in.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.seen().requests
    }

    /// How many requests were accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.seen().accepted
    }

    /// The request bodies read to their end, of refused requests too.
    #[must_use]
    pub fn bodies(&self) -> Vec<Bytes> {
        self.seen().bodies.clone()
    }

    /// Opens a port of 127.0.0.1 and serves there until the returned [`Serving`] is dropped.
    ///
    /// # Errors
    ///
    /// If no port can be opened.
    pub async fn serve(&self) -> std::io::Result<Serving> {
        serve::start(self.clone()).await
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose request it is, or how it is refused.
    fn check(&self, headers: &HeaderMap) -> Result<Claims, Box<Answer>> {
        let Some(token) = bearer(headers) else {
            return Err(Box::new(challenge(
                StatusCode::UNAUTHORIZED,
                "Bearer".to_owned(),
                None,
            )));
        };
        let Ok(claims) = self.server.verify(token) else {
            let refusal = json!({"error": "invalid_token", "error_description": "The access token is invalid"});
            let scheme =
                r#"Bearer error="invalid_token", error_description="The access token is invalid""#;
            return Err(Box::new(challenge(
                StatusCode::UNAUTHORIZED,
                scheme.to_owned(),
                Some(&refusal),
            )));
        };
        let satisfied = match &self.scope {
            Some(scope) => claims.has_scope(scope),
            None => claims.amr().contains(&"mfa"),
        };
        if satisfied {
            Ok(claims)
        } else {
            Err(Box::new(self.demand(&claims)))
        }
    }

    fn demand(&self, claims: &Claims) -> Answer {
        match self.demanding {
            Demanding::Code => answer::json(
                StatusCode::FORBIDDEN,
                &json!({
                    "error": "MFA required",
                    "code": "mfa_required",
                    "message": "This action requires multi-factor authentication",
                }),
            ),
            Demanding::InsufficientScope => {
                let scope = self.scope.as_deref().unwrap_or("transfer:funds");
                let scheme = format!(
                    r#"Bearer realm="api", error="insufficient_scope", error_description="Insufficient Scope", scope="{scope}""#
                );
                let body = json!({"error": "insufficient_scope", "error_description": "Insufficient Scope"});
                challenge(StatusCode::FORBIDDEN, scheme, Some(&body))
            }
            Demanding::InsufficientUserAuthentication => {
                let reason = "A different authentication level is required";
                let scheme = format!(
                    r#"Bearer error="insufficient_user_authentication", error_description="{reason}", acr_values="{MULTI_FACTOR}""#
                );
                let body = json!({"error": "insufficient_user_authentication", "error_description": reason});
                challenge(StatusCode::UNAUTHORIZED, scheme, Some(&body))
            }
            Demanding::Relayed => {
                let name = claims
                    .sub()
                    .strip_prefix(&sub(""))
                    .unwrap_or_else(|| claims.sub());
                self.server.demand(name, claims.client_id())
            }
        }
    }

    async fn answer<B>(self, head: request::Parts, body: B) -> Answer
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.seen().requests += 1;
        let checked = self.check(&head.headers);
        let checked = match checked {
            Err(refusal) if self.refuse_early => return *refusal,
            checked => checked,
        };
        let Ok(body) = collect(body, usize::MAX).await else {
            return answer::empty(StatusCode::BAD_REQUEST);
        };
        let mut seen = self.seen();
        seen.bodies.push(body.bytes.clone());
        match checked {
            Ok(claims) => {
                seen.accepted += 1;
                answer::ok(&echo(&head, &body, &claims))
            }
            Err(refusal) => *refusal,
        }
    }
}

fn challenge(status: StatusCode, scheme: String, body: Option<&Value>) -> Answer {
    let mut answer = body.map_or_else(|| answer::empty(status), |body| answer::json(status, body));
    if let Ok(scheme) = HeaderValue::from_maybe_shared(Bytes::from(scheme)) {
        answer
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    answer
}

fn echo(head: &request::Parts, body: &Collected, claims: &Claims) -> Value {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut echo = json!({
        "method": head.method.as_str(), "path": path, "headers": pairs(&head.headers), "sub": claims.sub(),
        "trailers": body.trailers.as_ref().map_or_else(|| json!([]), pairs),
    });
    match std::str::from_utf8(&body.bytes) {
        Ok(text) => echo["body"] = text.into(),
        Err(_) => echo["body_base64"] = BASE64_STANDARD.encode(&body.bytes).into(),
    }
    echo
}

fn pairs(headers: &HeaderMap) -> Value {
    let shown = |name: &http::HeaderName, value: &HeaderValue| {
        if name == header::AUTHORIZATION {
            "[hidden]".into()
        } else {
            String::from_utf8_lossy(value.as_bytes())
        }
        .into_owned()
    };
    headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), shown(name, value)]))
        .collect()
}

impl fmt::Debug for ProtectedApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut api = f.debug_struct("ProtectedApi");
        api.field("demanding", &self.demanding)
            .field("refuse_early", &self.refuse_early);
        api.field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for ProtectedApi
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ApiFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ApiFuture {
        let api = self.clone();
        let (head, body) = request.into_parts();
        ApiFuture {
            answer: Box::pin(api.answer(head, body)),
        }
    }
}

/// The answer of a [`ProtectedApi`], under way.
pub struct ApiFuture {
    answer: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
}

impl Future for ApiFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(context).map(Ok)
    }
}

impl fmt::Debug for ApiFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiFuture").finish_non_exhaustive()
    }
}
