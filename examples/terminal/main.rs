//! A command-line tool that asks its user for the second factor: `cargo run --example terminal`.
//!
//! It sends one request with reqwest, through `MfaLayer`. The API refuses it, and `prompt.rs` asks the person at the terminal:
//! which of their factors, which code, once more if it was wrong. Answers can also be piped in, one a line.
//!
//! Since this is a demonstration, `phone.rs` plays the user's phone: it shows what an authenticator app and messages would.

mod phone;
mod prompt;

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_mfa::body::ReplayBody;
use tower_mfa::testing::{AuthorizationServer, Client, Policy, ProtectedApi, User};
use tower_mfa::{Auth0, BoxError, MfaLayer, StepUpError, SteppedUp};

use phone::WithPhone;
use prompt::Prompt;

const CLIENT_ID: &str = "example-client";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // stand in for Auth0 and for an API behind it, on loopback ports
    let server = AuthorizationServer::builder()
        .client(Client::public(CLIENT_ID))
        .user(
            User::new("alice", "example-password")
                .totp("TESTEXAMPLESECRETTESTEXAMPLESECR")
                .push("Alice's phone")
                .sms("+15550100")
                .email("alice@example.com")
                .recovery_code("TESTRECOVERYCODE"),
        )
        .policy(Policy::always().interval(Duration::from_secs(1)))
        .poll_interval(Duration::from_secs(1))
        .build();
    let _serving = server.serve().await?;
    server.push().approve_after("alice", 3);
    let api = ProtectedApi::new(&server).serve().await?;

    let codes = WithPhone::new(server.clone(), Prompt::new()?);
    let mfa =
        MfaLayer::new(Auth0::new(&server.issuer(), CLIENT_ID)?, codes).trust_origin(api.url())?;

    // reqwest has request and response types of its own; this makes it a service over those of `http`
    let reqwest = reqwest::Client::builder().no_proxy().build()?;
    let client = mfa.layer(service_fn(
        move |request: Request<ReplayBody<Full<Bytes>>>| {
            let reqwest = reqwest.clone();
            async move {
                let request = request.map(reqwest::Body::wrap).try_into()?;
                reqwest.execute(request).await.map(Response::from)
            }
        },
    ));

    let request = Request::post(format!("{}transfers", api.url()))
        .header(
            AUTHORIZATION,
            format!("Bearer {}", server.access_token("alice")),
        )
        .body(Full::from(r#"{"to":"example-account","amount":42}"#))?;
    let response = client.oneshot(request).await?;

    if let Some(error) = response.extensions().get::<StepUpError>() {
        return Err(match error.is_declined() {
            true => "you gave no code, so the API refused and nothing was done".into(),
            false => format!("{}: {error}", response.status()).into(),
        });
    }
    let factor = response.extensions().get().and_then(SteppedUp::factor);
    let factor = factor.map_or("no second factor", |factor| factor.as_str());
    println!("{}, by {factor}", response.status());
    let body = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}
