//! [`RequestHead`]: the head of the request that was refused, as code providers and dialects see it.

use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Uri};

/// The head of the request that was refused, headers that carry codes included. Cloning is cheap.
///
/// `Debug` shows the method and the path, and nothing that could be a secret.
#[derive(Clone)]
pub struct RequestHead {
    inner: Arc<Inner>,
}

struct Inner {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
}

impl RequestHead {
    /// The head of a request.
    #[must_use]
    pub fn new<B>(request: &http::Request<B>) -> Self {
        Self::from_parts(
            request.method().clone(),
            request.uri().clone(),
            request.headers().clone(),
            request.extensions().clone(),
        )
    }

    pub(crate) fn from_parts(
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        extensions: Extensions,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                method,
                uri,
                headers,
                extensions,
            }),
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.inner.method
    }

    /// The URI, as the layer got it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.inner.uri
    }

    /// The headers, as the layer got them.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.inner.headers
    }

    /// The extensions, as the layer got them.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.inner.extensions
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.inner.method)
            .field("path", &self.inner.uri.path())
            .finish_non_exhaustive()
    }
}
