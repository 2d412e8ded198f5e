//! [`Remedy`]: what the retry carries that the first attempt did not.

use http::HeaderMap;

use crate::challenge::Factor;
use crate::token::TokenSet;

/// What makes the retry succeed: another bearer token, or more headers.
#[derive(Clone, Debug)]
pub struct Remedy {
    kind: RemedyKind,
    factor: Option<Factor>,
}

#[derive(Clone, Debug)]
pub(crate) enum RemedyKind {
    Bearer(Box<TokenSet>),
    Headers(HeaderMap),
}

impl Remedy {
    /// The retry's `authorization` is this access token; whatever was there is overwritten.
    #[must_use]
    pub fn bearer(tokens: TokenSet) -> Self {
        Self {
            kind: RemedyKind::Bearer(Box::new(tokens)),
            factor: None,
        }
    }

    /// The retry carries these headers too; headers of the same names are overwritten. All values are marked sensitive.
    #[must_use]
    pub fn headers(mut headers: HeaderMap) -> Self {
        for value in headers.values_mut() {
            value.set_sensitive(true);
        }
        Self {
            kind: RemedyKind::Headers(headers),
            factor: None,
        }
    }

    /// Says which factor did it, for logs and [`SteppedUp`](crate::SteppedUp).
    #[must_use]
    pub fn with_factor(mut self, factor: Factor) -> Self {
        self.factor = Some(factor);
        self
    }

    pub(crate) fn into_parts(self) -> (RemedyKind, Option<Factor>) {
        (self.kind, self.factor)
    }
}
