//! [`RateLimit`]: a burst, then one per interval.

use std::time::{Duration, SystemTime};

/// Allows a burst, and gives one place back per interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateLimit {
    burst: u32,
    every: Duration,
    /// When all places are free again.
    free_at: SystemTime,
}

impl RateLimit {
    pub(super) const fn new(burst: u32, every: Duration) -> Self {
        Self {
            burst,
            every,
            free_at: SystemTime::UNIX_EPOCH,
        }
    }

    pub(super) const fn burst(&self) -> u32 {
        self.burst
    }

    /// How long to wait for a place; nothing if there is one.
    pub(super) fn wait(&self, now: SystemTime) -> Option<Duration> {
        let Some(others) = self.burst.checked_sub(1) else {
            return Some(self.every);
        };
        let taken = self.free_at.duration_since(now).unwrap_or_default();
        taken
            .checked_sub(self.every.saturating_mul(others))
            .filter(|wait| !wait.is_zero())
    }

    /// Takes a place, whether or not there is one.
    pub(super) fn take(&mut self, now: SystemTime) {
        self.free_at = self.free_at.max(now) + self.every;
    }
}
