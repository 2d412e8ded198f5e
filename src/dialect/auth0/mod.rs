//! Auth0's MFA API: `mfa_required` with an `mfa_token`, `POST /mfa/challenge`, and the MFA grants of `POST /oauth/token`.
//!
//! In reading order: [`settings`] is what the user sets, [`flow`] goes from a demand to a token, [`factor`] decides which factor
//! is taken, [`call`] makes the three calls, [`answer`] says what an answer means, [`wire`] reads JSON.

mod answer;
mod call;
mod client_auth;
mod factor;
mod flow;
mod poll;
mod settings;
mod wire;

pub use client_auth::{AssertionClaims, ClientAuth};
pub use settings::Auth0;
