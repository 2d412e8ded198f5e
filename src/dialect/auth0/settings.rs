//! [`Auth0`]: what the user sets, and the dialect it is.

use std::fmt;

use http::{Method, Uri};

use crate::challenge::Factor;
use crate::demand::Demand;
use crate::dialect::auth0::{ClientAuth, flow, wire};
use crate::dialect::{Context, Detection, Dialect, Remedy, ResponseHead};
use crate::error::{ConfigError, StepUpError};
use crate::origin::{Origin, secure_url};
use crate::transport::Transport;

/// The order in which factors are taken. A one-time password costs nobody anything and works offline; an approval is next
/// to no effort; a message costs money and waits for a network; a recovery code is used up.
const PREFERENCE: [Factor; 6] = [
    Factor::Otp,
    Factor::Push,
    Factor::Sms,
    Factor::Email,
    Factor::Voice,
    Factor::RecoveryCode,
];

/// Auth0's MFA API, and everything that speaks it.
///
/// A demand is a JSON object whose `error` or `code` is `mfa_required`. Its `mfa_token` is challenged at
/// `POST /mfa/challenge` and exchanged at `POST /oauth/token` with one of the MFA grants.
///
/// A request to the token endpoint itself may be refused too: a login by password, a refresh. Then the answer of the MFA grant is the
/// answer to it, as it came, and nothing is sent again. Such a client is wrapped like any other; its URIs name the host.
///
/// ```
/// use tower_mfa::{Auth0, Factor, dialect::ClientAuth};
///
/// # fn main() -> Result<(), tower_mfa::ConfigError> {
/// let auth0 = Auth0::new("https://tenant.example.com/", "example-client")?
///     .client_auth(ClientAuth::secret_post("test-secret"))
///     .prefer([Factor::Push]);
/// # let _ = auth0;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Auth0 {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) client_auth: ClientAuth,
    pub(super) transport: Transport,
    pub(super) challenge_endpoint: Uri,
    pub(super) token_endpoint: Uri,
    pub(super) authenticators_endpoint: Uri,
    pub(super) preference: Vec<Factor>,
    pub(super) challenge_otp: bool,
    pub(super) form_challenge: bool,
    pub(super) audience: Option<String>,
    pub(super) scope: Option<String>,
}

impl Auth0 {
    /// The dialect for a tenant, by its issuer URL (`https://YOUR_DOMAIN/`), and the client the refused token was issued to: an
    /// `mfa_token` works for that client only.
    ///
    /// # Errors
    ///
    /// If the issuer is not an https URL. Plain http is accepted for loopback addresses, for tests.
    pub fn new(issuer: &str, client_id: impl Into<String>) -> Result<Self, ConfigError> {
        let issuer = format!("{}/", issuer.trim().trim_end_matches('/'));
        let below = |path: &str| endpoint(&format!("{issuer}{path}"));
        Ok(Self {
            challenge_endpoint: below("mfa/challenge")?,
            token_endpoint: below("oauth/token")?,
            authenticators_endpoint: below("mfa/authenticators")?,
            issuer,
            client_id: client_id.into(),
            client_auth: ClientAuth::none(),
            transport: Transport::default(),
            preference: PREFERENCE.to_vec(),
            challenge_otp: true,
            form_challenge: false,
            audience: None,
            scope: None,
        })
    }

    /// Sets how the client authenticates. Defaults to [`ClientAuth::none`]: a public client.
    #[must_use]
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// Sets the way to the authorization server. Defaults to [`Transport::default`]: https with feature `client`.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets the order in which factors are taken when there is a choice; factors that are not named come after these, in the
    /// default order.
    ///
    /// Defaults to otp, push, sms, email, voice, recovery-code: from what costs nobody anything to what is used up.
    #[must_use]
    pub fn prefer<const N: usize>(mut self, factors: [Factor; N]) -> Self {
        self.preference = Vec::with_capacity(PREFERENCE.len());
        for factor in factors.into_iter().chain(PREFERENCE) {
            if !self.preference.contains(&factor) {
                self.preference.push(factor);
            }
        }
        self
    }

    /// Sets whether `POST /mfa/challenge` is called before a one-time password is asked for.
    ///
    /// Defaults to `true`, which is what the vendor documents. The vendor also says that the call can be skipped for one-time
    /// passwords; `false` does, which saves a round trip.
    #[must_use]
    pub fn challenge_otp(mut self, call: bool) -> Self {
        self.challenge_otp = call;
        self
    }

    /// Sets whether `POST /mfa/challenge` is sent as a form. Defaults to `false`: JSON, as in the vendor's reference.
    #[must_use]
    pub fn form_challenge(mut self, form: bool) -> Self {
        self.form_challenge = form;
        self
    }

    /// Sends an `audience` with the exchange. Defaults to none: the `mfa_token` knows it.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sends a `scope`, space separated, with the exchange. Defaults to none: the `mfa_token` knows it.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Sets the challenge endpoint. Defaults to `mfa/challenge` below the issuer.
    ///
    /// # Errors
    ///
    /// If it is not an https URL, or http on a loopback address.
    pub fn challenge_endpoint(mut self, url: &str) -> Result<Self, ConfigError> {
        self.challenge_endpoint = endpoint(url)?;
        Ok(self)
    }

    /// Sets the token endpoint. Defaults to `oauth/token` below the issuer.
    ///
    /// # Errors
    ///
    /// If it is not an https URL, or http on a loopback address.
    pub fn token_endpoint(mut self, url: &str) -> Result<Self, ConfigError> {
        self.token_endpoint = endpoint(url)?;
        Ok(self)
    }

    /// Sets the endpoint that lists authenticators. Defaults to `mfa/authenticators` below the issuer.
    ///
    /// # Errors
    ///
    /// If it is not an https URL, or http on a loopback address.
    pub fn authenticators_endpoint(mut self, url: &str) -> Result<Self, ConfigError> {
        self.authenticators_endpoint = endpoint(url)?;
        Ok(self)
    }
}

impl Dialect for Auth0 {
    fn name(&self) -> &'static str {
        "auth0"
    }

    fn detect(&self, _response: ResponseHead<'_>) -> Detection {
        Detection::Body
    }

    fn detect_body(&self, _response: ResponseHead<'_>, body: &[u8]) -> Option<Demand> {
        wire::demand(body)
    }

    fn anticipate(&self) {
        self.transport.open_ahead(&self.token_endpoint);
    }

    fn is_token_request(&self, method: &Method, uri: &Uri) -> bool {
        let endpoint = &self.token_endpoint;
        method == Method::POST
            && uri.path() == endpoint.path()
            && Origin::of(endpoint).is_some_and(|origin| origin.is_of(uri))
    }

    async fn resolve(&self, demand: Demand, context: Context) -> Result<Remedy, StepUpError> {
        flow::resolve(self, demand, context).await
    }
}

impl fmt::Debug for Auth0 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth0")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .field("client_auth", &self.client_auth)
            .field("preference", &self.preference)
            .finish_non_exhaustive()
    }
}

/// A URL that codes and tokens may be sent to.
fn endpoint(url: &str) -> Result<Uri, ConfigError> {
    secure_url(url).map_err(|why| {
        ConfigError::new(format!(
            "`{}` cannot be an endpoint of an authorization server: {why}",
            url.escape_debug()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_below_the_issuer_with_and_without_a_slash() {
        for issuer in ["https://tenant.example.com", "https://tenant.example.com/"] {
            let auth0 = Auth0::new(issuer, "example-client").unwrap();
            assert_eq!(auth0.issuer, "https://tenant.example.com/");
            assert_eq!(
                auth0.token_endpoint,
                "https://tenant.example.com/oauth/token"
            );
            assert_eq!(
                auth0.challenge_endpoint,
                "https://tenant.example.com/mfa/challenge"
            );
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        assert!(Auth0::new("http://127.0.0.1:8080/", "example-client").is_ok());
        assert!(Auth0::new("http://[::1]:8080/", "example-client").is_ok());
        for bad in [
            "http://tenant.example.com/",
            "ftp://x/",
            "tenant.example.com",
            "",
            "https://user@example.com/",
        ] {
            let error = Auth0::new(bad, "example-client").unwrap_err();
            assert!(
                error.to_string().contains("authorization server"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_preference_keeps_the_other_factors_behind_it() {
        let auth0 = Auth0::new("https://tenant.example.com/", "example-client")
            .unwrap()
            .prefer([Factor::Sms, Factor::Push]);
        assert_eq!(
            auth0.preference,
            [
                Factor::Sms,
                Factor::Push,
                Factor::Otp,
                Factor::Email,
                Factor::Voice,
                Factor::RecoveryCode
            ]
        );
    }
}
