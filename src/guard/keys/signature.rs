//! The crypto backend: the only file of the guard that knows one.
//!
//! It is called directly, never by `jsonwebtoken::decode`, which asks for a process-wide choice and panics in a process that links
//! both. With both features aws-lc is taken, which is many times faster; `--cfg tower_mfa_rust_crypto` turns that round, so that
//! tests, which have both, can be run on either (`scripts/backends`).

use crate::error::ConfigError;

pub(super) use backend::{AVAILABLE, MAX_RSA_BITS, Prepared};

/// Fails if no backend is compiled in.
pub(super) fn check() -> Result<(), ConfigError> {
    if AVAILABLE {
        return Ok(());
    }
    Err(ConfigError::new(
        "no crypto backend is compiled in: enable feature `jwt-aws-lc-rs`, or `jwt-rust-crypto` where there is no C compiler",
    ))
}

#[cfg(all(
    feature = "jwt-aws-lc-rs",
    not(all(tower_mfa_rust_crypto, feature = "jwt-rust-crypto"))
))]
mod backend {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
        RsaParameters, RsaPublicKeyComponents,
    };

    use crate::guard::Algorithm;
    use crate::guard::keys::public_key::PublicKey;

    pub(in crate::guard::keys) const AVAILABLE: bool = true;
    pub(in crate::guard::keys) const MAX_RSA_BITS: usize = 8192;

    /// A key made ready for one algorithm: parsed once, not at every check.
    pub(in crate::guard::keys) struct Prepared(ParsedPublicKey);

    impl Prepared {
        /// Nothing if the key is for another algorithm, or is no point of its curve.
        pub(in crate::guard::keys) fn new(algorithm: Algorithm, key: &PublicKey) -> Option<Self> {
            let parsed = match (algorithm, key) {
                (Algorithm::Es256, PublicKey::P256(point)) => {
                    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                }
                (Algorithm::Es384, PublicKey::P384(point)) => {
                    ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                }
                (Algorithm::EdDsa, PublicKey::Ed25519(point)) => {
                    ParsedPublicKey::new(&ED25519, point)
                }
                (algorithm, PublicKey::Rsa { modulus, exponent }) => RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                }
                .to_parsed_public_key(rsa(algorithm)?),
                _ => return None,
            };
            parsed.ok().map(Self)
        }

        pub(in crate::guard::keys) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
            self.0.verify_sig(message, signature).is_ok()
        }
    }

    fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
        match algorithm {
            Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
            Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Es384 => None,
        }
    }
}

#[cfg(all(
    feature = "jwt-rust-crypto",
    any(tower_mfa_rust_crypto, not(feature = "jwt-aws-lc-rs"))
))]
mod backend {
    use jsonwebtoken::DecodingKey;
    use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;

    use crate::guard::Algorithm;
    use crate::guard::keys::public_key::PublicKey;

    pub(in crate::guard::keys) const AVAILABLE: bool = true;
    /// The `rsa` crate takes no longer ones.
    pub(in crate::guard::keys) const MAX_RSA_BITS: usize = 4096;

    /// A key for one algorithm. A verifier cannot be kept: jsonwebtoken's is not `Send`.
    pub(in crate::guard::keys) struct Prepared {
        algorithm: jsonwebtoken::Algorithm,
        key: DecodingKey,
    }

    impl Prepared {
        /// Nothing if the key is for another algorithm, or is no point of its curve.
        pub(in crate::guard::keys) fn new(algorithm: Algorithm, key: &PublicKey) -> Option<Self> {
            let algorithm = name(algorithm);
            let key = match key {
                PublicKey::Rsa { modulus, exponent } => {
                    DecodingKey::from_rsa_raw_components(modulus, exponent)
                }
                PublicKey::P256(point) | PublicKey::P384(point) => DecodingKey::from_ec_der(point),
                PublicKey::Ed25519(point) => DecodingKey::from_ed_der(point),
            };
            // parses the key, and throws it away
            (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).ok()?;
            Some(Self { algorithm, key })
        }

        pub(in crate::guard::keys) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
            (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key)
                .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
        }
    }

    const fn name(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm as Theirs;
        match algorithm {
            Algorithm::EdDsa => Theirs::EdDSA,
            Algorithm::Es256 => Theirs::ES256,
            Algorithm::Es384 => Theirs::ES384,
            Algorithm::Ps256 => Theirs::PS256,
            Algorithm::Ps384 => Theirs::PS384,
            Algorithm::Ps512 => Theirs::PS512,
            Algorithm::Rs256 => Theirs::RS256,
            Algorithm::Rs384 => Theirs::RS384,
            Algorithm::Rs512 => Theirs::RS512,
        }
    }
}

#[cfg(not(any(feature = "jwt-aws-lc-rs", feature = "jwt-rust-crypto")))]
mod backend {
    use crate::guard::Algorithm;
    use crate::guard::keys::public_key::PublicKey;

    pub(in crate::guard::keys) const AVAILABLE: bool = false;
    pub(in crate::guard::keys) const MAX_RSA_BITS: usize = 8192;

    /// There is none.
    pub(in crate::guard::keys) enum Prepared {}

    impl Prepared {
        pub(in crate::guard::keys) const fn new(_: Algorithm, _: &PublicKey) -> Option<Self> {
            None
        }

        pub(in crate::guard::keys) const fn verify(&self, _: &[u8], _: &[u8]) -> bool {
            match *self {}
        }
    }
}
