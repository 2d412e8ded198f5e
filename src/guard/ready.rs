//! [`ReadyAnswers`]: answers that are the same each time, made once.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use http::Response;

use crate::guard::reason::Reason;

/// How many reasons there are. One that is not among the first so many is answered all the same, only not from here.
const REASONS: usize = Reason::WrongType as usize + 1;

/// What refused requests were answered, by the reason: to write challenge and body takes as long as to read a token.
///
/// A clone has no answers, so that it can be given other words.
#[derive(Default)]
pub(crate) struct ReadyAnswers {
    answers: [OnceLock<Response<Bytes>>; REASONS],
}

impl ReadyAnswers {
    /// The answer for this reason, which `make` makes the first time.
    pub(crate) fn get(
        &self,
        reason: Reason,
        make: impl FnOnce() -> Response<Bytes>,
    ) -> Response<Bytes> {
        match self.answers.get(reason as usize) {
            Some(answer) => answer.get_or_init(make).clone(),
            None => make(),
        }
    }
}

impl Clone for ReadyAnswers {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for ReadyAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyAnswers").finish_non_exhaustive()
    }
}
