//! [`parse`]: reads a token strictly, before any signature is checked and any key is looked up.

mod claims;
mod header;
mod known_header;
mod strict;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

pub(super) use claims::At;
use header::Header;
pub(super) use known_header::KnownHeader;
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
    /// The header as it was sent, and what it says.
    pub(crate) encoded_header: &'t str,
    pub(crate) header: Header,
    pub(crate) claims: Claims,
}

/// Takes a compact JWS (RFC 7515 section 7.1) apart and holds it against the rules and the time; anything that can be read in two
/// ways is refused. What is left is the signature.
///
/// `known` goes with the rules: see [`KnownHeader`].
pub(crate) fn parse<'t>(
    token: &'t str,
    rules: &Rules,
    known: &KnownHeader,
    at: At,
) -> Result<Unverified<'t>, Reason> {
    // The order is by cost: a megabyte is refused by its length alone.
    if token.len() > rules.max_token_bytes {
        return Err(Reason::MalformedToken);
    }
    let Parts {
        signed,
        header: encoded_header,
        claims,
        signature,
    } = Parts::split(token).ok_or(Reason::MalformedToken)?;
    let header = known.read(encoded_header, rules)?;
    let json = json(claims)?;
    let claims = claims::read(&json, rules.token_type)?;
    claims.check_binding(rules)?;
    claims.check_times(at)?;
    let claims = claims.into_claims();
    Ok(Unverified {
        signed: signed.as_bytes(),
        signature: bytes(signature)?,
        encoded_header,
        header,
        claims: Claims { json, ..claims },
    })
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
        // More dots would be in the claims, and no base64url.
        let whole = ![header, claims, signature].contains(&"");
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
