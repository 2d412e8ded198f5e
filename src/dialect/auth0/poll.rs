//! Polls for an approval: one call after the other, at the pace the server wants, until the challenge ends.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::dialect::Context;
use crate::dialect::auth0::Auth0;
use crate::dialect::auth0::answer::Answer;
use crate::dialect::auth0::call::{Granted, Proof};
use crate::error::StepUpError;
use crate::token::Secret;

/// RFC 8628 section 3.5, and as fast as Auth0 allows: twelve exchanges a minute for one session.
const INTERVAL: Duration = Duration::from_secs(5);
/// What `slow_down` adds (RFC 8628 section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// A server that wants to be asked more often than once a second, or less than once a minute, is not believed.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long before the end the last call is made: it has to arrive and be answered.
const LAST_MOMENT: Duration = Duration::from_secs(1);

impl Auth0 {
    /// Polls the token endpoint until the user has approved, the challenge ends, or the server says that it is over.
    pub(super) async fn poll(
        &self,
        handle: &Secret,
        oob_code: &Secret,
        life: Duration,
        interval: Option<Duration>,
        context: &Context,
    ) -> Result<Granted, Answer> {
        let end = Instant::now() + life;
        let mut interval = interval.map_or(INTERVAL, |interval| {
            interval.clamp(INTERVALS.0, INTERVALS.1)
        });
        let mut wait = interval;
        // what the server has asked for; a longer wait is our own idea
        let mut at_least = Duration::ZERO;
        let mut faults = 0;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if wait >= left {
                // the user may approve in the last moment: ask once more before the end
                wait = left.saturating_sub(LAST_MOMENT);
                if wait.is_zero() || wait < at_least {
                    return Err(Answer::Final(StepUpError::expired(
                        "the approval did not come in time; make the request again for a new one",
                    )));
                }
            }
            sleep(wait).await;
            let proof = Proof::Oob {
                oob_code,
                binding_code: None,
            };
            wait = match self.exchange(handle, &proof, context).await {
                Err(Answer::Pending) => {
                    faults = 0;
                    at_least = interval;
                    interval
                }
                Err(Answer::SlowDown(pause)) => {
                    faults = 0;
                    interval += SLOW_DOWN;
                    at_least = interval.max(pause.unwrap_or_default());
                    at_least
                }
                // the server's trouble, not the user's: they may be approving right now
                Err(Answer::Fault(pause, error)) => {
                    faults += 1;
                    tracing::debug!(%error, faults, "polling goes on after a fault");
                    let back_off = interval
                        .saturating_mul(2_u32.saturating_pow(faults))
                        .min(INTERVALS.1);
                    at_least = pause.unwrap_or_default();
                    back_off.max(at_least)
                }
                done => return done,
            };
        }
    }
}
