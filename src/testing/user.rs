//! [`User`]: who logs in, and the factors enrolled for them.

use std::{fmt, time::SystemTime};

use super::{keys::unix, outbox::Channel};

/// A user of the server: a name, a password, and factors in the order of their enrolment.
///
/// Where a challenge names no authenticator, the first confirmed factor that fits is used.
#[derive(Clone)]
pub struct User {
    pub(super) name: String,
    pub(super) password: String,
    pub(super) factors: Vec<Enrolled>,
}

/// One factor of one user.
#[derive(Clone)]
pub(super) struct Enrolled {
    /// Empty until the server takes the user over and numbers it.
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) active: bool,
    /// The `mfa_token` under which an unconfirmed factor was enrolled, and may be confirmed.
    pub(super) pending: Option<String>,
}

#[derive(Clone)]
pub(super) enum Kind {
    Totp {
        secret: String,
        used_step: Option<u64>,
    },
    Message {
        channel: Channel,
        to: String,
    },
    Push {
        device: String,
    },
    Recovery {
        code: String,
    },
}

impl User {
    /// A user without factors.
    #[must_use]
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
            factors: Vec::new(),
        }
    }

    /// Adds an authenticator app with this secret (base32): SHA-1, six digits, 30 seconds.
    ///
    /// A secret that is not base32 makes a factor whose codes are all wrong.
    #[must_use]
    pub fn totp(self, secret_base32: impl Into<String>) -> Self {
        self.factor(Kind::Totp {
            secret: secret_base32.into(),
            used_step: None,
        })
    }

    /// Adds a phone that gets codes by SMS.
    #[must_use]
    pub fn sms(self, number: impl Into<String>) -> Self {
        self.factor(Kind::Message {
            channel: Channel::Sms,
            to: number.into(),
        })
    }

    /// Adds a phone that gets codes by a call.
    #[must_use]
    pub fn voice(self, number: impl Into<String>) -> Self {
        self.factor(Kind::Message {
            channel: Channel::Voice,
            to: number.into(),
        })
    }

    /// Adds an address that gets codes by e-mail.
    #[must_use]
    pub fn email(self, address: impl Into<String>) -> Self {
        self.factor(Kind::Message {
            channel: Channel::Email,
            to: address.into(),
        })
    }

    /// Adds a device that gets push notifications.
    #[must_use]
    pub fn push(self, device: impl Into<String>) -> Self {
        self.factor(Kind::Push {
            device: device.into(),
        })
    }

    /// Adds a recovery code.
    #[must_use]
    pub fn recovery_code(self, code: impl Into<String>) -> Self {
        self.factor(Kind::Recovery { code: code.into() })
    }

    /// Makes the factor added last an unconfirmed one: listed, but never challenged.
    #[must_use]
    pub fn inactive(mut self) -> Self {
        if let Some(last) = self.factors.last_mut() {
            last.active = false;
        }
        self
    }

    /// The `sub` claim of this user's tokens.
    #[must_use]
    pub fn sub(&self) -> String {
        sub(&self.name)
    }

    fn factor(mut self, kind: Kind) -> Self {
        self.factors.push(Enrolled {
            id: String::new(),
            kind,
            active: true,
            pending: None,
        });
        self
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Enrolled> {
        self.factors.iter().filter(|factor| factor.active)
    }
}

impl Enrolled {
    /// Whether a code of this factor counts under an `mfa_token`: it is confirmed, or being confirmed by this very token.
    pub(super) fn usable(&self, mfa_token: &str, used: &[String]) -> bool {
        (self.active || self.pending.as_deref() == Some(mfa_token)) && !used.contains(&self.id)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("factors", &self.factors)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut factor = f.debug_struct(self.kind.prefix());
        factor
            .field("id", &self.id)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

/// The `sub` of the user with this name.
pub(super) fn sub(name: &str) -> String {
    format!("auth0|{name}")
}

impl Kind {
    /// What the authenticator's id starts with.
    pub(super) const fn prefix(&self) -> &'static str {
        match self {
            Self::Totp { .. } => "totp",
            Self::Message { channel, .. } => channel.as_str(),
            Self::Push { .. } => "push",
            Self::Recovery { .. } => "recovery-code",
        }
    }

    /// `authenticator_type` on the wire.
    pub(super) const fn authenticator_type(&self) -> &'static str {
        match self {
            Self::Totp { .. } => "otp",
            Self::Message { .. } | Self::Push { .. } => "oob",
            Self::Recovery { .. } => "recovery-code",
        }
    }

    /// `type` on the wire, where requirements are customized.
    pub(super) const fn requirement(&self) -> &'static str {
        match self {
            Self::Totp { .. } => "otp",
            Self::Message {
                channel: Channel::Email,
                ..
            } => "email",
            Self::Message { .. } => "phone",
            Self::Push { .. } => "push-notification",
            Self::Recovery { .. } => "recovery-code",
        }
    }

    pub(super) const fn oob_channel(&self) -> Option<&'static str> {
        match self {
            Self::Message { channel, .. } => Some(channel.as_str()),
            Self::Push { .. } => Some("auth0"),
            Self::Totp { .. } | Self::Recovery { .. } => None,
        }
    }

    /// The method for the `amr` claim, by the names of RFC 8176.
    pub(super) const fn method(&self) -> &'static str {
        match self {
            Self::Message {
                channel: Channel::Sms,
                ..
            } => "sms",
            Self::Message {
                channel: Channel::Voice,
                ..
            } => "tel",
            Self::Push { .. } => "swk",
            Self::Totp { .. } | Self::Message { .. } | Self::Recovery { .. } => "otp",
        }
    }

    /// The name shown to the user: masked, so that a list does not give numbers away.
    pub(super) fn label(&self) -> Option<String> {
        match self {
            Self::Message {
                channel: Channel::Email,
                to,
            } => {
                let (local, domain) = to.split_once('@').unwrap_or((to, ""));
                let local = if local.chars().count() > 4 {
                    mask_after(local, 4)
                } else {
                    mask_after(local, 0)
                };
                Some(format!("{local}@{}", mask_after(domain, 4)))
            }
            Self::Message { to, .. } => {
                let hidden = to.chars().count().saturating_sub(4);
                Some(
                    to.chars()
                        .enumerate()
                        .map(|(at, c)| if at < hidden { 'X' } else { c })
                        .collect(),
                )
            }
            Self::Push { device } if !device.is_empty() => Some(device.clone()),
            Self::Push { .. } | Self::Totp { .. } | Self::Recovery { .. } => None,
        }
    }
}

fn mask_after(text: &str, shown: usize) -> String {
    text.chars()
        .enumerate()
        .map(|(at, c)| if at < shown { c } else { '*' })
        .collect()
}

/// The code an authenticator app with this secret shows, and the number of its 30-second step.
pub(super) fn totp(secret_base32: &str, at: SystemTime) -> Option<(String, u64)> {
    let secret: String = secret_base32
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '=')
        .collect();
    let secret = totp_rs::Secret::try_from_base32(secret.to_ascii_uppercase()).ok()?;
    let app = totp_rs::Builder::new()
        .with_secret(secret)
        .build_noncompliant();
    let seconds = unix(at);
    Some((app.generate(seconds).to_string(), seconds / 30))
}
