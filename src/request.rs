//! [`RequestHead`]: the head of the request that was refused, as code providers and dialects see it; [`RefusedHead`], as the layer does.

use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, request};

use crate::kept::RestoredHead;

/// The head of the request that was refused, headers that carry codes included. Cloning is cheap.
///
/// `Debug` shows the method and the path, and nothing that could be a secret.
#[derive(Clone)]
pub struct RequestHead {
    inner: Arc<request::Parts>,
}

impl RequestHead {
    /// The head of a request.
    #[must_use]
    pub fn new<B>(request: &http::Request<B>) -> Self {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = request.method().clone();
        head.uri = request.uri().clone();
        head.version = request.version();
        head.headers = request.headers().clone();
        head.extensions = request.extensions().clone();
        Self {
            inner: Arc::new(head),
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

/// The head of a refused request: judged, shown to whoever asks, and sent again. It is moved from one to the next, and cloned only if
/// somebody still has it.
pub(crate) struct RefusedHead {
    request: RequestHead,
    /// The head as the service gets it, if the request had headers that carry codes.
    without_codes: Option<Box<request::Parts>>,
    /// The elevated token that the attempt carried in place of the request's own.
    pub(crate) elevated: Option<HeaderValue>,
}

impl RefusedHead {
    pub(crate) fn new(restored: RestoredHead, codes: Option<&HeaderMap>) -> Self {
        let RestoredHead { head, elevated } = restored;
        let (shown, without_codes) = match codes {
            None => (head, None),
            Some(codes) => {
                let mut shown = head.clone();
                shown.headers.extend(codes.clone());
                (shown, Some(head))
            }
        };
        Self {
            request: RequestHead {
                inner: shown.into(),
            },
            without_codes,
            elevated,
        }
    }

    /// The head as the layer got it, headers that carry codes included.
    pub(crate) fn request(&self) -> &RequestHead {
        &self.request
    }

    /// The head as the service gets it.
    pub(crate) fn parts(&self) -> &request::Parts {
        self.without_codes.as_deref().unwrap_or(&self.request.inner)
    }

    pub(crate) fn into_parts(self) -> request::Parts {
        match self.without_codes {
            Some(head) => *head,
            None => Arc::unwrap_or_clone(self.request.inner),
        }
    }

    pub(crate) fn into_restored(mut self) -> RestoredHead {
        RestoredHead {
            elevated: self.elevated.take(),
            head: Box::new(self.into_parts()),
        }
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
