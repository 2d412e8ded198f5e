//! [`ClientAuth`]: how the client proves to the authorization server that it is the one.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::dialect::auth0::call::Parameters;
use crate::error::{BoxError, Kind, StepUpError};
use crate::token::Secret;

/// How the client authenticates to the authorization server (RFC 6749 section 2.3, RFC 7523).
#[derive(Clone)]
pub struct ClientAuth {
    method: Method,
}

#[derive(Clone)]
enum Method {
    None,
    SecretPost(Secret),
    SecretBasic(Secret),
    Assertion(Arc<Sign>),
    #[cfg(feature = "client")]
    PrivateKey(Arc<signer::Signer>),
}

type Sign = dyn Fn(&AssertionClaims) -> Result<Secret, BoxError> + Send + Sync;

/// What a client assertion has to say, before it is signed (RFC 7523 section 3).
#[derive(Clone, Debug)]
pub struct AssertionClaims {
    client_id: String,
    audience: String,
    issued_at: u64,
}

/// How long a client assertion is good for: it is used at once, and Auth0 accepts no more than five minutes.
const ASSERTION_LIFE_SECONDS: u64 = 60;

impl AssertionClaims {
    /// `iss` and `sub`.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// `aud`: the issuer.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// `iat`, in seconds since 1970.
    #[must_use]
    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// `exp`, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.issued_at + ASSERTION_LIFE_SECONDS
    }
}

impl ClientAuth {
    /// None: a public client, such as an app on somebody's device.
    #[must_use]
    pub fn none() -> Self {
        Self {
            method: Method::None,
        }
    }

    /// `client_secret_post`: the secret is a parameter of the call.
    #[must_use]
    pub fn secret_post(secret: impl Into<Secret>) -> Self {
        Self {
            method: Method::SecretPost(secret.into()),
        }
    }

    /// `client_secret_basic`: the secret is in the `authorization` header of token calls.
    ///
    /// No source says that `/mfa/challenge` accepts this header, so there the secret is a parameter.
    #[must_use]
    pub fn secret_basic(secret: impl Into<Secret>) -> Self {
        Self {
            method: Method::SecretBasic(secret.into()),
        }
    }

    /// `private_key_jwt`, signed elsewhere: a key store, a hardware module. The function gets the claims, to which it adds a
    /// unique `jti`, and gives the compact JWT; it must not block for long.
    #[must_use]
    pub fn assertion(
        sign: impl Fn(&AssertionClaims) -> Result<Secret, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            method: Method::Assertion(Arc::new(sign)),
        }
    }

    /// `private_key_jwt` with a key from PEM: RS256 for an RSA key, ES256 for a P-256 key (PKCS #8).
    ///
    /// # Errors
    ///
    /// If it is no such key.
    #[cfg(feature = "client")]
    #[cfg_attr(docsrs, doc(cfg(feature = "client")))]
    pub fn private_key_jwt(
        pem: &[u8],
        key_id: Option<&str>,
    ) -> Result<Self, crate::error::ConfigError> {
        let signer = signer::Signer::from_pem(pem, key_id)?;
        Ok(Self {
            method: Method::PrivateKey(Arc::new(signer)),
        })
    }

    /// Adds the proof to a call. `basic` says whether the endpoint takes an `authorization` header.
    pub(super) fn apply(
        &self,
        client_id: &str,
        issuer: &str,
        issued_at: u64,
        basic: bool,
        parameters: &mut Parameters,
    ) -> Result<Option<HeaderValue>, StepUpError> {
        match &self.method {
            Method::None => {}
            Method::SecretBasic(secret) if basic => {
                parameters.hide(secret.clone());
                return basic_header(client_id, secret, parameters).map(Some);
            }
            Method::SecretPost(secret) | Method::SecretBasic(secret) => {
                parameters.push("client_secret", secret.clone());
            }
            signed => {
                let claims = AssertionClaims {
                    client_id: client_id.to_owned(),
                    audience: issuer.to_owned(),
                    issued_at,
                };
                let assertion = signed.sign(&claims).map_err(|source| {
                    StepUpError::with_source(
                        Kind::Configuration,
                        "the client assertion could not be signed; its error is the source of this one",
                        source,
                    )
                })?;
                parameters.push("client_assertion", assertion);
                parameters.push(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                );
            }
        }
        Ok(None)
    }
}

impl Method {
    fn sign(&self, claims: &AssertionClaims) -> Result<Secret, BoxError> {
        match self {
            Self::Assertion(sign) => sign(claims),
            #[cfg(feature = "client")]
            Self::PrivateKey(signer) => signer.sign(claims),
            Self::None | Self::SecretPost(_) | Self::SecretBasic(_) => {
                Err("this client authenticates without an assertion".into())
            }
        }
    }
}

/// RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
fn basic_header(
    client_id: &str,
    secret: &Secret,
    parameters: &mut Parameters,
) -> Result<HeaderValue, StepUpError> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let joined = Secret::new(format!("{}:{}", encode(client_id), encode(secret.expose())));
    let encoded = Secret::new(STANDARD.encode(joined.expose()));
    let value = Secret::new(format!("Basic {}", encoded.expose()));
    for form in [encoded, Secret::new(encode(secret.expose()))] {
        parameters.hide(form);
    }
    let mut header = HeaderValue::try_from(value.expose())
        .map_err(|_| StepUpError::new(Kind::Configuration, "the client secret fits no header"))?;
    header.set_sensitive(true);
    Ok(header)
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match &self.method {
            Method::None => "none",
            Method::SecretPost(_) => "client_secret_post",
            Method::SecretBasic(_) => "client_secret_basic",
            Method::Assertion(_) => "private_key_jwt (signed elsewhere)",
            #[cfg(feature = "client")]
            Method::PrivateKey(_) => "private_key_jwt",
        };
        f.debug_tuple("ClientAuth")
            .field(&format_args!("{method}"))
            .finish()
    }
}

#[cfg(feature = "client")]
mod signer {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};

    use super::AssertionClaims;
    use crate::error::{BoxError, ConfigError};
    use crate::token::Secret;
    use crate::unique::unique;

    pub(super) struct Signer {
        key: EncodingKey,
        header: Header,
    }

    impl Signer {
        pub(super) fn from_pem(pem: &[u8], key_id: Option<&str>) -> Result<Self, ConfigError> {
            let rsa = EncodingKey::from_rsa_pem(pem).map(|key| (key, Algorithm::RS256));
            let (key, algorithm) = rsa
                .or_else(|_| EncodingKey::from_ec_pem(pem).map(|key| (key, Algorithm::ES256)))
                .map_err(|error| {
                    ConfigError::with_source(
                        "the private key is neither an RSA nor a P-256 key in PEM",
                        error,
                    )
                })?;
            let mut header = Header::new(algorithm);
            header.kid = key_id.map(str::to_owned);
            let this = Self { key, header };
            // a key that cannot sign is found now, not when somebody waits
            this.sign_bytes(b"test").map_err(|error| {
                ConfigError::with_source(
                    "the private key cannot sign; RS256 needs 2048 bits or more, ES256 a P-256 key",
                    error,
                )
            })?;
            Ok(this)
        }

        pub(super) fn sign(&self, claims: &AssertionClaims) -> Result<Secret, BoxError> {
            let claims = serde_json::json!({
                "iss": claims.client_id,
                "sub": claims.client_id,
                "aud": claims.audience,
                "iat": claims.issued_at,
                "exp": claims.expires_at(),
                "jti": unique(),
            });
            let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&self.header)?);
            let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
            let message = format!("{header}.{claims}");
            let signature = self.sign_bytes(message.as_bytes())?;
            Ok(Secret::new(format!(
                "{message}.{}",
                URL_SAFE_NO_PAD.encode(signature)
            )))
        }

        /// By the provider's own signer: `jsonwebtoken::encode` takes a process-wide one and panics where a dependency has
        /// enabled two.
        fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
            let signer = (DEFAULT_PROVIDER.signer_factory)(&self.header.alg, &self.key)?;
            signer
                .try_sign(message)
                .map_err(|_| "signing failed".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(auth: &ClientAuth, basic: bool) -> (Parameters, Option<HeaderValue>) {
        let mut parameters = Parameters::default();
        let header = auth
            .apply(
                "example-client",
                "https://tenant.example.com/",
                1_000,
                basic,
                &mut parameters,
            )
            .unwrap();
        (parameters, header)
    }

    #[test]
    fn basic_is_form_encoded_sensitive_and_for_the_token_endpoint_only() {
        let auth = ClientAuth::secret_basic("test secret:%");
        let (parameters, header) = applied(&auth, true);
        let header = header.unwrap();
        assert!(header.is_sensitive());
        let decoded = STANDARD
            .decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap())
            .unwrap();
        assert_eq!(decoded, b"example-client:test+secret%3A%25");
        assert!(parameters.get("client_secret").is_none());

        let (parameters, header) = applied(&auth, false);
        assert!(header.is_none());
        assert_eq!(parameters.get("client_secret"), Some("test secret:%"));
    }

    #[test]
    fn an_assertion_signed_elsewhere_is_sent_with_its_type() {
        let auth = ClientAuth::assertion(|claims| {
            assert_eq!(claims.client_id(), "example-client");
            assert_eq!(claims.audience(), "https://tenant.example.com/");
            assert_eq!(claims.expires_at() - claims.issued_at(), 60);
            Ok("test-assertion".into())
        });
        let (parameters, _) = applied(&auth, true);
        assert_eq!(parameters.get("client_assertion"), Some("test-assertion"));
        assert!(
            parameters
                .get("client_assertion_type")
                .unwrap()
                .ends_with(":jwt-bearer")
        );
    }

    #[test]
    fn debug_never_shows_a_secret() {
        for auth in [
            ClientAuth::secret_post("test-secret"),
            ClientAuth::secret_basic("test-secret"),
        ] {
            assert!(!format!("{auth:?}").contains("test-secret"));
        }
    }

    #[cfg(feature = "client")]
    #[test]
    fn what_is_no_private_key_is_refused() {
        let error = ClientAuth::private_key_jwt(b"no key", None).unwrap_err();
        assert!(error.to_string().contains("private key"));
    }
}
