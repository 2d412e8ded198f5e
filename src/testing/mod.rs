//! An Auth0-compatible authorization server in process, for tests and examples.
//!
//! # Overview
//!
//! [`AuthorizationServer`] is a tower service that speaks Auth0's token and multi-factor API: `/oauth/token`,
//! `/mfa/challenge`, `/mfa/authenticators`, `/mfa/associate`, and the two discovery documents. It issues real signed
//! JWTs, checks real one-time passwords, and answers with the statuses, error codes and descriptions recorded from
//! Auth0. Give it to whatever expects an HTTP service, or open a port with [`AuthorizationServer::serve`].
//!
//! [`ProtectedApi`] is the other half of a test: an API that demands multi-factor authentication and echoes what it got.
//!
//! Around them:
//!
//! - [`Outbox`] holds the codes sent by SMS, voice and e-mail; [`Push`] approves and denies push notifications;
//! - [`Calls`] tells which requests came in, with what parameters;
//! - [`Fault`] makes an endpoint fail: an error page, a delay, silence, a dropped connection, an oversized body;
//! - [`PausedClock`] makes dates follow Tokio's paused clock, so that codes expire without anybody waiting.
//!
//! # Example
//!
//! ```
//! use http::Request;
//! use tower_mfa::testing::{AuthorizationServer, Body, Client, User};
//! use tower_service::Service;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_mfa::testing::BoxError> {
//! let mut server = AuthorizationServer::builder()
//!     .client(Client::public("test-client"))
//!     .user(User::new("alice", "test-password").sms("+15550100"))
//!     .build();
//!
//! let login = Request::post("/oauth/token")
//!     .header("content-type", "application/x-www-form-urlencoded")
//!     .body(Body::from("grant_type=password&client_id=test-client&username=alice&password=test-password"))?;
//! let answer = server.call(login).await?;
//!
//! assert_eq!(answer.status(), 403);
//! assert!(answer.body().text().contains("mfa_required"));
//! # Ok(())
//! # }
//! ```
//!
//! # What differs from Auth0
//!
//! - Tokens obtained through the multi-factor grants carry `acr` and `amr`; Auth0's carry neither. Switch this off with
//!   [`Builder::without_mfa_claims`].
//! - A refresh token always rotates.
//! - Universal Login, WebAuthn, DPoP and organizations are absent.
//!
//! # Cancel safety
//!
//! An answer is worked out in one step, once the request is read: a dropped future has changed either nothing or
//! everything. As with a real server, a code whose answer nobody waited for may be used up.

mod answer;
mod api;
mod assertion;
mod body;
mod builder;
mod calls;
mod challenge;
mod claims;
mod client;
mod clock;
mod discovery;
mod enrolment;
mod exchange;
mod fault;
mod keys;
mod limit;
mod outbox;
mod policy;
mod push;
mod request;
mod ring;
mod serve;
mod server;
mod session;
mod state;
mod token;
mod user;

pub use api::{ApiFuture, Demanding, ProtectedApi};
pub use body::{Body, BoxError};
pub use builder::Builder;
pub use calls::{Call, Calls, Endpoint};
pub use claims::{Claims, TokenBuilder, VerifyError};
pub use client::Client;
pub use clock::PausedClock;
pub use fault::Fault;
pub use keys::{ClientKey, Signing};
pub use outbox::{Channel, Message, Outbox};
pub use policy::{Policy, Requirements};
pub use push::Push;
pub use serve::Serving;
pub use server::{AuthorizationServer, ResponseFuture};
pub use user::User;
