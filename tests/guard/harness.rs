//! A guarded service, the authorization server beside it, and what they say.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;
use tower_mfa::guard::{Guard, GuardLayer, Policy, RemoteKeys, VerifiedToken, Verifier};
use tower_mfa::testing::{AuthorizationServer, Client, PausedClock, Signing, TokenBuilder, User};
use tower_mfa::transport::Transport;
use tower_mfa::www_authenticate::{self, Challenge};

pub(crate) const ISSUER: &str = "https://tenant.example.com/";
pub(crate) const AUDIENCE: &str = "https://api.example.com/";
pub(crate) const MULTI_FACTOR: &str =
    "http://schemas.openid.net/pape/policies/2007/06/multi-factor";

/// An authorization server whose tokens the guards of a test accept, on one paused clock.
pub(crate) struct World {
    pub(crate) server: AuthorizationServer,
    pub(crate) clock: PausedClock,
    reached: Arc<AtomicUsize>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = PausedClock::new();
        let server = AuthorizationServer::builder()
            .client(Client::public("example-client"))
            .user(User::new("alice", "example-password").totp("TESTTESTTESTTESTTESTTESTTESTTEST"))
            .issuer(ISSUER)
            .clock(clock.clone())
            .signing(Signing::Es256)
            .build();
        Self {
            server,
            clock,
            reached: Arc::default(),
        }
    }

    pub(crate) fn keys(&self) -> RemoteKeys {
        RemoteKeys::discovery().transport(Transport::new(self.server.clone()))
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(ISSUER, AUDIENCE, self.keys())
            .unwrap()
            .clock(self.clock.clone())
    }

    pub(crate) fn guard(&self) -> Guard {
        Guard::new(self.verifier())
    }

    pub(crate) fn token(&self) -> TokenBuilder {
        self.server.token("alice")
    }

    /// What a request with this token is answered behind this policy.
    pub(crate) async fn ask(&self, policy: impl Into<Policy>, token: &str) -> Answer {
        self.send(self.guard().require(policy), with_token(token))
            .await
    }

    pub(crate) async fn send(&self, layer: GuardLayer, request: Request<Full<Bytes>>) -> Answer {
        let reached = Arc::clone(&self.reached);
        let service = layer.layer(service_fn(move |request: Request<Full<Bytes>>| {
            reached.fetch_add(1, Ordering::Relaxed);
            let subject = request
                .extensions()
                .get::<VerifiedToken>()
                .and_then(VerifiedToken::subject)
                .unwrap_or("nobody")
                .to_owned();
            ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
                subject,
            ))))
        }));
        Answer::read(service.oneshot(request).await.unwrap()).await
    }

    /// How many requests got through to the service.
    pub(crate) fn reached(&self) -> usize {
        self.reached.load(Ordering::Relaxed)
    }
}

pub(crate) fn with_token(token: &str) -> Request<Full<Bytes>> {
    with_authorization(&format!("Bearer {token}"))
}

pub(crate) fn with_authorization(value: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    request
        .headers_mut()
        .insert(AUTHORIZATION, HeaderValue::try_from(value).unwrap());
    request
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn read<B>(response: Response<B>) -> Self
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: std::fmt::Debug,
    {
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The only challenge, read by this crate's own parser.
    pub(crate) fn challenge(&self) -> Challenge {
        let [challenge] = <[_; 1]>::try_from(www_authenticate::parse(&self.headers)).unwrap();
        challenge
    }

    pub(crate) fn challenge_text(&self) -> &str {
        self.headers[WWW_AUTHENTICATE].to_str().unwrap()
    }

    /// The `error` of the challenge.
    pub(crate) fn error(&self) -> Option<String> {
        let challenge = self.challenge();
        assert!(challenge.is_scheme("bearer"));
        challenge.parameter("error").map(str::to_owned)
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, error: Option<&str>) {
        assert_eq!(
            (self.status.as_u16(), self.error().as_deref()),
            (status, error),
            "{self:?}"
        );
    }

    #[track_caller]
    pub(crate) fn is_let_through(&self) {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
    }
}
