//! [`Link`]: the connection that is there, the next one when it is lost, and a pause when there is none.
//!
//! This is in place of redis-rs's `ConnectionManager`, which keeps the outcome of a failed attempt for whoever comes next, however
//! much later, stays with it for good where it was no I/O error (`LOADING`, a wrong password, too many clients), does not
//! replace a connection that hangs, and knows nothing of Sentinel.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::FromRedisValue;
use tokio::time::{Instant, timeout};

use super::command::Command;
use super::connection::Connection;
use super::error::Error;
use super::plan::Plan;

/// How long nobody connects, at least, after that failed: ten attempts a second per process are no burden on a server that starts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Link {
    plan: Plan,
    limit: Duration,
    slot: Mutex<Slot>,
    /// Held by the one operation that connects; counts the attempts.
    connecting: tokio::sync::Mutex<usize>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// Which connection it is, so that one that was lost is discarded once.
    number: u64,
    pause: Option<(Instant, Error)>,
}

impl Link {
    pub(super) fn new(plan: Plan, limit: Duration) -> Self {
        Self {
            plan,
            limit,
            slot: Mutex::default(),
            connecting: tokio::sync::Mutex::new(0),
        }
    }

    /// Carries out a command within the time limit. Each of them may be sent twice: all are idempotent.
    pub(super) async fn call<T: FromRedisValue>(&self, command: &Command) -> Result<T, Error> {
        let begun = Instant::now();
        let mut used = None;
        let outcome = timeout(self.limit, self.attempts(command, &mut used)).await;
        let is_slow = outcome.is_err();
        let error = match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(Failure::Paused(error))) => return Err(error),
            Ok(Err(Failure::Asked(error))) => error,
            Err(_) => Error::too_slow(self.limit),
        };
        match used {
            // not even connected
            None => self.pause(begun, &error),
            // it hangs, and nobody says that it will ever go on
            Some((number, false)) if is_slow => {
                self.discard(number);
                self.pause(begun, &error);
            }
            Some(_) => {}
        }
        Err(error)
    }

    /// One attempt, and a second if the connection turned out to be lost. `used` tells afterwards which connection was used, and
    /// whether it goes to several nodes.
    async fn attempts<T: FromRedisValue>(
        &self,
        command: &Command,
        used: &mut Option<(u64, bool)>,
    ) -> Result<T, Failure> {
        let mut is_second = false;
        loop {
            *used = None;
            let (number, mut connection) = self.connection().await?;
            *used = Some((number, connection.has_other_nodes()));
            match connection.send(command).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let is_lost = connection.is_lost(&error);
                    if is_lost {
                        self.discard(number);
                    }
                    if is_second || !is_lost {
                        return Err(Failure::Asked(error.into()));
                    }
                }
            }
            is_second = true;
        }
    }

    async fn connection(&self) -> Result<(u64, Connection), Failure> {
        if let Some(present) = self.slot().present()? {
            return Ok(present);
        }
        let mut turn = self.connecting.lock().await;
        // somebody may have connected, or failed to, meanwhile
        if let Some(present) = self.slot().present()? {
            return Ok(present);
        }
        // before waiting, after which this future may be gone
        let this_turn = *turn;
        *turn = turn.wrapping_add(1);
        let connection = self
            .plan
            .connect(self.limit, this_turn)
            .await
            .map_err(|error| Failure::Asked(error.into()))?;
        let mut slot = self.slot();
        slot.number += 1;
        slot.pause = None;
        slot.connection = Some(connection.clone());
        Ok((slot.number, connection))
    }

    fn discard(&self, number: u64) {
        let mut slot = self.slot();
        if slot.number == number {
            slot.connection = None;
        }
    }

    /// Lets operations fail at once for as long as this one took: while Redis is away they do not add up.
    fn pause(&self, begun: Instant, error: &Error) {
        let now = Instant::now();
        let length = (now - begun).max(SHORTEST_PAUSE);
        let mut slot = self.slot();
        if slot.connection.is_none() {
            slot.pause = Some((now + length, Error::paused(error)));
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }
}

impl Slot {
    fn present(&self) -> Result<Option<(u64, Connection)>, Failure> {
        if let Some(connection) = &self.connection {
            return Ok(Some((self.number, connection.clone())));
        }
        match &self.pause {
            Some((end, error)) if Instant::now() < *end => Err(Failure::Paused(error.clone())),
            _ => Ok(None),
        }
    }
}

enum Failure {
    /// Redis was not asked, since it has just failed.
    Paused(Error),
    Asked(Error),
}
