//! One public key in PEM (RFC 7468): `SubjectPublicKeyInfo`, or an RSA key of PKCS #1.
//!
//! A small reader of its own: it has to see the size of RSA keys and the curve of others, and to say what else a file is.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::public_key::PublicKey;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.101.112
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const MALFORMED: &str = "it is no well-formed PEM of a public key";

/// Reads the one key of a PEM text.
pub(super) fn read(pem: &[u8]) -> Result<PublicKey, &'static str> {
    let text = std::str::from_utf8(pem).map_err(|_| MALFORMED)?;
    let (_, after) = text.split_once("-----BEGIN ").ok_or(MALFORMED)?;
    let (label, after) = after.split_once("-----").ok_or(MALFORMED)?;
    let end = format!("-----END {label}-----");
    let (base64, after) = after.split_once(end.as_str()).ok_or(MALFORMED)?;
    if after.contains("-----BEGIN ") {
        return Err("it holds more than one key; publish them as a JWKS, which names them");
    }
    if label.ends_with("PRIVATE KEY") {
        return Err("it is a private key; the guard wants the public one only");
    }
    let base64: String = base64.split_ascii_whitespace().collect();
    let der = BASE64_STANDARD.decode(base64).map_err(|_| MALFORMED)?;
    match label {
        "PUBLIC KEY" => spki(&der),
        "RSA PUBLIC KEY" => pkcs1(&der),
        "CERTIFICATE" => {
            Err("it is a certificate; take its key out with `openssl x509 -pubkey -noout`")
        }
        _ => Err(MALFORMED),
    }
}

fn spki(der: &[u8]) -> Result<PublicKey, &'static str> {
    let (kind, parameters, key) = parts_of_spki(der).ok_or(MALFORMED)?;
    match (kind, parameters) {
        (RSA, None | Some((NULL, []))) => pkcs1(key),
        (EC, Some((OBJECT_IDENTIFIER, P256))) => PublicKey::p256(key),
        (EC, Some((OBJECT_IDENTIFIER, P384))) => PublicKey::p384(key),
        (EC, _) => Err("its curve is neither P-256 nor P-384"),
        (ED25519, None) => PublicKey::ed25519(key),
        _ => Err("it is neither an RSA, an EC nor an Ed25519 key"),
    }
}

type Element<'a> = (u8, &'a [u8]);

/// The algorithm, its parameters, and the key.
fn parts_of_spki(der: &[u8]) -> Option<(&[u8], Option<Element<'_>>, &[u8])> {
    let mut outer = Der(Der(der).whole(SEQUENCE)?);
    let mut algorithm = Der(outer.next_of(SEQUENCE)?);
    let kind = algorithm.next_of(OBJECT_IDENTIFIER)?;
    let parameters = match algorithm.0 {
        [] => None,
        _ => Some(algorithm.next()?),
    };
    // the first byte counts the bits that are not used, of which keys have none
    let key = outer.next_of(BIT_STRING)?.strip_prefix(&[0])?;
    (algorithm.0.is_empty() && outer.0.is_empty()).then_some((kind, parameters, key))
}

fn pkcs1(der: &[u8]) -> Result<PublicKey, &'static str> {
    let numbers = || {
        let mut key = Der(Der(der).whole(SEQUENCE)?);
        let numbers = (key.next_of(INTEGER)?, key.next_of(INTEGER)?);
        let positive = |number: &[u8]| number.first().is_some_and(|first| *first < 0x80);
        (key.0.is_empty() && positive(numbers.0) && positive(numbers.1)).then_some(numbers)
    };
    let (modulus, exponent) = numbers().ok_or(MALFORMED)?;
    PublicKey::rsa(modulus, exponent)
}

/// What is left to be read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and contents. Lengths beyond 64 KiB are of no key.
    fn next(&mut self) -> Option<Element<'a>> {
        let [tag, first, rest @ ..] = self.0 else {
            return None;
        };
        // the shortest form only, as DER demands
        let (length, rest) = match (*first, rest) {
            (0..=0x7f, rest) => (usize::from(*first), rest),
            (0x81, [length, rest @ ..]) if *length >= 0x80 => (usize::from(*length), rest),
            (0x82, [high, low, rest @ ..]) if *high > 0 => {
                (usize::from(*high) << 8 | usize::from(*low), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, contents))
    }

    fn next_of(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let (tag, contents) = self.next()?;
        (tag == wanted).then_some(contents)
    }

    /// The one element that is all there is.
    fn whole(mut self, wanted: u8) -> Option<&'a [u8]> {
        let contents = self.next_of(wanted)?;
        self.0.is_empty().then_some(contents)
    }
}
