//! [`Rfc9470`]: step-up challenges in the head of a refusal.

use std::time::Duration;

use http::StatusCode;

use crate::demand::{Demand, Requirement};
use crate::dialect::{Context, Detection, Dialect, Remedy, ResponseHead};
use crate::error::{Kind, StepUpError};
use crate::www_authenticate::{Challenge, parse};

const INSUFFICIENT_AUTHENTICATION: &str = "insufficient_user_authentication";
const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

/// OAuth 2.0 step-up authentication challenges (RFC 9470), as resource servers give them.
///
/// A demand is a 401 with a `Bearer` or `DPoP` challenge whose `error` is `insufficient_user_authentication`. Its [`Requirement`]
/// has `acr_values`, `max_age` and `scope`, and its extensions have the whole [`StepUpChallenge`]. Where there are several such
/// challenges, the first counts. No body is read.
///
/// This dialect finds demands and hands them back: the caller gets the refusal as it came, with a [`StepUpError`] in its
/// extensions that is [`is_handed_back`](StepUpError::is_handed_back). Nobody is prompted and nothing is sent again.
///
/// ```
/// use http::Response;
/// use tower_mfa::dialect::StepUpChallenge;
/// use tower_mfa::{MfaLayer, Rfc9470, StepUpError, code_fn, www_authenticate};
///
/// let layer = MfaLayer::new(Rfc9470::new(), code_fn(|_| async { Ok("never asked".into()) }));
/// # let _ = layer;
///
/// # fn show<B>(response: Response<B>) {
/// let error = response.extensions().get::<StepUpError>();
/// if error.is_some_and(StepUpError::is_handed_back) {
///     let challenges = www_authenticate::parse(response.headers());
///     let step_up = challenges.into_iter().find_map(StepUpChallenge::read);
///     println!("log in again, with {step_up:?}");
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rfc9470 {
    forbidden: bool,
    insufficient_scope: bool,
}

impl Rfc9470 {
    /// The dialect with the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether a 403 with `insufficient_user_authentication` is a demand, too. Defaults to `false`: RFC 9470 section 3 says 401,
    /// but there are servers that say 403.
    #[must_use]
    pub fn accept_forbidden(mut self, accept: bool) -> Self {
        self.forbidden = accept;
        self
    }

    /// Sets whether a 403 with `insufficient_scope` that names a `scope` is a demand, too (RFC 6750 section 3.1). The authorization
    /// specification of the Model Context Protocol builds on it.
    ///
    /// Defaults to `false`: it asks for more rights, not for a better login, and is most often meant as "no".
    #[must_use]
    pub fn accept_insufficient_scope(mut self, accept: bool) -> Self {
        self.insufficient_scope = accept;
        self
    }

    fn is_demand(&self, status: StatusCode, challenge: &StepUpChallenge) -> bool {
        if challenge.is_insufficient_scope() {
            return self.insufficient_scope && status == StatusCode::FORBIDDEN;
        }
        status == StatusCode::UNAUTHORIZED || (self.forbidden && status == StatusCode::FORBIDDEN)
    }
}

impl Dialect for Rfc9470 {
    fn name(&self) -> &'static str {
        "rfc9470"
    }

    fn detect(&self, response: ResponseHead<'_>) -> Detection {
        let status = response.status();
        if status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN {
            return Detection::Nothing;
        }
        let found = parse(response.headers())
            .into_iter()
            .filter_map(StepUpChallenge::read)
            .find(|challenge| self.is_demand(status, challenge));
        match found {
            Some(challenge) => Detection::Demand(challenge.into_demand()),
            None => Detection::Nothing,
        }
    }

    fn obstacle(&self, _demand: &Demand) -> Option<StepUpError> {
        Some(handed_back())
    }

    async fn resolve(&self, _demand: Demand, _context: Context) -> Result<Remedy, StepUpError> {
        Err(handed_back())
    }
}

fn handed_back() -> StepUpError {
    StepUpError::new(
        Kind::HandedBack,
        "a login of another strength, or more scope, was demanded, and this dialect has no way to such a token: get one as the response's `www-authenticate` says, and make the request again with it",
    )
}

/// What a step-up challenge demands: in the extensions of the [`Demand`]s of [`Rfc9470`].
///
/// All of it is what the server wrote: text of a stranger, to be shown with care and never to be followed without a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUpChallenge {
    challenge: Challenge,
    acr_values: Vec<String>,
    max_age: Option<Duration>,
    is_insufficient_scope: bool,
}

impl StepUpChallenge {
    /// Reads a challenge: one of the schemes `Bearer` and `DPoP` whose error is `insufficient_user_authentication`, or
    /// `insufficient_scope` with a `scope`. All others are none.
    #[must_use]
    pub fn read(challenge: Challenge) -> Option<Self> {
        if !challenge.is_scheme("Bearer") && !challenge.is_scheme("DPoP") {
            return None;
        }
        let is_insufficient_scope = match challenge.parameter("error")? {
            INSUFFICIENT_AUTHENTICATION => false,
            INSUFFICIENT_SCOPE => {
                present(&challenge, "scope")?;
                true
            }
            _ => return None,
        };
        let acr_values = present(&challenge, "acr_values").unwrap_or_default();
        Some(Self {
            acr_values: acr_values
                .split_ascii_whitespace()
                .map(str::to_owned)
                .collect(),
            max_age: present(&challenge, "max_age").and_then(seconds),
            is_insufficient_scope,
            challenge,
        })
    }

    /// The authentication context class references of which one suffices, the preferred one first; empty if it does not matter.
    #[must_use]
    pub fn acr_values(&self) -> &[String] {
        &self.acr_values
    }

    /// How long ago the last active login may be.
    ///
    /// A value that is not a whole number of seconds, or more than 136 years (32 bits), counts as absent. The demand stands
    /// even so.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// The scope that is needed, space separated.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        present(&self.challenge, "scope")
    }

    /// Where the server says that its metadata are (RFC 9728 section 5.1). Nothing has been fetched from there.
    #[must_use]
    pub fn resource_metadata(&self) -> Option<&str> {
        present(&self.challenge, "resource_metadata")
    }

    /// What the server says to developers.
    #[must_use]
    pub fn error_description(&self) -> Option<&str> {
        present(&self.challenge, "error_description")
    }

    /// Whether more scope is demanded (`insufficient_scope`), not a better login.
    #[must_use]
    pub fn is_insufficient_scope(&self) -> bool {
        self.is_insufficient_scope
    }

    /// The challenge it was read from, with parameters that this crate does not know.
    #[must_use]
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    fn into_demand(self) -> Demand {
        let mut requirement = Requirement::new().with_acr_values(&self.acr_values);
        if let Some(max_age) = self.max_age {
            requirement = requirement.with_max_age(max_age);
        }
        if let Some(scope) = self.scope() {
            requirement = requirement.with_scope(scope);
        }
        let mut demand = Demand::new().with_requirement(requirement);
        demand.extensions_mut().insert(self);
        demand
    }
}

/// A parameter that is not empty.
fn present<'a>(challenge: &'a Challenge, name: &str) -> Option<&'a str> {
    challenge.parameter(name).filter(|value| !value.is_empty())
}

fn seconds(text: &str) -> Option<Duration> {
    // `parse` alone would take a sign
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u32 = text.parse().ok().filter(|_| is_number)?;
    Some(Duration::from_secs(seconds.into()))
}
