//! [`Outbox`]: the messages the server would have sent.

use std::fmt;

use super::server::AuthorizationServer;

/// How a message reaches a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Channel {
    /// An e-mail.
    Email,
    /// A text message.
    Sms,
    /// A call.
    Voice,
}

impl Channel {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Voice => "voice",
        }
    }
}

/// A message with a code. `Debug` hides the code.
#[derive(Clone)]
pub struct Message {
    pub(super) channel: Channel,
    pub(super) user: String,
    pub(super) to: String,
    pub(super) code: String,
}

impl Message {
    /// How it was sent.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        self.channel
    }

    /// The name of the user it was sent to.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The number or address it was sent to.
    #[must_use]
    pub fn to(&self) -> &str {
        &self.to
    }

    /// The code in it.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut message = f.debug_struct("Message");
        message
            .field("channel", &self.channel)
            .field("user", &self.user)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// The messages the server would have sent, oldest first.
///
/// `whom` is a user's name, or a number or address. Clones show the same messages.
#[derive(Clone, Debug)]
pub struct Outbox {
    server: AuthorizationServer,
}

impl Outbox {
    pub(super) const fn new(server: AuthorizationServer) -> Self {
        Self { server }
    }

    /// All messages.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.server.state().messages.clone()
    }

    /// The newest message to somebody.
    #[must_use]
    pub fn last(&self, whom: &str) -> Option<Message> {
        self.server
            .state()
            .messages
            .iter()
            .rfind(|message| message.is_to(whom))
            .cloned()
    }

    /// The code in the newest message to somebody.
    #[must_use]
    pub fn code(&self, whom: &str) -> Option<String> {
        self.last(whom).map(|message| message.code)
    }

    /// How many messages went to somebody.
    #[must_use]
    pub fn count(&self, whom: &str) -> usize {
        self.server
            .state()
            .messages
            .iter()
            .filter(|message| message.is_to(whom))
            .count()
    }

    /// How many messages there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.server.state().messages.len()
    }

    /// Whether nothing was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all messages; their codes stay valid.
    pub fn clear(&self) {
        self.server.state().messages.clear();
    }
}

impl Message {
    fn is_to(&self, whom: &str) -> bool {
        self.user == whom || self.to == whom
    }
}
