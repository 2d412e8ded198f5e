//! The layer over real sockets, HTTP/1.1 and HTTP/2: a hyper client under the layer, hyper servers, and servers that write
//! and read bytes where one has to misbehave or to be looked at closely (design, rules 1, 2, 3, 6).
//!
//! Nothing here waits by the clock: a test goes on when what it waits for has happened, and a guard ends it if that never does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod auth0;
mod cancel;
mod early;
mod expect;
mod framing;
mod harness;
mod leaks;
mod raw;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
mod upload;
