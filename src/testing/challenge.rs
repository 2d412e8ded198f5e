//! `POST /mfa/challenge`: chooses a factor, and sends what has to be sent.

use std::time::SystemTime;

use serde_json::json;

use super::{
    answer::{self, Answer, Refusal},
    client::authenticate,
    keys::{random_digits, random_handle},
    outbox::Message,
    request::{Parameters, Received},
    server::Shared,
    session::{Oob, Proof, Session, Verdict},
    state::State,
    user::{Enrolled, Kind, User},
};

pub(super) fn challenge(
    shared: &Shared,
    state: &mut State,
    received: &Received,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let parameters = &received.parameters;
    let mfa_token = parameters.require("mfa_token")?;
    // No source shows the `authorization` header with client credentials here.
    let client = authenticate(shared, state, parameters, None, now)?;
    let session = state.session(mfa_token, &client.id, now)?.clone();
    let user = state.user(&session.granted.user).ok_or_else(not_enrolled)?;
    let factor = choose(user, &session, parameters)?.clone();

    if matches!(factor.kind, Kind::Totp { .. }) {
        return Ok(answer::ok(&json!({"challenge_type": "otp"})));
    }
    let prompt = matches!(factor.kind, Kind::Message { .. });
    let oob_code = send(
        shared,
        state,
        mfa_token,
        &session.granted.user,
        &factor,
        now,
    );
    let mut body = json!({"challenge_type": "oob", "oob_code": oob_code});
    if prompt {
        body["binding_method"] = "prompt".into();
    } else if let Some(interval) = state.policy.interval {
        body["interval"] = interval.as_secs().into();
    }
    if let Some(expires_in) = state.policy.expires_in {
        body["expires_in"] = expires_in.as_secs().into();
    }
    Ok(answer::ok(&body))
}

/// Sends the message or notification of a factor, and gives the `oob_code` under which it is answered.
pub(super) fn send(
    shared: &Shared,
    state: &mut State,
    mfa_token: &str,
    user: &str,
    factor: &Enrolled,
    now: SystemTime,
) -> String {
    let expires_at = now + shared.oob_code_ttl;
    let oob_code = random_handle(expires_at);
    let proof = if let Kind::Message { channel, to } = &factor.kind {
        let code = random_digits();
        let (user, to) = (user.to_owned(), to.clone());
        state.messages.push(Message {
            channel: *channel,
            user,
            to,
            code: code.clone(),
        });
        Proof::Code(code)
    } else {
        Proof::Approval {
            verdict: Verdict::Pending,
            polls: 0,
            last_poll: None,
        }
    };
    let (mfa_token, user, authenticator_id) =
        (mfa_token.to_owned(), user.to_owned(), factor.id.clone());
    state.oob.insert(
        oob_code.clone(),
        Oob {
            mfa_token,
            user,
            authenticator_id,
            expires_at,
            proof,
        },
    );
    oob_code
}

fn choose<'a>(
    user: &'a User,
    session: &Session,
    parameters: &Parameters,
) -> Result<&'a Enrolled, Refusal> {
    let asked = parameters.text("challenge_type").unwrap_or("otp oob");
    let kinds: Vec<&str> = asked
        .split_ascii_whitespace()
        .filter(|kind| matches!(*kind, "otp" | "oob"))
        .collect();
    if kinds.is_empty() {
        return Err(Refusal::new(
            400,
            "invalid_request",
            "Invalid challenge type",
        ));
    }
    let mut enrolled = user
        .active()
        .filter(|factor| !session.used.contains(&factor.id))
        .peekable();
    if enrolled.peek().is_none() {
        return Err(not_enrolled());
    }
    let fits = |factor: &&Enrolled| kinds.contains(&factor.kind.authenticator_type());
    if let Some(id) = parameters.text("authenticator_id") {
        let named = enrolled
            .find(|factor| factor.id == id)
            .ok_or_else(unknown_authenticator)?;
        return Some(named).filter(fits).ok_or_else(|| unsupported(&kinds));
    }
    let channel = parameters.text("oob_channel");
    let reached = |factor: &&Enrolled| match (channel, factor.kind.oob_channel()) {
        (Some(asked), Some(channel)) => asked == channel,
        (None, _) | (_, None) => true,
    };
    enrolled
        .filter(fits)
        .find(reached)
        .ok_or_else(|| unsupported(&kinds))
}

pub(super) fn unknown_authenticator() -> Refusal {
    Refusal::new(404, "invalid_authenticator", "Authenticator not found")
}

fn not_enrolled() -> Refusal {
    Refusal::new(
        401,
        "unsupported_challenge_type",
        "User is not enrolled. You can use /mfa/associate endpoint to enroll the first authenticator.",
    )
}

fn unsupported(kinds: &[&str]) -> Refusal {
    let kinds = kinds.join(" ");
    let reason = format!(
        "User does not have any enrolled authenticator with the supported challenge type ({kinds})"
    );
    Refusal::new(401, "unsupported_challenge_type", reason)
}
