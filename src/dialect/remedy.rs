//! [`Remedy`]: what meets a demand.

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::challenge::Factor;
use crate::token::TokenSet;

/// What meets a demand: another bearer token or more headers for the retry, or the answer itself.
#[derive(Clone, Debug)]
pub struct Remedy {
    kind: RemedyKind,
    factor: Option<Factor>,
    tokens: Option<TokenSet>,
}

#[derive(Clone, Debug)]
pub(crate) enum RemedyKind {
    Bearer,
    Headers(HeaderMap),
    Response(Response<Bytes>),
}

impl Remedy {
    fn new(kind: RemedyKind, tokens: Option<TokenSet>) -> Self {
        Self {
            kind,
            factor: None,
            tokens,
        }
    }

    /// The retry's `authorization` is the access token of these; whatever was there is overwritten.
    #[must_use]
    pub fn bearer(tokens: TokenSet) -> Self {
        Self::new(RemedyKind::Bearer, Some(tokens))
    }

    /// The retry carries these headers too; headers of the same names are overwritten. All values are marked sensitive.
    #[must_use]
    pub fn headers(mut headers: HeaderMap) -> Self {
        for value in headers.values_mut() {
            value.set_sensitive(true);
        }
        Self::new(RemedyKind::Headers(headers), None)
    }

    /// There is no retry: this is the answer to the refused request, which was a request for the very tokens that the step-up
    /// brought. See [`Dialect::is_token_request`](crate::dialect::Dialect::is_token_request).
    #[must_use]
    pub fn response(response: Response<Bytes>, tokens: TokenSet) -> Self {
        Self::new(RemedyKind::Response(response), Some(tokens))
    }

    /// Says which factor did it, for logs and [`SteppedUp`](crate::SteppedUp).
    #[must_use]
    pub fn with_factor(mut self, factor: Factor) -> Self {
        self.factor = Some(factor);
        self
    }

    pub(crate) fn into_parts(self) -> (RemedyKind, Option<Factor>, Option<TokenSet>) {
        (self.kind, self.factor, self.tokens)
    }
}
