//! [`Challenge`], [`Factor`] and [`Authenticator`]: what the user is asked.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::request::RequestHead;

/// A kind of second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Factor {
    /// A code by email.
    Email,
    /// A one-time password from an authenticator app (RFC 6238) or a key fob.
    Otp,
    /// An approval on a device; there is no code to type.
    Push,
    /// One of the codes that were printed at enrollment. It is dead once used, and a new one comes back.
    RecoveryCode,
    /// A code by text message.
    Sms,
    /// A code spoken in a phone call.
    Voice,
}

impl Factor {
    /// The factor's name, as logs show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Otp => "otp",
            Self::Push => "push",
            Self::RecoveryCode => "recovery-code",
            Self::Sms => "sms",
            Self::Voice => "voice",
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A factor that the user has enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticator {
    id: String,
    factor: Factor,
    name: Option<String>,
}

impl Authenticator {
    /// An authenticator by the id that the authorization server gave it.
    #[must_use]
    pub fn new(id: impl Into<String>, factor: Factor) -> Self {
        Self {
            id: id.into(),
            factor,
            name: None,
        }
    }

    /// Sets the masked name of the destination.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The id that the authorization server gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The kind of factor.
    #[must_use]
    pub fn factor(&self) -> Factor {
        self.factor
    }

    /// The masked destination (`XXXXXXXXX9167`) or the device's name, if the server gave one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// How an answer gets back to the authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingMethod {
    /// Nothing is typed: the user approves on the device, the client polls.
    None,
    /// The user types the code they got.
    Prompt,
    /// A number is shown here, and the user picks it on the device; the client polls.
    Transfer,
}

/// Why the last code was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeRejection {
    /// No code was given.
    Empty,
    /// The code came too late; a new one has been sent.
    Expired,
    /// The code was wrong, or used before.
    Wrong,
}

impl fmt::Display for CodeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no code was given",
            Self::Expired => "the code came too late; a new one has been sent",
            Self::Wrong => "the code was wrong",
        })
    }
}

/// What the user is asked: everything a prompt needs to show. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Challenge {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
struct Inner {
    factor: Factor,
    destination: Option<String>,
    binding_method: BindingMethod,
    attempt: u32,
    max_attempts: u32,
    last_rejection: Option<CodeRejection>,
    expires_at: Option<SystemTime>,
    number: Option<String>,
    request: RequestHead,
}

impl Challenge {
    /// A first challenge for a factor, on behalf of a request. Dialects build it; the attempt is filled in when
    /// [`Context::ask`](crate::dialect::Context::ask) asks.
    #[must_use]
    pub fn new(factor: Factor, request: RequestHead) -> Self {
        let binding_method = match factor {
            Factor::Push => BindingMethod::None,
            _ => BindingMethod::Prompt,
        };
        Self {
            inner: Arc::new(Inner {
                factor,
                destination: None,
                binding_method,
                attempt: 1,
                max_attempts: 1,
                last_rejection: None,
                expires_at: None,
                number: None,
                request,
            }),
        }
    }

    fn edit(mut self, edit: impl FnOnce(&mut Inner)) -> Self {
        edit(Arc::make_mut(&mut self.inner));
        self
    }

    /// Sets the masked destination.
    #[must_use]
    pub fn with_destination(self, destination: Option<String>) -> Self {
        self.edit(|inner| inner.destination = destination)
    }

    /// Sets how the answer gets back.
    #[must_use]
    pub fn with_binding_method(self, method: BindingMethod) -> Self {
        self.edit(|inner| inner.binding_method = method)
    }

    /// Sets when the challenge ends.
    #[must_use]
    pub fn with_expires_at(self, expires_at: Option<SystemTime>) -> Self {
        self.edit(|inner| inner.expires_at = expires_at)
    }

    /// Sets the number that the user picks on the device.
    #[must_use]
    pub fn with_number(self, number: Option<String>) -> Self {
        self.edit(|inner| inner.number = number)
    }

    pub(crate) fn with_attempt(self, attempt: u32, max: u32, last: Option<CodeRejection>) -> Self {
        self.edit(|inner| {
            inner.attempt = attempt;
            inner.max_attempts = max;
            inner.last_rejection = last;
        })
    }

    /// The kind of factor.
    #[must_use]
    pub fn factor(&self) -> Factor {
        self.inner.factor
    }

    /// Where the code or the approval went, masked by the server (`XXXXXXXXX9167`), if it said.
    #[must_use]
    pub fn destination(&self) -> Option<&str> {
        self.inner.destination.as_deref()
    }

    /// How the answer gets back.
    #[must_use]
    pub fn binding_method(&self) -> BindingMethod {
        self.inner.binding_method
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.attempt
    }

    /// How many attempts there are, this one counted; 1 where nothing is typed.
    #[must_use]
    pub fn attempts_left(&self) -> u32 {
        (self.inner.max_attempts + 1).saturating_sub(self.inner.attempt)
    }

    /// Why the last code was not accepted; `None` on the first attempt.
    #[must_use]
    pub fn last_rejection(&self) -> Option<CodeRejection> {
        self.inner.last_rejection
    }

    /// When the challenge ends, as far as the server said or the dialect knows.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.inner.expires_at
    }

    /// The number that the user picks on the device, with [`BindingMethod::Transfer`].
    #[must_use]
    pub fn number(&self) -> Option<&str> {
        self.inner.number.as_deref()
    }

    /// The head of the request that was refused.
    #[must_use]
    pub fn request(&self) -> &RequestHead {
        &self.inner.request
    }
}
