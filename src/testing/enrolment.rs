//! `/mfa/authenticators` and `/mfa/associate`: lists, removes and adds factors.

use std::{borrow::Cow, time::SystemTime};

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    answer::{self, Answer, Refusal},
    challenge::{send, unknown_authenticator},
    claims::verify,
    keys::{random, random_code, random_text},
    outbox::Channel,
    policy::{Policy, Requirements},
    request::{Parameters, Received},
    server::Shared,
    session::{Granted, Session},
    state::State,
    token::mfa_audience,
    user::{Enrolled, Kind, User},
};

/// Who may act on whose factors.
struct Access {
    token: String,
    user: String,
    /// By an access token for this API; else by the `mfa_token` of a login.
    managing: bool,
}

pub(super) fn list(
    shared: &Shared,
    state: &mut State,
    received: &Received,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let access = access(shared, state, received, "read:authenticators", now)?;
    let user = state.user(&access.user).ok_or_else(invalid_token)?;
    Ok(answer::ok(
        &user
            .factors
            .iter()
            .map(|factor| entry(factor, &state.policy))
            .collect(),
    ))
}

pub(super) fn delete(
    state: &mut State,
    received: &Received,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    // An `mfa_token` is refused here: it may add the first factor, but take none away.
    let token = received.bearer().ok_or_else(invalid_token)?;
    let access = managing(state, token, "remove:authenticators", now)?;
    let id = percent_decoded(received.path.trim_start_matches("/mfa/authenticators/"));
    let user = state.user_mut(&access.user).ok_or_else(invalid_token)?;
    let at = user
        .factors
        .iter()
        .position(|factor| factor.id == id)
        .ok_or_else(unknown_authenticator)?;
    user.factors.remove(at);
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub(super) fn associate(
    shared: &Shared,
    state: &mut State,
    received: &Received,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let access = access(shared, state, received, "enroll", now)?;
    let user = state.user(&access.user).ok_or_else(invalid_token)?;
    if !access.managing && user.active().next().is_some() {
        return Err(Refusal::new(
            403,
            "access_denied",
            "User is already enrolled.",
        ));
    }
    let first = user.factors.is_empty();
    let kind = requested(&received.parameters)?;
    let mut body = json!({"authenticator_type": kind.authenticator_type()});
    if let Some(channel) = kind.oob_channel() {
        body["oob_channel"] = channel.into();
    }

    let factor = enroll(state, &access, kind);
    match &factor.kind {
        Kind::Totp { secret, .. } => {
            body["secret"] = secret.clone().into();
            let parameters =
                format!("secret={secret}&issuer=Test&algorithm=SHA1&digits=6&period=30");
            body["barcode_uri"] = barcode(&access.user, &parameters).into();
        }
        Kind::Message { .. } => body["binding_method"] = "prompt".into(),
        Kind::Push { .. } | Kind::Recovery { .. } => {
            let parameters = format!(
                "enrollment_tx_id={}&base_url={}",
                random_text(),
                encoded(&state.issuer)
            );
            body["barcode_uri"] = barcode(&access.user, &parameters).into();
        }
    }
    if factor.kind.authenticator_type() == "oob" {
        body["oob_code"] = send(shared, state, &access.token, &access.user, &factor, now).into();
    }
    if first {
        let code = random_code();
        body["recovery_codes"] = json!([code]);
        enroll(state, &access, Kind::Recovery { code });
    }
    Ok(answer::ok(&body))
}

/// Adds an unconfirmed factor, to be confirmed with the token at hand.
fn enroll(state: &mut State, access: &Access, kind: Kind) -> Enrolled {
    let mut factor = Enrolled {
        id: String::new(),
        kind,
        active: false,
        pending: Some(access.token.clone()),
    };
    factor.id = state.authenticator_id(&factor);
    if let Some(user) = state.user_mut(&access.user) {
        user.factors.push(factor.clone());
    }
    factor
}

/// What an enrolment asks for.
fn requested(parameters: &Parameters) -> Result<Kind, Refusal> {
    let kind = parameters
        .first("authenticator_types")
        .ok_or_else(|| Refusal::missing("authenticator_types"))?;
    if kind == "otp" {
        let secret = totp_rs::Secret::from(random::<20>()).to_base32();
        return Ok(Kind::Totp {
            secret,
            used_step: None,
        });
    }
    if kind != "oob" {
        return Err(Refusal::new(
            400,
            "invalid_request",
            "Invalid authenticator type",
        ));
    }
    let channel = match parameters
        .first("oob_channels")
        .ok_or_else(|| Refusal::missing("oob_channels"))?
    {
        "auth0" => {
            return Ok(Kind::Push {
                device: String::new(),
            });
        }
        "email" => Channel::Email,
        "sms" => Channel::Sms,
        "voice" => Channel::Voice,
        _ => return Err(Refusal::new(400, "invalid_request", "Invalid oob channel")),
    };
    let to = if channel == Channel::Email {
        parameters.require("email")?
    } else {
        let number = parameters.require("phone_number")?;
        let digits = number.strip_prefix('+').unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::new(
                400,
                "invalid_request",
                "The phone number is invalid.",
            ));
        }
        number
    };
    Ok(Kind::Message {
        channel,
        to: to.to_owned(),
    })
}

fn entry(factor: &Enrolled, policy: &Policy) -> Value {
    let mut entry = json!({
        "id": factor.id, "authenticator_type": factor.kind.authenticator_type(), "active": factor.active,
    });
    match factor.kind.oob_channel() {
        Some(channel) if policy.channel_list => entry["oob_channels"] = json!([channel]),
        Some(channel) => entry["oob_channel"] = channel.into(),
        None => {}
    }
    if let Some(label) = factor.kind.label() {
        entry["name"] = label.into();
    }
    if policy.requirements != Requirements::Absent {
        entry["type"] = factor.kind.requirement().into();
    }
    entry
}

/// Takes either kind of token.
fn access(
    shared: &Shared,
    state: &mut State,
    received: &Received,
    scope: &str,
    now: SystemTime,
) -> Result<Access, Refusal> {
    let token = received.bearer().ok_or_else(invalid_token)?;
    match state.sessions.get(token) {
        Some(session) if session.expires_at > now => {
            // A session opened below for an access token keeps the limits of that token.
            let managing =
                session.granted.audience == mfa_audience(&state.issuer) && token.starts_with("eyJ");
            if managing && !session.granted.has_scope(scope) {
                return Err(insufficient_scope(scope));
            }
            Ok(Access {
                token: token.to_owned(),
                user: session.granted.user.clone(),
                managing,
            })
        }
        Some(_) => Err(invalid_token()),
        None => {
            let access = managing(state, token, scope, now)?;
            open_session(shared, state, &access, now)?;
            Ok(access)
        }
    }
}

/// Takes an access token for this API only.
fn managing(state: &State, token: &str, scope: &str, now: SystemTime) -> Result<Access, Refusal> {
    let claims = verify(state, token, now).map_err(|_| invalid_token())?;
    if claims.audience() != mfa_audience(&state.issuer) {
        return Err(invalid_token());
    }
    if !claims.has_scope(scope) {
        return Err(insufficient_scope(scope));
    }
    let user = state
        .users
        .iter()
        .find(|user| user.sub() == claims.sub())
        .map(|user: &User| user.name.clone());
    Ok(Access {
        token: token.to_owned(),
        user: user.ok_or_else(invalid_token)?,
        managing: true,
    })
}

/// Lets an access token confirm what it enrolls: the multi-factor grants take it for an `mfa_token`.
fn open_session(
    shared: &Shared,
    state: &mut State,
    access: &Access,
    now: SystemTime,
) -> Result<(), Refusal> {
    let claims = verify(state, &access.token, now).map_err(|_| invalid_token())?;
    let granted = Granted {
        user: access.user.clone(),
        sub: claims.sub().to_owned(),
        client_id: claims.client_id().to_owned(),
        scope: claims.scope().to_owned(),
        audience: claims.audience().to_owned(),
        methods: vec!["pwd"],
        auth_time: now,
        family: None,
    };
    let expires_at = claims.expires_at().unwrap_or(now);
    let session = Session {
        granted,
        remaining: 1,
        used: Vec::new(),
        expires_at,
        exchanges: shared.exchanges,
    };
    state.sessions.insert(access.token.clone(), session);
    Ok(())
}

fn invalid_token() -> Refusal {
    Refusal::new(
        401,
        "invalid_grant",
        "The mfa_token provided is invalid. Try getting a new token.",
    )
}

fn insufficient_scope(scope: &str) -> Refusal {
    Refusal::new(
        403,
        "insufficient_scope",
        format!("Insufficient scope, expected: {scope}"),
    )
}

fn barcode(user: &str, parameters: &str) -> String {
    format!("otpauth://totp/Test:{}?{parameters}", encoded(user))
}

/// Percent-encoded; a form's `+` for a space means something else in a path.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// Percent-decoded. A form decoder does it, once `+` is kept from it.
fn percent_decoded(text: &str) -> String {
    let text = text
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    form_urlencoded::parse(text.as_bytes())
        .map(|(name, _)| name)
        .collect::<Vec<Cow<'_, str>>>()
        .concat()
}
