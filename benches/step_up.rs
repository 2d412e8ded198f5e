//! A whole step-up over loopback HTTP/1.1, with the authorization server and the API in this process, beside the same calls made
//! by hand: what the layer adds. Read the figures as ratios to those within one run.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::{Layer, ServiceExt};
use tower_mfa::code::TotpCode;
use tower_mfa::testing::{AuthorizationServer, Client, ProtectedApi, Serving, Signing, User};
use tower_mfa::time::Clock;
use tower_mfa::{Auth0, MfaLayer};

const SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

/// Every one-time password is good once, in its half-minute: so each step-up has a half-minute of its own.
#[derive(Clone)]
struct HalfMinutes {
    start: SystemTime,
    passed: Arc<AtomicU64>,
}

impl HalfMinutes {
    fn pass(&self) {
        self.passed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Clock for HalfMinutes {
    fn now(&self) -> SystemTime {
        self.start + Duration::from_secs(30 * self.passed.load(Ordering::Relaxed))
    }
}

struct Stage {
    clock: HalfMinutes,
    server: AuthorizationServer,
    issuer: Serving,
    api: Serving,
    token: String,
}

impl Stage {
    async fn new() -> Self {
        let clock = HalfMinutes {
            // some time at which certificates and codes are as good as at any other
            start: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            passed: Arc::default(),
        };
        let server = AuthorizationServer::builder()
            .client(Client::public("test-client"))
            .user(User::new("alice", "test-password").totp(SECRET))
            .clock(clock.clone())
            // longer than all half-minutes together
            .access_token_ttl(Duration::from_secs(60 * 60 * 24 * 36_500))
            .signing(Signing::Es256)
            .build();
        let issuer = server.serve().await.expect("a port");
        let api = ProtectedApi::new(&server).serve().await.expect("a port");
        let token = server.access_token("alice");
        Self {
            clock,
            server,
            issuer,
            api,
            token,
        }
    }

    fn layer(&self, with_challenge: bool) -> MfaLayer {
        // answers nothing but one-time passwords, so that nobody has to ask what else the user has
        let codes = TotpCode::from_base32(SECRET)
            .expect("a secret")
            .clock(self.clock.clone());
        let auth0 = Auth0::new(self.issuer.url(), "test-client")
            .expect("an issuer")
            .challenge_otp(with_challenge);
        MfaLayer::new(auth0, codes)
            .trust_origin(self.api.url())
            .expect("an origin")
            .clock(self.clock.clone())
    }

    fn request(&self, token: &str) -> Request<Full<Bytes>> {
        Request::get(format!("{}account", self.api.url()))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::default())
            .expect("a request")
    }

    /// A call to the authorization server, with what every one has.
    fn call(&self, path: &str, mfa_token: &str, more: &str) -> Request<Full<Bytes>> {
        let form = format!("client_id=test-client&mfa_token={mfa_token}&{more}");
        Request::post(format!("{}{path}", self.issuer.url()))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.into())
            .expect("a request")
    }

    /// The calls that a step-up takes.
    async fn by_hand(&self, client: &Hyper<HttpConnector, Full<Bytes>>, with_challenge: bool) {
        let send = |request, status| async move {
            let response = client.request(request).await.expect("an answer");
            read(response, status).await
        };
        let demand = send(self.request(&self.token), 403).await;
        let mfa_token = member(&demand, "mfa_token");
        if with_challenge {
            let challenge = self.call("mfa/challenge", &mfa_token, "challenge_type=otp");
            send(challenge, 200).await;
        }
        let code = self.server.totp("alice").expect("a code");
        let grant = "grant_type=http%3A%2F%2Fauth0.com%2Foauth%2Fgrant-type%2Fmfa-otp";
        let exchange = self.call("oauth/token", &mfa_token, &format!("{grant}&otp={code}"));
        let tokens = send(exchange, 200).await;
        send(self.request(&member(&tokens, "access_token")), 200).await;
    }
}

async fn read<B>(response: Response<B>, status: u16) -> Bytes
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    assert_eq!(head.status, status, "{}", String::from_utf8_lossy(&body));
    body
}

fn member(json: &Bytes, name: &str) -> String {
    let json: serde_json::Value = serde_json::from_slice(json).expect("JSON");
    json[name].as_str().expect("a text").to_owned()
}

fn client<B>() -> Hyper<HttpConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Hyper::builder(TokioExecutor::new()).build(connector)
}

fn step_up(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let stage = runtime.block_on(Stage::new());
    let stage = &stage;
    let bare = client();
    for (name, with_challenge) in [
        ("one-time password, 3 round trips", false),
        (
            "one-time password with the challenge call, 4 round trips",
            true,
        ),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(50);
        group.bench_function("by hand", |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                stage.clock.pass();
                stage.by_hand(&bare, with_challenge).await;
            });
        });
        let service = stage
            .layer(with_challenge)
            // each request is to be refused and stepped up, however many there are
            .principal(|_| None)
            .layer(client());
        group.bench_function("tower-mfa", |bencher| {
            bencher.to_async(&runtime).iter(|| async {
                stage.clock.pass();
                let request = stage.request(&stage.token);
                let response = service.clone().oneshot(request).await.expect("an answer");
                read(response, 200).await;
            });
        });
        group.finish();
    }

    let mut group = criterion.benchmark_group("elevation remembered, 1 round trip");
    group.sample_size(50);
    let elevated = stage.server.elevated_token("alice");
    group.bench_function("by hand", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let request = stage.request(&elevated);
            read(bare.request(request).await.expect("an answer"), 200).await;
        });
    });
    let service = stage.layer(false).layer(client());
    stage.clock.pass();
    group.bench_function("tower-mfa", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let request = stage.request(&stage.token);
            let response = service.clone().oneshot(request).await.expect("an answer");
            read(response, 200).await;
        });
    });
    group.finish();
}

criterion_group!(benches, step_up);
criterion_main!(benches);
