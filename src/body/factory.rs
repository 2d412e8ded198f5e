//! [`BodyFactory`]: makes a request's body again, for bodies that are too long to be remembered.

use std::fmt;
use std::sync::Arc;

/// In a request's extensions: the way to make its body again.
///
/// The body is then not remembered while it streams, whatever its length; a retry sends what the function makes. The function has
/// to give the same bytes each time, or the retry is another request. It is called at most once for a request, when the
/// step-up has succeeded.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Full;
/// use tower_mfa::body::BodyFactory;
///
/// // as good as any: a file that is opened again, a query that is run again
/// let export = || Full::new(Bytes::from_static(b"a very long export"));
///
/// let mut request = Request::new(export());
/// request.extensions_mut().insert(BodyFactory::new(export));
/// ```
///
/// The type has to be that of the request's own body, as the layer gets it; a factory for another type is not seen.
pub struct BodyFactory<B> {
    make: Arc<dyn Fn() -> B + Send + Sync>,
}

impl<B> BodyFactory<B> {
    /// A factory from a function. Where making the body can fail, let the body fail when it is read.
    pub fn new(make: impl Fn() -> B + Send + Sync + 'static) -> Self {
        Self {
            make: Arc::new(make),
        }
    }

    pub(super) fn make(&self) -> B {
        (self.make)()
    }
}

impl<B> Clone for BodyFactory<B> {
    fn clone(&self) -> Self {
        Self {
            make: Arc::clone(&self.make),
        }
    }
}

impl<B> fmt::Debug for BodyFactory<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyFactory").finish_non_exhaustive()
    }
}
