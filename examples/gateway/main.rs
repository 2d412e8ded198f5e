//! A gateway that demands strong and fresh logins: `cargo run --example gateway`, then the commands it prints.
//!
//! A small reverse proxy on hyper stands in front of an upstream that knows nothing of tokens. `Guard` decides by path who gets
//! through: `/health` is public, `/admin` wants a second factor shown within five minutes, everything else a login. Bodies
//! are streamed both ways and never collected, so a refused upload costs no memory and an accepted one may be of any length.
//!
//! It is a first form: it has one upstream, which it reaches over plain HTTP/1.1, and it ends no TLS.

mod fields;
mod proxy;
mod self_test;
mod serve;
mod upstream;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tower::Layer;
use tower_mfa::BoxError;
use tower_mfa::guard::{Guard, Guarded, Policy, RemoteKeys, Requirement, Routes, Verifier};
use tower_mfa::testing::{AuthorizationServer, Client, Signing, User};

use proxy::Proxy;
use serve::serve;
use upstream::Upstream;

/// What tokens have to be meant for: the name of this API at the authorization server.
const AUDIENCE: &str = "https://api.example.com/";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let is_self_test = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--self-test") => true,
        Some(other) => {
            return Err(format!("unknown argument `{other}`: give none, or --self-test").into());
        }
    };
    // stands in for Auth0, on a loopback port
    let server = AuthorizationServer::builder()
        .client(Client::public("example-client"))
        .user(User::new("alice", "example-password"))
        .audience(AUDIENCE)
        // shorter tokens, so that the commands below fit a terminal
        .signing(Signing::Es256)
        .build();
    let _serving = server.serve().await?;

    let upstream = Upstream::default();
    let (upstream_address, _) = start(upstream.clone()).await?;
    let gateway = gateway(&server.issuer(), upstream_address)?;
    let (address, serving) = start(gateway).await?;

    if is_self_test {
        return self_test::run(&server, &upstream, address).await;
    }
    print_commands(&server, address);
    tokio::select! {
        ended = serving => ended?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// The gateway: the guard in front, so that a request which it refuses never gets near the upstream.
fn gateway(issuer: &str, upstream: SocketAddr) -> Result<Guarded<Proxy>, BoxError> {
    // the keys come from the issuer's discovery document, when the first token arrives
    let verifier = Verifier::new(issuer, AUDIENCE, RemoteKeys::discovery())?;
    let fresh_mfa = Requirement::mfa().max_age(Duration::from_secs(5 * 60));
    // what is not named here wants a login, so no path is open by accident
    let routes = Routes::new(Requirement::login())
        .prefix("/health", Policy::public())?
        .prefix("/admin", fresh_mfa)?;
    let guard = Guard::new(verifier).require(routes);
    Ok(guard.layer(Proxy::new(upstream)?))
}

/// Serves on a loopback port.
async fn start<S>(service: S) -> std::io::Result<(SocketAddr, tokio::task::JoinHandle<()>)>
where
    S: serve::Serve,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((address, tokio::spawn(serve(listener, service))))
}

fn print_commands(server: &AuthorizationServer, address: SocketAddr) {
    let curl = format!("curl -i http://{address}");
    println!(
        "Two tokens of Alice, after her password only and with a second factor:

PASSWORD={password}
MFA={mfa}

The upstream answers with what it got. Everybody gets through to the public path:

{curl}/health -H \"x-forwarded-for: 192.0.2.1\"

A login is needed for all paths that are not named: 401 for a stranger, 200 with any good token:

{curl}/account
{curl}/account -H \"authorization: Bearer $PASSWORD\"

A second factor is needed for this one, at most five minutes old. The first is answered with the challenge of RFC 9470:

{curl}/admin/users -H \"authorization: Bearer $PASSWORD\"
{curl}/admin/users -H \"authorization: Bearer $MFA\"

A path that servers read in different ways is refused with 400, whoever asks:

{curl}/health/../admin --path-as-is

A body of any length is streamed both ways; this one comes back:

head -c 1G /dev/zero | curl -sT - http://{address}/echo -H \"authorization: Bearer $PASSWORD\" | wc -c

Ctrl-C ends the gateway.",
        password = server.access_token("alice"),
        mfa = server.elevated_token("alice"),
    );
}
