//! [`ResponseBody`]: the inner service's body, or what was peeked of it and the rest.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::Peeked;

pin_project! {
    /// The body of a response that has passed through [`Mfa`](crate::Mfa): the inner service's, frame by frame.
    ///
    /// Where the beginning had to be read to tell whether the response is a demand, the frames that were read come first,
    /// then the rest: the same bytes, the same trailers, the same size hint, the same error. The answer of a token endpoint that
    /// takes the place of a refused token request is one frame.
    pub struct ResponseBody<R>
    where
        R: Body,
    {
        #[pin]
        kind: Kind<R>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<R>
    where
        R: Body,
    {
        Streamed { #[pin] body: R },
        Peeked { peeked: Peeked<R> },
        Whole { data: Bytes },
    }
}

impl<R: Body> ResponseBody<R> {
    pub(crate) fn streamed(body: R) -> Self {
        Self {
            kind: Kind::Streamed { body },
        }
    }

    pub(crate) fn whole(data: Bytes) -> Self {
        Self {
            kind: Kind::Whole { data },
        }
    }

    pub(crate) fn peeked(peeked: Peeked<R>) -> Self {
        Self {
            kind: Kind::Peeked { peeked },
        }
    }
}

impl<R: Body> Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().kind.project() {
            KindProj::Streamed { body } => body.poll_frame(cx).map(|frame| {
                frame.map(|frame| {
                    frame.map(|frame| {
                        frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
                    })
                })
            }),
            KindProj::Peeked { peeked } => peeked.poll_frame(cx),
            KindProj::Whole { data } => {
                let data = std::mem::take(data);
                Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Streamed { body } => body.is_end_stream(),
            Kind::Peeked { peeked } => peeked.is_end_stream(),
            Kind::Whole { data } => data.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Streamed { body } => body.size_hint(),
            Kind::Peeked { peeked } => peeked.size_hint(),
            Kind::Whole { data } => SizeHint::with_exact(data.len() as u64),
        }
    }
}

impl<R: Body> fmt::Debug for ResponseBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Streamed { .. } => "streamed",
            Kind::Peeked { .. } => "peeked",
            Kind::Whole { .. } => "whole",
        };
        f.debug_struct("ResponseBody")
            .field("kind", &format_args!("{kind}"))
            .finish_non_exhaustive()
    }
}
