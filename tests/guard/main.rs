//! What a guard lets through, and what it answers.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod answers;
mod both_sides;
mod cases;
mod decisions;
mod glance;
mod harness;
mod keys_away;
mod readiness;
mod routing;
mod times;
mod tokens;
