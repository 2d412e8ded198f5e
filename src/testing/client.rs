//! [`Client`]: an application registered with the server, and how it proves who it is.

use std::{fmt, time::SystemTime};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};

use super::{answer::Refusal, assertion, request::Parameters, server::Shared, state::State};

/// An application registered with the server.
#[derive(Clone)]
pub struct Client {
    pub(super) id: String,
    pub(super) credentials: Credentials,
    pub(super) mfa_grants: bool,
}

#[derive(Clone)]
pub(super) enum Credentials {
    Public,
    Secret(String),
    PublicKey(Vec<u8>),
}

impl Client {
    /// A client without credentials, such as a command-line tool.
    #[must_use]
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id.into(), Credentials::Public)
    }

    /// A client with a secret, accepted in the body (`client_secret_post`) and, at the token endpoint, in the
    /// `authorization` header (`client_secret_basic`).
    #[must_use]
    pub fn confidential(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::new(id.into(), Credentials::Secret(secret.into()))
    }

    /// A client that signs assertions (`private_key_jwt`); the public key is PEM, RSA or P-256.
    ///
    /// [`ClientKey`](super::ClientKey) makes such a key for a test. A key that cannot be read refuses every assertion.
    #[must_use]
    pub fn private_key_jwt(id: impl Into<String>, public_key_pem: impl Into<Vec<u8>>) -> Self {
        Self::new(id.into(), Credentials::PublicKey(public_key_pem.into()))
    }

    /// Takes the multi-factor grants away: using one is answered with 403 `unauthorized_client`. Allowed by default.
    #[must_use]
    pub fn without_mfa_grants(mut self) -> Self {
        self.mfa_grants = false;
        self
    }

    const fn new(id: String, credentials: Credentials) -> Self {
        Self {
            id,
            credentials,
            mfa_grants: true,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = match self.credentials {
            Credentials::Public => "none",
            Credentials::Secret(_) => "client_secret",
            Credentials::PublicKey(_) => "private_key_jwt",
        };
        let mut client = f.debug_struct("Client");
        client
            .field("id", &self.id)
            .field("credentials", &credentials)
            .field("mfa_grants", &self.mfa_grants)
            .finish()
    }
}

/// Finds the client of a request and checks its credentials.
///
/// `basic` holds the headers where the `authorization` header may carry them: at the token endpoint only.
pub(super) fn authenticate<'a>(
    shared: &'a Shared,
    state: &mut State,
    parameters: &Parameters,
    basic: Option<&HeaderMap>,
    now: SystemTime,
) -> Result<&'a Client, Refusal> {
    let basic = basic
        .and_then(|headers| headers.get(AUTHORIZATION))
        .map(|value| decode_basic(value.as_bytes()));
    let assertion = parameters.text("client_assertion");
    let posted = parameters.text("client_secret");
    if (basic.is_some() as u8) + (assertion.is_some() as u8) + (posted.is_some() as u8) > 1 {
        return Err(Refusal::new(
            400,
            "invalid_request",
            "More than one client authentication method",
        ));
    }

    let (id, secret) = match basic {
        Some(Some((id, secret))) => (Some(id), Some(secret)),
        Some(None) => return Err(refused()),
        None => (
            parameters.text("client_id").map(str::to_owned),
            posted.map(str::to_owned),
        ),
    };
    let id = id.or_else(|| assertion.and_then(assertion::subject));
    let Some(id) = id else {
        return Err(Refusal::missing("client_id"));
    };
    if parameters
        .text("client_id")
        .is_some_and(|named| named != id)
    {
        return Err(refused());
    }
    let client = shared
        .clients
        .iter()
        .find(|client| client.id == id)
        .ok_or_else(refused)?;
    let proved = match (&client.credentials, secret, assertion) {
        (Credentials::Public, _, _) => true,
        (Credentials::Secret(expected), Some(secret), _) => *expected == secret,
        (Credentials::PublicKey(pem), None, Some(assertion)) => {
            parameters.text("client_assertion_type") == Some(assertion::TYPE)
                && assertion::verify(state, assertion, pem, &id, now)
        }
        (Credentials::Secret(_) | Credentials::PublicKey(_), _, _) => false,
    };
    if proved { Ok(client) } else { Err(refused()) }
}

fn refused() -> Refusal {
    Refusal::new(401, "invalid_client", "Client authentication failed")
}

/// RFC 6749 section 2.3.1: both halves are form-encoded before they are joined.
fn decode_basic(value: &[u8]) -> Option<(String, String)> {
    let value = std::str::from_utf8(value).ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    // Clients that skip the encoding send `&` and `=` bare; with those encoded the whole text parses as one name.
    let text = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(text.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}
