//! Keys that are given, and keys that are fetched: with paused time, and every fetch counted.

mod failures;
mod given;
mod remote;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::time::{Instant, advance};

use crate::guard::Algorithm;
use crate::testing::{AuthorizationServer, Endpoint, Fault, Signing};
use crate::transport::Transport;

use super::{Key, Keys, Lookup, RemoteKeys};

const SECOND: Duration = Duration::from_secs(1);
const COOLDOWN: Duration = Duration::from_secs(30);

/// What the verifier makes of a token's signature.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Refused,
    /// 503, with these seconds to wait.
    Unavailable(u64),
}

/// Finds the key of a token and checks the signature, as the verifier does.
async fn check(keys: &Keys, token: &str) -> Outcome {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
    let header: Value =
        serde_json::from_slice(&decode(message.split('.').next().unwrap())).unwrap();
    let algorithm = Algorithm::from_name(header["alg"].as_str().unwrap()).unwrap();
    let kid = header["kid"].as_str();
    let verifies = |key: &Arc<Key>| key.verify(algorithm, message.as_bytes(), &decode(signature));

    let mut lookup = keys.find(kid, algorithm);
    if let Lookup::Wait(fetch) = lookup {
        fetch.await;
        lookup = keys.find(kid, algorithm);
    }
    match lookup {
        Lookup::Found(key) if verifies(&key) => Outcome::Accepted,
        Lookup::Found(key) => {
            let Some(fetch) = keys.doubt(&key) else {
                return Outcome::Refused;
            };
            fetch.await;
            match keys.find(kid, algorithm) {
                Lookup::Found(key) if verifies(&key) => Outcome::Accepted,
                _ => Outcome::Refused,
            }
        }
        Lookup::Unavailable { retry_after } => Outcome::Unavailable(retry_after.as_secs()),
        Lookup::Unknown | Lookup::Wait(_) => Outcome::Refused,
    }
}

/// An issuer, and keys that are fetched from it.
struct Issuer {
    server: AuthorizationServer,
    keys: Keys,
}

impl Issuer {
    fn new() -> Self {
        Self::with(|keys| keys)
    }

    fn with(set: impl FnOnce(RemoteKeys) -> RemoteKeys) -> Self {
        let server = AuthorizationServer::builder()
            .issuer("https://tenant.example.com/")
            .signing(Signing::Es256)
            .build();
        let settings = RemoteKeys::discovery().transport(Transport::new(server.clone()));
        let keys = Keys::from(set(settings)).bind(&server.issuer()).unwrap();
        Self { server, keys }
    }

    /// With keys fetched so long ago that they may be fetched again.
    async fn warm() -> Self {
        let issuer = Self::new();
        assert!(issuer.keys.prefetch().await);
        advance(COOLDOWN).await;
        issuer
    }

    fn token(&self) -> String {
        self.server.access_token("alice")
    }

    /// A token that names a key of this name, signed with another.
    fn token_of(&self, kid: &str) -> String {
        self.server.token("alice").header("kid", kid).sign()
    }

    async fn check(&self, token: &str) -> Outcome {
        check(&self.keys, token).await
    }

    /// How often the keys were asked for.
    fn fetches(&self) -> usize {
        self.server.calls().count(Endpoint::Jwks)
    }

    /// How often anything was asked for: a fetch that fails may not come as far as to the keys.
    fn tries(&self) -> usize {
        self.server.calls().count(Endpoint::Configuration)
    }

    fn publish_once(&self, jwks: impl Into<String>) {
        let fault = Fault::status(200).body("application/json", jwks.into());
        self.server.inject(Endpoint::Jwks, fault);
    }

    fn found(&self, kid: &str) -> Arc<Key> {
        match self.keys.find(Some(kid), Algorithm::Es256) {
            Lookup::Found(key) => key,
            other => panic!("{other:?}"),
        }
    }
}

/// Lets what was started beside the requests come to its end.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Runs something and gives how long it took.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begin = Instant::now();
    let done = work.await;
    (done, begin.elapsed())
}
