//! One prompt among several instances: a store holds what one of them has got, and a lease says which one prompts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use http::HeaderValue;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use crate::elevation::{Elevation, usable_until};
use crate::error::{BoxError, StepUpError};
use crate::layer::Config;
use crate::met::Met;
use crate::step_up::Asked;
use crate::store::{ErasedStore, StoreKey, StoredToken};
use crate::token::{AccessToken, Secret};

/// How long a store may take; a person is waiting.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an instance that died holds the others up.
const LEASE: Duration = Duration::from_secs(10);
/// How often the lease is renewed while a person types: twice may fail.
const RENEWAL: Duration = Duration::from_secs(3);
/// How often an instance looks whether another one has got the token: unnoticed by a person, and little for a store.
const LOOK: Duration = Duration::from_millis(250);

/// Where a demand was met.
pub(crate) enum Elsewhere {
    /// By another instance, or earlier.
    Met(Met),
    /// By this one.
    Here(Result<Met, StepUpError>),
}

/// Meets a demand by what another instance has got, or by prompting as the only one of them. Without the store it prompts.
pub(crate) async fn meet(
    store: &Arc<dyn ErasedStore>,
    key: &StoreKey,
    config: &Config,
    asked: &Asked,
    prompt: impl Future<Output = Result<Met, StepUpError>> + Send,
) -> Elsewhere {
    let shared = Shared { store, key, config };
    match shared.wait(asked).await {
        Ok(Some(met)) => {
            config.store_works();
            Elsewhere::Met(met)
        }
        Ok(None) => {
            let result = shared.renewing(prompt).await;
            let put = match &result {
                Ok(met) if asked.is_for_others(config) => shared.put(met).await,
                _ => true,
            };
            if shared.release().await && put {
                config.store_works();
            }
            Elsewhere::Here(result)
        }
        Err(error) => {
            config.store_failed(&error);
            let hangs = error.is::<Elapsed>();
            let result = prompt.await;
            // what could not be read is replaced, or it would be in the way until its time ends
            if let Ok(met) = &result
                && !hangs
                && asked.is_for_others(config)
            {
                shared.put(met).await;
            }
            Elsewhere::Here(result)
        }
    }
}

/// Gives the lease of a step-up back that ended before its time, if it had it.
pub(crate) async fn give_up(store: &Arc<dyn ErasedStore>, key: &StoreKey, config: &Config) {
    Shared { store, key, config }.release().await;
}

/// Takes what this process has forgotten out of the store.
pub(crate) async fn forget(config: &Config, elevation: &Elevation) {
    let Some(store) = &config.store else { return };
    let removed = within(store.remove(&elevation.key(), &bearer(&elevation.authorization))).await;
    if let Err(error) = removed {
        config.store_failed(&error);
    }
}

/// The token of an `authorization` that this crate made.
fn bearer(authorization: &HeaderValue) -> Secret {
    let value = authorization.to_str().unwrap_or_default();
    Secret::new(value.strip_prefix("Bearer ").unwrap_or(value))
}

struct Shared<'a> {
    store: &'a Arc<dyn ErasedStore>,
    key: &'a StoreKey,
    config: &'a Config,
}

impl Shared<'_> {
    /// Waits for a token of another instance, or for the lease.
    async fn wait(&self, asked: &Asked) -> Result<Option<Met>, BoxError> {
        loop {
            if let Some(met) = self.look(asked).await? {
                return Ok(Some(met));
            }
            if self.lease().await? {
                // its holder may have put a token between the look and the lease
                let met = self.look(asked).await?;
                if met.is_some() {
                    self.release().await;
                }
                return Ok(met);
            }
            sleep(LOOK).await;
        }
    }

    /// Takes or renews the lease.
    async fn lease(&self) -> Result<bool, BoxError> {
        within(self.store.lease(self.key, &self.config.lease, LEASE)).await
    }

    /// Looks for a token that is worth a try; one that was refused just now is removed.
    async fn look(&self, asked: &Asked) -> Result<Option<Met>, BoxError> {
        let Some(stored) = within(self.store.get(self.key)).await? else {
            return Ok(None);
        };
        let now = self.config.clock.now();
        let until = usable_until(Some(stored.expires_at()), now);
        let token = AccessToken::new(stored.token().clone(), Some(stored.expires_at()));
        match token.to_header_value() {
            // it stays until there is a new one
            Some(value) if asked.is_another_users(&value) => Ok(None),
            Some(value) if until > now && asked.is_news(&value) => {
                Ok(Some(Met::by_token(value).ending_at(stored.expires_at())))
            }
            _ => {
                within(self.store.remove(self.key, stored.token())).await?;
                Ok(None)
            }
        }
    }

    /// Prompts, and keeps the lease meanwhile.
    async fn renewing<T>(&self, prompt: impl Future<Output = T> + Send) -> T {
        let renewal = async {
            loop {
                sleep(RENEWAL).await;
                if let Err(error) = self.lease().await {
                    self.config.store_failed(&error);
                }
            }
        };
        let (prompt, renewal) = (std::pin::pin!(prompt), std::pin::pin!(renewal));
        match select(prompt, renewal).await {
            Either::Left((result, _)) => result,
            Either::Right((never, _)) => never,
        }
    }

    /// Puts a token, and says whether the store took it.
    async fn put(&self, met: &Met) -> bool {
        let Some((authorization, expires_at)) = met.token() else {
            return true;
        };
        let now = self.config.clock.now();
        let until = usable_until(expires_at, now);
        let Ok(life) = until.duration_since(now) else {
            return true;
        };
        let stored = StoredToken::new(bearer(authorization), expires_at.unwrap_or(until));
        self.is_done(&within(self.store.put(self.key, &stored, life)).await)
    }

    /// Gives the lease back, and says whether the store took it.
    async fn release(&self) -> bool {
        self.is_done(&within(self.store.release(self.key, &self.config.lease)).await)
    }

    fn is_done(&self, result: &Result<(), BoxError>) -> bool {
        if let Err(error) = result {
            self.config.store_failed(error);
        }
        result.is_ok()
    }
}

/// An operation of the store, for as long as it may take.
async fn within<T>(operation: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    match timeout(STORE_TIMEOUT, operation).await {
        Ok(result) => result,
        Err(elapsed) => Err(elapsed.into()),
    }
}
