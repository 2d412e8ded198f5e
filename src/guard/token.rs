//! [`VerifiedToken`]: what a token says, once its signature was checked.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::extract::Extracted;
use super::jwt;
use super::keys::Key;

/// The claims of a bearer token that was verified: in the extensions of every request that a guard lets through.
///
/// Nobody but a [`Verifier`](super::Verifier) makes one. Cloning is cheap. `Debug` shows none of the claims.
#[derive(Clone)]
pub struct VerifiedToken {
    claims: Arc<Claims>,
}

/// The claims of a token, read once. Times are seconds since 1970.
#[derive(Clone, Default)]
pub(crate) struct Claims {
    pub(crate) json: String,
    pub(crate) issuer: String,
    pub(crate) subject: Option<String>,
    pub(crate) audience: Strings,
    pub(crate) client_id: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) scopes: Strings,
    pub(crate) acr: Strings,
    pub(crate) amr: Strings,
    pub(crate) auth_time: Option<u64>,
    pub(crate) expires_at: u64,
    pub(crate) not_before: Option<u64>,
    pub(crate) issued_at: Option<u64>,
    /// By which key they were verified: they are good no longer than it is.
    pub(crate) key: Option<Arc<Key>>,
}

impl Claims {
    /// About how much memory they take.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [&self.subject, &self.client_id, &self.id];
        let texts = texts
            .into_iter()
            .flatten()
            .chain([&self.json, &self.issuer]);
        let lists = [&self.audience, &self.scopes, &self.acr, &self.amr];
        size_of::<Self>()
            + texts.map(String::len).sum::<usize>()
            + lists.map(Strings::bytes).into_iter().sum::<usize>()
    }
}

/// The value of a claim that is a string or an array of strings.
#[derive(Clone)]
pub(crate) enum Strings {
    One(String),
    Many(Vec<String>),
}

impl Default for Strings {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Strings {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }

    pub(crate) fn extend(&mut self, more: impl IntoIterator<Item = String>) {
        let mut more = more.into_iter().peekable();
        if more.peek().is_none() {
            return;
        }
        let mut all = match std::mem::take(self) {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        };
        all.extend(more);
        *self = Self::Many(all);
    }

    pub(crate) fn to_words(&self) -> Vec<String> {
        self.words().map(str::to_owned).collect()
    }

    fn bytes(&self) -> usize {
        let texts = self.as_slice();
        size_of_val(texts) + texts.iter().map(String::len).sum::<usize>()
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.as_slice().iter().map(String::as_str)
    }

    /// The words of a string (RFC 6749 section 3.3), or the items of an array, which are not split.
    fn words(&self) -> impl Iterator<Item = &str> {
        let (text, items) = match self {
            Self::One(text) => (text.as_str(), [].as_slice()),
            Self::Many(items) => ("", items.as_slice()),
        };
        let words = text.split(' ').filter(|word| !word.is_empty());
        words.chain(items.iter().map(String::as_str))
    }
}

impl VerifiedToken {
    pub(crate) fn new(claims: Claims) -> Self {
        Self {
            claims: Arc::new(claims),
        }
    }

    pub(crate) fn fields(&self) -> &Claims {
        &self.claims
    }

    /// Adds what was read of an issuer's own claims.
    pub(crate) fn merge(&mut self, extracted: Extracted) {
        extracted.merge_into(Arc::make_mut(&mut self.claims));
    }

    /// Whether the key that verified it is still one of the issuer's.
    pub(crate) fn is_by_present_key(&self) -> bool {
        self.claims
            .key
            .as_ref()
            .is_some_and(|key| !key.is_retired())
    }

    /// `iss`: who issued the token.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.issuer
    }

    /// `sub`: whom it speaks for.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims.subject.as_deref()
    }

    /// `aud`: which APIs it is for.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.claims.audience.iter()
    }

    /// `client_id`, or `azp` where there is none: which client it was issued to.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.claims.client_id.as_deref()
    }

    /// `jti`: the token's own name.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.claims.id.as_deref()
    }

    /// `scope`, or `scp` where there is none, a string or an array: what was granted.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.claims.scopes.words()
    }

    /// Whether this scope was granted.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|granted| granted == scope)
    }

    /// `acr`, a string or an array: how strong the login was, in the words of the issuer.
    pub fn acr(&self) -> impl Iterator<Item = &str> {
        self.claims.acr.iter()
    }

    /// `amr`: the methods of the login (RFC 8176).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.claims.amr.iter()
    }

    /// `auth_time`: when the user last authenticated actively. A refresh does not move it.
    #[must_use]
    pub fn auth_time(&self) -> Option<SystemTime> {
        self.claims.auth_time.map(time)
    }

    /// `exp`: when the token ends.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        time(self.claims.expires_at)
    }

    /// `iat`: when the token was issued; not when the user logged in.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.claims.issued_at.map(time)
    }

    /// All claims, as the JSON object that was signed: to be read into a type of your own.
    #[must_use]
    pub fn claims_json(&self) -> &str {
        &self.claims.json
    }

    /// One claim by its name, as the JSON text that was signed: a string comes with its quotes and escapes.
    ///
    /// Read it with `serde_json::from_str`, never by comparing texts: `"a"` and `"\u0061"` are the same.
    #[must_use]
    pub fn claim_json(&self, name: &str) -> Option<&str> {
        jwt::member(&self.claims.json, name)
    }
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken").finish_non_exhaustive()
    }
}
