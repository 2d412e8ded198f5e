//! From a refusal to the same request again, step by step: `cargo run --example quickstart`.
//!
//! An API on a loopback port refuses a `POST` until its token was obtained with a second factor. The client that sends it is
//! wrapped in `MfaLayer`, so the one call that the program makes comes back with 200: once by a one-time password, once by
//! an approval on a phone. Every line it prints was seen on the way, see `story.rs`.

mod story;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, ServiceExt};
use tower_mfa::body::ReplayBody;
use tower_mfa::code::TotpCode;
use tower_mfa::testing::{AuthorizationServer, Client, Policy, ProtectedApi, Requirements, User};
use tower_mfa::{
    Auth0, BoxError, Challenge, Code, CodeError, CodeProvider, Factor, MfaLayer, RequestHead,
    StepUpError,
};

use story::Story;

const CLIENT_ID: &str = "example-client";
/// What Alice's authenticator app was enrolled with, in Base32. A real one comes from a secret store.
const TOTP_SECRET: &str = "TESTEXAMPLESECRETTESTEXAMPLESECR";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // stands in for Auth0: it speaks the same API, on a loopback port
    let server = AuthorizationServer::builder()
        .client(Client::public(CLIENT_ID))
        .user(
            User::new("alice", "example-password")
                .totp(TOTP_SECRET)
                .push("Alice's phone"),
        )
        // a second between two polls in place of five, so that nobody waits for this example
        .policy(
            Policy::always()
                .requirements(Requirements::Challenge)
                .interval(Duration::from_secs(1)),
        )
        .poll_interval(Duration::from_secs(1))
        .build();
    let _serving = server.serve().await?;
    // what a program gets when Alice gives her password, and nothing more
    let token = server.access_token("alice");

    let story = Story::begin("A one-time password", &server);
    let app = AuthenticatorApp {
        totp: TotpCode::from_base32(TOTP_SECRET)?,
        story: Arc::clone(&story),
    };
    send(&server, &token, &story, app).await?;

    println!();
    // Alice finds her phone after two polls
    server.push().approve_after("alice", 2);
    let story = Story::begin("An approval on the phone", &server);
    let phone = Phone {
        story: Arc::clone(&story),
    };
    send(&server, &token, &story, phone).await
}

/// Sends one request through the layer, and checks what arrived at the API.
async fn send(
    server: &AuthorizationServer,
    token: &str,
    story: &Arc<Story>,
    codes: impl CodeProvider,
) -> Result<(), BoxError> {
    let api = ProtectedApi::new(server);
    let serving = api.serve().await?;

    let events = Arc::clone(story);
    let mfa = MfaLayer::new(Auth0::new(&server.issuer(), CLIENT_ID)?, codes)
        // without it nobody is asked: an origin has to be trusted before it can make people type codes
        .trust_origin(serving.url())?
        .on_event(move |event| events.event(event));

    // the layer sends a `ReplayBody` around the body it is given
    let client: HttpClient<HttpConnector, ReplayBody<Full<Bytes>>> =
        HttpClient::builder(TokioExecutor::new()).build_http();
    let (requests, answers) = (Arc::clone(story), Arc::clone(story));
    let client = ServiceBuilder::new()
        .layer(mfa)
        // these two are below the layer, so that they see both attempts; the caller sees one
        .map_request(move |request| requests.request(request))
        .map_response(move |response| answers.answer(response))
        .service(client);

    let sent = Bytes::from_static(br#"{"to":"example-account","amount":42}"#);
    let request = Request::post(format!("{}transfers", serving.url()))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(sent.clone()))?;
    let response = client.oneshot(request).await?;

    if let Some(error) = response.extensions().get::<StepUpError>() {
        return Err(format!(
            "still {}, since the step-up failed: {error}",
            response.status()
        )
        .into());
    }
    let (status, bodies) = (response.status(), api.bodies());
    // the refused request and the accepted one
    let both_as_sent = bodies.len() == 2 && bodies.iter().all(|body| *body == sent);
    if status != StatusCode::OK || api.accepted() != 1 || !both_as_sent {
        return Err(format!(
            "the answer is {status}, the API accepted {} of {} requests, and the bodies it got are {bodies:?}: please report this",
            api.accepted(),
            api.requests(),
        )
        .into());
    }
    story.tell(
        "result",
        format_args!("{status}; the API got both bodies byte for byte as sent"),
    );
    story.end(api.requests());
    Ok(())
}

/// Gives the code that an authenticator app would show.
struct AuthenticatorApp {
    totp: TotpCode,
    story: Arc<Story>,
}

impl CodeProvider for AuthenticatorApp {
    async fn code(&self, challenge: Challenge) -> Result<Code, CodeError> {
        self.story.challenge(&challenge);
        let code = self.totp.code(challenge).await?;
        // a `Code` has no `Display`, and its `Debug` hides it: to print one takes `expose`
        self.story.tell("code", "*".repeat(code.expose().len()));
        Ok(code)
    }

    fn supports(&self, factor: Factor, request: &RequestHead) -> bool {
        self.totp.supports(factor, request)
    }
}

/// Has no code to give: the user approves on a phone, and the layer asks the server until that is done.
struct Phone {
    story: Arc<Story>,
}

impl CodeProvider for Phone {
    async fn code(&self, _challenge: Challenge) -> Result<Code, CodeError> {
        Err(CodeError::NotInteractive)
    }

    fn supports(&self, factor: Factor, _request: &RequestHead) -> bool {
        factor == Factor::Push
    }

    async fn awaiting_approval(&self, challenge: Challenge) -> Result<(), CodeError> {
        // a program with a screen would say "approve on your phone" here
        self.story.challenge(&challenge);
        Ok(())
    }
}
