//! `Auth0` and the layer, against an authorization server in process: every factor, every way it can fail.
#![cfg(all(feature = "testing", feature = "totp", feature = "client"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops"
)]

mod chain;
mod choice;
mod client_auth;
mod factors;
mod faults;
mod harness;
mod push;
mod refusals;
mod token_endpoint;
mod tokens;
mod trust;
mod wrong_codes;
