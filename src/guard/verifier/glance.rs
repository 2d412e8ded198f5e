//! The short way through a [`Verifier`], for what nearly all requests are: a token that was seen before and is good.

use super::{Inner, Verifier};
use crate::guard::token::VerifiedToken;

impl Verifier {
    /// Whether this token was verified before, is good now, and `meets` says yes to it. `false` says nothing: the long way, by
    /// [`check_seen`](Self::check_seen), is to be taken then.
    ///
    /// The token is read where it is stored. To take a part in it costs two atomic operations, on memory that all the threads whose
    /// requests have this token write to. But the cache is locked meanwhile: `meets` must not run code of the application, which
    /// may come back here, and so a verifier with a revocation list says `false`.
    pub(crate) fn is_good_at_a_glance(
        &self,
        token: &[u8],
        now: u64,
        meets: impl FnOnce(&VerifiedToken) -> bool,
    ) -> bool {
        let Inner {
            settings, cache, ..
        } = &*self.inner;
        let is_good = settings.is_revoked.is_none()
            && cache
                .look(token, |verified| {
                    verified.is_by_present_key()
                        && verified.fields().check_times(now, settings.leeway).is_ok()
                        && meets(verified)
                })
                .unwrap_or_default();
        if is_good {
            // as on the long way
            settings.keys.keep_fresh(now);
        }
        is_good
    }
}
