//! [`read`]: the JOSE header (RFC 7515 section 4).

use std::sync::Arc;

use serde::de::MapAccess;

use super::strict::{self, Budget, Limits, Members, Name, refused};
use super::{Rules, TokenType};
use crate::guard::algorithm::Algorithm;
use crate::guard::reason::Reason;

const LIMITS: Limits = Limits {
    depth: 8,
    members: 64,
};

const MAX_KID_BYTES: usize = 256;

/// What of the header is used: which key is meant, and the algorithm that this key has to be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<Arc<str>>,
}

pub(super) fn read(text: &str, rules: &Rules) -> Result<Header, Reason> {
    let mut found = Found::default();
    strict::object(text, LIMITS, &mut found).ok_or(Reason::MalformedToken)?;
    match found.alg.ok_or(Reason::MalformedToken)? {
        Some(algorithm) if rules.algorithms.contains(&algorithm) => {
            if !found.typ.is_taken_by(rules.token_type) {
                return Err(Reason::WrongType);
            }
            Ok(Header {
                algorithm,
                kid: found.kid,
            })
        }
        _ => Err(Reason::UnsupportedAlgorithm),
    }
}

#[derive(Default)]
struct Found {
    /// `Some(None)`: one that is not known.
    alg: Option<Option<Algorithm>>,
    typ: Typ,
    kid: Option<Arc<str>>,
}

impl<'de> Members<'de> for Found {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        budget: &mut Budget,
    ) -> Result<(), A::Error> {
        match name {
            "alg" => self.alg = Some(Algorithm::from_name(&map.next_value_seed(Name)?)),
            "typ" => self.typ = Typ::from(&*map.next_value_seed(Name)?),
            "kid" => self.kid = Some(kid(&map.next_value_seed(Name)?).ok_or_else(refused)?),
            // No extension is understood, so a critical one cannot be; and an empty `crit` is not allowed to be there
            // (RFC 7515 section 4.1.11). `b64` works only by `crit` (RFC 7797 section 6).
            "crit" | "b64" => return Err(refused()),
            // A token does not bring the key that it is verified with.
            "jwk" | "jku" | "x5u" | "x5c" => return Err(refused()),
            // Of JWE.
            "enc" | "zip" => return Err(refused()),
            _ => budget.skip(map)?,
        }
        Ok(())
    }
}

/// A key id goes into lookups and logs: it is short and has no control characters.
fn kid(text: &str) -> Option<Arc<str>> {
    let fits = (1..=MAX_KID_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.into())
}

#[derive(Default)]
enum Typ {
    #[default]
    None,
    AccessToken,
    Jwt,
    Other,
}

impl From<&str> for Typ {
    /// Media types are compared without regard to case, and `application/` may be left out (RFC 7515 section 4.1.9).
    fn from(typ: &str) -> Self {
        const PREFIX: &str = "application/";
        let name = match typ.split_at_checked(PREFIX.len()) {
            Some((prefix, name)) if prefix.eq_ignore_ascii_case(PREFIX) => name,
            _ => typ,
        };
        if name.eq_ignore_ascii_case("at+jwt") {
            Self::AccessToken
        } else if name.eq_ignore_ascii_case("JWT") {
            Self::Jwt
        } else {
            Self::Other
        }
    }
}

impl Typ {
    const fn is_taken_by(&self, wanted: TokenType) -> bool {
        match (self, wanted) {
            (Self::AccessToken, _) | (Self::Jwt | Self::None, TokenType::Jwt) => true,
            (Self::Other, _) | (Self::Jwt | Self::None, TokenType::AccessToken) => false,
        }
    }
}
