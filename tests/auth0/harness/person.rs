//! [`Person`]: a code provider with scripted answers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_mfa::{
    Authenticator, BoxError, Challenge, Code, CodeError, CodeProvider, Factor, RequestHead, Secret,
    testing::AuthorizationServer,
};

use super::lock;

/// What a person answers to one challenge.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The code they see now.
    Right,
    /// The code they see now, typed in after a while.
    Late(Duration),
    /// This code.
    Code(&'static str),
    /// This recovery code, whatever was asked for.
    Recovery(&'static str),
    /// No code.
    Error(CodeError),
    /// Nothing, ever.
    Never,
}

/// A person with scripted answers, who remembers what they were asked. Without a script they answer right.
#[derive(Clone)]
pub(crate) struct Person {
    server: AuthorizationServer,
    mind: Arc<Mind>,
}

#[derive(Default)]
struct Mind {
    replies: Mutex<VecDeque<Reply>>,
    factors: Mutex<Option<Vec<Factor>>>,
    choice: Mutex<Option<usize>>,
    cancels_after: Mutex<Option<Duration>>,
    challenges: Mutex<Vec<Challenge>>,
    approvals: Mutex<Vec<Challenge>>,
    offered: Mutex<Vec<Vec<Authenticator>>>,
    recovery_codes: Mutex<Vec<String>>,
}

impl Person {
    pub(super) fn new(server: &AuthorizationServer) -> Self {
        Self {
            server: server.clone(),
            mind: Arc::default(),
        }
    }

    pub(crate) fn replies<const N: usize>(&self, replies: [Reply; N]) {
        lock(&self.mind.replies).extend(replies);
    }

    /// Has these factors only.
    pub(crate) fn has(&self, factors: impl Into<Vec<Factor>>) {
        *lock(&self.mind.factors) = Some(factors.into());
    }

    /// Wants to choose, and takes the one at this place.
    pub(crate) fn chooses(&self, place: usize) {
        *lock(&self.mind.choice) = Some(place);
    }

    /// Presses "cancel" when they have waited this long for an approval.
    pub(crate) fn cancels_after(&self, wait: Duration) {
        *lock(&self.mind.cancels_after) = Some(wait);
    }

    /// The challenges that asked for a code.
    pub(crate) fn challenges(&self) -> Vec<Challenge> {
        lock(&self.mind.challenges).clone()
    }

    pub(crate) fn prompts(&self) -> usize {
        lock(&self.mind.challenges).len()
    }

    /// The challenges that waited for an approval.
    pub(crate) fn approvals(&self) -> Vec<Challenge> {
        lock(&self.mind.approvals).clone()
    }

    /// The lists they could choose from.
    pub(crate) fn offered(&self) -> Vec<Vec<Authenticator>> {
        lock(&self.mind.offered).clone()
    }

    /// The new recovery codes they were given.
    pub(crate) fn recovery_codes(&self) -> Vec<String> {
        lock(&self.mind.recovery_codes).clone()
    }

    fn right(&self, factor: Factor) -> Code {
        let code = match factor {
            Factor::Otp => self.server.totp("alice"),
            Factor::RecoveryCode => self.server.recovery_code("alice"),
            _ => self.server.outbox().code("alice"),
        };
        Code::from(code.unwrap())
    }
}

impl CodeProvider for Person {
    async fn code(&self, challenge: Challenge) -> Result<Code, CodeError> {
        let factor = challenge.factor();
        lock(&self.mind.challenges).push(challenge);
        let reply = lock(&self.mind.replies).pop_front();
        match reply.unwrap_or(Reply::Right) {
            Reply::Right => Ok(self.right(factor)),
            Reply::Late(wait) => {
                let code = self.right(factor);
                tokio::time::sleep(wait).await;
                Ok(code)
            }
            Reply::Code(code) => Ok(Code::new(code)),
            Reply::Recovery(code) => Ok(Code::recovery(code)),
            Reply::Error(error) => Err(error),
            Reply::Never => std::future::pending().await,
        }
    }

    fn supports(&self, factor: Factor, _request: &RequestHead) -> bool {
        lock(&self.mind.factors)
            .as_ref()
            .is_none_or(|factors| factors.contains(&factor))
    }

    fn wants_to_choose(&self) -> bool {
        lock(&self.mind.choice).is_some()
    }

    async fn choose(
        &self,
        authenticators: Vec<Authenticator>,
        _request: RequestHead,
    ) -> Result<usize, CodeError> {
        lock(&self.mind.offered).push(authenticators);
        lock(&self.mind.choice).ok_or(CodeError::Declined)
    }

    async fn awaiting_approval(&self, challenge: Challenge) -> Result<(), CodeError> {
        lock(&self.mind.approvals).push(challenge);
        let wait = *lock(&self.mind.cancels_after);
        match wait {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Err(CodeError::Declined)
            }
            None => Ok(()),
        }
    }

    async fn new_recovery_code(&self, code: Secret) -> Result<(), BoxError> {
        lock(&self.mind.recovery_codes).push(code.expose().to_owned());
        Ok(())
    }
}
