//! Dialects: how "more factors needed" is said, and how it is answered.
//!
//! [`Dialect`] is the one trait for every family of wire protocols: token-endpoint challenges with a handle (Auth0, Okta),
//! resource challenges without one (RFC 9470), and proof headers (a one-time password added to the request). It does two
//! things: [`detect`](Dialect::detect) reads a response, [`resolve`](Dialect::resolve) gets what the retry needs.
//!
//! [`Auth0`] is the first; [`Rfc9470`] finds demands and hands them back. A dialect of your own can be small:
//!
//! ```
//! use http::{HeaderMap, HeaderValue, StatusCode};
//! use tower_mfa::dialect::{Context, Detection, Dialect, Remedy, ResponseHead};
//! use tower_mfa::{Challenge, Demand, Factor, MfaLayer, StepUpError, code_fn};
//!
//! /// A registry that answers 401 with `www-authenticate: OTP` and wants the code in a header.
//! struct Registry;
//!
//! impl Dialect for Registry {
//!     fn name(&self) -> &'static str {
//!         "registry"
//!     }
//!
//!     fn detect(&self, response: ResponseHead<'_>) -> Detection {
//!         match response.headers().get("www-authenticate") {
//!             Some(value) if value == "OTP" => Detection::Demand(Demand::new()),
//!             _ => Detection::Nothing,
//!         }
//!     }
//!
//!     async fn resolve(&self, _demand: Demand, mut context: Context) -> Result<Remedy, StepUpError> {
//!         let challenge = Challenge::new(Factor::Otp, context.request().clone());
//!         let code = context.ask(challenge).await?;
//!         let value = HeaderValue::try_from(code.expose()).map_err(|_| StepUpError::other("not a code"))?;
//!         Ok(Remedy::headers(HeaderMap::from_iter([(http::HeaderName::from_static("otp"), value)])))
//!     }
//! }
//!
//! let layer = MfaLayer::new(Registry, code_fn(|_| async { Ok("123456".into()) }));
//! # let _ = (layer, StatusCode::OK);
//! ```

mod auth0;
mod context;
mod definition;
mod remedy;
mod rfc9470;

pub use auth0::{AssertionClaims, Auth0, ClientAuth};
pub use context::Context;
pub(crate) use definition::ErasedDialect;
pub use definition::{Detection, Dialect, ResponseHead};
pub use remedy::Remedy;
pub(crate) use remedy::RemedyKind;
pub use rfc9470::{Rfc9470, StepUpChallenge};
