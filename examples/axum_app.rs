//! A web app whose clients send the code in a header: `cargo run --example axum_app`, then the commands it prints.
//!
//! The app's own logic is refused with `mfa_required` and relays that to its client, as apps behind Auth0 do. With `MfaLayer`
//! around the router, a client that sends the same request again with `x-mfa-code` gets through. The handlers stay as they
//! are, and a client that sends no code sees no difference.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower_mfa::code::HeaderCode;
use tower_mfa::testing::{AuthorizationServer, Client, Signing, User};
use tower_mfa::transport::Transport;
use tower_mfa::{Auth0, BoxError, MfaLayer, StepUpError};

const CLIENT_ID: &str = "example-client";
const CODE_HEADER: HeaderName = HeaderName::from_static("x-mfa-code");
const OUTCOME_HEADER: HeaderName = HeaderName::from_static("x-mfa-outcome");

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // stands in for Auth0, in this process
    let server = AuthorizationServer::builder()
        .client(Client::public(CLIENT_ID))
        .user(User::new("alice", "example-password").totp("TESTEXAMPLESECRETTESTEXAMPLESECR"))
        // shorter tokens, so that the commands below fit a terminal
        .signing(Signing::Es256)
        .build();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = app(&server, address)?;

    match std::env::args().nth(1).as_deref() {
        None => {
            print_commands(&server, address);
            let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
            axum::serve(listener, app)
                .with_graceful_shutdown(ctrl_c)
                .await?;
            Ok(())
        }
        Some("--self-test") => {
            tokio::spawn(async { axum::serve(listener, app).await });
            self_test(&server, address).await
        }
        Some(other) => Err(format!("unknown argument `{other}`: give none, or --self-test").into()),
    }
}

/// The app: the layer is around the routes that may be refused.
fn app(server: &AuthorizationServer, address: SocketAddr) -> Result<Router, BoxError> {
    let auth0 = Auth0::new(&server.issuer(), CLIENT_ID)?
        // a real app leaves this line out, and goes to its tenant over https
        .transport(Transport::new(server.clone()));
    let mfa = MfaLayer::new(auth0, HeaderCode::new(CODE_HEADER))
        // requests over HTTP/1.1 name no origin in their URI, those over HTTP/2 name the one this app is reached by
        .trust_origin(&format!("http://{address}"))?;
    Ok(Router::new()
        .route("/transfers", post(transfer))
        .layer(mfa)
        // outside the layer: tells the client why its code did not help
        .layer(map_response(explain))
        // added after the layer, so not inside it: what an authenticator app would show now
        .route("/demo/code", get(demo_code))
        .with_state(server.clone()))
}

/// Moves money for whoever showed a second factor. It knows nothing of `MfaLayer`: it runs twice if the layer gets a token.
async fn transfer(
    State(server): State<AuthorizationServer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(claims) = token.and_then(|token| server.verify(token).ok()) else {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
    };
    if !claims.amr().contains(&"mfa") {
        // a real app would ask its tenant for a token here (a refresh, a password grant), and relay what that answered
        let user = claims.sub().trim_start_matches("auth0|");
        return server.demand(user, claims.client_id()).into_response();
    }
    (StatusCode::OK, body).into_response()
}

/// A refusal comes back as the handler made it; what the layer tried is in the response's extensions.
async fn explain(mut response: Response) -> Response {
    let outcome = response.extensions().get().map(StepUpError::outcome);
    if let Some(outcome) = outcome {
        let outcome = HeaderValue::from_static(outcome);
        response.headers_mut().insert(OUTCOME_HEADER, outcome);
    }
    response
}

async fn demo_code(State(server): State<AuthorizationServer>) -> Result<String, StatusCode> {
    server.totp("alice").ok_or(StatusCode::NOT_FOUND)
}

fn print_commands(server: &AuthorizationServer, address: SocketAddr) {
    let token = server.access_token("alice");
    let curl = format!(
        "curl -i http://{address}/transfers -H \"authorization: Bearer $TOKEN\" -d amount=42"
    );
    println!(
        "Alice has given her password. This is her token:

TOKEN={token}

Without a code she is refused, 403 with `mfa_required`; {OUTCOME_HEADER} says why the layer could not help:

{curl}

A wrong code is refused in the same way:

{curl} -H \"{CODE_HEADER}: 000000\"

With the right code the same request comes back with 200 and its own body:

{curl} -H \"{CODE_HEADER}: $(curl -s http://{address}/demo/code)\"

From then on the layer remembers what the code has brought, and the first command goes through as it stands.

Ctrl-C ends the app."
    );
}

/// Does what the printed commands do, and checks the answers.
async fn self_test(server: &AuthorizationServer, address: SocketAddr) -> Result<(), BoxError> {
    let token = server.access_token("alice");
    let code = server
        .totp("alice")
        .ok_or("alice has no authenticator app")?;
    let wrong = if code == "000000" { "111111" } else { "000000" };

    for (what, code, status, outcome) in [
        (
            "without a code",
            None,
            StatusCode::FORBIDDEN,
            "not_interactive",
        ),
        (
            "with a wrong code",
            Some(wrong),
            StatusCode::FORBIDDEN,
            "wrong_code",
        ),
        ("with the right code", Some(&*code), StatusCode::OK, ""),
        (
            "without a code again, since the layer remembers",
            None,
            StatusCode::OK,
            "",
        ),
    ] {
        let mut request = Request::post(format!("http://{address}/transfers"))
            .header(AUTHORIZATION, format!("Bearer {token}"));
        if let Some(code) = code {
            request = request.header(CODE_HEADER, code);
        }
        let client = HttpClient::builder(TokioExecutor::new()).build_http::<Body>();
        let answer = client
            .request(request.body(Body::from("amount=42"))?)
            .await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body);
        let told = head
            .headers
            .get(&OUTCOME_HEADER)
            .map_or(b"".as_slice(), |value| value.as_bytes());
        let expected = if status.is_success() {
            "amount=42"
        } else {
            "\"mfa_required\""
        };
        if head.status != status || told != outcome.as_bytes() || !body.contains(expected) {
            return Err(format!(
                "{what}: wanted {status} {outcome} {expected}, got {head:?} {body}"
            )
            .into());
        }
        println!("{what}: {}", head.status);
    }
    Ok(())
}
