//! An API that demands strong and fresh logins: `cargo run --example axum_guard`, then the commands it prints.
//!
//! `Guard` verifies the bearer tokens of those who call. One route is public, one wants a login, one wants a second factor that
//! was shown within five minutes. A token that is good but too weak or too old is answered with the challenge of RFC 9470, and,
//! for clients that know only Auth0's words, with `mfa_required`: so a client with `MfaLayer` gets through by itself.

use std::net::SocketAddr;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};
use tower_mfa::code::TotpCode;
use tower_mfa::guard::{Guard, MfaRequired, RemoteKeys, Requirement, VerifiedToken, Verifier};
use tower_mfa::testing::{AuthorizationServer, Client, Signing, User};
use tower_mfa::time::{Clock, SystemClock};
use tower_mfa::{Auth0, BoxError, MfaLayer, StepUpError, SteppedUp};

const CLIENT_ID: &str = "example-client";
/// What tokens have to be meant for: the name of this API at the authorization server.
const AUDIENCE: &str = "https://api.example.com/";
/// What Alice's authenticator app was enrolled with, in Base32.
const TOTP_SECRET: &str = "TESTEXAMPLESECRETTESTEXAMPLESECR";
const FRESH: Duration = Duration::from_secs(5 * 60);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // stands in for Auth0, on a loopback port
    let server = AuthorizationServer::builder()
        .client(Client::public(CLIENT_ID))
        .user(User::new("alice", "example-password").totp(TOTP_SECRET))
        .audience(AUDIENCE)
        // shorter tokens, so that the commands below fit a terminal
        .signing(Signing::Es256)
        .build();
    let _serving = server.serve().await?;
    let tokens = Tokens::issue(&server);
    let app = app(&server)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    match std::env::args().nth(1).as_deref() {
        None => {
            print_commands(&tokens, address);
            let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
            axum::serve(listener, app)
                .with_graceful_shutdown(ctrl_c)
                .await?;
            Ok(())
        }
        Some("--self-test") => {
            tokio::spawn(async { axum::serve(listener, app).await });
            self_test(&tokens, address).await?;
            step_up(&server, &tokens, address).await
        }
        Some(other) => Err(format!("unknown argument `{other}`: give none, or --self-test").into()),
    }
}

/// The app: each route says what it demands, all share the keys and the cache of one verifier.
fn app(server: &AuthorizationServer) -> Result<Router, BoxError> {
    // the keys come from the issuer's discovery document, when the first token arrives
    let verifier = Verifier::new(server.issuer(), AUDIENCE, RemoteKeys::discovery())?;
    let relaying = server.clone();
    let guard = Guard::new(verifier)
        .relay_mfa_required(move |token, _shortfall| relay(relaying.clone(), token))
        .on_decision(|decision| {
            // an audit log in a real app; it never holds the token
            if let Some(reason) = decision.reason() {
                let (method, path) = (decision.method(), decision.uri().path());
                println!("    guard: {method} {path} refused, {reason}");
            }
        });
    let login = guard.require(Requirement::login());
    let fresh_mfa = guard.require(Requirement::mfa().max_age(FRESH));
    Ok(Router::new()
        .route("/", get(public))
        .route("/account", get(account).layer(login))
        .route("/transfers", post(transfer).layer(fresh_mfa)))
}

/// What a client that speaks Auth0 reads in a refusal: the answer of the token endpoint, with the `mfa_token` to step up by.
async fn relay(server: AuthorizationServer, token: VerifiedToken) -> Option<MfaRequired> {
    // a real app would ask its tenant for a token here (a refresh, a password grant), and relay what that answered
    let user = token.subject()?.strip_prefix("auth0|")?;
    let answer = server.demand(user, token.client_id()?);
    MfaRequired::from_json(answer.into_body().into_bytes()).ok()
}

async fn public() -> &'static str {
    "everybody may read this\n"
}

/// Whoever gets here has a good token: the guard has put it into the request's extensions.
async fn account(Extension(token): Extension<VerifiedToken>) -> String {
    format!("the account of {}\n", token.subject().unwrap_or("nobody"))
}

async fn transfer(Extension(token): Extension<VerifiedToken>, body: String) -> String {
    let who = token.subject().unwrap_or("nobody");
    let factors = token.amr().collect::<Vec<_>>().join("+");
    format!("{body} by {who}, who has shown {factors}\n")
}

/// What different logins of Alice have brought.
struct Tokens {
    password: String,
    mfa: String,
    stale: String,
    expired: String,
}

impl Tokens {
    fn issue(server: &AuthorizationServer) -> Self {
        let earlier = SystemClock::new().now() - 2 * FRESH;
        Self {
            password: server.access_token("alice"),
            mfa: server.elevated_token("alice"),
            // issued now, for a login of ten minutes ago: as a refresh gives it
            stale: server
                .token("alice")
                .amr(["pwd", "mfa", "otp"])
                .auth_time(earlier)
                .sign(),
            // longer ago than clocks may differ
            expired: server.token("alice").expires_at(earlier).sign(),
        }
    }
}

fn print_commands(tokens: &Tokens, address: SocketAddr) {
    let Tokens {
        password,
        mfa,
        stale,
        ..
    } = tokens;
    let account = format!("curl -i http://{address}/account");
    let transfer = format!("curl -i http://{address}/transfers -d amount=42");
    println!(
        "Three tokens of Alice: after her password only, with a second factor, and with one shown ten minutes ago:

PASSWORD={password}
MFA={mfa}
STALE={stale}

Everybody gets 200 from the public route:

curl -i http://{address}/

The account wants a login: 401 with `WWW-Authenticate: Bearer` and no more for a stranger, 200 with any good token:

{account}
{account} -H \"authorization: Bearer $PASSWORD\"

A transfer wants a second factor, at most five minutes old. The first two are answered with 401; its `WWW-Authenticate` says
`insufficient_user_authentication` and `max_age` (RFC 9470), its body is Auth0's `mfa_required`. The third gets 200:

{transfer} -H \"authorization: Bearer $PASSWORD\"
{transfer} -H \"authorization: Bearer $STALE\"
{transfer} -H \"authorization: Bearer $MFA\"

In five minutes that one is refused too. A client with `MfaLayer` steps up by itself: --self-test shows one.

Ctrl-C ends the app."
    );
}

/// Does what the printed commands do, and checks the answers.
async fn self_test(tokens: &Tokens, address: SocketAddr) -> Result<(), BoxError> {
    const LOGIN: &str = "account of auth0|alice";
    const STEP_UP: &str = r#"error="insufficient_user_authentication""#;
    let (password, mfa) = (tokens.password.as_str(), tokens.mfa.as_str());
    let (stale, expired) = (tokens.stale.as_str(), tokens.expired.as_str());

    // what is sent; then the status, a part of the challenge, and a part of the body
    for (what, path, token, status, challenge, body) in [
        ("public, by a stranger", "", None, 200, "", "everybody"),
        ("account, by a stranger", "account", None, 401, "Bearer", ""),
        (
            "account, password",
            "account",
            Some(password),
            200,
            "",
            LOGIN,
        ),
        (
            "account, second factor",
            "account",
            Some(mfa),
            200,
            "",
            LOGIN,
        ),
        (
            "account, expired token",
            "account",
            Some(expired),
            401,
            r#"error="invalid_token""#,
            "invalid_token",
        ),
        (
            "transfer, by a stranger",
            "transfers",
            None,
            401,
            "Bearer",
            "",
        ),
        (
            "transfer, password",
            "transfers",
            Some(password),
            401,
            STEP_UP,
            "mfa_token",
        ),
        // its `iat` is now: that says nothing about when Alice was there
        (
            "transfer, factor of ten minutes ago",
            "transfers",
            Some(stale),
            401,
            r#"max_age="300""#,
            "mfa_token",
        ),
        (
            "transfer, factor of now",
            "transfers",
            Some(mfa),
            200,
            "",
            "amount=42 by auth0|alice, who has shown pwd+mfa",
        ),
    ] {
        let client = HttpClient::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.request(request(address, path, token)?).await?;
        let (got, got_challenge, got_body) = read(answer).await?;
        println!("{what}: {got}");
        if !got_challenge.is_empty() {
            println!("    www-authenticate: {got_challenge}");
        }
        // RFC 6750 section 3.1: without credentials there is no error code, and no word of what else it takes
        let as_wanted = match challenge {
            "" | "Bearer" => got_challenge == challenge,
            part => got_challenge.contains(part),
        };
        if got != status || !as_wanted || !got_body.contains(body) {
            return Err(
                format!("{what}: wanted {status} {challenge} {body}, got {got_body}").into(),
            );
        }
    }
    Ok(())
}

/// A client with `MfaLayer` and the same weak token: it sees the 200 only.
async fn step_up(
    server: &AuthorizationServer,
    tokens: &Tokens,
    address: SocketAddr,
) -> Result<(), BoxError> {
    let auth0 = Auth0::new(&server.issuer(), CLIENT_ID)?;
    let mfa = MfaLayer::new(auth0, TotpCode::from_base32(TOTP_SECRET)?)
        .trust_origin(&format!("http://{address}"))?;
    let client = mfa.layer(HttpClient::builder(TokioExecutor::new()).build_http());
    let request = request(address, "transfers", Some(&tokens.password))?;
    let answer = client.oneshot(request).await?;

    if let Some(error) = answer.extensions().get::<StepUpError>() {
        return Err(format!("{}: the step-up failed: {error}", answer.status()).into());
    }
    let factor = answer.extensions().get().and_then(SteppedUp::factor);
    let factor = factor.ok_or("the answer says nothing of a step-up")?;
    let (status, _, body) = read(answer).await?;
    println!("transfer, password, through `MfaLayer`: {status}, stepped up by {factor}");
    if status != StatusCode::OK || !body.starts_with("amount=42 by auth0|alice") {
        return Err(format!("after the step-up: {status} {body}").into());
    }
    Ok(())
}

fn request(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let (method, body) = match path {
        "transfers" => (Method::POST, "amount=42"),
        _ => (Method::GET, ""),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{address}/{path}"));
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(Full::from(body))
}

/// The status, the challenge and the body of an answer.
async fn read<B>(answer: Response<B>) -> Result<(StatusCode, String, String), BoxError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let (head, body) = answer.into_parts();
    let challenge = head.headers.get(WWW_AUTHENTICATE);
    let challenge = challenge.map(|value| value.to_str()).transpose()?;
    let body = body.collect().await.map_err(Into::into)?.to_bytes();
    Ok((
        head.status,
        challenge.unwrap_or_default().to_owned(),
        String::from_utf8(body.into())?,
    ))
}
