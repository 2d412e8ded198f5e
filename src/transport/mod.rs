//! [`Transport`]: how a dialect reaches the authorization server.

#[cfg(feature = "client")]
mod early;
#[cfg(feature = "client")]
mod https;
#[cfg(all(test, feature = "client"))]
mod wire;

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use crate::error::{BoxError, Kind, StepUpError};

/// How long one call may take. An authorization server answers within a second; a person is never waited for inside a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How large an answer may be. Token answers are a few KiB; the list of authenticators is the longest that is real.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

type Erased =
    BoxCloneSyncService<Request<RequestBody>, Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;
type OpenAhead = Arc<dyn Fn(&Uri) + Send + Sync>;

/// The way to the authorization server: any tower service that speaks HTTP.
///
/// With feature `client` the default is [`https`](Self::https). Give your own with [`new`](Self::new) for a proxy, private
/// roots, mutual TLS, or an authorization server in process. Cloning is cheap and shares connections.
///
/// Every call has a timeout of 10 seconds and reads at most 64 KiB. Redirects are not followed here, and must not be followed
/// by a service given to [`new`](Self::new): they would carry codes and tokens to a place that nobody configured.
///
/// ```
/// use http::{Request, Response, Uri};
/// use tower_mfa::transport::{RequestBody, Transport};
///
/// // an authorization server in process
/// let server = tower::service_fn(|_request: Request<RequestBody>| async {
///     Ok::<_, std::io::Error>(Response::new("{}".to_owned()))
/// });
/// let transport = Transport::new(server);
/// # let _ = transport;
/// ```
#[derive(Clone)]
pub struct Transport {
    service: Option<Erased>,
    open_ahead: Option<OpenAhead>,
}

impl Transport {
    /// A transport over a service of your own.
    ///
    /// ```
    /// use tower_mfa::transport::{RequestBody, Transport};
    ///
    /// # fn main() -> Result<(), reqwest::Error> {
    /// // over reqwest
    /// let client = reqwest::Client::builder()
    ///     .redirect(reqwest::redirect::Policy::none())
    ///     .build()?;
    /// let transport = Transport::new(tower::service_fn(move |request: http::Request<RequestBody>| {
    ///     let client = client.clone();
    ///     async move {
    ///         let request = reqwest::Request::try_from(request.map(RequestBody::into_bytes))?;
    ///         client.execute(request).await.map(http::Response::from)
    ///     }
    /// }));
    /// # let _ = transport;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<S, R>(service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        R: Body + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let service = service
            .map_err(Into::into)
            .map_response(|response: Response<R>| {
                response.map(|body| {
                    // limited here, where the body's type is known: `Limited` of an erased body is not seen to be `Send`
                    Limited::new(body, MAX_ANSWER_BYTES)
                        .map_frame(|frame| {
                            frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
                        })
                        .boxed_unsync()
                })
            });
        Self {
            service: Some(BoxCloneSyncService::new(service)),
            open_ahead: None,
        }
    }

    /// A pooled HTTP/1.1 and HTTP/2 client over TLS (rustls, with the roots that Mozilla trusts).
    #[cfg(feature = "client")]
    #[cfg_attr(docsrs, doc(cfg(feature = "client")))]
    #[must_use]
    pub fn https() -> Self {
        https::transport().unwrap_or_else(Self::none)
    }

    /// No way at all: every call fails and says what to do.
    pub(crate) fn none() -> Self {
        Self {
            service: None,
            open_ahead: None,
        }
    }

    #[cfg(feature = "guard")]
    pub(crate) const fn is_none(&self) -> bool {
        self.service.is_none()
    }

    /// Opens a connection to the host of a URI, for the next call to use; no request is sent, and nothing is waited for.
    ///
    /// Only [`https`](Self::https) can do this; with a service given to [`new`](Self::new), and outside a Tokio runtime, nothing
    /// happens. Nor does it while there is a connection already.
    ///
    /// At most one is held, for 8 seconds: servers close a connection without a request after 10 seconds and more. If it was not
    /// used, none is opened for 30 seconds, the next time for a minute, and so on to 64 minutes: what is refused for other reasons
    /// must not cost the server a connection each time.
    pub fn open_ahead(&self, uri: &Uri) {
        if let Some(open_ahead) = &self.open_ahead {
            open_ahead(uri);
        }
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// [`StepUpError::is_transport`] if there is no answer within 10 seconds, none at all, or one of more than 64 KiB.
    pub async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Bytes>, StepUpError> {
        let Some(service) = self.service.clone() else {
            return Err(StepUpError::new(
                Kind::Configuration,
                "there is no transport to the authorization server: enable feature `client` or set one with `transport(..)`",
            ));
        };
        match tokio::time::timeout(CALL_TIMEOUT, call(service, request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(StepUpError::transport(
                "the authorization server could not be reached; check its address and the network",
                source,
            )),
            Err(elapsed) => Err(StepUpError::transport(
                "the authorization server did not answer within 10 seconds; try again later",
                elapsed,
            )),
        }
    }
}

async fn call(service: Erased, request: Request<RequestBody>) -> Result<Response<Bytes>, BoxError> {
    let (head, body) = service.oneshot(request).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

#[cfg(feature = "client")]
impl Default for Transport {
    fn default() -> Self {
        Self::https()
    }
}

#[cfg(not(feature = "client"))]
impl Default for Transport {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// The body of a request to the authorization server, in one piece. `Debug` shows its length only: it carries codes.
#[derive(Clone, Default)]
pub struct RequestBody {
    data: Bytes,
}

impl RequestBody {
    /// The bytes, for a client that wants them so.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.data
    }
}

impl<T: Into<Bytes>> From<T> for RequestBody {
    fn from(data: T) -> Self {
        Self { data: data.into() }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = std::mem::take(&mut self.data);
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("length", &self.data.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    fn request() -> Request<RequestBody> {
        Request::new(RequestBody::from("test"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_given_up_after_ten_seconds() {
        let transport = Transport::new(tower::service_fn(|_: Request<RequestBody>| {
            std::future::pending::<Result<Response<String>, Infallible>>()
        }));
        let begin = tokio::time::Instant::now();
        let error = transport.send(request()).await.unwrap_err();
        assert!(error.is_transport());
        assert_eq!(begin.elapsed(), CALL_TIMEOUT);
    }

    #[tokio::test]
    async fn an_answer_of_two_megabytes_is_refused() {
        let transport = Transport::new(tower::service_fn(|_: Request<RequestBody>| async {
            Ok::<_, Infallible>(Response::new("x".repeat(2 << 20)))
        }));
        let error = transport.send(request()).await.unwrap_err();
        assert!(error.is_transport());
        assert!(error.source().is_some());
    }

    #[tokio::test]
    async fn without_a_transport_the_error_says_what_to_do() {
        let error = Transport::none().send(request()).await.unwrap_err();
        assert!(error.to_string().contains("transport(..)"));
    }
}
