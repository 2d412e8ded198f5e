//! [`read`]: the claims of an access token (RFC 7519, RFC 9068, RFC 9470).

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::strict::{self, Budget, Limits, Members, Name, refused};
use super::{Rules, TokenType};
use crate::guard::reason::Reason;
use crate::guard::token::{Claims, Strings};

const LIMITS: Limits = Limits {
    depth: 16,
    members: 256,
};

/// The last second of the year 9999: no clock says more, and no sum overflows.
const LAST_SECOND: u64 = 253_402_300_799;

/// What a token says, not copied yet: most tokens that are refused are refused for one of these.
pub(super) struct Read<'t> {
    issuer: Cow<'t, str>,
    audience: Texts<'t>,
    expires_at: u64,
    others: Found<'t>,
}

pub(super) fn read(json: &str, typ: TokenType) -> Result<Read<'_>, Reason> {
    let mut found = Found::default();
    strict::object(json, LIMITS, &mut found).ok_or(Reason::MalformedToken)?;
    let (Some(issuer), Some(audience), Some(expires_at)) = (
        found.issuer.take(),
        found.audience.take(),
        found.expires_at.take(),
    ) else {
        return Err(Reason::MalformedToken);
    };
    // An access token may have any of these claims; one that says so in its `typ` needs no guess.
    if found.of_another_kind && typ == TokenType::Jwt {
        return Err(Reason::WrongType);
    }
    Ok(Read {
        issuer,
        audience,
        expires_at,
        others: found,
    })
}

impl Read<'_> {
    /// Whether the token is from this issuer, for this audience, and may be used by whoever has it.
    pub(super) fn check_binding(&self, rules: &Rules) -> Result<(), Reason> {
        if self.issuer != rules.issuer {
            return Err(Reason::WrongIssuer);
        }
        let ours = |audience: &Cow<'_, str>| rules.audiences.iter().any(|ours| audience == ours);
        if !self.audience.as_slice().iter().any(ours) {
            return Err(Reason::WrongAudience);
        }
        if self.others.bound {
            return Err(Reason::Bound);
        }
        Ok(())
    }

    /// As [`Claims::check_times`] does on every request.
    pub(super) fn check_times(&self, at: At) -> Result<(), Reason> {
        let Found {
            not_before,
            issued_at,
            auth_time,
            ..
        } = self.others;
        check_times(self.expires_at, [not_before, issued_at, auth_time], at)
    }

    /// Copies what was read; `json` is left to be set.
    pub(super) fn into_claims(self) -> Claims {
        let found = self.others;
        Claims {
            json: String::new(),
            issuer: self.issuer.into_owned(),
            audience: self.audience.into(),
            expires_at: self.expires_at,
            subject: found.subject.map(Cow::into_owned),
            client_id: found
                .client_id
                .or(found.authorized_party)
                .map(Cow::into_owned),
            id: found.id.map(Cow::into_owned),
            // Not the two together: who issued both meant them to say the same, and if not, less is granted.
            scopes: found
                .scope
                .or(found.scp)
                .map(Strings::from)
                .unwrap_or_default(),
            acr: found.acr.map(Strings::from).unwrap_or_default(),
            amr: found.amr.map(Strings::from).unwrap_or_default(),
            auth_time: found.auth_time,
            not_before: found.not_before,
            issued_at: found.issued_at,
            key: None,
        }
    }
}

#[derive(Default)]
struct Found<'t> {
    issuer: Option<Cow<'t, str>>,
    subject: Option<Cow<'t, str>>,
    audience: Option<Texts<'t>>,
    client_id: Option<Cow<'t, str>>,
    authorized_party: Option<Cow<'t, str>>,
    id: Option<Cow<'t, str>>,
    scope: Option<Texts<'t>>,
    scp: Option<Texts<'t>>,
    acr: Option<Texts<'t>>,
    amr: Option<Texts<'t>>,
    auth_time: Option<u64>,
    expires_at: Option<u64>,
    not_before: Option<u64>,
    issued_at: Option<u64>,
    /// Whether there is a `cnf` claim (RFC 7800): the token is bound to a key that its bearer has to prove.
    bound: bool,
    of_another_kind: bool,
}

impl<'de> Members<'de> for Found<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        budget: &mut Budget,
    ) -> Result<(), A::Error> {
        match name {
            "iss" => self.issuer = Some(non_empty(map)?),
            "sub" => self.subject = Some(non_empty(map)?),
            "aud" => {
                let audience = map.next_value_seed(TextsSeed)?;
                if audience.as_slice().is_empty() {
                    return Err(refused());
                }
                self.audience = Some(audience);
            }
            "client_id" => self.client_id = Some(map.next_value_seed(Name)?),
            "azp" => self.authorized_party = Some(map.next_value_seed(Name)?),
            "jti" => self.id = Some(map.next_value_seed(Name)?),
            "scope" => self.scope = Some(map.next_value_seed(TextsSeed)?),
            "scp" => self.scp = Some(map.next_value_seed(TextsSeed)?),
            "acr" => self.acr = Some(map.next_value_seed(TextsSeed)?),
            "amr" => self.amr = Some(map.next_value_seed(TextsSeed)?),
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

fn non_empty<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Cow<'de, str>, A::Error> {
    let text = map.next_value_seed(Name)?;
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

/// The value of a claim that is a string or an array of strings.
enum Texts<'t> {
    One(Cow<'t, str>),
    Many(Vec<Cow<'t, str>>),
}

impl<'t> Texts<'t> {
    fn as_slice(&self) -> &[Cow<'t, str>] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

impl From<Texts<'_>> for Strings {
    fn from(texts: Texts<'_>) -> Self {
        match texts {
            Texts::One(text) => Self::One(text.into_owned()),
            Texts::Many(texts) => Self::Many(texts.into_iter().map(Cow::into_owned).collect()),
        }
    }
}

struct TextsSeed;

impl<'de> DeserializeSeed<'de> for TextsSeed {
    type Value = Texts<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextsSeed {
    type Value = Texts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Texts::One(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Texts::One(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element_seed(Name)? {
            texts.push(text);
        }
        Ok(Texts::Many(texts))
    }
}

/// A time, and how far clocks may be apart, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) now: u64,
    pub(crate) leeway: u64,
}

impl Claims {
    /// Whether the token is valid now; on every request, as time goes on.
    ///
    /// `leeway` goes both ways: a token is taken until `exp` + leeway, that second excluded, and from `nbf` - leeway on.
    pub(crate) fn check_times(&self, now: u64, leeway: u64) -> Result<(), Reason> {
        let starts = [self.not_before, self.issued_at, self.auth_time];
        check_times(self.expires_at, starts, At { now, leeway })
    }
}

fn check_times(expires_at: u64, starts: [Option<u64>; 3], at: At) -> Result<(), Reason> {
    let At { now, leeway } = at;
    if now >= expires_at.saturating_add(leeway) {
        return Err(Reason::Expired);
    }
    let latest = now.saturating_add(leeway);
    // Nobody logged in or issued anything in the future: such a token would stay fresh for longer than it should.
    if starts.into_iter().flatten().any(|start| start > latest) {
        return Err(Reason::NotYetValid);
    }
    Ok(())
}
