//! What the tests stand on: an authorization server, an API behind it, a person with scripted answers, and a tap on the line.

mod person;
mod scripted_api;
mod tap;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_mfa::{
    Auth0, CodeProvider, Event, MfaLayer, Secret, StepUpError, SteppedUp,
    body::{ReplayBody, ResponseBody},
    testing::{
        AuthorizationServer, Body, Builder, Client, Endpoint, Fault, PausedClock, ProtectedApi,
        Signing, User,
    },
    time::Clock as _,
};

pub(crate) use person::{Person, Reply};
pub(crate) use scripted_api::ScriptedApi;
pub(crate) use tap::{Sent, Tap};

pub(crate) const CLIENT: &str = "example-client";
pub(crate) const TOTP_SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
pub(crate) const RECOVERY_CODE: &str = "TESTTESTTESTTESTTESTTEST";
pub(crate) const REQUEST_BODY: &str = r#"{"amount":100,"to":"example"}"#;

pub(crate) const OTP_GRANT: &str = "http://auth0.com/oauth/grant-type/mfa-otp";
pub(crate) const OOB_GRANT: &str = "http://auth0.com/oauth/grant-type/mfa-oob";
pub(crate) const RECOVERY_GRANT: &str = "http://auth0.com/oauth/grant-type/mfa-recovery-code";

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The user of all tests, without factors.
pub(crate) fn alice() -> User {
    User::new("alice", "test-password")
}

/// Alice with one authenticator app.
pub(crate) fn with_totp() -> User {
    alice().totp(TOTP_SECRET)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything a test needs, on one paused clock.
pub(crate) struct Stage {
    pub(crate) clock: PausedClock,
    pub(crate) start: SystemTime,
    pub(crate) server: AuthorizationServer,
    pub(crate) api: ProtectedApi,
    pub(crate) tap: Tap,
    pub(crate) person: Person,
    pub(crate) auth0: Auth0,
    pub(crate) events: Arc<Mutex<Vec<Told>>>,
}

/// An event, and how many requests the API had seen when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) name: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) refresh_token: Option<String>,
    pub(crate) recovery_code: Option<String>,
    pub(crate) api_requests: usize,
}

impl Stage {
    /// A public client and a policy that demands one factor and says nothing else.
    pub(crate) fn new(user: User) -> Self {
        Self::build(user, |builder| builder)
    }

    pub(crate) fn build(user: User, edit: impl FnOnce(Builder) -> Builder) -> Self {
        Self::of(Client::public(CLIENT), user, edit)
    }

    pub(crate) fn of(client: Client, user: User, edit: impl FnOnce(Builder) -> Builder) -> Self {
        let clock = PausedClock::new();
        let builder = AuthorizationServer::builder()
            .clock(clock.clone())
            .signing(Signing::Es256)
            .client(client)
            .user(user);
        let server = edit(builder).build();
        let tap = Tap::new(&server);
        Self {
            start: clock.now(),
            api: ProtectedApi::new(&server),
            person: Person::new(&server),
            auth0: Auth0::new(&server.issuer(), CLIENT)
                .unwrap()
                .transport(tap.transport()),
            events: Arc::default(),
            clock,
            server,
            tap,
        }
    }

    /// With other settings of the dialect.
    pub(crate) fn auth0(mut self, edit: impl FnOnce(Auth0) -> Auth0) -> Self {
        self.auth0 = edit(self.auth0);
        self
    }

    /// The layer, with the scripted person.
    pub(crate) fn layer(&self) -> MfaLayer {
        self.layer_for(self.person.clone())
    }

    /// The layer, with another code provider.
    pub(crate) fn layer_for(&self, provider: impl CodeProvider) -> MfaLayer {
        let (events, api) = (Arc::clone(&self.events), self.api.clone());
        MfaLayer::new(self.auth0.clone(), provider)
            .clock(self.clock.clone())
            .on_event(move |event| lock(&events).push(Told::new(event, api.requests())))
    }

    /// Alice's request, with a token that is not strong enough.
    pub(crate) fn request(&self) -> Request<Body> {
        Request::post("/transfer?id=7")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.server.access_token("alice")),
            )
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(REQUEST_BODY))
            .unwrap()
    }

    /// Sends alice's request to the API.
    pub(crate) async fn send(&self) -> Answer {
        self.send_by(&self.layer()).await
    }

    pub(crate) async fn send_by(&self, layer: &MfaLayer) -> Answer {
        send(layer, self.api.clone(), self.request()).await
    }

    /// Sends alice's request to a service of the test's own.
    pub(crate) async fn send_to<S>(&self, service: S) -> Answer
    where
        S: Service<Request<ReplayBody<Body>>, Response = Response<Body>> + Clone,
        S::Error: std::fmt::Debug + 'static,
    {
        send(&self.layer(), service, self.request()).await
    }

    /// How often an endpoint of the authorization server was called.
    pub(crate) fn count(&self, endpoint: Endpoint) -> usize {
        self.server.calls().count(endpoint)
    }

    /// How often each endpoint was called: list, challenge, token.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        assert_eq!(self.count(Endpoint::Other), 0);
        (
            self.count(Endpoint::Authenticators),
            self.count(Endpoint::Challenge),
            self.count(Endpoint::Token),
        )
    }

    /// When the token endpoint was called, in seconds from the beginning.
    pub(crate) fn polled_at(&self) -> Vec<u64> {
        self.server
            .calls()
            .of(Endpoint::Token)
            .iter()
            .map(|call| call.at().duration_since(self.start).unwrap().as_secs())
            .collect()
    }

    /// How long the test has taken, on the paused clock.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.now().duration_since(self.start).unwrap()
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        lock(&self.events).clone()
    }

    /// Makes an endpoint answer this once.
    pub(crate) fn inject(&self, endpoint: Endpoint, status: u16, json: &str) {
        self.server.inject(endpoint, json_fault(status, json));
    }
}

impl Told {
    fn new(event: &Event<'_>, api_requests: usize) -> Self {
        let exposed = |secret: Option<&Secret>| secret.map(|secret| secret.expose().to_owned());
        let (name, outcome, stepped_up) = match event {
            Event::Started { .. } => ("started", "", None),
            Event::Succeeded { stepped_up, .. } => ("succeeded", "", Some(*stepped_up)),
            Event::Failed { error, .. } => ("failed", error.outcome(), None),
            _ => ("unknown", "", None),
        };
        Self {
            name,
            outcome,
            refresh_token: exposed(
                stepped_up
                    .and_then(SteppedUp::tokens)
                    .and_then(|tokens| tokens.refresh_token()),
            ),
            recovery_code: exposed(stepped_up.and_then(SteppedUp::recovery_code)),
            api_requests,
        }
    }
}

pub(crate) fn json_fault(status: u16, json: &str) -> Fault {
    Fault::status(status).body("application/json", json.to_owned())
}

/// A response in JSON.
pub(crate) fn json_response(status: u16, json: impl Into<String>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(json.into()))
        .unwrap()
}

/// Sends a request through the layer and reads the answer.
pub(crate) async fn send<S>(layer: &MfaLayer, service: S, request: Request<Body>) -> Answer
where
    S: Service<Request<ReplayBody<Body>>, Response = Response<Body>> + Clone,
    S::Error: std::fmt::Debug + 'static,
{
    Answer::read(layer.layer(service).oneshot(request).await.unwrap()).await
}

/// What the caller got.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) stepped_up: Option<SteppedUp>,
    pub(crate) error: Option<StepUpError>,
}

impl Answer {
    pub(crate) async fn read(response: Response<ResponseBody<Body>>) -> Self {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Self {
            status: head.status,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            stepped_up: head.extensions.get().cloned(),
            error: head.extensions.get().cloned(),
        }
    }

    /// The step-up that the API accepted.
    #[track_caller]
    pub(crate) fn accepted(&self) -> &SteppedUp {
        assert!(self.error.is_none(), "{:?}", self.error);
        assert_eq!(self.status, 200, "{}", self.body);
        assert_eq!(self.body["body"], REQUEST_BODY);
        self.stepped_up.as_ref().unwrap()
    }

    /// Why there was no retry; the refusal is the original one.
    #[track_caller]
    pub(crate) fn refused(&self) -> &StepUpError {
        assert!(self.stepped_up.is_none());
        assert_eq!(self.status, 403);
        let demanded = |name: &str| self.body[name] == "mfa_required";
        assert!(demanded("error") || demanded("code"), "{}", self.body);
        self.error.as_ref().unwrap()
    }
}
