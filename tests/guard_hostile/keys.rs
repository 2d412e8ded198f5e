//! Key pairs made when the test runs: one for each algorithm.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tower_mfa::guard::Algorithm;

pub(crate) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::EdDsa,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
];

/// A key pair, and what it is published as.
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    private: Private,
}

enum Private {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    pub(crate) fn generate(kid: &str, algorithm: Algorithm) -> Self {
        let private = match algorithm {
            Algorithm::EdDsa => Private::Ed25519(Ed25519KeyPair::generate().unwrap()),
            Algorithm::Es256 => {
                Private::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
            }
            Algorithm::Es384 => {
                Private::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
            }
            _ => Private::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        };
        Self {
            kid: kid.to_owned(),
            algorithm,
            private,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_as(self.algorithm, message)
    }

    /// Signs with another algorithm of the same kind of key.
    pub(crate) fn sign_as(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Private::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Private::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding: &dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
                    Algorithm::Ps256 => &RSA_PSS_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_SHA512,
                    Algorithm::Rs256 => &RSA_PKCS1_SHA256,
                    Algorithm::Rs384 => &RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_SHA512,
                    other => panic!("{} is not for RSA keys", other.name()),
                };
                pair.sign(encoding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
        }
    }

    /// An ECDSA signature as X.509 and TLS write it, which JWS does not.
    pub(crate) fn sign_in_der(&self, message: &[u8]) -> Vec<u8> {
        let Private::Ecdsa(pair) = &self.private else {
            panic!("only ECDSA has two forms");
        };
        let document = pair.to_pkcs8v1().unwrap();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref())
            .unwrap()
            .sign(&SystemRandom::new(), message)
            .unwrap()
            .as_ref()
            .to_vec()
    }

    /// The public key as `SubjectPublicKeyInfo`.
    pub(crate) fn der(&self) -> Vec<u8> {
        match &self.private {
            Private::Ecdsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Private::Ed25519(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Private::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        let encoded = BASE64_STANDARD.encode(self.der());
        let lines: Vec<&str> = encoded
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }

    /// The modulus, the point or the encoded point: what is left without any wrapping.
    pub(crate) fn bare(&self) -> Vec<u8> {
        match &self.private {
            Private::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Private::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Private::Rsa(pair) => {
                let modulus = pair.public_key().modulus();
                modulus.big_endian_without_leading_zero().to_vec()
            }
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let bare = self.bare();
        let mut jwk = match &self.private {
            Private::Ecdsa(_) => {
                // An uncompressed point: 0x04, x, y.
                let (x, y) = bare[1..].split_at(bare.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Private::Ed25519(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&bare)}),
            Private::Rsa(pair) => {
                let exponent = pair.public_key().exponent();
                let exponent = encode(exponent.big_endian_without_leading_zero());
                json!({"kty": "RSA", "n": encode(&bare), "e": exponent})
            }
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.algorithm.name().into();
        jwk["use"] = "sig".into();
        jwk
    }
}

/// All that an issuer, or somebody who would like to be one, signs with.
pub(crate) struct Keyring {
    pub(crate) keys: Vec<Key>,
}

impl Keyring {
    /// One key for each algorithm, and a second one for ES256.
    pub(crate) fn generate() -> Self {
        let mut keys: Vec<Key> = ALGORITHMS
            .into_iter()
            .map(|algorithm| Key::generate(&kid(algorithm), algorithm))
            .collect();
        keys.push(Key::generate("test-next", Algorithm::Es256));
        Self { keys }
    }

    pub(crate) fn key(&self, algorithm: Algorithm) -> &Key {
        self.named(&kid(algorithm))
    }

    pub(crate) fn named(&self, kid: &str) -> &Key {
        self.keys.iter().find(|key| key.kid == kid).unwrap()
    }

    pub(crate) fn jwks(&self) -> String {
        let keys: Vec<Value> = self.keys.iter().map(Key::jwk).collect();
        json!({ "keys": keys }).to_string()
    }
}

fn kid(algorithm: Algorithm) -> String {
    format!("test-{}", algorithm.name())
}
