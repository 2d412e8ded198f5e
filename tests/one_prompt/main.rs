//! One prompt: any number of requests, cancelled, parked or panicking, share one step-up; what it brought is remembered for its
//! principal and its origin and for nobody else; other instances share it by a store (design, rules 5, 8, 9, 12).
#![cfg(all(feature = "testing", feature = "totp", feature = "client"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops"
)]

#[path = "../auth0/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "every target uses a part of it")]
mod harness;
#[path = "../support/mod.rs"]
mod support;

mod stage;
mod watched;

mod continuity;
mod flight;
mod hold_off;
mod instances;
mod memory_store;
mod mixing;
mod prompt_limit;
mod refresh;
mod remembered;
