//! [`Body`]: what the services here answer with.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

/// A boxed error: what goes wrong with a connection.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A body of known bytes, for answers and for the requests of tests.
///
/// `Debug` prints its length only: bodies of a token endpoint hold secrets.
#[derive(Clone, Default)]
pub struct Body {
    data: Option<Bytes>,
}

impl Body {
    /// A body of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            data: (!bytes.is_empty()).then_some(bytes),
        }
    }

    /// A body without bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self { data: None }
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.data.unwrap_or_default()
    }

    /// The bytes not read yet, as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        self.data
            .as_deref()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.data.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("len", &self.data.as_ref().map_or(0, Bytes::len))
            .finish()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

/// A request body read to its end.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) bytes: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// Reads a body to its end, or says why it has none: too long, or broken off.
pub(super) async fn collect<B>(body: B, limit: usize) -> Result<Collected, BoxError>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut bytes = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.as_mut().frame().await {
        match frame.map_err(Into::into)?.into_data() {
            Ok(mut data) => {
                if bytes.len().saturating_add(data.remaining()) > limit {
                    return Err("the request body is too long".into());
                }
                while data.has_remaining() {
                    let read = data.chunk().len();
                    bytes.extend_from_slice(data.chunk());
                    data.advance(read);
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Collected {
        bytes: bytes.freeze(),
        trailers,
    })
}
