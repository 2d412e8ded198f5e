//! Signing keys, made at first use and kept for the process, so that no key is stored anywhere.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto::aws_lc::DEFAULT_PROVIDER};
use serde_json::{Value, json};

/// The algorithm that tokens are signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signing {
    /// Ed25519. For tokens only: clients do not authenticate with it.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA (2048 bits) with SHA-256: the default, as with Auth0.
    #[default]
    Rs256,
}

impl Signing {
    /// The name of the process's own key.
    pub(super) const fn kid(self) -> &'static str {
        match self {
            Self::EdDsa => "test-eddsa",
            Self::Es256 => "test-es256",
            Self::Rs256 => "test-rs256",
        }
    }

    /// The `alg` value.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// A key pair for a client that authenticates with `private_key_jwt`; made anew each time.
#[derive(Clone)]
pub struct ClientKey {
    private_pem: String,
    public_pem: String,
}

impl ClientKey {
    /// Makes a key pair for this algorithm.
    #[must_use]
    pub fn generate(signing: Signing) -> Self {
        let material = Material::generate(signing);
        Self {
            private_pem: pem("PRIVATE KEY", &material.private),
            public_pem: pem("PUBLIC KEY", &material.public),
        }
    }

    /// The private key, PKCS #8 in PEM.
    #[must_use]
    pub fn private_pem(&self) -> &str {
        &self.private_pem
    }

    /// The public key, in PEM: what [`Client::private_key_jwt`](super::Client::private_key_jwt) takes.
    #[must_use]
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey").finish_non_exhaustive()
    }
}

/// A signing key of the server.
pub(super) struct Key {
    kid: String,
    algorithm: Algorithm,
    private: EncodingKey,
    public: DecodingKey,
    jwk: Value,
}

/// The key of this process for an algorithm.
pub(super) fn key(signing: Signing) -> Arc<Key> {
    static EDDSA: OnceLock<Arc<Key>> = OnceLock::new();
    static ES256: OnceLock<Arc<Key>> = OnceLock::new();
    static RS256: OnceLock<Arc<Key>> = OnceLock::new();
    let place = match signing {
        Signing::EdDsa => &EDDSA,
        Signing::Es256 => &ES256,
        Signing::Rs256 => &RS256,
    };
    place
        .get_or_init(|| Arc::new(Key::generate(signing, signing.kid().to_owned())))
        .clone()
}

impl Key {
    #[expect(
        clippy::expect_used,
        reason = "the PEM was written two lines above, from a key of the same library"
    )]
    pub(super) fn generate(signing: Signing, kid: String) -> Self {
        let material = Material::generate(signing);
        let private = pem("PRIVATE KEY", &material.private);
        let public = pem("PUBLIC KEY", &material.public);
        let (private, public) = (private.as_bytes(), public.as_bytes());
        let (algorithm, private, public) = match signing {
            Signing::EdDsa => (
                Algorithm::EdDSA,
                EncodingKey::from_ed_pem(private),
                DecodingKey::from_ed_pem(public),
            ),
            Signing::Es256 => (
                Algorithm::ES256,
                EncodingKey::from_ec_pem(private),
                DecodingKey::from_ec_pem(public),
            ),
            Signing::Rs256 => (
                Algorithm::RS256,
                EncodingKey::from_rsa_pem(private),
                DecodingKey::from_rsa_pem(public),
            ),
        };
        let mut jwk = material.jwk;
        jwk["kid"] = kid.as_str().into();
        Self {
            kid,
            algorithm,
            private: private.expect("a generated private key is well formed"),
            public: public.expect("a generated public key is well formed"),
            jwk,
        }
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) const fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// Signs a token of a type.
    pub(super) fn sign(&self, typ: &str, claims: &Value) -> String {
        self.sign_with(
            &json!({"typ": typ, "kid": self.kid, "alg": self.alg()}),
            claims,
        )
    }

    /// The `alg` value.
    pub(super) fn alg(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    /// Signs a token, whatever its header says.
    ///
    /// Goes to the crypto library directly: `jsonwebtoken::encode` asks for a process-wide choice of one, and panics
    /// in a process that links both.
    #[expect(
        clippy::expect_used,
        reason = "the key was generated for this algorithm"
    )]
    pub(super) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", segment(header), segment(claims));
        let signer = (DEFAULT_PROVIDER.signer_factory)(&self.algorithm, &self.private)
            .expect("the key fits");
        let signature = signer
            .try_sign(message.as_bytes())
            .expect("a well-formed key signs");
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    pub(super) fn verifies(&self, token: &Unverified<'_>) -> bool {
        token.algorithm() == Some(self.algorithm) && token.verifies(self.algorithm, &self.public)
    }
}

/// A token taken apart, its signature not yet checked.
pub(super) struct Unverified<'a> {
    pub(super) header: Value,
    pub(super) claims: Value,
    message: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let decode = |text| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        Some(Self {
            header: serde_json::from_slice(&decode(header)?).ok()?,
            claims: serde_json::from_slice(&decode(claims)?).ok()?,
            message: message.as_bytes(),
            signature: decode(signature)?,
        })
    }

    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.header["alg"].as_str()?.parse().ok()
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, key: &DecodingKey) -> bool {
        (DEFAULT_PROVIDER.verifier_factory)(&algorithm, key)
            .is_ok_and(|verifier| verifier.verify(self.message, &self.signature).is_ok())
    }
}

/// A key pair as it leaves the generator: PKCS #8, `SubjectPublicKeyInfo`, and the public half as a JWK.
struct Material {
    private: Vec<u8>,
    public: Vec<u8>,
    jwk: Value,
}

impl Material {
    #[expect(
        clippy::expect_used,
        reason = "fails only where the system has no randomness left to give"
    )]
    fn generate(signing: Signing) -> Self {
        match signing {
            Signing::EdDsa => {
                let pair = Ed25519KeyPair::generate().expect("Ed25519 key generation");
                let private: Pkcs8V1Der<'_> = pair.as_der().expect("Ed25519 key encoding");
                let public: PublicKeyX509Der<'_> =
                    pair.public_key().as_der().expect("Ed25519 key encoding");
                Self {
                    private: private.as_ref().to_vec(),
                    public: public.as_ref().to_vec(),
                    jwk: json!({
                        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                        "x": BASE64_URL_SAFE_NO_PAD.encode(pair.public_key()),
                    }),
                }
            }
            Signing::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                    .expect("P-256 key generation");
                let point = pair.public_key().as_ref();
                // An uncompressed point: 0x04, x, y.
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                Self {
                    private: pair
                        .to_pkcs8v1()
                        .expect("P-256 key encoding")
                        .as_ref()
                        .to_vec(),
                    public: pair
                        .public_key()
                        .as_der()
                        .expect("P-256 key encoding")
                        .as_ref()
                        .to_vec(),
                    jwk: json!({
                        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
                        "x": BASE64_URL_SAFE_NO_PAD.encode(x), "y": BASE64_URL_SAFE_NO_PAD.encode(y),
                    }),
                }
            }
            Signing::Rs256 => {
                let pair =
                    rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("RSA key generation");
                let public = pair.public_key();
                Self {
                    private: pair.as_der().expect("RSA key encoding").as_ref().to_vec(),
                    public: public.as_der().expect("RSA key encoding").as_ref().to_vec(),
                    jwk: json!({
                        "kty": "RSA", "use": "sig", "alg": "RS256",
                        "n": BASE64_URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
                        "e": BASE64_URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
                    }),
                }
            }
        }
    }
}

fn segment(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Random bytes.
#[expect(
    clippy::expect_used,
    reason = "fails only where the system has no randomness left to give"
)]
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("system randomness");
    bytes
}

/// Random digits: the code of a message.
pub(super) fn random_digits() -> String {
    format!("{:06}", u32::from_be_bytes(random()) % 1_000_000)
}

/// Random characters as recovery codes have them.
pub(super) fn random_code() -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    random::<24>()
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

/// A random opaque text.
pub(super) fn random_text() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random::<32>())
}

/// An opaque handle in the outer form of Auth0's: eight fields, the sixth the expiry in milliseconds.
pub(super) fn random_handle(expires_at: SystemTime) -> String {
    let hex = || {
        random::<32>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let millis = expires_at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let iv = BASE64_URL_SAFE_NO_PAD.encode(random::<16>());
    let sealed = BASE64_URL_SAFE_NO_PAD.encode(random::<64>());
    format!(
        "Fe26.2*TEST_1*{}*{iv}*{sealed}*{millis}*{}*{}",
        hex(),
        hex(),
        random_text()
    )
}

/// Seconds since the Unix epoch.
pub(super) fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}
