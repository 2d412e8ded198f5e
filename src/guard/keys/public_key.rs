//! [`PublicKey`]: a public key whose form was checked.

use crate::guard::Algorithm;

use super::signature::MAX_RSA_BITS;

/// RFC 7518 section 3.3.
const MIN_RSA_BITS: usize = 2048;

/// What the crypto libraries take at most; one that is longer would only make checks slow.
const MAX_EXPONENT_BITS: usize = 33;

/// A public key of a kind that tokens are signed with. Two are equal if they verify the same signatures.
#[derive(PartialEq, Eq)]
pub(super) enum PublicKey {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    /// An uncompressed point.
    P384(Vec<u8>),
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// From big-endian numbers. Leading zeros are dropped: RFC 7518 section 2 forbids them, and some servers send one all the same.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        let (modulus, exponent) = (trim(modulus), trim(exponent));
        let bits = bits(modulus);
        if bits < MIN_RSA_BITS {
            return Err("its RSA modulus is shorter than 2048 bits");
        }
        if bits > MAX_RSA_BITS {
            return Err("its RSA modulus is longer than the crypto backend takes");
        }
        if !is_odd(modulus) {
            return Err("its RSA modulus is even");
        }
        if exponent < [3].as_slice() && exponent.len() < 2 || !is_odd(exponent) {
            return Err("its RSA exponent is even or less than 3");
        }
        if self::bits(exponent) > MAX_EXPONENT_BITS {
            return Err("its RSA exponent is longer than 33 bits");
        }
        Ok(Self::Rsa {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// From an uncompressed point of P-256.
    pub(super) fn p256(point: &[u8]) -> Result<Self, &'static str> {
        uncompressed(point, 32).map(Self::P256)
    }

    /// From an uncompressed point of P-384.
    pub(super) fn p384(point: &[u8]) -> Result<Self, &'static str> {
        uncompressed(point, 48).map(Self::P384)
    }

    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, &'static str> {
        bytes
            .try_into()
            .map(Self::Ed25519)
            .map_err(|_| "its Ed25519 point is not 32 bytes long")
    }

    /// What a key of this kind can be used with, if it does not say more.
    pub(super) const fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::Rsa { .. } => &[
                Algorithm::Rs256,
                Algorithm::Rs384,
                Algorithm::Rs512,
                Algorithm::Ps256,
                Algorithm::Ps384,
                Algorithm::Ps512,
            ],
            Self::P256(_) => &[Algorithm::Es256],
            Self::P384(_) => &[Algorithm::Es384],
            Self::Ed25519(_) => &[Algorithm::EdDsa],
        }
    }
}

fn uncompressed(point: &[u8], coordinate: usize) -> Result<Vec<u8>, &'static str> {
    if point.len() != 1 + 2 * coordinate || point[0] != 4 {
        return Err("its point has the wrong length, or is compressed");
    }
    Ok(point.to_vec())
}

fn trim(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// The length of a number without leading zeros.
fn bits(number: &[u8]) -> usize {
    number
        .first()
        .map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1)
}
