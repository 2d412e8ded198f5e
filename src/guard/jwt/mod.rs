//! [`parse`]: reads a token strictly, before any signature is checked and any key is looked up.

mod claims;
mod header;
mod strict;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

pub(super) use strict::member;

use super::algorithm::Algorithm;
use super::reason::Reason;
use super::token::Claims;

/// Which kind of token is taken, told by its `typ`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenType {
    /// Only tokens that say they are access tokens: `at+jwt` (RFC 9068 section 4).
    #[default]
    AccessToken,
    /// Also tokens that say `JWT` or nothing: for issuers that do not follow RFC 9068.
    ///
    /// Tokens that say anything else are refused, and so are those with the claims of other kinds: `nonce`, `at_hash` and
    /// `c_hash` (ID tokens), `events` (logout and security event tokens), `htm` and `htu` (DPoP proofs). An ID token with
    /// none of these looks like an access token: name an audience that is no client's id.
    Jwt,
}

/// What is demanded of every token, whatever it is used for.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) max_token_bytes: usize,
    pub(crate) token_type: TokenType,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) issuer: String,
    /// One of these has to be in `aud`.
    pub(crate) audiences: Vec<String>,
}

impl Rules {
    pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

    pub(crate) fn new(issuer: String, audience: String) -> Self {
        Self {
            max_token_bytes: Self::MAX_TOKEN_BYTES,
            token_type: TokenType::default(),
            algorithms: Algorithm::ALL.to_vec(),
            issuer,
            audiences: vec![audience],
        }
    }
}

/// A token taken apart: well formed, its signature not yet checked.
pub(crate) struct Unverified<'t> {
    /// Header and claims as they were sent: what is signed.
    pub(crate) signed: &'t [u8],
    pub(crate) signature: Vec<u8>,
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) claims: Claims,
}

/// Takes a compact JWS (RFC 7515 section 7.1) apart and holds it against the rules; anything that can be read in two ways is
/// refused.
///
/// What is left are the signature and the times: see [`Claims::check_times`].
pub(crate) fn parse<'t>(token: &'t str, rules: &Rules) -> Result<Unverified<'t>, Reason> {
    // The order is by cost: a megabyte is refused by its length alone.
    if token.len() > rules.max_token_bytes {
        return Err(Reason::MalformedToken);
    }
    let Parts {
        signed,
        header,
        claims,
        signature,
    } = Parts::split(token).ok_or(Reason::MalformedToken)?;
    let header = header::read(&json(header)?, rules)?;
    let claims = claims::read(json(claims)?, rules.token_type)?;
    check_binding(&claims, rules)?;
    Ok(Unverified {
        signed: signed.as_bytes(),
        signature: bytes(signature)?,
        algorithm: header.algorithm,
        kid: header.kid,
        claims,
    })
}

/// Whether the token is from this issuer, for this audience, and may be used by whoever has it.
fn check_binding(claims: &Claims, rules: &Rules) -> Result<(), Reason> {
    if claims.issuer != rules.issuer {
        return Err(Reason::WrongIssuer);
    }
    let ours = |audience: &String| rules.audiences.contains(audience);
    if !claims.audience.as_slice().iter().any(ours) {
        return Err(Reason::WrongAudience);
    }
    if claims.bound {
        return Err(Reason::Bound);
    }
    Ok(())
}

struct Parts<'t> {
    signed: &'t str,
    header: &'t str,
    claims: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn split(token: &'t str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        // More dots would be in the claims.
        let whole = ![header, claims, signature].contains(&"") && !claims.contains('.');
        whole.then_some(Self {
            signed,
            header,
            claims,
            signature,
        })
    }
}

/// Base64url as RFC 7515 wants it: no padding, and no bits left over that another spelling could set.
fn bytes(part: &str) -> Result<Vec<u8>, Reason> {
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(part);
    decoded.map_err(|_| Reason::MalformedToken)
}

fn json(part: &str) -> Result<String, Reason> {
    String::from_utf8(bytes(part)?).map_err(|_| Reason::MalformedToken)
}
