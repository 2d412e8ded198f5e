//! What it costs each of many requests that one step-up serves all of them, beside a bare `Shared`. `benches/peers` measures the same
//! with other crates.

#[path = "support/flight.rs"]
mod support;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, support::flight);
criterion_main!(benches);
