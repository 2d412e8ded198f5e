//! What the guard's benchmarks share: an issuer with a key of its own, and the service behind the guard.
#![allow(
    dead_code,
    reason = "each benchmark is a program of its own and takes a part of this"
)]

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKey as RsaPublicKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::json;
use tower::Service;
use tower_mfa::guard::{Keys, Verifier};
use tower_mfa::time::{Clock, SystemClock};

pub(crate) const ISSUER: &str = "https://tenant.example.com/";
pub(crate) const AUDIENCE: &str = "https://api.example.com/";
const KID: &str = "2026-01";
pub(crate) const MULTI_FACTOR: &str =
    "http://schemas.openid.net/pape/policies/2007/06/multi-factor";

/// Signs tokens, with a key that is made for the process.
pub(crate) struct Issuer {
    pub(crate) algorithm: Algorithm,
    private: EncodingKey,
    public_pem: String,
    /// Of RSA keys.
    jwks: Option<String>,
}

impl Issuer {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let (private, public) = match algorithm {
            Algorithm::RS256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
                let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key in PKCS #8");
                let (private, public) =
                    (pem("PRIVATE KEY", der.as_ref()), public(pair.public_key()));
                return Self {
                    jwks: Some(jwks(pair.public_key())),
                    ..Self::of(algorithm, &private, public)
                };
            }
            Algorithm::ES256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
                let der = pair.to_pkcs8v1().expect("a key in PKCS #8");
                (pem("PRIVATE KEY", der.as_ref()), public(pair.public_key()))
            }
            _ => ed25519(&Ed25519KeyPair::generate().expect("a key")),
        };
        Self::of(algorithm, &private, public)
    }

    /// One whose key is no secret, and the same each time: making one at random takes a random number of instructions.
    pub(crate) fn seeded() -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
        let (private, public) = ed25519(&pair);
        Self::of(Algorithm::EdDSA, &private, public)
    }

    fn of(algorithm: Algorithm, private: &str, public: String) -> Self {
        let read = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem,
            Algorithm::ES256 => EncodingKey::from_ec_pem,
            _ => EncodingKey::from_ed_pem,
        };
        Self {
            algorithm,
            private: read(private.as_bytes()).expect("a private key"),
            public_pem: public,
            jwks: None,
        }
    }

    /// The public key, for those who want it so.
    pub(crate) fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// The public key in a set, if it is one of RSA.
    pub(crate) fn jwks(&self) -> &str {
        self.jwks.as_deref().expect("an RSA key")
    }

    /// A token of some 1,000 bytes that ends in an hour, and says that its user has just logged in with two factors.
    pub(crate) fn token(&self, number: usize) -> String {
        self.token_with(number, AUDIENCE, 3600)
    }

    pub(crate) fn expired(&self) -> String {
        self.token_with(0, AUDIENCE, -3600)
    }

    pub(crate) fn for_another_audience(&self) -> String {
        self.token_with(0, "https://other.example.com/", 3600)
    }

    fn token_with(&self, number: usize, audience: &str, lasts: i64) -> String {
        let now = now();
        let header = Header {
            typ: Some("at+jwt".to_owned()),
            kid: Some(KID.to_owned()),
            ..Header::new(self.algorithm)
        };
        let claims = json!({
            "iss": ISSUER,
            "sub": format!("auth0|{number:024}"),
            "aud": [audience, "https://tenant.example.com/userinfo"],
            "azp": "tQ3mUuYzEXAMPLE0clientId00000000",
            "iat": now,
            "exp": now.checked_add_signed(lasts),
            "auth_time": now,
            "acr": MULTI_FACTOR,
            "amr": ["mfa", "pwd", "otp"],
            "jti": format!("{number:032x}"),
            "scope": "openid profile email read:transfers write:transfers",
            "permissions": ["read:transfers", "write:transfers"],
        });
        jsonwebtoken::encode(&header, &claims, &self.private).expect("a token")
    }

    /// As what verifies them without a guard takes it.
    pub(crate) fn decoding_key(&self) -> DecodingKey {
        let pem = self.public_pem.as_bytes();
        let key = match self.algorithm {
            Algorithm::RS256 => DecodingKey::from_rsa_pem(pem),
            Algorithm::ES256 => DecodingKey::from_ec_pem(pem),
            _ => DecodingKey::from_ed_pem(pem),
        };
        key.expect("a public key")
    }

    pub(crate) fn verifier(&self) -> Verifier {
        let keys = Keys::from_pem(self.public_pem.as_bytes()).expect("a public key");
        Verifier::new(ISSUER, AUDIENCE, keys).expect("a verifier")
    }
}

fn jwks(key: &RsaPublicKey) -> String {
    let number = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    json!({"keys": [{
        "kty": "RSA", "kid": KID, "alg": "RS256", "use": "sig",
        "n": number(key.modulus().big_endian_without_leading_zero()),
        "e": number(key.exponent().big_endian_without_leading_zero()),
    }]})
    .to_string()
}

fn ed25519(pair: &Ed25519KeyPair) -> (String, String) {
    let der = pair.to_pkcs8v1().expect("a key in PKCS #8");
    (pem("PRIVATE KEY", der.as_ref()), public(pair.public_key()))
}

fn public(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    let der = key.as_der().expect("a public key in DER");
    pem("PUBLIC KEY", der.as_ref())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn now() -> u64 {
    SystemClock::new()
        .now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a date after 1970")
        .as_secs()
}

/// The same token with a signature that is not its own.
pub(crate) fn forge(token: &str) -> String {
    let at = token.rfind('.').expect("a signature") + 1;
    let first = if token[at..].starts_with('A') {
        "B"
    } else {
        "A"
    };
    format!("{}{first}{}", &token[..at], &token[at + 1..])
}

/// A request with this token and five other headers.
pub(crate) fn request(token: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post("https://api.example.com/transfer?draft=false")
        .header("authorization", format!("Bearer {token}"));
    for name in [
        "accept",
        "content-type",
        "cookie",
        "traceparent",
        "x-tenant",
    ] {
        request = request.header(name, "a value of usual length");
    }
    request.body(Full::default()).expect("a request")
}

/// Takes the request apart, as every real service does, and answers 200.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer;

impl<B: Body> Service<Request<B>> for Answer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        drop(request);
        ready(Ok(Response::new(Full::from("{}"))))
    }
}

/// One request through a service that answers at once.
pub(crate) fn call<S, B>(service: &mut S, request: Request<B>) -> S::Response
where
    S: Service<Request<B>>,
    S::Error: Debug,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut context) else {
        panic!("this service answers at once");
    };
    response
}
