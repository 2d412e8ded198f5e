//! [`AuthorizationServer`]: the service, and what a test does to it directly.

use std::{
    fmt,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use tower_service::Service;

use super::{
    answer::{self, Answer},
    body::{Body, BoxError, collect},
    builder::Builder,
    calls::{Calls, Endpoint},
    challenge,
    claims::{self, Claims, MULTI_FACTOR, TokenBuilder, VerifyError},
    client::Client,
    discovery, enrolment,
    fault::{Effect, Fault},
    keys::Signing,
    limit::RateLimit,
    outbox::Outbox,
    policy::Policy,
    push::Push,
    request::Received,
    serve::{self, Serving},
    state::State,
    token,
    user::{self, Kind},
};
use crate::time::Clock;

/// More than any request of this API has.
const MAX_REQUEST_BODY: usize = 64 * 1024;

/// An Auth0-compatible authorization server: a tower service over HTTP requests.
///
/// Clones are cheap and are the same server. See the [module docs](super) for what it does.
#[derive(Clone)]
pub struct AuthorizationServer {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) clients: Vec<Client>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) audience: String,
    pub(super) mfa_token_ttl: Duration,
    pub(super) oob_code_ttl: Duration,
    pub(super) access_token_ttl: Duration,
    pub(super) poll_interval: Duration,
    pub(super) failures: RateLimit,
    pub(super) exchanges: RateLimit,
    pub(super) signing: Signing,
    pub(super) mfa_claims: bool,
    pub(super) calls: Calls,
    pub(super) state: Mutex<State>,
}

impl AuthorizationServer {
    /// Starts the settings of a server.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Opens a port of 127.0.0.1 and serves HTTP/1.1 and HTTP/2 (with prior knowledge) there until the returned
    /// [`Serving`] is dropped.
    ///
    /// The address becomes the issuer, whatever it was before.
    ///
    /// # Errors
    ///
    /// If no port can be opened.
    pub async fn serve(&self) -> std::io::Result<Serving> {
        let serving = serve::start(self.clone()).await?;
        self.state().issuer = serving.url().to_owned();
        Ok(serving)
    }

    /// The `iss` of tokens, with its closing slash.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.state().issuer.clone()
    }

    /// Replaces the policy, from the next request on.
    pub fn set_policy(&self, policy: Policy) {
        self.state().policy = policy;
    }

    /// The log of the requests so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.shared.calls.clone()
    }

    /// The messages sent so far.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.clone())
    }

    /// The user's side of push notifications.
    #[must_use]
    pub fn push(&self) -> Push {
        Push::new(self.clone())
    }

    /// Makes something go wrong at an endpoint, after what was injected there before.
    pub fn inject(&self, endpoint: Endpoint, fault: Fault) {
        self.state().faults.inject(endpoint, fault);
    }

    /// Takes all faults back that have not taken effect.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// The `mfa_required` answer of the token endpoint for a user who logs in at a client: for an API that relays it.
    ///
    /// A user or client that does not exist gets the refusal that the token endpoint would answer.
    #[must_use]
    pub fn demand(&self, user: &str, client_id: &str) -> Response<Body> {
        token::demand(self, user, client_id)
    }

    /// Starts an access token made to order, for what no grant gives.
    pub fn token(&self, user: &str) -> TokenBuilder {
        let client_id = self
            .shared
            .clients
            .first()
            .map_or("test-client", |client| client.id.as_str());
        TokenBuilder::new(self.clone(), user, client_id)
    }

    /// An access token of a user who showed a password only.
    #[must_use]
    pub fn access_token(&self, user: &str) -> String {
        self.token(user).sign()
    }

    /// An access token of a user who showed a second factor, with the scopes for which the policy demands one.
    #[must_use]
    pub fn elevated_token(&self, user: &str) -> String {
        let scope = self.state().policy.elevated_scope();
        self.token(user)
            .scope(scope)
            .acr(MULTI_FACTOR)
            .amr(["pwd", "mfa", "otp"])
            .sign()
    }

    /// An access token that expired a minute ago.
    #[must_use]
    pub fn expired_token(&self, user: &str) -> String {
        self.token(user)
            .expires_at(self.now() - Duration::from_secs(60))
            .sign()
    }

    /// An access token for the multi-factor API itself: lists, adds and removes authenticators.
    #[must_use]
    pub fn management_token(&self, user: &str) -> String {
        let audience = token::mfa_audience(&self.issuer());
        let scope = "enroll read:authenticators remove:authenticators";
        self.token(user)
            .audience(audience)
            .scope(scope)
            .expires_at(self.now() + self.shared.mfa_token_ttl)
            .sign()
    }

    /// Verifies an access token: type, signature, issuer, and expiry by the server's clock.
    ///
    /// # Errors
    ///
    /// If any of them is wrong.
    pub fn verify(&self, token: &str) -> Result<Claims, VerifyError> {
        claims::verify(&self.state(), token, self.now())
    }

    /// What the user's authenticator app shows now, by the server's clock; nothing for a user without one.
    #[must_use]
    pub fn totp(&self, user: &str) -> Option<String> {
        let now = self.now();
        let state = self.state();
        state
            .user(user)?
            .factors
            .iter()
            .find_map(|factor| match &factor.kind {
                Kind::Totp { secret, .. } => user::totp(secret, now).map(|(code, _)| code),
                Kind::Message { .. } | Kind::Push { .. } | Kind::Recovery { .. } => None,
            })
    }

    /// The recovery code that is good now; nothing for a user without one.
    #[must_use]
    pub fn recovery_code(&self, user: &str) -> Option<String> {
        self.state()
            .user(user)?
            .factors
            .iter()
            .find_map(|factor| match &factor.kind {
                Kind::Recovery { code } => Some(code.clone()),
                Kind::Totp { .. } | Kind::Message { .. } | Kind::Push { .. } => None,
            })
    }

    /// The ids of a user's authenticators, unconfirmed ones too, in the order of their enrolment.
    #[must_use]
    pub fn authenticator_ids(&self, user: &str) -> Vec<String> {
        let state = self.state();
        state
            .user(user)
            .into_iter()
            .flat_map(|user| &user.factors)
            .map(|factor| factor.id.clone())
            .collect()
    }

    pub(super) fn now(&self) -> SystemTime {
        self.shared.clock.now()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, received: &Received) -> Answer {
        if let Some(reason) = received.broken {
            return answer::Refusal::new(400, "invalid_request", reason).into_answer();
        }
        let now = self.now();
        let state = &mut *self.state();
        let answer = match received.endpoint {
            Endpoint::Associate => enrolment::associate(&self.shared, state, received, now),
            Endpoint::Authenticators => enrolment::list(&self.shared, state, received, now),
            Endpoint::Challenge => challenge::challenge(&self.shared, state, received, now),
            Endpoint::Configuration => {
                Ok(discovery::configuration(&state.issuer, self.shared.signing))
            }
            Endpoint::DeleteAuthenticator => enrolment::delete(state, received, now),
            Endpoint::Jwks => Ok(discovery::jwks(&state.ring)),
            Endpoint::Other => Ok(nothing_there(&received.path)),
            Endpoint::Token => token::token(&self.shared, state, received, now),
        };
        answer.unwrap_or_else(answer::Refusal::into_answer)
    }

    async fn work(self, received: Received) -> Result<Answer, BoxError> {
        let calls = &self.shared.calls;
        let place = calls.record(&received, self.now());
        let effect = self.state().faults.next(received.endpoint);
        let answer = match effect {
            None => self.answer(&received),
            Some(Effect::Answer(answer)) => *answer,
            Some(Effect::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.answer(&received)
            }
            Some(Effect::Drop) => return Err("the connection was dropped".into()),
            Some(Effect::Hang) => pending().await,
            Some(Effect::LostAnswer) => {
                self.answer(&received);
                return Err("the connection was dropped before the answer".into());
            }
        };
        calls.answered(place, answer.status());
        Ok(answer)
    }
}

fn nothing_there(path: &str) -> Answer {
    let Some((method, _)) = Endpoint::at(path) else {
        return answer::empty(StatusCode::NOT_FOUND);
    };
    let mut answer = answer::empty(StatusCode::METHOD_NOT_ALLOWED);
    if let Ok(allowed) = HeaderValue::from_str(method.as_str()) {
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("AuthorizationServer");
        server
            .field("issuer", &self.issuer())
            .field("clients", &self.shared.clients)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for AuthorizationServer
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    /// Only a fault that drops the connection gives one.
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let server = self.clone();
        ResponseFuture::new(async move {
            let (head, body) = request.into_parts();
            let body = match collect(body, MAX_REQUEST_BODY).await {
                Ok(body) => Ok(body.bytes),
                Err(_) => Err("The body is too long, or broke off"),
            };
            server
                .work(Received::new(
                    head,
                    body.as_deref().map_err(|reason| *reason),
                ))
                .await
        })
    }
}

/// The answer of an [`AuthorizationServer`], under way.
pub struct ResponseFuture {
    answer: Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>,
}

impl ResponseFuture {
    fn new(
        answer: impl Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
    ) -> Self {
        Self {
            answer: Box::pin(answer),
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(context)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
