//! [`PromptLimit`]: how often one user may be prompted, so that nobody can tire them into approving.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Kind, StepUpError};
use crate::store::StoreKey;

/// How many principals are kept count of; beyond it those go that are nearest to having all their prompts again.
const MAX_PRINCIPALS: usize = 100_000;

/// A leaky bucket per principal (GCRA): `burst` at once, and one more each `window / burst`.
pub(crate) struct PromptLimit {
    burst: u32,
    window: Duration,
    /// When a principal will have all its prompts again.
    full_at: Mutex<HashMap<StoreKey, Instant>>,
}

impl PromptLimit {
    pub(crate) fn new(burst: u32, window: Duration) -> Self {
        Self {
            burst,
            window,
            full_at: Mutex::default(),
        }
    }

    /// Takes one prompt of a principal.
    pub(crate) fn take(&self, principal: StoreKey) -> Result<(), StepUpError> {
        let now = Instant::now();
        let Some(interval) = self.window.checked_div(self.burst) else {
            return Err(self.used_up(self.window));
        };
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MAX_PRINCIPALS {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= MAX_PRINCIPALS {
                let mut ends: Vec<Instant> = full_at.values().copied().collect();
                let middle = ends.len() / 2;
                let (_, median, _) = ends.select_nth_unstable(middle);
                let median = *median;
                full_at.retain(|_, at| *at > median);
            }
        }
        let at = full_at.get(&principal).copied().unwrap_or(now).max(now);
        let next = at + interval;
        let wait = next.saturating_duration_since(now + self.window);
        if !wait.is_zero() {
            return Err(self.used_up(wait));
        }
        full_at.insert(principal, next);
        Ok(())
    }

    fn used_up(&self, wait: Duration) -> StepUpError {
        StepUpError::new(
            Kind::RateLimited(Some(wait)),
            format!(
                "this user may be prompted {} times within {} s; try again in {} s, or allow more with `prompt_limit(..)`",
                self.burst,
                self.window.as_secs(),
                wait.as_secs()
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(principal: &str) -> StoreKey {
        StoreKey::of_parts([principal.as_bytes()])
    }

    #[tokio::test(start_paused = true)]
    async fn five_prompts_at_once_then_one_each_two_minutes() {
        let limit = PromptLimit::new(5, Duration::from_secs(600));
        for _ in 0..5 {
            limit.take(key("alice")).unwrap();
        }
        let error = limit.take(key("alice")).unwrap_err();
        assert!(error.is_rate_limited());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(120)));
        limit.take(key("bob")).unwrap();
        tokio::time::advance(Duration::from_secs(119)).await;
        assert!(limit.take(key("alice")).is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        limit.take(key("alice")).unwrap();
        assert!(limit.take(key("alice")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn zero_prompts_is_none_at_all() {
        let limit = PromptLimit::new(0, Duration::from_secs(600));
        assert!(limit.take(key("alice")).is_err());
    }
}
