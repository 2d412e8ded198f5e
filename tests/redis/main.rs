//! `RedisStore` against real servers: a single node, Sentinel, and a Cluster of three.
//!
//! They are started as child processes on free ports of 127.0.0.1, in directories that go with them. Without a `redis-server` on
//! the machine every test says that it is skipped; `scripts/redis` installs one and runs them all.
#![cfg(all(feature = "redis", feature = "testing"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops"
)]

mod cluster;
mod failover;
mod faults;
mod harness;
mod leases;
mod processes;
mod secrecy;
mod sentinel;
mod tokens;
mod values;
