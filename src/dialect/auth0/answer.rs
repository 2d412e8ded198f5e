//! [`Answer`]: what an answer of the authorization server means. A pure function of the call, the status and the body.
//!
//! The server uses one `error` for several things, so a wrong code and a dead `mfa_token` (both `invalid_grant`) are told
//! apart by the description. Its wording has been stable for years, and where it is not known the grant decides.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use crate::demand::Demand;
use crate::dialect::auth0::wire::{Object, read_demand};
use crate::error::{Kind, StepUpError};

/// Which call was answered; the same words mean different things to different calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Authenticators,
    Challenge,
    Otp,
    /// With a code that the user typed.
    OobWithCode,
    /// Asking whether the user has approved.
    OobPoll,
    RecoveryCode,
}

/// What an answer that is not a success means.
#[derive(Debug)]
pub(super) enum Answer {
    /// The server demands another factor.
    Chained(Demand),
    /// The user's code was wrong; the challenge lives.
    WrongCode,
    /// The user has not approved yet.
    Pending,
    /// The client polls too fast; wait this long if the server said so.
    SlowDown(Option<Duration>),
    /// The challenge is too old; its `mfa_token` may live.
    ChallengeExpired(StepUpError),
    /// This factor cannot be used; another one may.
    FactorUnavailable(StepUpError),
    /// The server did not answer properly; it may at the next call. Wait this long if it said so.
    Fault(Option<Duration>, StepUpError),
    /// The step-up is over.
    Final(StepUpError),
}

impl Answer {
    /// The error that this is where nothing can be made of it.
    pub(super) fn into_error(self) -> StepUpError {
        match self {
            Self::ChallengeExpired(error)
            | Self::FactorUnavailable(error)
            | Self::Fault(_, error)
            | Self::Final(error) => error,
            Self::Chained(_) | Self::WrongCode | Self::Pending | Self::SlowDown(_) => {
                StepUpError::new(
                    Kind::Protocol,
                    "the authorization server answered something that does not belong to this call",
                )
            }
        }
    }
}

/// Classifies an answer; `None` if it is a success. An answer that carries `error` is an error, whatever its status.
pub(super) fn classify(
    call: Call,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: SystemTime,
    redact: &dyn Fn(&str) -> String,
) -> Option<Answer> {
    let object = Object::parse(body);
    if let Some(object) = &object
        && let Some(error) = object.text("error").or_else(|| {
            // `code` is what resource servers write in place of `error`; in a success it may be anything
            object.text("code").filter(|_| !status.is_success())
        })
    {
        let description = object.text("error_description").unwrap_or_default();
        return Some(
            Known {
                call,
                status,
                wait: retry_after(headers, now),
                error: &error,
                description: &description,
                redact,
            }
            .classify(object),
        );
    }
    if status.is_success() {
        return None;
    }
    let wait = retry_after(headers, now);
    Some(match status {
        StatusCode::TOO_MANY_REQUESTS => limited(call, wait),
        status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            Answer::Fault(
                wait,
                StepUpError::new(
                    Kind::Transport,
                    format!(
                        "the authorization server answered with a fault ({status}); try again later"
                    ),
                ),
            )
        }
        status => Answer::Final(StepUpError::new(
            Kind::Protocol,
            format!(
                "the authorization server answered {status} without an `error`; check the endpoint's address"
            ),
        )),
    })
}

/// An answer with an `error`.
struct Known<'a> {
    call: Call,
    status: StatusCode,
    wait: Option<Duration>,
    error: &'a str,
    description: &'a str,
    redact: &'a dyn Fn(&str) -> String,
}

impl Known<'_> {
    fn classify(&self, object: &Object<'_>) -> Answer {
        match self.error {
            "authorization_pending" if self.call == Call::OobPoll => Answer::Pending,
            "slow_down" if self.call == Call::OobPoll => Answer::SlowDown(self.wait),
            "mfa_required" => self.chained(object),
            "access_denied" if !self.is_exchange() => dead_handle(),
            "access_denied" => rejected(),
            "expired_token" if self.says("oob_code") => Answer::ChallengeExpired(expired("the challenge is too old")),
            "expired_token" => Answer::Final(expired("the `mfa_token` is too old")),
            "invalid_token" => dead_handle(),
            "invalid_grant" => self.invalid_grant(),
            "association_required" => Answer::Final(enrollment_required()),
            "unsupported_challenge_type" if self.says("/mfa/associate") => Answer::Final(enrollment_required()),
            "unsupported_challenge_type" | "invalid_authenticator" => Answer::FactorUnavailable(
                self.error(Kind::UnsupportedFactor, "the user cannot be challenged with this factor; let them enroll it, or prefer another one"),
            ),
            "invalid_client" | "unauthorized_client" | "use_dpop_nonce" => Answer::Final(self.error(
                Kind::Configuration,
                "the authorization server does not accept this client; check its credentials and that the MFA grants are enabled for it",
            )),
            "too_many_attempts" | "too_many_requests" => self.rate_limited(),
            "invalid_request" if self.says("too many") => self.rate_limited(),
            // of the `mfa_token`, or of the `oob_code` and the `mfa_token`
            "invalid_request" if self.says("not issued to this client") || self.says("match the mfa_token") => dead_handle(),
            _ if self.status == StatusCode::TOO_MANY_REQUESTS => self.rate_limited(),
            _ if self.status.is_server_error() => Answer::Fault(
                self.wait,
                self.error(Kind::Transport, "the authorization server answered with a fault; try again later"),
            ),
            _ => Answer::Final(self.error(Kind::Other, "the authorization server refused the step-up")),
        }
    }

    fn chained(&self, object: &Object<'_>) -> Answer {
        let demand = read_demand(object);
        if demand.handle().is_some() && self.is_exchange() {
            return Answer::Chained(demand);
        }
        Answer::Final(StepUpError::new(
            Kind::MissingHandle,
            "the authorization server demands another factor but gave no `mfa_token` for it; the user may have to enroll one",
        ))
    }

    fn invalid_grant(&self) -> Answer {
        let is_rejection = self.says("mfa authorization rejected");
        match self.call {
            Call::Authenticators | Call::Challenge => dead_handle(),
            Call::RecoveryCode if is_rejection => Answer::WrongCode,
            Call::OobPoll | Call::OobWithCode if is_rejection => rejected(),
            _ if ["invalid otp", "invalid binding", "recovery"]
                .iter()
                .any(|words| self.says(words)) =>
            {
                Answer::WrongCode
            }
            _ if ["malformed", "mfa_token", "oob_code"]
                .iter()
                .any(|words| self.says(words)) =>
            {
                dead_handle()
            }
            // no code was sent, so it is not the code
            Call::OobPoll => rejected(),
            Call::Otp | Call::OobWithCode | Call::RecoveryCode => Answer::WrongCode,
        }
    }

    fn rate_limited(&self) -> Answer {
        limited(self.call, self.wait)
    }

    fn error(&self, kind: Kind, advice: &str) -> StepUpError {
        let said = (self.redact)(self.description);
        let error = (self.redact)(self.error);
        let said = if said.is_empty() {
            error
        } else {
            format!("{error}: {said}")
        };
        StepUpError::new(
            kind,
            format!(
                "{advice} (it said \"{said}\", status {})",
                self.status.as_u16()
            ),
        )
    }

    fn is_exchange(&self) -> bool {
        !matches!(self.call, Call::Authenticators | Call::Challenge)
    }

    /// Whether the description has these lower-case words, however they are joined.
    fn says(&self, words: &str) -> bool {
        let description = self.description.to_ascii_lowercase();
        description.contains(words) || description.replace('_', " ").contains(words)
    }
}

fn rejected() -> Answer {
    Answer::Final(StepUpError::rejected(
        "the user rejected the approval on their device",
    ))
}

fn dead_handle() -> Answer {
    Answer::Final(expired(
        "the `mfa_token` or the challenge is not valid any more, or was meant for another client",
    ))
}

fn expired(what: &str) -> StepUpError {
    StepUpError::expired(format!("{what}; make the request again to get a new one"))
}

pub(super) fn enrollment_required() -> StepUpError {
    StepUpError::new(
        Kind::EnrollmentRequired,
        "the user has no second factor yet; let them enroll one first",
    )
}

fn limited(call: Call, wait: Option<Duration>) -> Answer {
    // while polling this is the other way to say `slow_down`, if it says for how long
    if call == Call::OobPoll && wait.is_some() {
        return Answer::SlowDown(wait);
    }
    Answer::Final(rate_limited(wait))
}

fn rate_limited(wait: Option<Duration>) -> StepUpError {
    let when = wait.map_or_else(
        || "later".to_owned(),
        |wait| format!("in {} s", wait.as_secs()),
    );
    StepUpError::new(
        Kind::RateLimited(wait),
        format!(
            "the authorization server limits codes and challenges for this user; try again {when}"
        ),
    )
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), else Auth0's `x-ratelimit-reset` in seconds since 1970.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let until = |time: SystemTime| Some(time.duration_since(now).unwrap_or_default());
    if let Some(value) = text(RETRY_AFTER.as_str()) {
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        if let Ok(date) = httpdate::parse_http_date(value) {
            return until(date);
        }
    }
    let reset = Duration::from_secs(text("x-ratelimit-reset")?.parse().ok()?);
    until(SystemTime::UNIX_EPOCH.checked_add(reset)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn wait(name: &'static str, value: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
    }

    #[test]
    fn retry_after_is_read_as_seconds_as_a_date_and_as_auth0_says_it() {
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(wait("retry-after", "7"), seconds(7));
        assert_eq!(
            wait("retry-after", "Tue, 14 Nov 2023 22:13:30 GMT"),
            seconds(10)
        );
        assert_eq!(
            wait("retry-after", "Tue, 14 Nov 2023 22:13:00 GMT"),
            seconds(0)
        );
        assert_eq!(wait("x-ratelimit-reset", "1700000042"), seconds(42));
        for nonsense in ["soon", "-5", ""] {
            assert_eq!(wait("retry-after", nonsense), None);
            assert_eq!(wait("x-ratelimit-reset", nonsense), None);
        }
        assert_eq!(wait("x-ratelimit-reset", "18446744073709551615"), None);
    }

    fn outcome(call: Call, status: u16, body: &str) -> String {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = classify(
            call,
            status,
            &HeaderMap::new(),
            body.as_bytes(),
            SystemTime::UNIX_EPOCH,
            &str::to_owned,
        );
        match answer {
            None => "success".to_owned(),
            Some(Answer::Fault(..)) => "fault".to_owned(),
            Some(Answer::ChallengeExpired(_)) => "challenge expired".to_owned(),
            Some(Answer::FactorUnavailable(_)) => "factor unavailable".to_owned(),
            Some(Answer::Final(error)) => error.outcome().to_owned(),
            Some(Answer::Chained(_)) => "chained".to_owned(),
            Some(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn one_error_means_different_things_to_different_calls() {
        let invalid =
            |what: &str| format!(r#"{{"error":"invalid_grant","error_description":"{what}"}}"#);
        for (call, description, expected) in [
            (Call::Otp, "Invalid otp_code.", "WrongCode"),
            (Call::Otp, "Malformed mfa_token", "expired"),
            (Call::Otp, "something new", "WrongCode"),
            (Call::OobWithCode, "Invalid binding_code.", "WrongCode"),
            (Call::OobWithCode, "Invalid oob_code.", "expired"),
            (Call::OobWithCode, "MFA Authorization rejected.", "rejected"),
            (Call::OobPoll, "MFA Authorization rejected.", "rejected"),
            (Call::OobPoll, "something new", "rejected"),
            (Call::OobPoll, "Malformed oob_code", "expired"),
            (
                Call::RecoveryCode,
                "MFA Authorization rejected.",
                "WrongCode",
            ),
            (Call::Challenge, "Malformed mfa_token", "expired"),
            (
                Call::Authenticators,
                "The mfa_token provided is invalid. Try getting a new token.",
                "expired",
            ),
        ] {
            assert_eq!(
                outcome(call, 403, &invalid(description)),
                expected,
                "{call:?} {description}"
            );
        }
    }

    #[test]
    fn what_is_no_json_is_judged_by_its_status() {
        for (status, expected) in [
            (502, "fault"),
            (500, "fault"),
            (429, "rate_limited"),
            (404, "protocol"),
            (302, "protocol"),
            (200, "success"),
        ] {
            assert_eq!(outcome(Call::Otp, status, "<html>"), expected, "{status}");
        }
    }

    #[test]
    fn an_error_in_a_200_is_an_error() {
        let body = r#"{"error":"authorization_pending"}"#;
        assert_eq!(outcome(Call::OobPoll, 200, body), "Pending");
        assert_eq!(outcome(Call::Otp, 200, body), "other");
    }
}
