//! The guard: demands a strong and fresh login of those who call, and says what is missing in standard words.
//!
//! A [`Verifier`] knows whose tokens are good, a [`Guard`] made from it gives one layer for each [`Requirement`]; they share keys
//! and cache. A request without a good token, or with one of a weaker or older login than demanded, is answered by RFC 6750 and
//! RFC 9470, so that a client knows what to do; all others reach the inner service with a [`VerifiedToken`] in their extensions.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::routing::{get, post};
//! use axum::{Extension, Router};
//! use tower_mfa::guard::{Guard, RemoteKeys, Requirement, VerifiedToken, Verifier};
//!
//! async fn balance(Extension(token): Extension<VerifiedToken>) -> String {
//!     format!("the balance of {}", token.subject().unwrap_or("nobody"))
//! }
//! # async fn transfer() {}
//!
//! # fn main() -> Result<(), tower_mfa::ConfigError> {
//! let guard = Guard::new(Verifier::new(
//!     "https://tenant.example.com/",
//!     "https://api.example.com",
//!     RemoteKeys::discovery(),
//! )?);
//! // a second factor, used within the last five minutes
//! let recent_mfa = Requirement::mfa().max_age(Duration::from_secs(5 * 60));
//! let app: Router = Router::new()
//!     .route("/transfer", post(transfer).layer(guard.require(recent_mfa)))
//!     .route("/balance", get(balance).layer(guard.require(Requirement::login())));
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! A gateway says by path and method what it demands: [`Routes`].
//!
//! # What is answered
//!
//! | what is wrong | status | `error` |
//! | --- | --- | --- |
//! | no credentials | 401 | none: the bare scheme |
//! | two `authorization` headers, or no bearer token in it | 400 | `invalid_request` |
//! | the token is malformed, expired, revoked, or meant for others | 401 | `invalid_token` |
//! | a scope is missing | 403 | `insufficient_scope`, with `scope` |
//! | the login is too weak or too old | 401 | `insufficient_user_authentication`, with `acr_values` and `max_age` |
//! | the keys cannot be fetched | 503 | `temporarily_unavailable`, with `Retry-After` |
//!
//! The JSON body has the same members, if there are any. Only who has a good token learns what else is needed.
//!
//! # What is trusted
//!
//! A missing claim never satisfies anything. `iat` never stands in for `auth_time`. The algorithm comes from the key and from
//! [`Verifier::algorithms`], never from the token; there is no `none` and no HMAC. Only the `authorization` header is looked into.
//!
//! # Crypto
//!
//! The signatures are checked by aws-lc (feature `jwt-aws-lc-rs`) or by RustCrypto (`jwt-rust-crypto`). Without either
//! [`Verifier::new`] is an error that says so. Nothing depends on what else a program enables in the crates below.

mod algorithm;
mod answer;
mod cache;
mod credentials;
mod decision;
pub mod extract;
mod future;
mod jwt;
mod keys;
mod layer;
mod policy;
mod ready;
mod reason;
mod relay;
mod requirement;
mod service;
mod token;
mod verifier;

pub use algorithm::Algorithm;
pub use decision::Decision;
pub use extract::Extracted;
pub use future::ResponseFuture;
pub use jwt::TokenType;
pub use keys::{Keys, RemoteKeys};
pub use layer::{Guard, GuardLayer};
pub use policy::{Policy, Routes};
pub use reason::Reason;
pub use relay::MfaRequired;
pub use requirement::{Requirement, Shortfall};
pub use service::Guarded;
pub use token::VerifiedToken;
pub use verifier::Verifier;
