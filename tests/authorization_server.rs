//! The in-process authorization server answers as Auth0 does.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::time::{Duration, SystemTime};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt as _;
use tower_mfa::{
    testing::{
        AuthorizationServer, Body, Builder, Channel, Client, ClientKey, Demanding, Endpoint, Fault,
        PausedClock, Policy, ProtectedApi, Requirements, Signing, User,
    },
    time::Clock as _,
};

const OTP: &str = "http://auth0.com/oauth/grant-type/mfa-otp";
const OOB: &str = "http://auth0.com/oauth/grant-type/mfa-oob";
const RECOVERY: &str = "http://auth0.com/oauth/grant-type/mfa-recovery-code";
const MULTI_FACTOR: &str = "http://schemas.openid.net/pape/policies/2007/06/multi-factor";
const SECRET: &str = "TESTTESTTESTTESTTESTTESTTESTTEST";

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    #[track_caller]
    fn is(&self, status: u16, error: &str, description: &str) {
        let seen = (
            self.status.as_u16(),
            self.text("error"),
            self.text("error_description"),
        );
        assert_eq!(seen, (status, error, description));
    }

    #[track_caller]
    fn is_ok(&self) {
        assert_eq!(self.status, 200, "{}", self.body);
    }
}

async fn send(server: &AuthorizationServer, request: Request<Body>) -> Answer {
    let (head, body) = server.clone().oneshot(request).await.unwrap().into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: serde_json::from_str(&body.text()).unwrap_or_default(),
    }
}

fn form_request(path: &str) -> http::request::Builder {
    Request::post(path).header("content-type", "application/x-www-form-urlencoded")
}

fn encoded(parameters: &[(&str, &str)]) -> Body {
    Body::from(
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish(),
    )
}

async fn form(server: &AuthorizationServer, path: &str, parameters: &[(&str, &str)]) -> Answer {
    send(
        server,
        form_request(path).body(encoded(parameters)).unwrap(),
    )
    .await
}

async fn post_json(server: &AuthorizationServer, path: &str, body: &Value) -> Answer {
    let request = Request::post(path).header("content-type", "application/json");
    send(server, request.body(Body::from(body.to_string())).unwrap()).await
}

async fn with_bearer(
    server: &AuthorizationServer,
    method: Method,
    path: &str,
    token: &str,
    body: &Value,
) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", "application/json");
    let body = if body.is_null() {
        Body::empty()
    } else {
        Body::from(body.to_string())
    };
    send(server, request.body(body).unwrap()).await
}

async fn authenticators(server: &AuthorizationServer, token: &str) -> Answer {
    with_bearer(
        server,
        Method::GET,
        "/mfa/authenticators",
        token,
        &Value::Null,
    )
    .await
}

async fn associate(server: &AuthorizationServer, token: &str, body: Value) -> Answer {
    with_bearer(server, Method::POST, "/mfa/associate", token, &body).await
}

async fn login_for(server: &AuthorizationServer, scope: &str) -> Answer {
    let parameters = [
        ("grant_type", "password"),
        ("client_id", "test-client"),
        ("username", "alice"),
        ("password", "test-password"),
        ("scope", scope),
    ];
    form(server, "/oauth/token", &parameters).await
}

/// Logs alice in, and gives the `mfa_token`.
async fn mfa_token(server: &AuthorizationServer) -> String {
    let answer = login_for(server, "openid profile").await;
    answer.is(403, "mfa_required", "Multifactor authentication required");
    answer.text("mfa_token").to_owned()
}

async fn exchange(
    server: &AuthorizationServer,
    grant: &str,
    mfa_token: &str,
    more: &[(&str, &str)],
) -> Answer {
    let mut parameters = vec![
        ("grant_type", grant),
        ("client_id", "test-client"),
        ("mfa_token", mfa_token),
    ];
    parameters.extend_from_slice(more);
    form(server, "/oauth/token", &parameters).await
}

async fn challenge(server: &AuthorizationServer, mfa_token: &str, more: &[(&str, &str)]) -> Answer {
    let mut parameters = vec![("client_id", "test-client"), ("mfa_token", mfa_token)];
    parameters.extend_from_slice(more);
    form(server, "/mfa/challenge", &parameters).await
}

/// Starts an out-of-band challenge, and gives its `oob_code`.
async fn oob_code(server: &AuthorizationServer, mfa_token: &str) -> String {
    let answer = challenge(server, mfa_token, &[("challenge_type", "oob")]).await;
    answer.is_ok();
    answer.text("oob_code").to_owned()
}

fn builder(user: User) -> Builder {
    AuthorizationServer::builder()
        .clock(PausedClock::new())
        .client(Client::public("test-client"))
        .user(user)
}

fn alice() -> User {
    User::new("alice", "test-password")
}

fn server(user: User) -> AuthorizationServer {
    builder(user).build()
}

// ----- discovery -----

#[tokio::test(start_paused = true)]
async fn discovery_names_the_endpoints_under_the_issuer() {
    let server = builder(alice()).issuer("https://test.example.com").build();
    let answer = send(
        &server,
        Request::get("/.well-known/openid-configuration")
            .body(Body::empty())
            .unwrap(),
    )
    .await;
    answer.is_ok();
    assert_eq!(answer.text("issuer"), "https://test.example.com/");
    assert_eq!(
        answer.text("token_endpoint"),
        "https://test.example.com/oauth/token"
    );
    assert_eq!(
        answer.text("mfa_challenge_endpoint"),
        "https://test.example.com/mfa/challenge"
    );
    assert_eq!(
        answer.text("jwks_uri"),
        "https://test.example.com/.well-known/jwks.json"
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_verify_with_the_published_key() {
    for (signing, name) in [(Signing::Rs256, "RS256"), (Signing::Es256, "ES256")] {
        let server = builder(alice())
            .signing(signing)
            .policy(Policy::never())
            .build();
        let jwks = send(
            &server,
            Request::get("/.well-known/jwks.json")
                .body(Body::empty())
                .unwrap(),
        )
        .await;
        let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_value(jwks.body).unwrap();
        let token = login_for(&server, "read:reports")
            .await
            .text("access_token")
            .to_owned();

        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(format!("{:?}", header.alg), name);
        let key =
            jsonwebtoken::DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(header.alg);
        validation.set_audience(&["https://api.example.com/"]);
        validation.set_issuer(&["http://localhost:1/"]);
        // The server's clock is not the system's.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], "auth0|alice");
        assert_eq!(claims["client_id"], "test-client");
        assert_eq!(claims["scope"], "read:reports");
        assert_eq!(claims["iat"], 1_767_225_600_u64);
        assert_eq!(claims["exp"], 1_767_225_600_u64 + 86_400);
        assert!(claims["jti"].is_string());
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_is_not_found_or_not_allowed() {
    let server = server(alice());
    let answer = send(
        &server,
        Request::get("/authorize").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(answer.status, 404);
    let answer = send(
        &server,
        Request::get("/oauth/token").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["allow"]),
        (405, &"POST".parse().unwrap())
    );
    assert_eq!(server.calls().count(Endpoint::Other), 2);
}

// ----- logging in -----

#[tokio::test(start_paused = true)]
async fn a_password_alone_gives_tokens_where_no_factor_is_demanded() {
    let server = builder(alice()).policy(Policy::never()).build();
    let answer = login_for(&server, "openid offline_access").await;
    answer.is_ok();
    assert_eq!(answer.text("token_type"), "Bearer");
    assert_eq!(answer.body["expires_in"], 86_400);
    assert_eq!(answer.text("scope"), "openid offline_access");
    assert!(answer.body["id_token"].is_string() && answer.body["refresh_token"].is_string());
    assert_eq!(answer.headers["cache-control"], "no-store");

    let claims = server.verify(answer.text("access_token")).unwrap();
    assert_eq!((claims.amr(), claims.acr()), (vec!["pwd"], None));
    // An id_token is no access token.
    assert!(server.verify(answer.text("id_token")).is_err());
}

#[tokio::test(start_paused = true)]
async fn json_and_form_are_understood_alike() {
    let server = server(alice().totp(SECRET));
    let body = json!({
        "grant_type": "http://auth0.com/oauth/grant-type/password-realm", "realm": "test-users",
        "client_id": "test-client", "username": "alice", "password": "test-password",
    });
    let answer = post_json(&server, "/oauth/token", &body).await;
    answer.is(403, "mfa_required", "Multifactor authentication required");
    let token = answer.text("mfa_token");
    let body = json!({"mfa_token": token, "client_id": "test-client", "challenge_type": "otp"});
    assert_eq!(
        post_json(&server, "/mfa/challenge", &body).await.body,
        json!({"challenge_type": "otp"})
    );
    assert_eq!(
        challenge(&server, token, &[]).await.body,
        json!({"challenge_type": "otp"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_wrong_in_itself_is_refused() {
    let server = server(alice());
    form(&server, "/oauth/token", &[]).await.is(
        400,
        "invalid_request",
        "Missing required parameter: grant_type",
    );
    let twice = [("client_id", "test-client"), ("client_id", "test-client")];
    form(&server, "/oauth/token", &twice).await.is(
        400,
        "invalid_request",
        "A parameter was sent more than once",
    );
    let parameters = [
        ("grant_type", "password"),
        ("client_id", "test-client"),
        ("username", "alice"),
    ];
    let answer = form(&server, "/oauth/token", &parameters).await;
    answer.is(
        400,
        "invalid_request",
        "Missing required parameter: password",
    );
    let parameters = [("grant_type", "implicit"), ("client_id", "test-client")];
    let answer = form(&server, "/oauth/token", &parameters).await;
    answer.is(
        400,
        "unsupported_grant_type",
        "Unsupported grant type: implicit",
    );
    let text = Request::post("/oauth/token")
        .header("content-type", "text/plain")
        .body(Body::from("x"))
        .unwrap();
    send(&server, text).await.is(
        400,
        "invalid_request",
        "The body is neither a form nor JSON",
    );
    let long = form_request("/oauth/token")
        .body(Body::from(vec![b'x'; 70_000]))
        .unwrap();
    assert_eq!(send(&server, long).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let server = server(alice());
    for (name, password) in [
        ("alice", "wrong-test-password"),
        ("nobody", "test-password"),
    ] {
        let parameters = [
            ("grant_type", "password"),
            ("client_id", "test-client"),
            ("username", name),
            ("password", password),
        ];
        let answer = form(&server, "/oauth/token", &parameters).await;
        answer.is(403, "invalid_grant", "Wrong email or password.");
    }
}

// ----- clients -----

#[tokio::test(start_paused = true)]
async fn a_confidential_client_shows_its_secret_in_the_body_or_the_header() {
    let server = AuthorizationServer::builder()
        .client(Client::confidential("test/job", "test:secret="))
        .build();
    let body = [
        ("grant_type", "client_credentials"),
        ("client_id", "test/job"),
        ("client_secret", "test:secret="),
    ];
    let answer = form(&server, "/oauth/token", &body).await;
    answer.is_ok();
    assert_eq!(
        server.verify(answer.text("access_token")).unwrap().sub(),
        "test/job@clients"
    );

    let encoded_pair = BASE64_STANDARD.encode("test%2Fjob:test%3Asecret%3D");
    let grant = [("grant_type", "client_credentials")];
    let request =
        form_request("/oauth/token").header("authorization", format!("Basic {encoded_pair}"));
    send(&server, request.body(encoded(&grant)).unwrap())
        .await
        .is_ok();
    // Clients that forget to encode.
    let bare = BASE64_STANDARD.encode("test/job:test:secret=");
    let request = form_request("/oauth/token").header("authorization", format!("Basic {bare}"));
    send(&server, request.body(encoded(&grant)).unwrap())
        .await
        .is_ok();
    // Both at once.
    let request =
        form_request("/oauth/token").header("authorization", format!("Basic {encoded_pair}"));
    let answer = send(&server, request.body(encoded(&body)).unwrap()).await;
    answer.is(
        400,
        "invalid_request",
        "More than one client authentication method",
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_prove_itself_is_refused() {
    let server = AuthorizationServer::builder()
        .client(Client::confidential("test-job", "test-secret"))
        .client(Client::public("test-client"))
        .build();
    for (id, secret) in [
        ("test-job", "wrong-test-secret"),
        ("test-job", ""),
        ("nobody", "test-secret"),
    ] {
        let body = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret),
        ];
        form(&server, "/oauth/token", &body).await.is(
            401,
            "invalid_client",
            "Client authentication failed",
        );
    }
    let body = [
        ("grant_type", "client_credentials"),
        ("client_id", "test-client"),
    ];
    let answer = form(&server, "/oauth/token", &body).await;
    answer.is(
        403,
        "unauthorized_client",
        "Grant type 'client_credentials' not allowed for the client.",
    );
    let body = [
        ("mfa_token", "x"),
        ("client_id", "test-job"),
        ("client_secret", "wrong-test-secret"),
    ];
    form(&server, "/mfa/challenge", &body).await.is(
        401,
        "invalid_client",
        "Client authentication failed",
    );
}

#[tokio::test(start_paused = true)]
async fn a_signed_assertion_proves_a_client_once() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

    for (signing, algorithm) in [
        (Signing::Rs256, Algorithm::RS256),
        (Signing::Es256, Algorithm::ES256),
    ] {
        let key = ClientKey::generate(signing);
        let clock = PausedClock::new();
        let client = Client::private_key_jwt("test-job", key.public_pem());
        let server = AuthorizationServer::builder()
            .clock(clock.clone())
            .client(client)
            .build();
        let exp = clock
            .now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            + 60;
        let good = json!({
            "iss": "test-job", "sub": "test-job", "aud": "http://localhost:1/", "exp": exp, "jti": "test-1",
        });
        let private = match signing {
            Signing::Es256 => EncodingKey::from_ec_pem(key.private_pem().as_bytes()).unwrap(),
            _ => EncodingKey::from_rsa_pem(key.private_pem().as_bytes()).unwrap(),
        };
        let sign = |claims: &Value| encode(&Header::new(algorithm), claims, &private).unwrap();
        let send_assertion = async |assertion: &str| {
            let body = [
                ("grant_type", "client_credentials"),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", assertion),
            ];
            form(&server, "/oauth/token", &body).await
        };

        send_assertion(&sign(&good)).await.is_ok();
        send_assertion(&sign(&good)).await.is(
            401,
            "invalid_client",
            "Client authentication failed",
        );
        for (claim, wrong) in [
            ("iss", json!("other")),
            ("aud", json!("https://other.example.com/")),
            ("exp", json!(exp - 60)),
            ("jti", Value::Null),
        ] {
            let mut claims = good.clone();
            claims["jti"] = "test-2".into();
            claims[claim] = wrong;
            send_assertion(&sign(&claims)).await.is(
                401,
                "invalid_client",
                "Client authentication failed",
            );
        }
        let mut claims = good.clone();
        claims["jti"] = "test-3".into();
        claims["aud"] = json!(["http://localhost:1/oauth/token"]);
        let assertion = sign(&claims);
        let (head, signature) = assertion.rsplit_once('.').unwrap();
        let mut broken = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        broken[10] ^= 1;
        let broken = format!("{head}.{}", BASE64_URL_SAFE_NO_PAD.encode(broken));
        send_assertion(&broken)
            .await
            .is(401, "invalid_client", "Client authentication failed");
        send_assertion(&assertion).await.is_ok();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_the_mfa_grants_may_not_use_them() {
    let server = AuthorizationServer::builder()
        .client(Client::public("test-client").without_mfa_grants())
        .user(alice().totp(SECRET))
        .build();
    let token = mfa_token(&server).await;
    for grant in [OTP, OOB, RECOVERY] {
        let description = format!("Grant type '{grant}' not allowed for the client.");
        exchange(&server, grant, &token, &[])
            .await
            .is(403, "unauthorized_client", &description);
    }
}

// ----- the demand -----

#[tokio::test(start_paused = true)]
async fn the_demand_has_the_shape_of_the_policy() {
    let enrolled = alice()
        .sms("+15550100")
        .voice("+15550100")
        .push("test phone")
        .recovery_code("TESTCODE");
    let demand = async |user: &User, policy: Policy| {
        login_for(&builder(user.clone()).policy(policy).build(), "").await
    };

    let answer = demand(&enrolled, Policy::always()).await;
    assert_eq!(
        answer.body.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["error", "error_description", "mfa_token"]
    );
    let answer = demand(&enrolled, Policy::always().without_token().status(401)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.get("mfa_token")),
        (401, None)
    );

    let answer = demand(
        &enrolled,
        Policy::always().requirements(Requirements::Challenge),
    )
    .await;
    let challenge =
        json!([{"type": "phone"}, {"type": "push-notification"}, {"type": "recovery-code"}]);
    assert_eq!(
        answer.body["mfa_requirements"],
        json!({"challenge": challenge})
    );
    let enroll = json!([{"type": "otp"}, {"type": "phone"}, {"type": "push-notification"}]);
    let answer = demand(
        &alice(),
        Policy::always().requirements(Requirements::Challenge),
    )
    .await;
    assert_eq!(answer.body["mfa_requirements"], json!({"enroll": enroll}));
    let answer = demand(&enrolled, Policy::always().requirements(Requirements::Both)).await;
    assert_eq!(
        answer.body["mfa_requirements"],
        json!({"challenge": challenge, "enroll": enroll})
    );
    let answer = demand(
        &enrolled,
        Policy::always().requirements(Requirements::ChallengeTypes),
    )
    .await;
    assert_eq!(
        answer.body["mfa_requirements"],
        json!({"challenge_types": ["otp", "oob"]})
    );
}

#[tokio::test(start_paused = true)]
async fn an_mfa_token_says_when_it_expires() {
    let server = server(alice().totp(SECRET));
    let token = mfa_token(&server).await;
    let fields: Vec<&str> = token.split('*').collect();
    assert_eq!(
        (fields.len(), fields[0], fields[1]),
        (8, "Fe26.2", "TEST_1")
    );
    assert_eq!(fields[5], ((1_767_225_600_u64 + 600) * 1000).to_string());
}

#[tokio::test(start_paused = true)]
async fn a_factor_is_demanded_for_a_scope_only_if_so_chosen() {
    let server = builder(alice().totp(SECRET))
        .policy(Policy::for_scope("transfer:funds"))
        .build();
    login_for(&server, "read:reports").await.is_ok();
    let demand = login_for(&server, "read:reports transfer:funds").await;
    assert_eq!(demand.text("error"), "mfa_required");
    let code = server.totp("alice").unwrap();
    let answer = exchange(&server, OTP, demand.text("mfa_token"), &[("otp", &code)]).await;
    assert_eq!(answer.text("scope"), "read:reports transfer:funds");

    server.set_policy(Policy::never());
    login_for(&server, "transfer:funds").await.is_ok();
}

// ----- one-time passwords -----

#[tokio::test(start_paused = true)]
async fn a_one_time_password_gives_a_stronger_token() {
    let server = server(alice().totp(SECRET));
    let token = mfa_token(&server).await;
    sleep(Duration::from_secs(40)).await;
    let code = server.totp("alice").unwrap();
    let answer = exchange(&server, OTP, &token, &[("otp", &code)]).await;
    answer.is_ok();
    let claims = server.verify(answer.text("access_token")).unwrap();
    assert_eq!(
        (claims.amr(), claims.acr()),
        (vec!["pwd", "mfa", "otp"], Some(MULTI_FACTOR))
    );
    assert_eq!(
        claims.auth_time(),
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_640))
    );
    assert_eq!(claims.scope(), "openid profile");
    // An mfa_token is good for one success.
    sleep(Duration::from_secs(30)).await;
    let code = server.totp("alice").unwrap();
    exchange(&server, OTP, &token, &[("otp", &code)]).await.is(
        403,
        "invalid_grant",
        "Malformed mfa_token",
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_may_be_silent_about_the_factor() {
    let server = builder(alice().totp(SECRET)).without_mfa_claims().build();
    let token = mfa_token(&server).await;
    let code = server.totp("alice").unwrap();
    let answer = exchange(&server, OTP, &token, &[("otp", &code)]).await;
    let claims = server.verify(answer.text("access_token")).unwrap();
    assert_eq!((claims.amr(), claims.acr()), (vec![], None));
}

#[tokio::test(start_paused = true)]
async fn a_one_time_password_is_good_for_its_step_and_the_next_and_once() {
    let server = server(alice().totp(SECRET));
    let (first, second) = (mfa_token(&server).await, mfa_token(&server).await);
    let code = server.totp("alice").unwrap();
    sleep(Duration::from_secs(59)).await;
    exchange(&server, OTP, &first, &[("otp", &code)])
        .await
        .is_ok();
    exchange(&server, OTP, &second, &[("otp", &code)]).await.is(
        403,
        "invalid_grant",
        "Invalid otp_code.",
    );

    let code = server.totp("alice").unwrap();
    sleep(Duration::from_secs(60)).await;
    exchange(&server, OTP, &second, &[("otp", &code)]).await.is(
        403,
        "invalid_grant",
        "Invalid otp_code.",
    );
    // A wrong code leaves the mfa_token alive.
    let code = server.totp("alice").unwrap();
    exchange(&server, OTP, &second, &[("otp", &code)])
        .await
        .is_ok();
}

#[tokio::test(start_paused = true)]
async fn too_many_wrong_codes_lock_the_user_for_a_while() {
    let server = builder(alice().totp(SECRET).recovery_code("TESTCODE")).build();
    let token = mfa_token(&server).await;
    for _ in 0..5 {
        exchange(&server, OTP, &token, &[("otp", "nothing")])
            .await
            .is(403, "invalid_grant", "Invalid otp_code.");
        let answer = exchange(&server, RECOVERY, &token, &[("recovery_code", "wrong")]).await;
        answer.is(403, "invalid_grant", "MFA Authorization rejected.");
    }
    let code = server.totp("alice").unwrap();
    let answer = exchange(&server, OTP, &token, &[("otp", &code)]).await;
    answer.is(
        429,
        "too_many_attempts",
        "Too many failed codes. Wait for some minutes before retrying.",
    );
    assert_eq!(answer.headers["retry-after"], "360");
    assert_eq!(answer.headers["x-ratelimit-limit"], "10");
    assert_eq!(answer.headers["x-ratelimit-remaining"], "0");
    assert_eq!(
        answer.headers["x-ratelimit-reset"],
        (1_767_225_600 + 360).to_string().as_str()
    );
    sleep(Duration::from_secs(360)).await;
    let code = server.totp("alice").unwrap();
    exchange(&server, OTP, &token, &[("otp", &code)])
        .await
        .is_ok();
}

#[tokio::test(start_paused = true)]
async fn a_user_without_the_factor_is_told_so() {
    let server = server(alice().sms("+15550100").totp(SECRET).inactive());
    let token = mfa_token(&server).await;
    let answer = exchange(
        &server,
        OTP,
        &token,
        &[("otp", &server.totp("alice").unwrap())],
    )
    .await;
    answer.is(
        401,
        "unsupported_challenge_type",
        "User is not enrolled with google-authenticator",
    );
    let answer = exchange(&server, RECOVERY, &token, &[("recovery_code", "TESTCODE")]).await;
    answer.is(
        403,
        "unsupported_challenge_type",
        "User does not have a recovery-code.",
    );
    exchange(&server, OTP, &token, &[]).await.is(
        400,
        "invalid_request",
        "Missing required parameter: otp",
    );
}

// ----- mfa_token -----

#[tokio::test(start_paused = true)]
async fn an_mfa_token_that_is_bad_is_refused_everywhere() {
    let server = AuthorizationServer::builder()
        .clock(PausedClock::new())
        .client(Client::public("test-client"))
        .client(Client::public("other-test-client"))
        .user(alice().totp(SECRET))
        .build();
    challenge(&server, "", &[]).await.is(
        400,
        "invalid_request",
        "Missing required parameter: mfa_token",
    );
    challenge(&server, "nonsense", &[])
        .await
        .is(403, "invalid_grant", "Malformed mfa_token");
    exchange(&server, OTP, "nonsense", &[])
        .await
        .is(403, "invalid_grant", "Malformed mfa_token");

    let token = mfa_token(&server).await;
    let foreign = [
        ("mfa_token", token.as_str()),
        ("client_id", "other-test-client"),
        ("grant_type", OTP),
    ];
    for path in ["/mfa/challenge", "/oauth/token"] {
        form(&server, path, &foreign).await.is(
            400,
            "invalid_request",
            "mfa_token not issued to this client",
        );
    }

    sleep(Duration::from_secs(600)).await;
    challenge(&server, &token, &[])
        .await
        .is(403, "expired_token", "mfa_token is expired");
    exchange(&server, OTP, &token, &[])
        .await
        .is(403, "expired_token", "mfa_token is expired");
    for token in [token.as_str(), "nonsense"] {
        let invalid = "The mfa_token provided is invalid. Try getting a new token.";
        authenticators(&server, token)
            .await
            .is(401, "invalid_grant", invalid);
        associate(&server, token, json!({}))
            .await
            .is(401, "invalid_grant", invalid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_factor_is_chained_with_a_new_mfa_token() {
    let user = alice().totp(SECRET).sms("+15550100");
    let policy = Policy::always()
        .factors(2)
        .status(400)
        .requirements(Requirements::Challenge);
    let server = builder(user).policy(policy).build();
    let demand = login_for(&server, "openid").await;
    let first = demand.text("mfa_token");
    let code = server.totp("alice").unwrap();
    let chained = exchange(&server, OTP, first, &[("otp", &code)]).await;
    chained.is(400, "mfa_required", "Multifactor authentication required");
    assert_eq!(
        chained.body["mfa_requirements"],
        json!({"challenge": [{"type": "phone"}]})
    );
    let second = chained.text("mfa_token");
    assert_ne!(first, second);

    // The factor already shown does not count again.
    sleep(Duration::from_secs(30)).await;
    let answer = exchange(
        &server,
        OTP,
        second,
        &[("otp", &server.totp("alice").unwrap())],
    )
    .await;
    assert_eq!(answer.text("error"), "unsupported_challenge_type");
    assert_eq!(
        challenge(&server, second, &[("challenge_type", "otp")])
            .await
            .status,
        401
    );

    let oob = oob_code(&server, second).await;
    let code = server.outbox().code("alice").unwrap();
    let answer = exchange(
        &server,
        OOB,
        second,
        &[("oob_code", &oob), ("binding_code", &code)],
    )
    .await;
    answer.is_ok();
    let claims = server.verify(answer.text("access_token")).unwrap();
    assert_eq!(claims.amr(), ["pwd", "mfa", "otp", "sms"]);
}

// ----- challenges -----

#[tokio::test(start_paused = true)]
async fn a_challenge_uses_the_first_factor_that_fits() {
    let server = server(
        alice()
            .recovery_code("TESTCODE")
            .sms("+15550100")
            .inactive()
            .totp(SECRET)
            .email("alice@example.com"),
    );
    let token = mfa_token(&server).await;
    assert_eq!(
        challenge(&server, &token, &[]).await.body,
        json!({"challenge_type": "otp"})
    );
    let answer = challenge(&server, &token, &[("challenge_type", "oob otp")]).await;
    assert_eq!(answer.body, json!({"challenge_type": "otp"}));
    let answer = challenge(&server, &token, &[("challenge_type", "oob")]).await;
    assert_eq!(
        (answer.text("challenge_type"), answer.text("binding_method")),
        ("oob", "prompt")
    );
    assert_eq!(answer.body.as_object().unwrap().len(), 3);
    assert_eq!(answer.text("oob_code").split('*').count(), 8);

    let message = server.outbox().last("alice@example.com").unwrap();
    assert_eq!(
        (message.channel(), message.user(), server.outbox().len()),
        (Channel::Email, "alice", 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_challenge_uses_the_authenticator_named() {
    let server = server(
        alice()
            .totp(SECRET)
            .sms("+15550100")
            .voice("+15550101")
            .sms("+15550102")
            .inactive(),
    );
    let ids = server.authenticator_ids("alice");
    let token = mfa_token(&server).await;
    challenge(&server, &token, &[("authenticator_id", &ids[2])])
        .await
        .is_ok();
    assert_eq!(server.outbox().last("alice").unwrap().to(), "+15550101");
    challenge(
        &server,
        &token,
        &[("challenge_type", "oob"), ("oob_channel", "voice")],
    )
    .await
    .is_ok();
    assert_eq!(server.outbox().count("+15550101"), 2);

    let answer = challenge(
        &server,
        &token,
        &[("authenticator_id", &ids[0]), ("challenge_type", "oob")],
    )
    .await;
    let unsupported =
        "User does not have any enrolled authenticator with the supported challenge type (oob)";
    answer.is(401, "unsupported_challenge_type", unsupported);
    for id in [ids[3].as_str(), "sms|dev_nothing"] {
        let answer = challenge(&server, &token, &[("authenticator_id", id)]).await;
        answer.is(404, "invalid_authenticator", "Authenticator not found");
    }
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_no_factor_fits_is_refused() {
    let totp_only = server(alice().totp(SECRET));
    let token = mfa_token(&totp_only).await;
    let answer = challenge(&totp_only, &token, &[("challenge_type", "oob")]).await;
    let unsupported =
        "User does not have any enrolled authenticator with the supported challenge type (oob)";
    answer.is(401, "unsupported_challenge_type", unsupported);
    let answer = challenge(&totp_only, &token, &[("challenge_type", "pigeon")]).await;
    answer.is(400, "invalid_request", "Invalid challenge type");

    let without = server(alice().sms("+15550100").inactive());
    let answer = challenge(&without, &mfa_token(&without).await, &[]).await;
    let description = "User is not enrolled. You can use /mfa/associate endpoint to enroll the first authenticator.";
    answer.is(401, "unsupported_challenge_type", description);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_announces_interval_and_expiry_if_so_chosen() {
    let policy = Policy::always()
        .interval(Duration::from_secs(2))
        .expires_in(Duration::from_secs(120));
    let server = builder(alice().push("test phone")).policy(policy).build();
    let answer = challenge(&server, &mfa_token(&server).await, &[]).await;
    assert_eq!(
        (&answer.body["interval"], &answer.body["expires_in"]),
        (&json!(2), &json!(120))
    );
}

// ----- codes out of band -----

#[tokio::test(start_paused = true)]
async fn the_code_of_a_message_proves_the_user() {
    for (user, method) in [
        (alice().sms("+15550100"), "sms"),
        (alice().voice("+15550100"), "tel"),
        (alice().email("a@example.com"), "otp"),
    ] {
        let server = server(user);
        let token = mfa_token(&server).await;
        let oob = oob_code(&server, &token).await;
        let answer = exchange(&server, OOB, &token, &[("oob_code", &oob)]).await;
        answer.is(
            400,
            "invalid_request",
            "Missing required parameter: binding_code",
        );
        let answer = exchange(
            &server,
            OOB,
            &token,
            &[("oob_code", &oob), ("binding_code", "wrong")],
        )
        .await;
        answer.is(403, "invalid_grant", "Invalid binding_code.");
        let code = server.outbox().code("alice").unwrap();
        let answer = exchange(
            &server,
            OOB,
            &token,
            &[("oob_code", &oob), ("binding_code", &code)],
        )
        .await;
        answer.is_ok();
        assert_eq!(
            server.verify(answer.text("access_token")).unwrap().amr(),
            ["pwd", "mfa", method]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_oob_code_that_is_bad_is_refused() {
    let server = server(alice().sms("+15550100"));
    let (first, second) = (mfa_token(&server).await, mfa_token(&server).await);
    let oob = oob_code(&server, &first).await;
    exchange(&server, OOB, &first, &[]).await.is(
        400,
        "invalid_request",
        "Missing required parameter: oob_code",
    );
    let answer = exchange(&server, OOB, &first, &[("oob_code", "nonsense")]).await;
    answer.is(403, "invalid_grant", "Malformed oob_code");
    let answer = exchange(&server, OOB, &first, &[("oob_code", &second)]).await;
    answer.is(403, "invalid_grant", "Invalid oob_code.");
    let answer = exchange(&server, OOB, &second, &[("oob_code", &oob)]).await;
    answer.is(
        400,
        "invalid_request",
        "The oob_code doesn't match the mfa_token",
    );

    sleep(Duration::from_secs(300)).await;
    let code = server.outbox().code("+15550100").unwrap();
    let answer = exchange(
        &server,
        OOB,
        &first,
        &[("oob_code", &oob), ("binding_code", &code)],
    )
    .await;
    answer.is(403, "expired_token", "oob_code is expired");
    // The mfa_token lives longer: a new challenge helps.
    let oob = oob_code(&server, &first).await;
    let code = server.outbox().code("+15550100").unwrap();
    exchange(
        &server,
        OOB,
        &first,
        &[("oob_code", &oob), ("binding_code", &code)],
    )
    .await
    .is_ok();
}

#[tokio::test(start_paused = true)]
async fn too_many_exchanges_a_minute_are_refused_with_a_date() {
    let server = builder(alice().sms("+15550100"))
        .max_failed_codes(100)
        .build();
    let token = mfa_token(&server).await;
    let oob = oob_code(&server, &token).await;
    let wrong = [("oob_code", oob.as_str()), ("binding_code", "wrong")];
    for _ in 0..12 {
        assert_eq!(exchange(&server, OOB, &token, &wrong).await.status, 403);
    }
    let answer = exchange(&server, OOB, &token, &wrong).await;
    answer.is(
        429,
        "too_many_requests",
        "Rate limit exceeded. Please retry after some time.",
    );
    assert_eq!(answer.headers["retry-after"], "5");
    assert_eq!(answer.headers["x-ratelimit-limit"], "12");
    // Another login has its own limit.
    let other = mfa_token(&server).await;
    assert_eq!(exchange(&server, OOB, &other, &wrong).await.status, 400);
    sleep(Duration::from_secs(5)).await;
    let right = [
        ("oob_code", oob.as_str()),
        ("binding_code", &server.outbox().code("alice").unwrap()),
    ];
    exchange(&server, OOB, &token, &right).await.is_ok();
}

// ----- push -----

#[tokio::test(start_paused = true)]
async fn a_push_is_pending_until_it_is_approved() {
    let server = server(alice().push("test phone"));
    let token = mfa_token(&server).await;
    let answer = challenge(&server, &token, &[]).await;
    assert_eq!(
        answer.body.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["challenge_type", "oob_code"]
    );
    let oob = answer.text("oob_code");
    assert_eq!(server.push().pending("alice"), 1);
    let pending = "Authorization pending: please repeat the request in a few seconds.";
    exchange(&server, OOB, &token, &[("oob_code", oob)])
        .await
        .is(400, "authorization_pending", pending);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        (
            server.push().approve("alice"),
            server.push().pending("alice")
        ),
        (1, 0)
    );
    let answer = exchange(&server, OOB, &token, &[("oob_code", oob)]).await;
    answer.is_ok();
    assert_eq!(
        server.verify(answer.text("access_token")).unwrap().amr(),
        ["pwd", "mfa", "swk"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_denied_push_stays_denied() {
    let server = server(alice().push("test phone"));
    let token = mfa_token(&server).await;
    let oob = oob_code(&server, &token).await;
    assert_eq!(server.push().deny("alice"), 1);
    assert_eq!(server.push().approve("alice"), 0);
    for _ in 0..2 {
        let answer = exchange(&server, OOB, &token, &[("oob_code", &oob)]).await;
        answer.is(400, "access_denied", "MFA Authorization rejected.");
        sleep(Duration::from_secs(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_polled_too_fast_is_slowed_down() {
    let server = builder(alice().push("test phone"))
        .poll_interval(Duration::from_secs(3))
        .build();
    let token = mfa_token(&server).await;
    let oob = oob_code(&server, &token).await;
    let poll = async || {
        exchange(&server, OOB, &token, &[("oob_code", &oob)])
            .await
            .text("error")
            .to_owned()
    };
    assert_eq!(poll().await, "authorization_pending");
    sleep(Duration::from_millis(2_999)).await;
    assert_eq!(poll().await, "slow_down");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(poll().await, "authorization_pending");
}

#[tokio::test(start_paused = true)]
async fn a_push_decides_itself_after_some_polls() {
    let server = server(alice().push("test phone"));
    for (expected, approve) in [("", true), ("access_denied", false)] {
        if approve {
            server.push().approve_after("alice", 2);
        } else {
            server.push().deny_after("alice", 2);
        }
        let token = mfa_token(&server).await;
        let oob = oob_code(&server, &token).await;
        let mut errors = Vec::new();
        for _ in 0..3 {
            let answer = exchange(&server, OOB, &token, &[("oob_code", &oob)]).await;
            errors.push(answer.text("error").to_owned());
            sleep(Duration::from_secs(5)).await;
        }
        assert_eq!(
            errors,
            ["authorization_pending", "authorization_pending", expected]
        );
    }
}

// ----- recovery codes -----

#[tokio::test(start_paused = true)]
async fn a_recovery_code_is_replaced_by_its_use() {
    let server = server(alice().totp(SECRET).recovery_code("TESTCODE"));
    let token = mfa_token(&server).await;
    let answer = exchange(&server, RECOVERY, &token, &[("recovery_code", "WRONG")]).await;
    answer.is(403, "invalid_grant", "MFA Authorization rejected.");
    let answer = exchange(&server, RECOVERY, &token, &[("recovery_code", "TESTCODE")]).await;
    answer.is_ok();
    let fresh = answer.text("recovery_code");
    assert_eq!(
        (fresh.len(), Some(fresh)),
        (24, server.recovery_code("alice").as_deref())
    );

    let token = mfa_token(&server).await;
    let answer = exchange(&server, RECOVERY, &token, &[("recovery_code", "TESTCODE")]).await;
    answer.is(403, "invalid_grant", "MFA Authorization rejected.");
    exchange(&server, RECOVERY, &token, &[("recovery_code", fresh)])
        .await
        .is_ok();
}

// ----- refresh tokens -----

async fn refresh(server: &AuthorizationServer, token: &str, scope: &str) -> Answer {
    let parameters = [
        ("grant_type", "refresh_token"),
        ("client_id", "test-client"),
        ("refresh_token", token),
        ("scope", scope),
    ];
    form(server, "/oauth/token", &parameters).await
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_rotates_and_keeps_the_time_of_the_login() {
    let server = builder(alice()).policy(Policy::never()).build();
    let first = login_for(&server, "openid offline_access").await;
    sleep(Duration::from_secs(100)).await;
    let second = refresh(&server, first.text("refresh_token"), "").await;
    second.is_ok();
    assert_ne!(first.text("refresh_token"), second.text("refresh_token"));
    let claims = server.verify(second.text("access_token")).unwrap();
    assert_eq!(claims.scope(), "openid offline_access");
    assert_eq!(
        claims
            .issued_at()
            .unwrap()
            .duration_since(claims.auth_time().unwrap())
            .unwrap()
            .as_secs(),
        100
    );
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_used_twice_revokes_its_family() {
    let server = builder(alice()).policy(Policy::never()).build();
    let first = login_for(&server, "offline_access")
        .await
        .text("refresh_token")
        .to_owned();
    let second = refresh(&server, &first, "")
        .await
        .text("refresh_token")
        .to_owned();
    for token in [&first, &second, "unknown"] {
        refresh(&server, token, "").await.is(
            403,
            "invalid_grant",
            "Unknown or invalid refresh token.",
        );
    }
    // Another login is another family.
    let other = login_for(&server, "offline_access")
        .await
        .text("refresh_token")
        .to_owned();
    refresh(&server, &other, "").await.is_ok();
}

#[tokio::test(start_paused = true)]
async fn a_refresh_can_demand_a_factor_and_rotates_when_it_was_shown() {
    let server = builder(alice().totp(SECRET))
        .policy(Policy::for_scope("transfer:funds"))
        .build();
    let first = login_for(&server, "openid offline_access")
        .await
        .text("refresh_token")
        .to_owned();
    let demand = refresh(&server, &first, "transfer:funds").await;
    demand.is(403, "mfa_required", "Multifactor authentication required");
    // Not rotated by the demand: a step-up that fails leaves the login as it was.
    let again = refresh(&server, &first, "transfer:funds").await;
    let code = server.totp("alice").unwrap();
    let answer = exchange(&server, OTP, again.text("mfa_token"), &[("otp", &code)]).await;
    answer.is_ok();
    assert_eq!(answer.text("scope"), "transfer:funds");
    refresh(&server, answer.text("refresh_token"), "")
        .await
        .is_ok();
    refresh(&server, &first, "").await.is(
        403,
        "invalid_grant",
        "Unknown or invalid refresh token.",
    );
    // The other demand was overtaken by the revocation.
    sleep(Duration::from_secs(30)).await;
    let code = server.totp("alice").unwrap();
    let answer = exchange(&server, OTP, demand.text("mfa_token"), &[("otp", &code)]).await;
    answer.is(403, "invalid_grant", "Unknown or invalid refresh token.");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_demands_a_factor_by_default_unless_excepted() {
    let server = builder(alice().totp(SECRET))
        .policy(Policy::never())
        .build();
    let token = login_for(&server, "offline_access")
        .await
        .text("refresh_token")
        .to_owned();
    server.set_policy(Policy::always());
    assert_eq!(
        refresh(&server, &token, "").await.text("error"),
        "mfa_required"
    );
    server.set_policy(Policy::always().except_refresh());
    refresh(&server, &token, "").await.is_ok();
    assert_eq!(login_for(&server, "").await.text("error"), "mfa_required");
}

// ----- authenticators -----

#[tokio::test(start_paused = true)]
async fn authenticators_are_listed_in_the_recorded_shape() {
    let user = alice()
        .sms("+155501009167")
        .inactive()
        .recovery_code("TESTCODE")
        .push("test phone")
        .totp(SECRET)
        .email("user@example.com")
        .email("alice.test@example.com");
    let server = server(user);
    let token = mfa_token(&server).await;
    let answer = authenticators(&server, &token).await;
    answer.is_ok();
    let ids = server.authenticator_ids("alice");
    assert_eq!(
        answer.body,
        json!([
            {"id": ids[0], "authenticator_type": "oob", "active": false, "oob_channel": "sms", "name": "XXXXXXXXX9167"},
            {"id": ids[1], "authenticator_type": "recovery-code", "active": true},
            {"id": ids[2], "authenticator_type": "oob", "active": true, "oob_channel": "auth0", "name": "test phone"},
            {"id": ids[3], "authenticator_type": "otp", "active": true},
            {"id": ids[4], "authenticator_type": "oob", "active": true, "oob_channel": "email", "name": "****@exam*******"},
            {"id": ids[5], "authenticator_type": "oob", "active": true, "oob_channel": "email", "name": "alic******@exam*******"},
        ])
    );
    let prefixes: Vec<&str> = ids
        .iter()
        .map(|id| id.split_once("|dev_").unwrap().0)
        .collect();
    assert_eq!(
        prefixes,
        ["sms", "recovery-code", "push", "totp", "email", "email"]
    );

    server.set_policy(
        Policy::always()
            .requirements(Requirements::Challenge)
            .oob_channels_as_list(),
    );
    let answer = authenticators(&server, &token).await;
    let sms = &answer.body[0];
    assert_eq!(
        (&sms["type"], &sms["oob_channels"], sms.get("oob_channel")),
        (&json!("phone"), &json!(["sms"]), None)
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_factor_is_enrolled_with_the_mfa_token_and_confirmed_by_its_code() {
    let server = server(alice());
    let token = mfa_token(&server).await;
    let answer = associate(&server, &token, json!({"authenticator_types": ["otp"]})).await;
    answer.is_ok();
    assert_eq!(answer.text("authenticator_type"), "otp");
    assert!(
        answer
            .text("barcode_uri")
            .starts_with("otpauth://totp/Test:alice?secret=")
    );
    let recovery = answer.body["recovery_codes"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        authenticators(&server, &token)
            .await
            .body
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["active"] == false)
    );

    let code = server.totp("alice").unwrap();
    exchange(&server, OTP, &token, &[("otp", &code)])
        .await
        .is_ok();
    let token = mfa_token(&server).await;
    assert!(
        authenticators(&server, &token)
            .await
            .body
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["active"] == true)
    );
    let answer = associate(&server, &token, json!({"authenticator_types": ["otp"]})).await;
    answer.is(403, "access_denied", "User is already enrolled.");
    exchange(&server, RECOVERY, &token, &[("recovery_code", &recovery)])
        .await
        .is_ok();
}

#[tokio::test(start_paused = true)]
async fn factors_out_of_band_are_enrolled_in_the_recorded_shape() {
    let server = server(alice());
    let token = mfa_token(&server).await;
    let body = json!({"authenticator_types": ["oob"], "oob_channels": ["sms"], "phone_number": "+15550100"});
    let sms = associate(&server, &token, body).await;
    let keys = [
        "authenticator_type",
        "binding_method",
        "oob_channel",
        "oob_code",
        "recovery_codes",
    ];
    assert_eq!(
        sms.body.as_object().unwrap().keys().collect::<Vec<_>>(),
        keys
    );
    let body = json!({"authenticator_types": ["oob"], "oob_channels": ["auth0"]});
    let push = associate(&server, &token, body).await;
    let keys = [
        "authenticator_type",
        "barcode_uri",
        "oob_channel",
        "oob_code",
    ];
    assert_eq!(
        push.body.as_object().unwrap().keys().collect::<Vec<_>>(),
        keys
    );
    let body = json!({"authenticator_types": ["oob"], "oob_channels": ["email"], "email": "a@example.com"});
    associate(&server, &token, body).await.is_ok();

    for (body, description) in [
        (json!({}), "Missing required parameter: authenticator_types"),
        (
            json!({"authenticator_types": ["duo"]}),
            "Invalid authenticator type",
        ),
        (
            json!({"authenticator_types": ["oob"]}),
            "Missing required parameter: oob_channels",
        ),
        (
            json!({"authenticator_types": ["oob"], "oob_channels": ["fax"]}),
            "Invalid oob channel",
        ),
        (
            json!({"authenticator_types": ["oob"], "oob_channels": ["voice"], "phone_number": "12"}),
            "The phone number is invalid.",
        ),
    ] {
        associate(&server, &token, body)
            .await
            .is(400, "invalid_request", description);
    }

    let code = server.outbox().code("+15550100").unwrap();
    exchange(
        &server,
        OOB,
        &token,
        &[("oob_code", sms.text("oob_code")), ("binding_code", &code)],
    )
    .await
    .is_ok();
}

#[tokio::test(start_paused = true)]
async fn an_access_token_for_the_mfa_api_adds_and_removes_factors() {
    let server = server(alice().totp(SECRET));
    let management = server.management_token("alice");
    let body = json!({"authenticator_types": ["oob"], "oob_channels": ["auth0"]});
    let push = associate(&server, &management, body).await;
    push.is_ok();
    assert_eq!(push.body.get("recovery_codes"), None);
    server.push().approve("alice");
    let answer = exchange(
        &server,
        OOB,
        &management,
        &[("oob_code", push.text("oob_code"))],
    )
    .await;
    answer.is_ok();

    let ids = server.authenticator_ids("alice");
    let path = format!("/mfa/authenticators/{}", ids[1].replace('|', "%7C"));
    let invalid = "The mfa_token provided is invalid. Try getting a new token.";
    let delete =
        async |token: &str| with_bearer(&server, Method::DELETE, &path, token, &Value::Null).await;
    delete(&mfa_token(&server).await)
        .await
        .is(401, "invalid_grant", invalid);
    delete(&server.access_token("alice"))
        .await
        .is(401, "invalid_grant", invalid);
    let narrow = server
        .token("alice")
        .audience("http://localhost:1/mfa/")
        .scope("enroll")
        .sign();
    assert_eq!(delete(&narrow).await.text("error"), "insufficient_scope");
    assert_eq!(delete(&management).await.status, 204);
    assert_eq!(server.authenticator_ids("alice"), ids[..1]);
    delete(&management)
        .await
        .is(404, "invalid_authenticator", "Authenticator not found");
    assert_eq!(server.calls().count(Endpoint::DeleteAuthenticator), 5);
}

#[tokio::test(start_paused = true)]
async fn the_audience_of_the_mfa_api_always_demands_a_factor() {
    let server = builder(alice().totp(SECRET))
        .policy(Policy::never())
        .build();
    let parameters = [
        ("grant_type", "password"),
        ("client_id", "test-client"),
        ("username", "alice"),
        ("password", "test-password"),
        ("audience", "http://localhost:1/mfa/"),
        ("scope", "read:authenticators"),
    ];
    let demand = form(&server, "/oauth/token", &parameters).await;
    let code = server.totp("alice").unwrap();
    let answer = exchange(&server, OTP, demand.text("mfa_token"), &[("otp", &code)]).await;
    assert_eq!(answer.body["expires_in"], 600);
    authenticators(&server, answer.text("access_token"))
        .await
        .is_ok();
}

// ----- tokens made directly -----

#[tokio::test(start_paused = true)]
async fn tokens_made_to_order_say_what_was_ordered() {
    let server = builder(alice())
        .policy(Policy::for_scope("transfer:funds"))
        .build();
    let weak = server.verify(&server.access_token("alice")).unwrap();
    assert_eq!(
        (weak.sub(), weak.amr(), weak.client_id()),
        (alice().sub().as_str(), vec!["pwd"], "test-client")
    );
    let strong = server.verify(&server.elevated_token("alice")).unwrap();
    assert!(strong.has_scope("transfer:funds") && strong.amr().contains(&"mfa"));
    assert_eq!(strong.acr(), Some(MULTI_FACTOR));
    assert_eq!(
        server
            .verify(&server.expired_token("alice"))
            .unwrap_err()
            .to_string(),
        "the token is expired"
    );
    let foreign = server
        .token("alice")
        .claim("iss", "https://other.example.com/")
        .sign();
    assert_eq!(
        server.verify(&foreign).unwrap_err().to_string(),
        "the token is from another issuer"
    );
    let bare = server
        .token("alice")
        .amr([])
        .without("auth_time")
        .acr("test-acr")
        .audience("test-api")
        .sign();
    let bare = server.verify(&bare).unwrap();
    assert_eq!(
        (bare.amr(), bare.auth_time(), bare.acr(), bare.audience()),
        (vec![], None, Some("test-acr"), "test-api")
    );
    assert_eq!(
        server.verify("nonsense").unwrap_err().to_string(),
        "the token is malformed"
    );

    let token = server.access_token("alice");
    sleep(Duration::from_secs(86_400)).await;
    assert!(server.verify(&token).is_err());
}

#[tokio::test(start_paused = true)]
async fn the_demand_can_be_had_for_relaying() {
    let server = server(alice().totp(SECRET));
    let answer = server.demand("alice", "test-client");
    assert_eq!(answer.status(), 403);
    let body: Value = serde_json::from_str(&answer.into_body().text()).unwrap();
    let code = server.totp("alice").unwrap();
    exchange(
        &server,
        OTP,
        body["mfa_token"].as_str().unwrap(),
        &[("otp", &code)],
    )
    .await
    .is_ok();
    assert_eq!(server.demand("nobody", "test-client").status(), 403);
    assert_eq!(server.demand("alice", "nobody").status(), 401);
}

// ----- log, secrets, faults -----

#[tokio::test(start_paused = true)]
async fn the_log_keeps_what_was_sent() {
    let server = server(alice().totp(SECRET));
    let token = mfa_token(&server).await;
    sleep(Duration::from_secs(7)).await;
    challenge(&server, &token, &[("challenge_type", "otp oob")])
        .await
        .is_ok();
    associate(&server, &token, json!({"authenticator_types": ["otp"]})).await;

    let calls = server.calls();
    assert_eq!(
        (
            calls.len(),
            calls.count(Endpoint::Token),
            calls.count(Endpoint::Challenge)
        ),
        (3, 1, 1)
    );
    let login = calls.last(Endpoint::Token).unwrap();
    assert_eq!(login.grant_type().as_deref(), Some("password"));
    assert_eq!(
        (
            login.status().unwrap().as_u16(),
            login.method(),
            login.path()
        ),
        (403, &Method::POST, "/oauth/token")
    );
    let asked = calls.last(Endpoint::Challenge).unwrap();
    assert_eq!(
        asked.parameter("challenge_type").as_deref(),
        Some("otp oob")
    );
    assert_eq!(
        asked.parameter_names(),
        ["client_id", "mfa_token", "challenge_type"]
    );
    assert_eq!(
        asked.at().duration_since(login.at()).unwrap(),
        Duration::from_secs(7)
    );
    let enrolment = &calls.of(Endpoint::Associate)[0];
    assert_eq!(
        enrolment.parameter("authenticator_types").as_deref(),
        Some(r#"["otp"]"#)
    );
    assert!(enrolment.headers().contains_key("authorization"));
    calls.clear();
    assert!(server.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_printed_shows_a_secret() {
    let builder = builder(
        alice()
            .totp(SECRET)
            .sms("+15550100")
            .recovery_code("TESTCODE"),
    )
    .client(Client::confidential("test-job", "test-secret"));
    let mut printed = format!("{builder:?}");
    let server = builder.build();
    let answer = login_for(&server, "").await;
    let token = answer.text("mfa_token").to_owned();
    let oob = oob_code(&server, &token).await;
    let code = server.outbox().code("alice").unwrap();
    exchange(
        &server,
        OOB,
        &token,
        &[("oob_code", &oob), ("binding_code", &code)],
    )
    .await
    .is_ok();
    let api = ProtectedApi::new(&server);
    let future = {
        use tower_service::Service as _;
        server.clone().call(
            Request::post("/oauth/token")
                .body(Body::from("test-password"))
                .unwrap(),
        )
    };
    printed += &format!(
        "{server:?} {:?} {:?} {:?} {api:?} {future:?}",
        server.calls(),
        server.outbox(),
        server.push()
    );
    printed += &format!(
        "{:?} {:?}",
        server.outbox().messages(),
        server.calls().all()
    );
    printed += &format!(
        "{:?} {:?}",
        Body::from("test-password"),
        ClientKey::generate(Signing::Es256)
    );
    for secret in [
        "test-password",
        "test-secret",
        "TESTCODE",
        SECRET,
        &code,
        &token,
        &oob,
    ] {
        assert!(!printed.contains(secret), "{secret} is in {printed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_takes_effect_when_and_as_often_as_it_was_told() {
    let server = server(alice().totp(SECRET));
    let gateway = Fault::status(502)
        .body("text/html", "<html>bad gateway</html>")
        .header("retry-after", "7");
    server.inject(Endpoint::Token, gateway.times(2).after(1));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(login_for(&server, "").await.status.as_u16());
    }
    assert_eq!(statuses, [403, 502, 502, 403]);
    let call = &server.calls().of(Endpoint::Token)[1];
    assert_eq!(call.status().unwrap(), 502);

    server.inject(Endpoint::Token, Fault::status(503).forever());
    let request = form_request("/oauth/token").body(Body::empty()).unwrap();
    assert_eq!(send(&server, request).await.status, 503);
    assert_eq!(login_for(&server, "").await.status, 503);
    // Other endpoints go on.
    challenge(&server, "nonsense", &[])
        .await
        .is(403, "invalid_grant", "Malformed mfa_token");
    server.clear_faults();
    assert_eq!(login_for(&server, "").await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn a_fault_can_delay_hang_drop_or_answer_too_much() {
    let server = server(alice().totp(SECRET));
    server.inject(Endpoint::Token, Fault::delay(Duration::from_secs(20)));
    let start = Instant::now();
    login_for(&server, "")
        .await
        .is(403, "mfa_required", "Multifactor authentication required");
    assert_eq!(start.elapsed(), Duration::from_secs(20));

    server.inject(Endpoint::Token, Fault::hang());
    assert!(
        timeout(Duration::from_secs(3600), login_for(&server, ""))
            .await
            .is_err()
    );
    assert_eq!(server.calls().last(Endpoint::Token).unwrap().status(), None);

    server.inject(Endpoint::Challenge, Fault::drop_connection());
    let request = form_request("/mfa/challenge").body(Body::empty()).unwrap();
    assert!(server.clone().oneshot(request).await.is_err());

    server.inject(Endpoint::Authenticators, Fault::body_of(100_000));
    let request = Request::get("/mfa/authenticators")
        .body(Body::empty())
        .unwrap();
    let answer = server.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let bytes = answer.into_body().into_bytes();
    assert_eq!(bytes.len(), 100_000);
    assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_has_done_its_work() {
    let server = server(alice().recovery_code("TESTCODE"));
    let token = mfa_token(&server).await;
    server.inject(Endpoint::Token, Fault::lost_answer());
    let parameters = [
        ("grant_type", RECOVERY),
        ("client_id", "test-client"),
        ("mfa_token", token.as_str()),
        ("recovery_code", "TESTCODE"),
    ];
    let request = form_request("/oauth/token")
        .body(encoded(&parameters))
        .unwrap();
    assert!(server.clone().oneshot(request).await.is_err());
    assert_ne!(server.recovery_code("alice").unwrap(), "TESTCODE");
}

// ----- the protected API -----

async fn ask(api: &ProtectedApi, token: Option<&str>, body: Body) -> Answer {
    let mut request = Request::post("/transfer?to=bob")
        .header("x-test", "1")
        .header("x-other", "2")
        .header("x-test", "3");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let (head, body) = api
        .clone()
        .oneshot(request.body(body).unwrap())
        .await
        .unwrap()
        .into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: serde_json::from_str(&body.text()).unwrap_or_default(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_api_wants_a_strong_token_and_echoes_the_request() {
    let server = server(alice().totp(SECRET));
    let api = ProtectedApi::new(&server);
    let answer = ask(&api, None, Body::from("one")).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["www-authenticate"]),
        (401, &"Bearer".parse().unwrap())
    );
    let answer = ask(
        &api,
        Some(&server.expired_token("alice")),
        Body::from("two"),
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.text("error")),
        (401, "invalid_token")
    );
    assert!(
        answer.headers["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Bearer error=\"invalid_token\"")
    );

    let answer = ask(
        &api,
        Some(&server.access_token("alice")),
        Body::from("three"),
    )
    .await;
    answer.is(403, "mfa_required", "Multifactor authentication required");
    let code = server.totp("alice").unwrap();
    let tokens = exchange(&server, OTP, answer.text("mfa_token"), &[("otp", &code)]).await;

    let answer = ask(&api, Some(tokens.text("access_token")), Body::from("four")).await;
    assert_eq!(
        answer.body,
        json!({
            "method": "POST", "path": "/transfer?to=bob", "sub": "auth0|alice", "body": "four", "trailers": [],
            "headers": [["x-test", "1"], ["x-test", "3"], ["x-other", "2"], ["authorization", "[hidden]"]],
        })
    );
    let answer = ask(
        &api,
        Some(tokens.text("access_token")),
        Body::new(vec![0xff, 0xfe]),
    )
    .await;
    assert_eq!(
        answer.text("body_base64"),
        BASE64_STANDARD.encode([0xff, 0xfe])
    );
    assert_eq!((api.requests(), api.accepted()), (5, 2));
    assert_eq!(
        api.bodies(),
        [&b"one"[..], b"two", b"three", b"four", b"\xff\xfe"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_api_can_refuse_early_and_by_scope() {
    let server = builder(alice().totp(SECRET))
        .policy(Policy::for_scope("transfer:funds"))
        .build();
    let api = ProtectedApi::new(&server)
        .refuse_early(true)
        .require_scope("transfer:funds");
    assert_eq!(
        ask(&api, Some(&server.access_token("alice")), Body::from("one"))
            .await
            .status,
        403
    );
    let token = server.token("alice").scope("transfer:funds").amr([]).sign();
    ask(&api, Some(&token), Body::from("two")).await.is_ok();
    assert_eq!(api.bodies(), ["two"]);
}

#[tokio::test(start_paused = true)]
async fn the_api_demands_in_every_shape() {
    let server = server(alice().totp(SECRET));
    let demand = async |demanding| {
        ask(
            &ProtectedApi::new(&server).demanding(demanding),
            Some(&server.access_token("alice")),
            Body::empty(),
        )
        .await
    };
    let answer = demand(Demanding::Code).await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.text("error"),
            answer.text("code")
        ),
        (403, "MFA required", "mfa_required")
    );
    let answer = demand(Demanding::InsufficientScope).await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.headers["www-authenticate"]
            .to_str()
            .unwrap()
            .contains(r#"error="insufficient_scope""#)
    );
    let answer = demand(Demanding::InsufficientUserAuthentication).await;
    assert_eq!(answer.status, 401);
    assert!(
        answer.headers["www-authenticate"]
            .to_str()
            .unwrap()
            .contains(&format!(r#"acr_values="{MULTI_FACTOR}""#))
    );
    assert_eq!(
        demand(Demanding::Relayed).await.text("error"),
        "mfa_required"
    );
}

// ----- real sockets -----

#[tokio::test]
async fn a_served_server_speaks_http_names_its_address_and_really_drops_connections() {
    let server = server(alice().totp(SECRET));
    let serving = server.serve().await.unwrap();
    assert_eq!(serving.url(), format!("http://{}/", serving.addr()));
    assert_eq!(server.issuer(), serving.url());

    let request = "GET /.well-known/openid-configuration HTTP/1.1\r\nhost: test\r\n\r\n";
    let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
    let mut read = [0; 4096];
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let length = stream.read(&mut read).await.unwrap();
        let text = String::from_utf8_lossy(&read[..length]).into_owned();
        assert!(
            text.starts_with("HTTP/1.1 200 OK") && text.contains(serving.url()),
            "{text}"
        );
    }

    server.inject(Endpoint::Configuration, Fault::drop_connection());
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(stream.read(&mut read).await.unwrap_or(0), 0);

    let api = ProtectedApi::new(&server).serve().await.unwrap();
    let mut stream = TcpStream::connect(api.addr()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 401 Unauthorized") && text.contains("www-authenticate: Bearer"),
        "{text}"
    );

    let (addr, mut open) = (
        serving.addr(),
        TcpStream::connect(serving.addr()).await.unwrap(),
    );
    open.write_all(request.as_bytes()).await.unwrap();
    assert!(open.read(&mut read).await.unwrap() > 0);
    drop(serving);
    assert_eq!(open.read(&mut read).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn over_http2_a_dropped_connection_takes_all_its_streams() {
    use hyper_util::{
        client::legacy,
        rt::{TokioExecutor, TokioTimer},
    };

    let server = server(alice().totp(SECRET));
    let serving = server.serve().await.unwrap();
    let client = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_only(true)
        .retry_canceled_requests(false)
        .build_http::<Body>();
    let get = |path: &str| {
        let uri = format!("{}{path}", serving.url());
        client.request(Request::get(uri).body(Body::empty()).unwrap())
    };
    let answer = get(".well-known/jwks.json").await.unwrap();
    assert_eq!(
        (answer.version(), answer.status().as_u16()),
        (http::Version::HTTP_2, 200)
    );

    server.inject(Endpoint::Jwks, Fault::hang());
    server.inject(Endpoint::Configuration, Fault::drop_connection());
    let hanging = get(".well-known/jwks.json");
    let dropped = async {
        // The other request goes first.
        while server.calls().count(Endpoint::Jwks) < 2 {
            tokio::task::yield_now().await;
        }
        get(".well-known/openid-configuration").await
    };
    let both = async { tokio::join!(hanging, dropped) };
    let (hanging, dropped) = timeout(Duration::from_secs(30), both).await.unwrap();
    assert!(hanging.is_err() && dropped.is_err());
}
