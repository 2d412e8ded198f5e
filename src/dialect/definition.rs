//! [`Dialect`], the trait, and the erased twin the layer holds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Uri};

use crate::demand::Demand;
use crate::dialect::{Context, Remedy};
use crate::error::StepUpError;

/// How "more factors needed" is said on one family of wires, and how it is answered.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a dialect",
    note = "use `tower_mfa::Auth0::new(issuer, client_id)?`, or implement `Dialect` for a protocol of your own"
)]
pub trait Dialect: Send + Sync + 'static {
    /// A short name, for logs.
    fn name(&self) -> &'static str;

    /// Reads the head of a response whose status may carry a demand. Pure, synchronous and cheap.
    ///
    /// It must not decide on the status alone: a 403 is far more often "no" than "not like this".
    fn detect(&self, response: ResponseHead<'_>) -> Detection;

    /// Reads the whole body (at most [`max_peek_bytes`](crate::MfaLayer::max_peek_bytes)) after
    /// [`detect`](Self::detect) asked for it. Defaults to finding nothing.
    fn detect_body(&self, response: ResponseHead<'_>, body: &[u8]) -> Option<Demand> {
        let _ = (response, body);
        None
    }

    /// Gets ready for a demand that may be coming: opens a connection, for example. Defaults to doing nothing.
    ///
    /// It is called as soon as the head of a response from a trusted origin says that there may be one, before the body is read, in
    /// the future of the request: it must return at once. Most of these responses are no demands in the end.
    fn anticipate(&self) {}

    /// Whether a request is one for tokens, at an endpoint that the dialect's own settings name. Defaults to `false`.
    ///
    /// Then what [`resolve`](Self::resolve) gets is the answer to it ([`Remedy::response`]), and nothing is sent again; so its
    /// body need not be remembered, and its origin needs no other trust than those settings.
    fn is_token_request(&self, method: &Method, uri: &Uri) -> bool {
        let _ = (method, uri);
        false
    }

    /// Why a demand cannot be met, if that is known beforehand: then the caller gets the refusal with this error at once, nobody is
    /// asked, and [`resolve`](Self::resolve) is not called. Defaults to `None`.
    fn obstacle(&self, demand: &Demand) -> Option<StepUpError> {
        let _ = demand;
        None
    }

    /// Gets what the retry needs: asks the user, talks to the authorization server.
    ///
    /// # Errors
    ///
    /// Whatever ends the step-up; the caller gets the original refusal, with the error in its extensions.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the deadline passes or nobody waits for it any more. It must not hold anything that only a
    /// completed run gives back.
    fn resolve(
        &self,
        demand: Demand,
        context: Context,
    ) -> impl Future<Output = Result<Remedy, StepUpError>> + Send;
}

/// What the head of a response says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Detection {
    /// It may be a demand; the body tells. It is read only if it is JSON and short.
    Body,
    /// It is a demand.
    Demand(Demand),
    /// It is no demand.
    Nothing,
}

/// The head of a response, to look at.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
}

impl<'a> ResponseHead<'a> {
    /// A head from its parts.
    #[must_use]
    pub fn new(status: StatusCode, headers: &'a HeaderMap) -> Self {
        Self { status, headers }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }
}

pub(crate) type Resolving = Pin<Box<dyn Future<Output = Result<Remedy, StepUpError>> + Send>>;

/// [`Dialect`] for a trait object: the layer has no type parameter for it.
pub(crate) trait ErasedDialect: Send + Sync {
    fn name(&self) -> &'static str;
    fn detect(&self, response: ResponseHead<'_>) -> Detection;
    fn detect_body(&self, response: ResponseHead<'_>, body: &[u8]) -> Option<Demand>;
    fn anticipate(&self);
    fn is_token_request(&self, method: &Method, uri: &Uri) -> bool;
    fn obstacle(&self, demand: &Demand) -> Option<StepUpError>;
    fn resolve(self: Arc<Self>, demand: Demand, context: Context) -> Resolving;
}

impl<D: Dialect> ErasedDialect for D {
    fn name(&self) -> &'static str {
        Dialect::name(self)
    }
    fn detect(&self, response: ResponseHead<'_>) -> Detection {
        Dialect::detect(self, response)
    }
    fn detect_body(&self, response: ResponseHead<'_>, body: &[u8]) -> Option<Demand> {
        Dialect::detect_body(self, response, body)
    }
    fn anticipate(&self) {
        Dialect::anticipate(self);
    }
    fn is_token_request(&self, method: &Method, uri: &Uri) -> bool {
        Dialect::is_token_request(self, method, uri)
    }
    fn obstacle(&self, demand: &Demand) -> Option<StepUpError> {
        Dialect::obstacle(self, demand)
    }
    fn resolve(self: Arc<Self>, demand: Demand, context: Context) -> Resolving {
        Box::pin(async move { Dialect::resolve(&*self, demand, context).await })
    }
}
