//! The three multi-factor grants of `POST /oauth/token`.

use std::time::{Duration, SystemTime};

use super::{
    answer::{Answer, Refusal},
    client::Client,
    keys::random_code,
    request::Parameters,
    server::Shared,
    session::{Oob, Proof, Session, Verdict},
    state::State,
    token,
    user::{Kind, totp},
};

pub(super) const OTP: &str = "http://auth0.com/oauth/grant-type/mfa-otp";
pub(super) const OOB: &str = "http://auth0.com/oauth/grant-type/mfa-oob";
pub(super) const RECOVERY_CODE: &str = "http://auth0.com/oauth/grant-type/mfa-recovery-code";

/// One step of an authenticator app.
const STEP: Duration = Duration::from_secs(30);

/// A factor that was shown.
struct Shown {
    authenticator_id: String,
    method: &'static str,
}

pub(super) fn otp(
    shared: &Shared,
    state: &mut State,
    client: &Client,
    parameters: &Parameters,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let mfa_token = parameters.require("mfa_token")?;
    let session = state.session(mfa_token, &client.id, now)?.clone();
    let code = parameters.require("otp")?;
    let name = &session.granted.user;
    state.refuse_after_failures(name, now)?;

    let mut enrolled = false;
    let mut shown = None;
    for factor in state
        .user_mut(name)
        .into_iter()
        .flat_map(|user| &mut user.factors)
    {
        let usable = factor.usable(mfa_token, &session.used);
        let method = factor.kind.method();
        if let Kind::Totp { secret, used_step } = &mut factor.kind
            && usable
        {
            enrolled = true;
            // A step counts once, and an older one no more after it: a code read over a shoulder is worth nothing.
            let step = matching_step(secret, code, now)
                .filter(|step| used_step.is_none_or(|used| *step > used));
            if step.is_some() {
                *used_step = step;
                shown = Some(Shown {
                    authenticator_id: factor.id.clone(),
                    method,
                });
                break;
            }
        }
    }
    match shown {
        Some(shown) => finish(shared, state, mfa_token, session, shown, None, now),
        None if enrolled => {
            state.count_failure(name, shared.failures, now);
            Err(Refusal::new(403, "invalid_grant", "Invalid otp_code."))
        }
        None => Err(Refusal::new(
            401,
            "unsupported_challenge_type",
            "User is not enrolled with google-authenticator",
        )),
    }
}

/// The step whose code this is: the present one, or the one before, for whoever types slowly.
fn matching_step(secret: &str, code: &str, now: SystemTime) -> Option<u64> {
    [now, now - STEP]
        .into_iter()
        .filter_map(|at| totp(secret, at))
        .find(|(good, _)| good == code)
        .map(|(_, step)| step)
}

pub(super) fn recovery_code(
    shared: &Shared,
    state: &mut State,
    client: &Client,
    parameters: &Parameters,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let mfa_token = parameters.require("mfa_token")?;
    let session = state.session(mfa_token, &client.id, now)?.clone();
    let sent = parameters.require("recovery_code")?;
    let name = &session.granted.user;
    state.refuse_after_failures(name, now)?;

    let mut enrolled = false;
    let mut shown = None;
    let mut fresh = None;
    for factor in state
        .user_mut(name)
        .into_iter()
        .flat_map(|user| &mut user.factors)
    {
        let usable = factor.usable(mfa_token, &session.used);
        let method = factor.kind.method();
        if let Kind::Recovery { code } = &mut factor.kind
            && usable
        {
            enrolled = true;
            if code == sent {
                *code = random_code();
                fresh = Some(code.clone());
                shown = Some(Shown {
                    authenticator_id: factor.id.clone(),
                    method,
                });
                break;
            }
        }
    }
    match shown {
        Some(shown) => finish(shared, state, mfa_token, session, shown, fresh, now),
        None if enrolled => {
            state.count_failure(name, shared.failures, now);
            Err(Refusal::new(
                403,
                "invalid_grant",
                "MFA Authorization rejected.",
            ))
        }
        None => Err(Refusal::new(
            403,
            "unsupported_challenge_type",
            "User does not have a recovery-code.",
        )),
    }
}

pub(super) fn oob(
    shared: &Shared,
    state: &mut State,
    client: &Client,
    parameters: &Parameters,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let mfa_token = parameters.require("mfa_token")?;
    let mut session = state.session(mfa_token, &client.id, now)?.clone();
    let oob_code = parameters.require("oob_code")?;
    if let Some(wait) = session.exchanges.wait(now) {
        return Err(Refusal::new(
            429,
            "too_many_requests",
            "Rate limit exceeded. Please retry after some time.",
        )
        .limited(session.exchanges.burst(), wait, now));
    }
    session.exchanges.take(now);
    state.sessions.insert(mfa_token.to_owned(), session.clone());

    let mut oob = match state.oob.get(oob_code) {
        Some(oob) => oob.clone(),
        None if oob_code.starts_with("Fe26.2*") => {
            return Err(Refusal::new(403, "invalid_grant", "Invalid oob_code."));
        }
        None => return Err(Refusal::new(403, "invalid_grant", "Malformed oob_code")),
    };
    if oob.mfa_token != mfa_token {
        return Err(Refusal::new(
            400,
            "invalid_request",
            "The oob_code doesn't match the mfa_token",
        ));
    }
    if oob.expires_at <= now {
        return Err(Refusal::new(403, "expired_token", "oob_code is expired"));
    }
    let proved = if let Proof::Code(code) = &oob.proof {
        check_binding_code(shared, state, &oob.user, code, parameters, now)
    } else {
        let polled = poll(shared, state, &mut oob, now);
        state.oob.insert(oob_code.to_owned(), oob.clone());
        polled
    };
    proved?;

    state.oob.remove(oob_code);
    let factors = state
        .user(&oob.user)
        .into_iter()
        .flat_map(|user| &user.factors);
    let method = factors
        .clone()
        .find(|factor| factor.id == oob.authenticator_id)
        .map_or("otp", |f| f.kind.method());
    let shown = Shown {
        authenticator_id: oob.authenticator_id,
        method,
    };
    finish(shared, state, mfa_token, session, shown, None, now)
}

fn check_binding_code(
    shared: &Shared,
    state: &mut State,
    user: &str,
    code: &str,
    parameters: &Parameters,
    now: SystemTime,
) -> Result<(), Refusal> {
    let sent = parameters.require("binding_code")?;
    state.refuse_after_failures(user, now)?;
    if sent == code {
        return Ok(());
    }
    state.count_failure(user, shared.failures, now);
    Err(Refusal::new(403, "invalid_grant", "Invalid binding_code."))
}

/// One poll of a push notification.
fn poll(shared: &Shared, state: &State, oob: &mut Oob, now: SystemTime) -> Result<(), Refusal> {
    let Proof::Approval {
        verdict,
        polls,
        last_poll,
    } = &mut oob.proof
    else {
        return Ok(());
    };
    if last_poll
        .replace(now)
        .is_some_and(|last| now < last + shared.poll_interval)
    {
        return Err(Refusal::new(
            400,
            "slow_down",
            "Slow down: please wait longer between requests.",
        ));
    }
    if let (Verdict::Pending, Some(rule)) = (*verdict, state.push_rules.get(&oob.user))
        && *polls >= rule.after
    {
        *verdict = rule.verdict;
    }
    *polls += 1;
    match verdict {
        Verdict::Approved => Ok(()),
        Verdict::Denied => Err(Refusal::new(
            400,
            "access_denied",
            "MFA Authorization rejected.",
        )),
        Verdict::Pending => Err(Refusal::new(
            400,
            "authorization_pending",
            "Authorization pending: please repeat the request in a few seconds.",
        )),
    }
}

/// Uses an `mfa_token` up: demands the next factor, or gives the tokens.
fn finish(
    shared: &Shared,
    state: &mut State,
    mfa_token: &str,
    session: Session,
    shown: Shown,
    recovery_code: Option<String>,
    now: SystemTime,
) -> Result<Answer, Refusal> {
    let Session {
        mut granted,
        remaining,
        mut used,
        ..
    } = session;
    state.sessions.remove(mfa_token);
    for factor in state
        .user_mut(&granted.user)
        .into_iter()
        .flat_map(|user| &mut user.factors)
    {
        // The first code confirms an enrolment, and with it the recovery code that was handed out.
        if factor.pending.as_deref() == Some(mfa_token) {
            factor.pending = None;
            factor.active = true;
        }
    }
    granted.auth_time = now;
    for method in ["mfa", shown.method] {
        if !granted.methods.contains(&method) {
            granted.methods.push(method);
        }
    }
    if remaining > 1 {
        used.push(shown.authenticator_id);
        return Ok(token::require_factors(
            shared,
            state,
            granted,
            remaining - 1,
            used,
            now,
        ));
    }
    token::issue(shared, state, &granted, now, recovery_code)
}
