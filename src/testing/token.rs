//! `POST /oauth/token`: the grants that start a login, the demand for more factors, and the tokens.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    answer::{self, Answer, Refusal},
    claims::MULTI_FACTOR,
    client::{Client, Credentials, authenticate},
    exchange,
    keys::{random_handle, random_text, unix},
    policy::Requirements,
    request::{Parameters, Received},
    server::{AuthorizationServer, Shared},
    session::{Granted, Session},
    state::State,
    user::{User, sub},
};

const PASSWORD_REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";

pub(super) fn token(
    shared: &Shared,
    state: &mut State,
    received: &Received,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let parameters = &received.parameters;
    let grant_type = parameters.require("grant_type")?;
    let client = authenticate(shared, state, parameters, Some(&received.headers), now)?;
    match grant_type {
        "password" => password(shared, state, client, parameters, now),
        PASSWORD_REALM => {
            parameters.require("realm")?;
            password(shared, state, client, parameters, now)
        }
        "refresh_token" => refresh(shared, state, client, parameters, now),
        "client_credentials" if !matches!(client.credentials, Credentials::Public) => {
            client_credentials(shared, state, client, parameters, now)
        }
        exchange::OTP if client.mfa_grants => exchange::otp(shared, state, client, parameters, now),
        exchange::OOB if client.mfa_grants => exchange::oob(shared, state, client, parameters, now),
        exchange::RECOVERY_CODE if client.mfa_grants => {
            exchange::recovery_code(shared, state, client, parameters, now)
        }
        "client_credentials" | exchange::OTP | exchange::OOB | exchange::RECOVERY_CODE => {
            let reason = format!("Grant type '{grant_type}' not allowed for the client.");
            Err(Refusal::new(403, "unauthorized_client", reason))
        }
        _ => Err(Refusal::new(
            400,
            "unsupported_grant_type",
            format!("Unsupported grant type: {grant_type}"),
        )),
    }
}

/// The audience of the multi-factor API itself.
pub(super) fn mfa_audience(issuer: &str) -> String {
    format!("{issuer}mfa/")
}

/// The answer to a login, for somebody who relays it.
pub(super) fn demand(server: &AuthorizationServer, user: &str, client_id: &str) -> Answer {
    let now = server.now();
    let state = &mut *server.state();
    if state.user(user).is_none() {
        return wrong_password().into_answer();
    }
    if !server
        .shared
        .clients
        .iter()
        .any(|client| client.id == client_id)
    {
        return Refusal::new(401, "invalid_client", "Client authentication failed").into_answer();
    }
    let granted = Granted {
        user: user.to_owned(),
        sub: sub(user),
        client_id: client_id.to_owned(),
        scope: state.policy.elevated_scope(),
        audience: server.shared.audience.clone(),
        methods: vec!["pwd"],
        auth_time: now,
        family: None,
    };
    require_factors(
        &server.shared,
        state,
        granted,
        state.policy.factors,
        Vec::new(),
        now,
    )
}

fn wrong_password() -> Refusal {
    Refusal::new(403, "invalid_grant", "Wrong email or password.")
}

fn password(
    shared: &Shared,
    state: &mut State,
    client: &Client,
    parameters: &Parameters,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let name = parameters.require("username")?;
    let password = parameters.require("password")?;
    let user = state
        .user(name)
        .filter(|user| user.password == password)
        .ok_or_else(wrong_password)?;
    let granted = Granted {
        user: name.to_owned(),
        sub: user.sub(),
        client_id: client.id.clone(),
        scope: parameters.text("scope").unwrap_or_default().to_owned(),
        audience: parameters
            .text("audience")
            .unwrap_or(&shared.audience)
            .to_owned(),
        methods: vec!["pwd"],
        auth_time: now,
        family: None,
    };
    grant(shared, state, granted, false, now)
}

fn refresh(
    shared: &Shared,
    state: &mut State,
    client: &Client,
    parameters: &Parameters,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let mut granted = state.refresh(parameters.require("refresh_token")?, &client.id)?;
    // Scopes and audience may change: that is how a client asks for a step-up in the back channel.
    if let Some(scope) = parameters.text("scope") {
        scope.clone_into(&mut granted.scope);
    }
    if let Some(audience) = parameters.text("audience") {
        audience.clone_into(&mut granted.audience);
    }
    grant(shared, state, granted, true, now)
}

fn client_credentials(
    shared: &Shared,
    state: &mut State,
    client: &Client,
    parameters: &Parameters,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let granted = Granted {
        user: String::new(),
        sub: format!("{}@clients", client.id),
        client_id: client.id.clone(),
        scope: parameters.text("scope").unwrap_or_default().to_owned(),
        audience: parameters
            .text("audience")
            .unwrap_or(&shared.audience)
            .to_owned(),
        methods: Vec::new(),
        auth_time: now,
        family: None,
    };
    issue(shared, state, &granted, now, None)
}

/// Gives the tokens, or demands factors first.
fn grant(
    shared: &Shared,
    state: &mut State,
    granted: Granted,
    refresh: bool,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let enforced = granted.audience == mfa_audience(&state.issuer);
    if enforced || state.policy.demands(&granted.scope, refresh) {
        let factors = state.policy.factors;
        return Ok(require_factors(
            shared,
            state,
            granted,
            factors,
            Vec::new(),
            now,
        ));
    }
    issue(shared, state, &granted, now, None)
}

/// Answers `mfa_required`.
pub(super) fn require_factors(
    shared: &Shared,
    state: &mut State,
    granted: Granted,
    remaining: u32,
    used: Vec<String>,
    now: SystemTime,
) -> Answer {
    let mut body = json!({"error": "mfa_required", "error_description": "Multifactor authentication required"});
    if let Some(requirements) =
        requirements(state.policy.requirements, state.user(&granted.user), &used)
    {
        body["mfa_requirements"] = requirements;
    }
    if state.policy.token {
        let expires_at = now + shared.mfa_token_ttl;
        let mfa_token = random_handle(expires_at);
        body["mfa_token"] = mfa_token.clone().into();
        let session = Session {
            granted,
            remaining,
            used,
            expires_at,
            exchanges: shared.exchanges,
        };
        state.sessions.insert(mfa_token, session);
    }
    answer::json(state.policy.status, &body)
}

fn requirements(shape: Requirements, user: Option<&User>, used: &[String]) -> Option<Value> {
    let mut types: Vec<&str> = Vec::new();
    for factor in user
        .into_iter()
        .flat_map(User::active)
        .filter(|factor| !used.contains(&factor.id))
    {
        if !types.contains(&factor.kind.requirement()) {
            types.push(factor.kind.requirement());
        }
    }
    let list = |types: &[&str]| {
        types
            .iter()
            .map(|kind| json!({"type": kind}))
            .collect::<Value>()
    };
    let enroll = list(&["otp", "phone", "push-notification"]);
    match shape {
        Requirements::Absent => None,
        Requirements::Both => Some(json!({"challenge": list(&types), "enroll": enroll})),
        Requirements::Challenge if user.is_some_and(|user| user.active().next().is_some()) => {
            Some(json!({"challenge": list(&types)}))
        }
        Requirements::Challenge | Requirements::Enroll => Some(json!({"enroll": enroll})),
        Requirements::ChallengeTypes => Some(json!({"challenge_types": ["otp", "oob"]})),
    }
}

/// Answers with tokens.
pub(super) fn issue(
    shared: &Shared,
    state: &mut State,
    granted: &Granted,
    now: SystemTime,
    recovery_code: Option<String>,
) -> Result<Answer, Refusal> {
    let for_mfa = granted.audience == mfa_audience(&state.issuer);
    let ttl = if for_mfa {
        shared.mfa_token_ttl
    } else {
        shared.access_token_ttl
    };
    let mut common = json!({
        "iss": state.issuer, "sub": granted.sub, "iat": unix(now), "exp": unix(now + ttl),
    });
    if !granted.methods.is_empty() {
        common["auth_time"] = unix(granted.auth_time).into();
        let elevated = granted.methods.contains(&"mfa");
        if !elevated || shared.mfa_claims {
            common["amr"] = json!(granted.methods);
        }
        if elevated && shared.mfa_claims {
            common["acr"] = MULTI_FACTOR.into();
        }
    }

    let mut claims = common.clone();
    claims["aud"] = granted.audience.clone().into();
    claims["client_id"] = granted.client_id.clone().into();
    claims["jti"] = random_text().into();
    if !granted.scope.is_empty() {
        claims["scope"] = granted.scope.clone().into();
    }
    let key = state.ring.current();
    let mut body = json!({
        "access_token": key.sign("at+jwt", &claims), "token_type": "Bearer", "expires_in": ttl.as_secs(),
    });
    if !granted.scope.is_empty() {
        body["scope"] = granted.scope.clone().into();
    }
    if granted.has_scope("openid") {
        common["aud"] = granted.client_id.clone().into();
        body["id_token"] = key.sign("JWT", &common).into();
    }
    if granted.family.is_some() || granted.has_scope("offline_access") {
        let fresh = format!("v1.TEST_{}", random_text());
        state.rotate(granted, fresh.clone())?;
        body["refresh_token"] = fresh.into();
    }
    if let Some(code) = recovery_code {
        body["recovery_code"] = code.into();
    }
    Ok(answer::json(StatusCode::OK, &body))
}
