//! [`Principal`]: for whom a request is made.

use std::fmt;
use std::sync::Arc;

/// For whom a request is made: the key under which elevation is remembered and step-ups are joined.
///
/// By default it is the value of the request's `authorization` header, so a request without one has no principal: its
/// elevation is neither remembered nor shared. [`MfaLayer::principal`](crate::MfaLayer::principal) sets another, such as a
/// session id, or a tenant and a user.
///
/// Two principals are equal if all their bytes are; there is no hash whose collision could confuse them. `Debug` shows nothing of
/// them, since the default one is a token.
///
/// ```
/// use tower_mfa::Principal;
///
/// assert_eq!(Principal::new("session-17"), Principal::new("session-17"));
/// // parts are kept apart
/// assert_ne!(Principal::of_parts(["ab", "c"]), Principal::of_parts(["a", "bc"]));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    id: Arc<[u8]>,
}

impl Principal {
    /// A principal by an id of its own.
    #[must_use]
    pub fn new(id: impl AsRef<[u8]>) -> Self {
        Self {
            id: id.as_ref().into(),
        }
    }

    /// A principal by several parts, none of which can run into the next.
    #[must_use]
    pub fn of_parts<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut id = Vec::new();
        for part in parts {
            let part = part.as_ref();
            id.extend_from_slice(&part.len().to_be_bytes());
            id.extend_from_slice(part);
        }
        Self { id: id.into() }
    }

    pub(crate) fn id(&self) -> &[u8] {
        &self.id
    }

    pub(crate) fn shared_id(&self) -> Arc<[u8]> {
        Arc::clone(&self.id)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal").finish_non_exhaustive()
    }
}
