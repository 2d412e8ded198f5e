//! [`read`]: the claims of an access token (RFC 7519, RFC 9068, RFC 9470).

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::TokenType;
use super::strict::{self, Budget, Limits, Members, refused};
use crate::guard::reason::Reason;
use crate::guard::token::{Claims, Strings};

const LIMITS: Limits = Limits {
    depth: 16,
    members: 256,
};

/// The last second of the year 9999: no clock says more, and no sum overflows.
const LAST_SECOND: u64 = 253_402_300_799;

pub(super) fn read(json: String, typ: TokenType) -> Result<Claims, Reason> {
    let mut found = Found::default();
    strict::object(&json, LIMITS, &mut found).ok_or(Reason::MalformedToken)?;
    let (Some(issuer), Some(audience), Some(expires_at)) =
        (found.issuer, found.audience, found.expires_at)
    else {
        return Err(Reason::MalformedToken);
    };
    // An access token may have any of these claims; one that says so in its `typ` needs no guess.
    if found.of_another_kind && typ == TokenType::Jwt {
        return Err(Reason::WrongType);
    }
    Ok(Claims {
        issuer,
        audience,
        expires_at,
        subject: found.subject,
        client_id: found.client_id.or(found.authorized_party),
        id: found.id,
        // Not the two together: who issued both meant them to say the same, and if not, less is granted.
        scopes: found.scope.or(found.scp).unwrap_or_default(),
        acr: found.acr.unwrap_or_default(),
        amr: found.amr.unwrap_or_default(),
        auth_time: found.auth_time,
        not_before: found.not_before,
        issued_at: found.issued_at,
        bound: found.bound,
        key: None,
        json,
    })
}

#[derive(Default)]
struct Found {
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<Strings>,
    client_id: Option<String>,
    authorized_party: Option<String>,
    id: Option<String>,
    scope: Option<Strings>,
    scp: Option<Strings>,
    acr: Option<Strings>,
    amr: Option<Strings>,
    auth_time: Option<u64>,
    expires_at: Option<u64>,
    not_before: Option<u64>,
    issued_at: Option<u64>,
    bound: bool,
    of_another_kind: bool,
}

impl Members for Found {
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        budget: &mut Budget,
    ) -> Result<(), A::Error> {
        match name {
            "iss" => self.issuer = Some(non_empty(map)?),
            "sub" => self.subject = Some(non_empty(map)?),
            "aud" => {
                let audience: Strings = map.next_value()?;
                if audience.as_slice().is_empty() {
                    return Err(refused());
                }
                self.audience = Some(audience);
            }
            "client_id" => self.client_id = Some(map.next_value()?),
            "azp" => self.authorized_party = Some(map.next_value()?),
            "jti" => self.id = Some(map.next_value()?),
            "scope" => self.scope = Some(map.next_value()?),
            "scp" => self.scp = Some(map.next_value()?),
            "acr" => self.acr = Some(map.next_value()?),
            "amr" => self.amr = Some(map.next_value()?),
            "exp" => self.expires_at = Some(seconds(map)?),
            "nbf" => self.not_before = Some(seconds(map)?),
            "iat" => self.issued_at = Some(seconds(map)?),
            "auth_time" => self.auth_time = Some(seconds(map)?),
            "cnf" => {
                // Whatever is in it: a token whose key cannot be told is not one without a key.
                self.bound = true;
                budget.skip(map)?;
            }
            "nonce" | "at_hash" | "c_hash" | "events" | "htm" | "htu" => {
                self.of_another_kind = true;
                budget.skip(map)?;
            }
            _ => budget.skip(map)?,
        }
        Ok(())
    }
}

fn non_empty<'de, A: MapAccess<'de>>(map: &mut A) -> Result<String, A::Error> {
    let text: String = map.next_value()?;
    if text.is_empty() {
        return Err(refused());
    }
    Ok(text)
}

/// A time of RFC 7519, whole seconds only: whoever writes fractions, exponents or texts is read differently elsewhere.
fn seconds<'de, A: MapAccess<'de>>(map: &mut A) -> Result<u64, A::Error> {
    let time: u64 = map.next_value()?;
    if time > LAST_SECOND {
        return Err(refused());
    }
    Ok(time)
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(StringsVisitor)
    }
}

struct StringsVisitor;

impl<'de> Visitor<'de> for StringsVisitor {
    type Value = Strings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E>(self, text: &str) -> Result<Strings, E> {
        Ok(Strings::One(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strings, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element()? {
            texts.push(text);
        }
        Ok(Strings::Many(texts))
    }
}

impl Claims {
    /// Whether the token is valid now; on every request, as time goes on.
    ///
    /// `leeway` goes both ways: a token is taken until `exp` + leeway, that second excluded, and from `nbf` - leeway on.
    pub(crate) fn check_times(&self, now: u64, leeway: u64) -> Result<(), Reason> {
        if now >= self.expires_at.saturating_add(leeway) {
            return Err(Reason::Expired);
        }
        let latest = now.saturating_add(leeway);
        // Nobody logged in or issued anything in the future: such a token would stay fresh for longer than it should.
        let starts = [self.not_before, self.issued_at, self.auth_time];
        if starts.into_iter().flatten().any(|start| start > latest) {
            return Err(Reason::NotYetValid);
        }
        Ok(())
    }
}
