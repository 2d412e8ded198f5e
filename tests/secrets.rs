//! No code, token, handle or client secret is ever printed: not by the log, not by `Debug`, not by an error.
#![cfg(all(feature = "testing", feature = "totp", feature = "client"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops"
)]

#[path = "auth0/harness/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the other tests of these flows use the rest"
)]
mod harness;

use std::{
    error::Error,
    fmt::Write as _,
    io,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::BodyExt as _;
use tower::{Layer as _, Service as _, ServiceExt as _};
use tower_mfa::{
    Auth0, Challenge, Code, CodeError, Demand, Factor, MfaLayer, RequestHead, Requirement, Secret,
    StepUpError, SteppedUp,
    body::ReplayBody,
    code::{HeaderCode, TotpCode},
    code_fn,
    dialect::{ClientAuth, Context, Detection, Dialect, Remedy, ResponseHead},
    testing::{Body, Client, ClientKey, Endpoint, Fault, Policy, Requirements, Signing, User},
    transport::RequestBody,
};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{filter::LevelFilter, fmt::format::FmtSpan};

use harness::{
    CLIENT, RECOVERY_CODE, Reply, ScriptedApi, Sent, Stage, TOTP_SECRET, alice, json_response,
    seconds, with_totp,
};

const CLIENT_SECRET: &str = "TEST-client-secret-0123456789";

/// Everything that was printed, and everything that must not have been.
#[derive(Clone, Default)]
struct Watch {
    printed: Arc<Mutex<Vec<u8>>>,
    secrets: Arc<Mutex<Vec<String>>>,
}

impl io::Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.printed.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Watch {
    /// Takes down all that is logged on this thread, at every level and of every target.
    fn log(&self) -> DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            // microseconds look like codes
            .without_time()
            .with_span_events(FmtSpan::FULL)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn print(&self, text: impl AsRef<str>) {
        let mut printed = self.printed.lock().unwrap();
        printed.extend_from_slice(text.as_ref().as_bytes());
        printed.push(b'\n');
    }

    /// An error as people print it, and as programs walk it.
    fn print_error(&self, error: &StepUpError) {
        self.print(format!("{error} {error:?} {error:#?} {}", error.outcome()));
        let mut source: Option<&dyn Error> = error.source();
        while let Some(error) = source {
            self.print(format!("{error} {error:?}"));
            source = error.source();
        }
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().unwrap()).into_owned()
    }

    fn hide(&self, secret: impl Into<String>) {
        let secret = secret.into();
        if !secret.is_empty() {
            self.secrets.lock().unwrap().push(secret);
        }
    }

    /// The secrets of what went to the authorization server.
    fn hide_sent(&self, sent: &Sent) {
        self.print(format!("{:?}", sent.headers));
        for (name, value) in sent.parameters() {
            let public = [
                "audience",
                "authenticator_id",
                "challenge_type",
                "client_assertion_type",
                "client_id",
                "grant_type",
                "scope",
            ];
            if !public.contains(&name.as_str()) {
                self.hide(value);
            }
        }
        if let Some(value) = sent.header(header::AUTHORIZATION) {
            let credentials = value.split_once(' ').unwrap().1;
            self.hide(credentials);
            if let Ok(decoded) = BASE64_STANDARD.decode(credentials) {
                self.hide(String::from_utf8_lossy(&decoded));
            }
        }
    }

    fn hide_issued(&self, stepped_up: &SteppedUp) {
        let Some(tokens) = stepped_up.tokens() else {
            return;
        };
        self.hide(tokens.access_token().expose());
        for secret in [
            tokens.refresh_token(),
            tokens.id_token(),
            tokens.recovery_code(),
        ] {
            self.hide(secret.map(Secret::expose).unwrap_or_default());
        }
    }

    /// Fails if a secret, or a good part of a long one, was printed.
    #[track_caller]
    fn assert_kept(&self) {
        let printed = self.printed();
        let secrets = self.secrets.lock().unwrap();
        assert!(!secrets.is_empty());
        for secret in secrets.iter() {
            if let Some(at) = leak(&printed, secret) {
                let line = printed[..at].rsplit('\n').next().unwrap_or_default();
                let rest = printed[at..].split('\n').next().unwrap_or_default();
                panic!("`{secret}` was printed: {line}{rest}");
            }
        }
    }
}

/// Where a secret occurs: whole, or the first or the last 16 characters of a long one.
fn leak(printed: &str, secret: &str) -> Option<usize> {
    const PART: usize = 16;
    if secret.bytes().all(|byte| byte.is_ascii_digit()) {
        // digits within a longer number are not the code
        return printed.match_indices(secret).map(|(at, _)| at).find(|at| {
            let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
            let bytes = printed.as_bytes();
            !digit(at.checked_sub(1).and_then(|at| bytes.get(at)))
                && !digit(bytes.get(at + secret.len()))
        });
    }
    let (first, last) = match secret.len().checked_sub(PART) {
        // what all handles of the testing server begin with says nothing
        Some(from) if secret.starts_with("Fe26.2*TEST_1*") => {
            (&secret[..14 + PART], &secret[from..])
        }
        Some(from) => (&secret[..PART], &secret[from..]),
        None => (secret, secret),
    };
    printed.find(first).or_else(|| printed.find(last))
}

/// Sends alice's request, prints everything that is met on the way, and gives what the response says of its step-up.
async fn run(
    watch: &Watch,
    stage: &Stage,
    layer: &MfaLayer,
    request: Request<Body>,
) -> Result<SteppedUp, StepUpError> {
    let bearer = request.headers()[header::AUTHORIZATION].to_str().unwrap();
    watch.hide(bearer.replace("Bearer ", ""));
    watch.hide(TOTP_SECRET);
    watch.hide(CLIENT_SECRET);
    let events = watch.clone();
    let layer = layer
        .clone()
        .on_event(move |event| events.print(format!("{event:?} {event:#?}")));

    let inner = watch.clone();
    let api = stage.api.clone();
    let api = tower::service_fn(move |request: Request<ReplayBody<Body>>| {
        // the caller's own header is the caller's; what the layer puts in its place is marked
        if request.headers()[header::AUTHORIZATION].is_sensitive() {
            inner.print(format!("{request:?}"));
        }
        api.clone().oneshot(request)
    });
    let shown = layer.layer(stage.api.clone());
    watch.print(format!("{layer:?} {shown:?} {:?}", stage.auth0));
    let mut service = layer.layer(api);
    let future = service.ready().await.unwrap().call(request);
    watch.print(format!("{future:?}"));
    let response = future.await.unwrap();
    watch.print(format!("{response:?}"));
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    if let Ok(refusal) = serde_json::from_slice::<serde_json::Value>(&body) {
        watch.hide(refusal["mfa_token"].as_str().unwrap_or_default());
    }
    for sent in stage.tap.sent() {
        watch.hide_sent(&sent);
    }
    for message in stage.server.outbox().messages() {
        watch.hide(message.code());
    }
    watch.hide(stage.server.recovery_code("alice").unwrap_or_default());
    for challenge in [stage.person.challenges(), stage.person.approvals()].concat() {
        watch.print(format!("{challenge:?} {challenge:#?}"));
    }
    for authenticators in stage.person.offered() {
        watch.print(format!("{authenticators:?}"));
    }
    match (
        head.extensions.get::<SteppedUp>(),
        head.extensions.get::<StepUpError>(),
    ) {
        (Some(stepped_up), None) => {
            watch.print(format!("{stepped_up:?} {:?}", stepped_up.tokens()));
            watch.hide_issued(stepped_up);
            Ok(stepped_up.clone())
        }
        (None, Some(error)) => {
            watch.print_error(error);
            Err(error.clone())
        }
        _ => panic!("the step-up left no trace"),
    }
}

async fn run_plainly(watch: &Watch, stage: &Stage) -> Result<SteppedUp, StepUpError> {
    run(watch, stage, &stage.layer(), stage.request()).await
}

/// The ways to prove who the client is, each with a server that expects it.
fn stages(user: &User) -> Vec<Stage> {
    let offline = || Policy::for_scope("offline_access");
    let confidential = |auth: ClientAuth| {
        let client = Client::confidential(CLIENT, CLIENT_SECRET);
        Stage::of(client, user.clone(), |builder| builder.policy(offline()))
            .auth0(|auth0| auth0.client_auth(auth))
    };
    let key = ClientKey::generate(Signing::Es256);
    let client = Client::private_key_jwt(CLIENT, key.public_pem());
    let auth = ClientAuth::private_key_jwt(key.private_pem().as_bytes(), None).unwrap();
    vec![
        Stage::build(user.clone(), |builder| builder.policy(offline())),
        confidential(ClientAuth::secret_post(CLIENT_SECRET)),
        confidential(ClientAuth::secret_basic(CLIENT_SECRET)),
        Stage::of(client, user.clone(), |builder| builder.policy(offline()))
            .auth0(|auth0| auth0.client_auth(auth)),
    ]
}

#[tokio::test(start_paused = true)]
async fn step_ups_that_succeed_print_no_secret() {
    let watch = Watch::default();
    let _log = watch.log();
    let users = [
        with_totp(),
        alice().sms("+15550100"),
        alice().email("alice@example.com"),
        alice().push("example-phone"),
        alice().recovery_code(RECOVERY_CODE),
    ];
    for user in users {
        for stage in stages(&user) {
            stage.server.push().approve_after("alice", 2);
            run_plainly(&watch, &stage).await.unwrap();
        }
    }
    watch.hide(RECOVERY_CODE);
    watch.assert_kept();
    assert!(watch.printed().contains("mfa.step_up"));
}

#[tokio::test(start_paused = true)]
async fn step_ups_with_wrong_codes_and_chains_print_no_secret() {
    let watch = Watch::default();
    let _log = watch.log();

    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Code("000123"), Reply::Right]);
    run_plainly(&watch, &stage).await.unwrap();

    let stage = Stage::new(alice().sms("+15550100"));
    stage.person.replies([
        Reply::Code("TEST-WRONG-CODE"),
        Reply::Recovery("TEST-WRONG-RECOVERY-CODE"),
        Reply::Code(""),
    ]);
    run_plainly(&watch, &stage).await.unwrap_err();

    let stage = Stage::build(with_totp().sms("+15550100"), |builder| {
        builder.policy(
            Policy::always()
                .factors(2)
                .requirements(Requirements::Challenge),
        )
    });
    stage.person.chooses(0);
    run_plainly(&watch, &stage).await.unwrap();

    let stage = Stage::new(with_totp().recovery_code(RECOVERY_CODE));
    stage.person.replies([Reply::Recovery(RECOVERY_CODE)]);
    run_plainly(&watch, &stage).await.unwrap();

    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Error(CodeError::Declined)]);
    run_plainly(&watch, &stage).await.unwrap_err();

    watch.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn polling_through_faults_prints_no_secret() {
    let watch = Watch::default();
    let _log = watch.log();
    let stage = Stage::new(alice().push("example-phone"));
    stage.server.push().approve_after("alice", 1);
    for fault in [
        Fault::drop_connection(),
        Fault::status(502).body("text/html", "<html>Bad Gateway</html>"),
        Fault::status(500).body("application/json", r#"{"error":"server_error"}"#),
    ] {
        stage.server.inject(Endpoint::Token, fault);
    }
    run_plainly(&watch, &stage).await.unwrap();

    let stage = Stage::new(alice().push("example-phone"));
    stage.server.push().deny_after("alice", 0);
    run_plainly(&watch, &stage).await.unwrap_err();
    watch.assert_kept();
}

/// What a rude server makes of a request: an error whose words are the request's secrets.
fn echo(sent: &Sent, status: u16, error: &str, only: usize) -> http::Response<Body> {
    let mut secrets: Vec<String> = sent
        .parameters()
        .into_iter()
        .filter(|(name, _)| !matches!(name.as_str(), "grant_type" | "client_assertion_type"))
        .map(|(_, value)| value)
        .collect();
    if let Some(value) = sent.header(header::AUTHORIZATION) {
        let credentials = value.split_once(' ').unwrap().1;
        secrets.push(credentials.to_owned());
        if let Ok(decoded) = BASE64_STANDARD.decode(credentials) {
            let decoded = String::from_utf8_lossy(&decoded).into_owned();
            secrets.push(decoded.split_once(':').unwrap().1.to_owned());
        }
    }
    let said = match secrets.get(only) {
        Some(secret) => format!("not good: {secret}"),
        None => secrets.join(" "),
    };
    let error = if error.is_empty() { &said } else { error };
    json_response(
        status,
        serde_json::json!({"error": error, "error_description": said}).to_string(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_server_that_repeats_secrets_gets_none_of_them_printed() {
    // regression: a secret longer than the 200 characters that are shown of a description was cut first and looked for
    // then, so that most of it was shown
    let watch = Watch::default();
    let _log = watch.log();
    for path in ["/mfa/authenticators", "/mfa/challenge", "/oauth/token"] {
        for (status, error) in [
            (400, ""),
            (400, "something_new"),
            (400, "invalid_request"),
            (401, "invalid_client"),
            (401, "unsupported_challenge_type"),
            (500, "server_error"),
        ] {
            // one secret after the other, then all at once
            for only in 0..6 {
                for stage in stages(&alice().sms("+15550100")) {
                    stage.tap.intercept(move |sent| {
                        (sent.uri.path() == path).then(|| echo(sent, status, error, only))
                    });
                    run_plainly(&watch, &stage).await.unwrap_err();
                }
            }
        }
    }
    watch.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn a_code_within_a_secret_does_not_uncover_the_rest_of_it() {
    // regression: the code was taken out first, and what was left of the longer secret was not found any more
    let watch = Watch::default();
    let _log = watch.log();
    for auth in [
        ClientAuth::secret_post(CLIENT_SECRET),
        ClientAuth::secret_basic(CLIENT_SECRET),
    ] {
        let client = Client::confidential(CLIENT, CLIENT_SECRET);
        let stage = Stage::of(client, with_totp(), |builder| builder)
            .auth0(|auth0| auth0.client_auth(auth));
        stage.person.replies([Reply::Code("123456")]);
        assert!(CLIENT_SECRET.contains("123456"));
        stage.tap.intercept(|sent| {
            (sent.uri.path() == "/oauth/token").then(|| {
                let json = serde_json::json!({"error": "something_new", "error_description": CLIENT_SECRET});
                json_response(400, json.to_string())
            })
        });
        run_plainly(&watch, &stage).await.unwrap_err();
    }
    watch.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn polling_a_server_that_repeats_secrets_prints_none_of_them() {
    let watch = Watch::default();
    let _log = watch.log();
    for only in 0..6 {
        for stage in stages(&alice().push("example-phone")) {
            stage.tap.intercept(move |sent| {
                (sent.uri.path() == "/oauth/token").then(|| echo(sent, 500, "server_error", only))
            });
            run_plainly(&watch, &stage).await.unwrap_err();
        }
    }
    assert!(watch.printed().contains("polling goes on after a fault"));
    watch.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn the_built_in_providers_print_no_secret() {
    const CODE_HEADER: HeaderName = HeaderName::from_static("x-mfa-code");
    let watch = Watch::default();
    let _log = watch.log();

    let stage = Stage::new(with_totp());
    let provider = TotpCode::from_base32(TOTP_SECRET)
        .unwrap()
        .clock(stage.clock.clone());
    watch.print(format!("{provider:?} {provider:#?}"));
    let layer = stage.layer_for(provider);
    run(&watch, &stage, &layer, stage.request()).await.unwrap();

    let stage = Stage::new(with_totp());
    let provider = HeaderCode::new(CODE_HEADER);
    watch.print(format!("{provider:?}"));
    let layer = stage.layer_for(provider);
    for code in [stage.server.totp("alice").unwrap(), "000123".to_owned()] {
        let mut request = stage.request();
        let value = HeaderValue::try_from(code.as_str()).unwrap();
        request.headers_mut().insert(CODE_HEADER, value);
        watch.hide(code);
        let _ = run(&watch, &stage, &layer, request).await;
    }

    let provider = code_fn(|_| async { Ok(Code::new("000123")) });
    watch.print(format!("{provider:?}"));
    watch.assert_kept();
}

/// A dialect that shows what it is given.
struct Showing(Watch);

impl Dialect for Showing {
    fn name(&self) -> &'static str {
        "showing"
    }

    fn detect(&self, _response: ResponseHead<'_>) -> Detection {
        let detection = Detection::Demand(Demand::new().with_handle("TEST-handle-0123456789"));
        self.0.print(format!("{detection:?}"));
        detection
    }

    async fn resolve(&self, demand: Demand, mut context: Context) -> Result<Remedy, StepUpError> {
        self.0.print(format!("{demand:?} {context:?}"));
        let challenge = Challenge::new(Factor::Otp, context.request().clone());
        let code = context.ask(challenge).await?;
        self.0.print(format!("{code:?} {context:?}"));
        let name = HeaderName::from_static("x-otp");
        let value = HeaderValue::try_from(code.expose()).unwrap();
        let remedy = Remedy::headers(HeaderMap::from_iter([(name, value)]));
        self.0.print(format!("{remedy:?} {remedy:#?}"));
        Ok(remedy)
    }
}

#[tokio::test(start_paused = true)]
async fn a_remedy_of_headers_prints_no_code() {
    let watch = Watch::default();
    let _log = watch.log();
    watch.hide("TEST-CODE-0123456789");
    watch.hide("TEST-handle-0123456789");
    let stage = Stage::new(alice());
    let layer = MfaLayer::new(
        Showing(watch.clone()),
        code_fn(|_| async { Ok(Code::new("TEST-CODE-0123456789")) }),
    );
    let api = ScriptedApi::refusing("{}");
    let response = layer
        .layer(api.clone())
        .oneshot(stage.request())
        .await
        .unwrap();
    watch.print(format!("{response:?}"));
    let stepped_up = response.extensions().get::<SteppedUp>().unwrap();
    watch.print(format!("{stepped_up:?}"));
    let (headers, _) = &api.requests()[1];
    assert_eq!(headers["x-otp"], "TEST-CODE-0123456789");
    assert!(headers["x-otp"].is_sensitive());
    watch.print(format!("{:?}", headers["x-otp"]));
    watch.assert_kept();
}

#[test]
fn values_that_hold_secrets_print_none() {
    const HIDDEN: &str = "TEST-hidden-0123456789";
    let watch = Watch::default();
    watch.hide(HIDDEN);
    let show = |value: &dyn std::fmt::Debug| watch.print(format!("{value:?} {value:#?}"));

    show(&Secret::from(HIDDEN));
    show(&Code::new(HIDDEN));
    show(&Code::recovery(HIDDEN));
    show(
        &Demand::new()
            .with_handle(HIDDEN)
            .with_requirement(Requirement::new().with_challenge(["otp"])),
    );
    let access_token = tower_mfa::AccessToken::new(HIDDEN, None);
    show(&access_token);
    show(&access_token.to_header_value());
    let tokens = tower_mfa::TokenSet::new(access_token)
        .with_refresh_token(HIDDEN)
        .with_id_token(HIDDEN)
        .with_recovery_code(HIDDEN);
    show(&tokens);
    show(&Remedy::bearer(tokens));
    for auth in [
        ClientAuth::secret_post(HIDDEN),
        ClientAuth::secret_basic(HIDDEN),
        ClientAuth::assertion(|_| Ok(HIDDEN.into())),
    ] {
        show(&auth);
        show(
            &Auth0::new("https://tenant.example.com/", CLIENT)
                .unwrap()
                .client_auth(auth),
        );
    }
    let body = RequestBody::from(HIDDEN);
    show(&body);
    show(&Request::new(body));
    let mut request = Request::new(());
    *request.uri_mut() = format!("/path?code={HIDDEN}").parse().unwrap();
    request
        .headers_mut()
        .insert("x-mfa-code", HIDDEN.parse().unwrap());
    let head = RequestHead::new(&request);
    show(&head);
    show(&Challenge::new(Factor::Otp, head));
    show(&TotpCode::from_bytes(HIDDEN).unwrap());
    // errors of settings do not repeat what could be a secret
    let error = TotpCode::from_base32(&HIDDEN.replace('-', "_")).unwrap_err();
    watch.print(format!("{error} {error:?}"));
    let error = ClientAuth::private_key_jwt(HIDDEN.as_bytes(), None).unwrap_err();
    watch.print(format!("{error} {error:?}"));
    watch.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn what_carries_a_secret_in_a_header_is_marked() {
    let stage = Stage::of(
        Client::confidential(CLIENT, CLIENT_SECRET),
        alice().sms("+15550100"),
        |builder| builder,
    )
    .auth0(|auth0| auth0.client_auth(ClientAuth::secret_basic(CLIENT_SECRET)));
    let api = ScriptedApi::new([Some(stage.server.demand("alice", CLIENT))]);
    let answer = stage.send_to(api.clone()).await;
    assert!(answer.stepped_up.is_some(), "{:?}", answer.error);
    let (retry, _) = &api.requests()[1];
    assert!(retry[header::AUTHORIZATION].is_sensitive());
    let mut marked = 0;
    for sent in stage.tap.sent() {
        if let Some(value) = sent.headers.get(header::AUTHORIZATION) {
            assert!(value.is_sensitive(), "{}", sent.uri);
            marked += 1;
        }
    }
    // the list by the `mfa_token`, the exchange by the client's secret
    assert_eq!(marked, 2);
}

/// The line that tells that the span of a step-up is over.
fn closed(watch: &Watch) -> String {
    let printed = watch.printed();
    let line = printed
        .lines()
        .find(|line| line.contains("mfa.step_up") && line.contains("close"));
    line.unwrap_or_else(|| panic!("no span was closed in: {printed}"))
        .to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_span_tells_dialect_factor_attempts_and_outcome() {
    let watch = Watch::default();
    let log = watch.log();
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Code("000123"), Reply::Right]);
    run_plainly(&watch, &stage).await.unwrap();
    drop(log);
    let line = closed(&watch);
    for field in [
        r#"dialect="auth0""#,
        r#"factor="otp""#,
        "attempts=2",
        r#"outcome="stepped_up""#,
    ] {
        assert!(line.contains(field), "{field}: {line}");
    }

    let watch = Watch::default();
    let log = watch.log();
    let stage = Stage::new(with_totp());
    stage
        .person
        .replies([Reply::Late(seconds(1)), Reply::Never]);
    stage.inject(
        Endpoint::Token,
        403,
        r#"{"error":"expired_token","error_description":"mfa_token is expired"}"#,
    );
    run_plainly(&watch, &stage).await.unwrap_err();
    drop(log);
    let line = closed(&watch);
    for field in ["attempts=1", r#"outcome="expired""#] {
        assert!(line.contains(field), "{field}: {line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_demand_that_is_passed_over_is_a_warning() {
    let watch = Watch::default();
    let _log = watch.log();
    let stage = Stage::new(with_totp());
    let mut request = stage.request();
    *request.uri_mut() = "https://api.example.com/transfer".parse().unwrap();
    let error = run(&watch, &stage, &stage.layer(), request)
        .await
        .unwrap_err();
    assert!(error.is_passed_over());

    let stage = Stage::new(with_totp());
    let layer = stage.layer().max_replay_bytes(4);
    let error = run(&watch, &stage, &layer, stage.request())
        .await
        .unwrap_err();
    assert!(error.is_passed_over());
    assert!(stage.server.calls().is_empty());

    let printed = watch.printed();
    for reason in ["untrusted_origin", "not_replayable"] {
        let field = format!(r#"reason="{reason}""#);
        let mut warnings = printed
            .lines()
            .filter(|line| line.contains("WARN") && line.contains(&field));
        assert!(warnings.next().is_some(), "{reason}: {printed}");
        assert!(warnings.next().is_none(), "{reason}: {printed}");
    }
    watch.assert_kept();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_operators_business_is_no_warning() {
    let watch = Watch::default();
    let _log = watch.log();
    let stage = Stage::new(with_totp());
    run_plainly(&watch, &stage).await.unwrap();
    let stage = Stage::new(with_totp());
    stage.person.replies([Reply::Error(CodeError::Declined)]);
    run_plainly(&watch, &stage).await.unwrap_err();
    let stage = Stage::new(with_totp());
    let layer = stage.layer_for(HeaderCode::new(HeaderName::from_static("x-mfa-code")));
    run(&watch, &stage, &layer, stage.request())
        .await
        .unwrap_err();
    let mut warnings = String::new();
    for line in watch.printed().lines().filter(|line| line.contains("WARN")) {
        writeln!(warnings, "{line}").unwrap();
    }
    assert_eq!(warnings, "");
}
