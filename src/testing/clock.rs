//! [`PausedClock`]: dates that follow Tokio's clock.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::time::Clock;

/// 2026-01-01T00:00:00Z, in seconds since the Unix epoch.
const START: u64 = 1_767_225_600;

/// A clock that starts at a fixed date and then moves with Tokio's clock.
///
/// Where Tokio's clock is paused (`#[tokio::test(start_paused = true)]`), advancing it moves timers and dates together:
/// a test of an expired code neither waits nor touches the system's clock. Clones show the same time.
///
/// Libraries that ask the operating system for the date do not see this clock: a token issued under it looks expired
/// to them.
#[derive(Clone, Debug)]
pub struct PausedClock {
    start: SystemTime,
    since: Instant,
}

impl PausedClock {
    /// A clock that shows 2026-01-01T00:00:00Z now: a fixed date, so that a failing test fails the same way tomorrow.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(START))
    }

    /// A clock that shows this date now.
    #[must_use]
    pub fn starting_at(start: SystemTime) -> Self {
        Self {
            start,
            since: Instant::now(),
        }
    }
}

impl Default for PausedClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for PausedClock {
    fn now(&self) -> SystemTime {
        self.start + self.since.elapsed()
    }
}
