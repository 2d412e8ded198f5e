//! Polls for an approval: one call after the other, at the pace the server wants, until the challenge ends.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::dialect::Context;
use crate::dialect::auth0::Auth0;
use crate::dialect::auth0::answer::Answer;
use crate::dialect::auth0::call::Proof;
use crate::error::StepUpError;
use crate::token::{Secret, TokenSet};

/// RFC 8628 section 3.5, and as fast as Auth0 allows: twelve exchanges a minute for one session.
const INTERVAL: Duration = Duration::from_secs(5);
/// What `slow_down` adds (RFC 8628 section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// A server that wants to be asked more often than once a second, or less than once a minute, is not believed.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Auth0 {
    /// Polls the token endpoint until the user has approved, the challenge ends, or the server says that it is over.
    pub(super) async fn poll(
        &self,
        handle: &Secret,
        oob_code: &Secret,
        life: Duration,
        interval: Option<Duration>,
        context: &Context,
    ) -> Result<TokenSet, Answer> {
        let end = Instant::now() + life;
        let mut interval = interval.map_or(INTERVAL, |interval| {
            interval.clamp(INTERVALS.0, INTERVALS.1)
        });
        let mut wait = interval;
        let mut faults = 0;
        loop {
            if Instant::now() + wait >= end {
                return Err(Answer::Final(StepUpError::expired(
                    "the approval did not come in time; make the request again for a new one",
                )));
            }
            sleep(wait).await;
            let proof = Proof::Oob {
                oob_code,
                binding_code: None,
            };
            wait = match self.exchange(handle, &proof, context).await {
                Err(Answer::Pending) => {
                    faults = 0;
                    interval
                }
                Err(Answer::SlowDown(at_least)) => {
                    faults = 0;
                    interval += SLOW_DOWN;
                    interval.max(at_least.unwrap_or_default())
                }
                // the server's trouble, not the user's: they may be approving right now
                Err(Answer::Fault(error)) => {
                    faults += 1;
                    tracing::debug!(%error, faults, "polling goes on after a fault");
                    (interval * 2_u32.saturating_pow(faults)).min(INTERVALS.1)
                }
                done => return done,
            };
        }
    }
}
