//! [`object`]: JSON objects that can be read in one way only.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How much structure a text may have.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// How deep objects and arrays may be nested; the outermost counts.
    pub(super) depth: usize,
    /// How many members there may be, those of inner objects included.
    pub(super) members: usize,
}

/// What takes the members of the outermost object.
pub(super) trait Members<'de> {
    /// Takes one member: its value has to be read, by [`Budget::skip`] if it is of no interest.
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        budget: &mut Budget,
    ) -> Result<(), A::Error>;
}

/// Reads a text that is one JSON object and nothing else, without repeated members at any depth.
///
/// `None` says no more than that it is not: what is wrong with it would quote it.
pub(super) fn object<'de>(
    text: &'de str,
    limits: Limits,
    members: &mut impl Members<'de>,
) -> Option<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut budget = Budget(limits);
    let outermost = Object {
        members,
        budget: &mut budget,
    };
    json.deserialize_map(outermost).ok()?;
    json.end().ok()
}

/// What is left of the limits.
pub(super) struct Budget(Limits);

impl Budget {
    /// Reads a value of any shape as strictly as everything else, and forgets it.
    pub(super) fn skip<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(Skip(self))
    }

    fn object<'de, A: MapAccess<'de>>(
        &mut self,
        mut map: A,
        members: &mut impl Members<'de>,
    ) -> Result<(), A::Error> {
        self.enter()?;
        let mut names = Vec::with_capacity(16);
        while let Some(name) = map.next_key_seed(Name)? {
            self.0.members = self.0.members.checked_sub(1).ok_or_else(refused)?;
            members.member(&name, &mut map, self)?;
            names.push(name);
        }
        // Names come here unescaped, so that "e\u0078p" is "exp".
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(refused());
        }
        self.leave();
        Ok(())
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.0.depth = self.0.depth.checked_sub(1).ok_or_else(refused)?;
        Ok(())
    }

    const fn leave(&mut self) {
        self.0.depth += 1;
    }
}

pub(super) fn refused<E: serde::de::Error>() -> E {
    E::custom("refused")
}

struct Object<'a, M> {
    members: &'a mut M,
    budget: &'a mut Budget,
}

impl<'de, M: Members<'de>> Visitor<'de> for Object<'_, M> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.budget.object(map, self.members)
    }
}

/// A value that is checked and forgotten.
struct Skip<'a>(&'a mut Budget);

/// Nothing of an inner object is of interest.
struct Forget;

impl<'de> Members<'de> for Forget {
    fn member<A: MapAccess<'de>>(
        &mut self,
        _: &str,
        map: &mut A,
        budget: &mut Budget,
    ) -> Result<(), A::Error> {
        budget.skip(map)
    }
}

impl<'de> DeserializeSeed<'de> for Skip<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.enter()?;
        while items.next_element_seed(Skip(self.0))?.is_some() {}
        self.0.leave();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.object(map, &mut Forget)
    }
}

/// A string that is copied only where it has escapes.
pub(super) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// The JSON text of one member of an object that was read strictly before.
pub(in crate::guard) fn member<'j>(json: &'j str, name: &str) -> Option<&'j str> {
    serde_json::Deserializer::from_str(json)
        .deserialize_map(Pick(name))
        .ok()?
}

struct Pick<'a>(&'a str);

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut picked = None;
        // To the end: a reader that stops halfway is an error.
        while let Some(name) = map.next_key_seed(Name)? {
            if name == self.0 {
                picked = Some(map.next_value::<&serde_json::value::RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(picked)
    }
}
