//! [`Clock`]: where the wall-clock time comes from.

use std::time::SystemTime;

/// Tells the wall-clock time: for expiry dates, one-time passwords and signed client assertions.
///
/// Waiting (deadlines, polling) goes through Tokio's timers, which tests pause; this trait is only about dates.
/// `testing::PausedClock` follows Tokio's clock, so that one paused clock moves both.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The clock of the operating system: the default.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// The clock of the operating system.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everybody else takes"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}
