//! [`Guard`] and [`GuardLayer`]: one verifier, many policies.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Uri};
use tower_layer::Layer;

use crate::error::ConfigError;
use crate::guard::answer::{Refusal, Wording};
use crate::guard::credentials::{Sent, bearer_token};
use crate::guard::decision::Decision;
use crate::guard::keys::Fetch;
use crate::guard::policy::{Policy, Selected};
use crate::guard::reason::Reason;
use crate::guard::relay::{MfaRequired, Relay};
use crate::guard::requirement::{Requirement, Shortfall};
use crate::guard::service::Guarded;
use crate::guard::token::VerifiedToken;
use crate::guard::verifier::{Verdict, Verifier};

/// Makes layers that demand something of those who call: one for each [`Requirement`], all with the same keys and cache.
///
/// See the [module's page](super) for an example.
#[derive(Clone)]
pub struct Guard {
    config: Config,
}

type OnDecision = Arc<dyn Fn(&Decision<'_>) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Config {
    verifier: Verifier,
    wording: Wording,
    insert_token: bool,
    on_decision: Option<OnDecision>,
    relay: Option<Relay>,
}

impl Guard {
    /// A guard that asks this verifier, with the default settings.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self {
            config: Config {
                verifier,
                wording: Wording::default(),
                insert_token: true,
                on_decision: None,
                relay: None,
            },
        }
    }

    /// A layer that lets requests through which meet this [`Requirement`], or what [`Routes`](super::Routes) or another
    /// [`Policy`] say.
    #[must_use]
    pub fn require(&self, policy: impl Into<Policy>) -> GuardLayer {
        GuardLayer {
            rule: Arc::new(Rule {
                config: self.config.clone(),
                policy: policy.into(),
            }),
        }
    }

    /// The `realm` of every challenge (RFC 9110 section 11.5). Defaults to none.
    ///
    /// # Errors
    ///
    /// If a header cannot carry it.
    pub fn realm(mut self, realm: impl Into<String>) -> Result<Self, ConfigError> {
        let realm = realm.into();
        crate::www_authenticate::Challenge::bearer().with_parameter("realm", &realm)?;
        self.config.wording.realm = Some(realm);
        Ok(self)
    }

    /// The URL of this resource's metadata, in every challenge (RFC 9728 section 5.1). Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is given twice.
    pub fn resource_metadata(mut self, url: &Uri) -> Result<Self, ConfigError> {
        self.config
            .wording
            .add("resource_metadata", &url.to_string())?;
        Ok(self)
    }

    /// One more member of every answer: a parameter of the challenge, and a member of the JSON body. Defaults to none.
    ///
    /// # Errors
    ///
    /// If a header cannot carry it, or the guard sets a member of this name itself.
    pub fn member(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        self.config.wording.add(name, value)?;
        Ok(self)
    }

    /// Whether the [`VerifiedToken`] goes into the request's extensions.
    ///
    /// Defaults to `true`: a handler has to know for whom it acts. A gateway whose upstream reads the token itself saves three
    /// allocations for each request without it.
    #[must_use]
    pub fn insert_token(mut self, insert: bool) -> Self {
        self.config.insert_token = insert;
        self
    }

    /// Is called once for each request, with what was decided. It must not block. Defaults to none.
    #[must_use]
    pub fn on_decision(
        mut self,
        on_decision: impl Fn(&Decision<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.config.on_decision = Some(Arc::new(on_decision));
        self
    }

    /// Answers in the words of Auth0's token endpoint too, for clients that know only those.
    ///
    /// A request whose token is good but not strong, fresh or wide enough gets the same status and the same `WWW-Authenticate` as
    /// ever; its body is not the usual one but what the function gives: the `mfa_required` answer of the authorization server, with
    /// the `mfa_token` that a client steps up by. How to come by one is the application's affair, such as a refresh with the scope
    /// that is missing. With `None`, or after 10 seconds, the body is the usual one. Defaults to none.
    ///
    /// # Cancel safety
    ///
    /// The function's future is dropped with the response future.
    #[must_use]
    pub fn relay_mfa_required<F>(
        mut self,
        relay: impl Fn(VerifiedToken, Shortfall) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Option<MfaRequired>> + Send + 'static,
    {
        self.config.relay = Some(Arc::new(move |token, shortfall| {
            Box::pin(relay(token, shortfall))
        }));
        self
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("verifier", &self.verifier)
            .field("wording", &self.wording)
            .field("insert_token", &self.insert_token)
            .finish_non_exhaustive()
    }
}

/// Lets requests through that meet a requirement, and answers the others; from [`Guard::require`].
#[derive(Clone)]
pub struct GuardLayer {
    rule: Arc<Rule>,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded::new(inner, Arc::clone(&self.rule))
    }
}

impl fmt::Debug for GuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

/// A guard and what it demands here.
#[derive(Debug)]
pub(crate) struct Rule {
    config: Config,
    policy: Policy,
}

/// What becomes of a request. Small, so that it comes back in registers: the other two are in boxes.
pub(crate) enum Outcome {
    /// It goes on.
    Allow(Option<VerifiedToken>),
    /// It is answered here.
    Refuse(Box<Refused>),
    /// Keys are being fetched; ask again then.
    Wait(Box<Fetch>),
}

pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) token: Option<VerifiedToken>,
}

impl Rule {
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Decides by the head of a request, and gives it back. `may_wait` is `false` after keys were fetched for it.
    pub(crate) fn decide<B>(&self, request: Request<B>, may_wait: bool) -> (Request<B>, Outcome) {
        if let Some(outcome) = self.decide_by_reference(&request, may_wait) {
            return (request, outcome);
        }
        let config = &self.config;
        let (parts, body) = request.into_parts();
        let head = Head {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
        };
        let outcome = match self.policy.select(&parts) {
            Ok(Selected::Public) => {
                config.tell(&Decision::new(head.method, head.uri, None));
                Outcome::Allow(None)
            }
            Ok(Selected::Require(requirement)) => config.check(&requirement, head, may_wait),
            Err(reason) => config.refuse(head, reason.into(), None),
        };
        (Request::from_parts(parts, body), outcome)
    }

    /// [`decide`](Self::decide), if the policy is the same for all requests, as most are: a request need not be moved for it.
    pub(crate) fn decide_by_reference<B>(
        &self,
        request: &Request<B>,
        may_wait: bool,
    ) -> Option<Outcome> {
        let requirement = self.policy.fixed()?;
        let head = Head {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        };
        Some(self.config.check(requirement, head, may_wait))
    }
}

/// What of a request is looked at.
#[derive(Clone, Copy)]
struct Head<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
}

impl Config {
    /// The order of the checks is that of guard rule 3: the token, what it is for, its scope, its strength. So a challenge to step
    /// up tells nobody what is needed who has no valid token.
    fn check(&self, requirement: &Requirement, head: Head<'_>, may_wait: bool) -> Outcome {
        let now = self.verifier.now();
        let sent = match bearer_token(head.headers) {
            Ok(sent) => sent,
            Err(reason) => return self.refuse(head, reason.into(), None),
        };
        if self.is_allowed_at_a_glance(requirement, sent, now) {
            self.tell(&Decision::new(head.method, head.uri, None));
            return Outcome::Allow(None);
        }
        match self.verifier.check_seen(sent.bytes(), now) {
            Some(Ok(token)) => self.demand(requirement, head, token, now),
            Some(Err(reason)) => self.refuse(head, reason.into(), None),
            None => self.check_unseen(requirement, head, sent, now, may_wait),
        }
    }

    /// Whether the request goes on, where nobody wants to have its token. `false` says nothing.
    fn is_allowed_at_a_glance(&self, requirement: &Requirement, sent: Sent<'_>, now: u64) -> bool {
        let leeway = self.verifier.leeway_seconds();
        !self.insert_token
            && self.on_decision.is_none()
            && !requirement.has_predicates()
            && self
                .verifier
                .is_good_at_a_glance(sent.bytes(), now, |token| {
                    requirement.check(token, now, leeway).is_ok()
                })
    }

    fn check_unseen(
        &self,
        requirement: &Requirement,
        head: Head<'_>,
        sent: Sent<'_>,
        now: u64,
        may_wait: bool,
    ) -> Outcome {
        let token = match sent.token() {
            Ok(token) => token,
            Err(reason) => return self.refuse(head, reason.into(), None),
        };
        match self.verifier.check_unseen(token, now, may_wait) {
            Verdict::Verified(token) => self.demand(requirement, head, token, now),
            Verdict::Refused(reason) => self.refuse(head, reason.into(), None),
            Verdict::Unavailable(wait) => {
                let refusal = Refusal {
                    reason: Reason::KeysUnavailable,
                    shortfall: None,
                    retry_after: Some(wait),
                };
                self.refuse(head, refusal, None)
            }
            Verdict::Wait(fetch) => Outcome::Wait(Box::new(fetch)),
        }
    }

    /// What is done with a token that is good.
    fn demand(
        &self,
        requirement: &Requirement,
        head: Head<'_>,
        token: VerifiedToken,
        now: u64,
    ) -> Outcome {
        match requirement.check(&token, now, self.verifier.leeway_seconds()) {
            Ok(()) => {
                self.tell(&Decision::new(head.method, head.uri, Some(&token)));
                Outcome::Allow(Some(token).filter(|_| self.insert_token))
            }
            Err(shortfall) => self.refuse(head, shortfall.into(), Some(token)),
        }
    }

    fn refuse(&self, head: Head<'_>, refusal: Refusal, token: Option<VerifiedToken>) -> Outcome {
        self.tell(&Decision::new(head.method, head.uri, token.as_ref()).refused(&refusal));
        Outcome::Refuse(Box::new(Refused { refusal, token }))
    }

    fn tell(&self, decision: &Decision<'_>) {
        let (method, uri) = (decision.method(), decision.uri());
        match decision.reason() {
            None => tracing::trace!(%method, path = uri.path(), "allowed"),
            Some(reason) => {
                tracing::debug!(%method, path = uri.path(), reason = reason.as_str(), "refused");
            }
        }
        if let Some(on_decision) = &self.on_decision {
            on_decision(decision);
        }
    }

    pub(crate) fn wording(&self) -> &Wording {
        &self.wording
    }

    /// The function that may have another body for a refusal.
    pub(crate) fn relay(&self) -> Option<&Relay> {
        self.relay.as_ref()
    }
}
