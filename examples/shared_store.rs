//! Several processes, one prompt: elevations shared by Redis, and one instance that asks while the others wait.
//!
//! In one terminal `cargo run --example shared_store -- serve`, which stands in for Auth0 and for an API. It prints a command for the
//! others: each runs one instance of a service that calls this API for Alice with the same token. The first one asks for a code,
//! the others do not, whether they start meanwhile or later. Kill the one that asks, and the next one does.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use http_body_util::Empty;
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, ServiceExt};
use tower_mfa::body::ReplayBody;
use tower_mfa::code::TotpCode;
use tower_mfa::store::redis::{EncryptionKeys, RedisStore};
use tower_mfa::testing::{AuthorizationServer, Client, ProtectedApi, Signing, User};
use tower_mfa::{
    Auth0, BoxError, Challenge, Code, CodeError, CodeProvider, Factor, MfaLayer, RequestHead,
    StepUpError,
};

const CLIENT_ID: &str = "example-client";
/// What Alice's authenticator app was enrolled with, in Base32. A real one comes from a secret store.
const TOTP_SECRET: &str = "TESTEXAMPLESECRETTESTEXAMPLESECR";
/// The same on every instance. A real one is 32 random bytes from a secret store.
const ENCRYPTION_KEY: [u8; 32] = *b"example-key-example-key-example!";

const USAGE: &str = "give `serve`, or `instance NAME REDIS_URL ISSUER API TOKEN [SECONDS]`";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve"] => serve().await,
        ["instance", name, redis, issuer, api, token] => {
            instance(name, redis, issuer, api, token, Duration::from_secs(5)).await
        }
        ["instance", name, redis, issuer, api, token, seconds] => {
            let typing = Duration::from_secs(seconds.parse()?);
            instance(name, redis, issuer, api, token, typing).await
        }
        _ => Err(USAGE.into()),
    }
}

/// Stands in for Auth0, and for an API that wants a second factor.
async fn serve() -> Result<(), BoxError> {
    let server = AuthorizationServer::builder()
        .client(Client::public(CLIENT_ID))
        .user(User::new("alice", "example-password").totp(TOTP_SECRET))
        // shorter tokens, so that the command fits a terminal
        .signing(Signing::Es256)
        .build();
    let _serving = server.serve().await?;
    let api = ProtectedApi::new(&server).serve().await?;
    let (issuer, token) = (server.issuer(), server.access_token("alice"));
    println!("In other terminals, with one NAME each:\n");
    println!(
        "cargo run --example shared_store -- instance NAME redis://127.0.0.1:6379 {issuer} {} {token}",
        api.url()
    );
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// One instance of a service: it sends one request, and says whether Alice was asked.
async fn instance(
    name: &str,
    redis: &str,
    issuer: &str,
    api: &str,
    token: &str,
    typing: Duration,
) -> Result<(), BoxError> {
    let store = RedisStore::new(redis, EncryptionKeys::new(1, ENCRYPTION_KEY))?;
    let was_asked = Arc::new(AtomicBool::new(false));
    let alice = Alice {
        instance: name.to_owned(),
        typing,
        totp: TotpCode::from_base32(TOTP_SECRET)?,
        was_asked: Arc::clone(&was_asked),
    };
    let mfa = MfaLayer::new(Auth0::new(issuer, CLIENT_ID)?, alice)
        .trust_origin(api)?
        .store(store);

    let client: HttpClient<HttpConnector, ReplayBody<Empty<Bytes>>> =
        HttpClient::builder(TokioExecutor::new()).build_http();
    let client = ServiceBuilder::new().layer(mfa).service(client);
    let request = Request::post(format!("{api}transfers"))
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::new())?;
    let response = client.oneshot(request).await?;

    if let Some(error) = response.extensions().get::<StepUpError>() {
        return Err(format!("{}: {error}", response.status()).into());
    }
    let how = if was_asked.load(Ordering::Relaxed) {
        "after a prompt"
    } else {
        "without a prompt"
    };
    println!("{name}: {} {how}", response.status());
    Ok(())
}

/// Types the code that her authenticator app shows, after a while.
struct Alice {
    instance: String,
    typing: Duration,
    totp: TotpCode,
    was_asked: Arc<AtomicBool>,
}

impl CodeProvider for Alice {
    async fn code(&self, challenge: Challenge) -> Result<Code, CodeError> {
        println!("{}: asks Alice for a code", self.instance);
        self.was_asked.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.typing).await;
        self.totp.code(challenge).await
    }

    fn supports(&self, factor: Factor, request: &RequestHead) -> bool {
        self.totp.supports(factor, request)
    }
}
