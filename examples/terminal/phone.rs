//! [`WithPhone`]: the user's phone, played by the authorization server of this process. A real tool has no such thing.

use http::HeaderName;
use tower_mfa::testing::AuthorizationServer;
use tower_mfa::{
    Authenticator, BoxError, Challenge, Code, CodeError, CodeProvider, Factor, RequestHead, Secret,
};

/// Shows what the phone shows, then asks the provider inside.
pub(crate) struct WithPhone<P> {
    server: AuthorizationServer,
    inner: P,
}

impl<P> WithPhone<P> {
    pub(crate) fn new(server: AuthorizationServer, inner: P) -> Self {
        Self { server, inner }
    }

    fn show(&self, factor: Factor) {
        let (what, code) = match factor {
            Factor::Otp => ("your phone shows", self.server.totp("alice")),
            Factor::RecoveryCode => ("your note says", self.server.recovery_code("alice")),
            _ => ("your phone shows", self.server.outbox().code("alice")),
        };
        eprintln!("[demo] {what}: {}", code.unwrap_or_default());
    }
}

impl<P: CodeProvider> CodeProvider for WithPhone<P> {
    async fn code(&self, challenge: Challenge) -> Result<Code, CodeError> {
        self.show(challenge.factor());
        self.inner.code(challenge).await
    }

    async fn awaiting_approval(&self, challenge: Challenge) -> Result<(), CodeError> {
        eprintln!("[demo] your phone asks, and you will press \"approve\" in a few seconds");
        self.inner.awaiting_approval(challenge).await
    }

    // a wrapper has to hand on all that the inner provider can do

    fn supports(&self, factor: Factor, request: &RequestHead) -> bool {
        self.inner.supports(factor, request)
    }

    fn wants_to_choose(&self) -> bool {
        self.inner.wants_to_choose()
    }

    async fn choose(
        &self,
        authenticators: Vec<Authenticator>,
        request: RequestHead,
    ) -> Result<usize, CodeError> {
        self.inner.choose(authenticators, request).await
    }

    async fn new_recovery_code(&self, code: Secret) -> Result<(), BoxError> {
        self.inner.new_recovery_code(code).await
    }

    fn code_headers(&self) -> Vec<HeaderName> {
        self.inner.code_headers()
    }
}
