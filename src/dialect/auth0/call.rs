//! The three calls to the authorization server: list, challenge, exchange.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, Uri};

use crate::challenge::{Authenticator, BindingMethod};
use crate::code::Code;
use crate::dialect::Context;
use crate::dialect::auth0::Auth0;
use crate::dialect::auth0::answer::{Answer, Call, classify};
use crate::dialect::auth0::wire::{Enrolled, Object, enrolled};
use crate::error::{Kind, StepUpError};
use crate::token::{AccessToken, Secret, TokenSet};
use crate::transport::RequestBody;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// The parameters of a call. All are treated as secrets, since most are.
#[derive(Default)]
pub(super) struct Parameters {
    entries: Vec<(&'static str, Secret)>,
    /// What is sent in a header; kept here so that it is never shown either.
    in_headers: Vec<Secret>,
}

impl Parameters {
    pub(super) fn push(&mut self, name: &'static str, value: impl Into<Secret>) {
        self.entries.push((name, value.into()));
    }

    pub(super) fn hide(&mut self, secret: Secret) {
        self.in_headers.push(secret);
    }

    fn push_some(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.push(name, value);
        }
    }

    #[cfg(test)]
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|(other, _)| *other == name)?;
        Some(entry.1.expose())
    }

    fn exposed(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.entries
            .iter()
            .map(|(name, value)| (*name, value.expose()))
    }

    fn to_form(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.exposed())
            .finish()
    }

    fn to_json(&self) -> String {
        let members = self
            .exposed()
            .map(|(name, value)| (name.to_owned(), value.into()));
        serde_json::Value::Object(members.collect()).to_string()
    }

    /// A text of the server, fit to be shown: short, printable, and without anything that was sent to it.
    fn redact(&self, text: &str) -> String {
        let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
        let is_public = |name| {
            matches!(
                name,
                "client_id"
                    | "grant_type"
                    | "challenge_type"
                    | "audience"
                    | "scope"
                    | "client_assertion_type"
            )
        };
        let parameters = self.exposed().filter(|(name, _)| !is_public(*name));
        let mut secrets: Vec<&str> = parameters
            .map(|(_, value)| value)
            .chain(self.in_headers.iter().map(Secret::expose))
            .filter(|secret| secret.len() >= 4)
            .collect();
        // the longest first: a short one may be part of it, and would leave the rest to be shown
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in secrets {
            text = text.replace(secret, "[redacted]");
        }
        // cut last: of a secret that was cut nothing would be found
        text.chars().take(200).collect()
    }
}

/// What answers a challenge, and by which grant.
pub(super) enum Proof<'a> {
    Otp(&'a Code),
    Oob {
        oob_code: &'a Secret,
        binding_code: Option<&'a Code>,
    },
    RecoveryCode(&'a Code),
}

/// What the token endpoint granted.
pub(super) struct Granted {
    pub(super) tokens: TokenSet,
    /// The answer, as it came.
    pub(super) answer: Response<Bytes>,
}

/// What `/mfa/challenge` answered.
pub(super) enum Issued {
    /// A one-time password is expected.
    Otp,
    /// A message or an approval is under way.
    Oob {
        oob_code: Secret,
        binding_method: BindingMethod,
        /// The number to show, with [`BindingMethod::Transfer`].
        number: Option<String>,
        expires_in: Option<Duration>,
        interval: Option<Duration>,
    },
}

impl Auth0 {
    /// `GET /mfa/authenticators`: what the user has enrolled and can be challenged with.
    pub(super) async fn list(
        &self,
        handle: &Secret,
        context: &Context,
    ) -> Result<Enrolled, Answer> {
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", handle.expose())).map_err(|_| {
                Answer::Final(protocol(
                    "the `mfa_token` has bytes that no header can carry",
                ))
            })?;
        bearer.set_sensitive(true);
        let mut request = Request::new(RequestBody::default());
        *request.uri_mut() = self.authenticators_endpoint.clone();
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let mut parameters = Parameters::default();
        parameters.hide(handle.clone());
        let answer = self
            .send(Call::Authenticators, request, &parameters, context)
            .await?;
        enrolled(answer.body()).ok_or_else(|| {
            Answer::Final(protocol("the list of authenticators is not a JSON array"))
        })
    }

    /// `POST /mfa/challenge`.
    pub(super) async fn challenge(
        &self,
        handle: &Secret,
        challenge_type: &'static str,
        authenticator: Option<&Authenticator>,
        context: &Context,
    ) -> Result<Issued, Answer> {
        let mut parameters = Parameters::default();
        parameters.push("mfa_token", handle.clone());
        parameters.push("challenge_type", challenge_type);
        parameters.push_some("authenticator_id", authenticator.map(Authenticator::id));
        let request = self.request(
            &self.challenge_endpoint,
            self.form_challenge,
            false,
            &mut parameters,
            context,
        )?;
        let answer = self
            .send(Call::Challenge, request, &parameters, context)
            .await?;
        let object = Object::parse(answer.body()).ok_or_else(|| {
            Answer::Final(protocol("the answer to the challenge is not a JSON object"))
        })?;
        match (
            object.text("challenge_type").as_deref(),
            object.secret("oob_code"),
        ) {
            (Some("otp"), _) => Ok(Issued::Otp),
            (Some("oob") | None, Some(oob_code)) => Ok(Issued::Oob {
                oob_code,
                binding_method: match object.text("binding_method").as_deref() {
                    Some("prompt") => BindingMethod::Prompt,
                    Some("transfer") => BindingMethod::Transfer,
                    _ => BindingMethod::None,
                },
                number: object.text("binding_code"),
                expires_in: object.seconds("expires_in"),
                interval: object.seconds("interval"),
            }),
            _ => Err(Answer::Final(protocol(
                "the answer to the challenge names neither `otp` nor `oob` with an `oob_code`",
            ))),
        }
    }

    /// `POST /oauth/token` with an MFA grant.
    pub(super) async fn exchange(
        &self,
        handle: &Secret,
        proof: &Proof<'_>,
        context: &Context,
    ) -> Result<Granted, Answer> {
        let mut parameters = Parameters::default();
        parameters.push("grant_type", proof.grant_type());
        parameters.push("mfa_token", handle.clone());
        proof.push_to(&mut parameters);
        parameters.push_some("audience", self.audience.as_deref());
        parameters.push_some("scope", self.scope.as_deref());
        let request = self.request(&self.token_endpoint, true, true, &mut parameters, context)?;
        let answer = self
            .send(proof.call(), request, &parameters, context)
            .await?;
        let Some(tokens) = token_set(answer.body(), context) else {
            return Err(Answer::Final(protocol(
                "the token endpoint answered without an `access_token`",
            )));
        };
        Ok(Granted { tokens, answer })
    }

    /// A POST with the client's identity.
    fn request(
        &self,
        endpoint: &Uri,
        form: bool,
        basic: bool,
        parameters: &mut Parameters,
        context: &Context,
    ) -> Result<Request<RequestBody>, Answer> {
        let now = context
            .now()
            .duration_since(std::time::SystemTime::UNIX_EPOCH);
        parameters.push("client_id", self.client_id.as_str());
        let authorization = self
            .client_auth
            .apply(
                &self.client_id,
                &self.issuer,
                now.unwrap_or_default().as_secs(),
                basic,
                parameters,
            )
            .map_err(Answer::Final)?;
        let (content_type, body) = if form {
            (FORM, parameters.to_form())
        } else {
            (JSON, parameters.to_json())
        };
        let mut request = Request::new(RequestBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        Ok(request)
    }

    async fn send(
        &self,
        call: Call,
        mut request: Request<RequestBody>,
        parameters: &Parameters,
        context: &Context,
    ) -> Result<Response<Bytes>, Answer> {
        request.headers_mut().insert(ACCEPT, JSON);
        let answer = self.transport.send(request).await.map_err(|error| {
            if error.is_transport() {
                Answer::Fault(None, error)
            } else {
                Answer::Final(error)
            }
        })?;
        let redact = |text: &str| parameters.redact(text);
        match classify(
            call,
            answer.status(),
            answer.headers(),
            answer.body(),
            context.now(),
            &redact,
        ) {
            Some(trouble) => Err(trouble),
            None => Ok(answer),
        }
    }
}

impl Proof<'_> {
    fn grant_type(&self) -> &'static str {
        match self {
            Self::Otp(_) => "http://auth0.com/oauth/grant-type/mfa-otp",
            Self::Oob { .. } => "http://auth0.com/oauth/grant-type/mfa-oob",
            Self::RecoveryCode(_) => "http://auth0.com/oauth/grant-type/mfa-recovery-code",
        }
    }

    fn call(&self) -> Call {
        match self {
            Self::Otp(_) => Call::Otp,
            Self::Oob {
                binding_code: Some(_),
                ..
            } => Call::OobWithCode,
            Self::Oob {
                binding_code: None, ..
            } => Call::OobPoll,
            Self::RecoveryCode(_) => Call::RecoveryCode,
        }
    }

    fn push_to(&self, parameters: &mut Parameters) {
        match self {
            Self::Otp(code) => parameters.push("otp", code.expose()),
            Self::RecoveryCode(code) => parameters.push("recovery_code", code.expose()),
            Self::Oob {
                oob_code,
                binding_code,
            } => {
                parameters.push("oob_code", Secret::clone(oob_code));
                parameters.push_some("binding_code", binding_code.map(Code::expose));
            }
        }
    }
}

/// A success of the token endpoint (RFC 6749 section 5.1).
fn token_set(body: &[u8], context: &Context) -> Option<TokenSet> {
    let object = Object::parse(body)?;
    let expires_at = object
        .seconds("expires_in")
        .and_then(|life| context.now().checked_add(life));
    let mut tokens = TokenSet::new(AccessToken::new(object.secret("access_token")?, expires_at));
    if let Some(token) = object.secret("refresh_token") {
        tokens = tokens.with_refresh_token(token);
    }
    if let Some(token) = object.secret("id_token") {
        tokens = tokens.with_id_token(token);
    }
    if let Some(code) = object.secret("recovery_code") {
        tokens = tokens.with_recovery_code(code);
    }
    if let Some(scope) = object.text("scope") {
        tokens = tokens.with_scope(scope);
    }
    Some(tokens)
}

fn protocol(what: &str) -> StepUpError {
    StepUpError::new(
        Kind::Protocol,
        format!("{what}; check the endpoint's address"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_redacted_from_what_the_server_says() {
        let mut parameters = Parameters::default();
        parameters.push("otp", "123456");
        parameters.push("client_id", "example-client");
        assert_eq!(
            parameters.redact("bad\n code 123456 of example-client"),
            "bad code [redacted] of example-client"
        );
        assert_eq!(parameters.redact(&"x".repeat(1000)).len(), 200);
    }
}
