//! [`Peek`]: reads the beginning of a response's body, within bounds, and forgets nothing of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::body::replay::less;

/// How long a body may keep us from handing on its head. Authorization servers send such a body with the head; one that
/// trickles is handed on as it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a response may be peeked: JSON, not encoded, and a body that can be there at all (RFC 9110 section 6.4.1).
pub(crate) fn is_peekable(method: &Method, status: StatusCode, headers: &HeaderMap) -> bool {
    let has_body = method != Method::HEAD
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
        && !status.is_informational();
    has_body && !headers.contains_key(CONTENT_ENCODING) && is_json(headers)
}

/// `application/json` and everything with the suffix `+json` (RFC 6839 section 3.1), whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .as_bytes();
    let suffix = essence.len().checked_sub(5).map(|at| &essence[at..]);
    essence.eq_ignore_ascii_case(b"application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
}

/// Reads a body until its end, a limit, an error or the end of patience, whichever comes first.
pub(crate) struct Peek<R: Body> {
    peeked: Peeked<R>,
    limit: usize,
    patience: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// A body of which a beginning has been read: the frames that were read, and the rest.
pub(crate) struct Peeked<R: Body> {
    frames: VecDeque<Result<Frame<Bytes>, R::Error>>,
    /// What the body said of its size before anything was read, less what has been handed on.
    hint: SizeHint,
    rest: Pin<Box<R>>,
    bytes: usize,
    ended: bool,
}

impl<R: Body> Peek<R> {
    pub(crate) fn new(body: R, limit: usize) -> Self {
        Self {
            peeked: Peeked {
                frames: VecDeque::new(),
                hint: body.size_hint(),
                rest: Box::pin(body),
                bytes: 0,
                ended: false,
            },
            limit,
            patience: None,
        }
    }

    /// Ready when there is nothing more to wait for.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let peeked = &mut self.peeked;
        if peeked.hint.lower() > self.limit as u64 {
            return Poll::Ready(());
        }
        while !peeked.ended && peeked.bytes <= self.limit {
            match peeked.rest.as_mut().poll_frame(cx) {
                Poll::Ready(Some(frame)) => {
                    let frame = frame.map(|frame| {
                        frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
                    });
                    match &frame {
                        Ok(frame) => {
                            // an empty frame counts too: the limit is also one of patience with a body that never pends
                            peeked.bytes += frame.data_ref().map_or(0, Bytes::len).max(1);
                            peeked.ended = frame.is_trailers();
                        }
                        Err(_) => peeked.ended = true,
                    }
                    peeked.frames.push_back(frame);
                }
                Poll::Ready(None) => peeked.ended = true,
                Poll::Pending => {
                    let patience = self
                        .patience
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
                    return patience.as_mut().poll(cx);
                }
            }
        }
        Poll::Ready(())
    }

    pub(crate) fn into_peeked(self) -> Peeked<R> {
        self.peeked
    }
}

impl<R: Body> Peeked<R> {
    /// The whole body in one piece, if it was read to its end without an error.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        if !self.ended || self.frames.iter().any(Result::is_err) {
            return None;
        }
        let mut data = self.frames.iter().flatten().filter_map(Frame::data_ref);
        let first = data.next().cloned().unwrap_or_default();
        let mut rest = data.peekable();
        if rest.peek().is_none() {
            return Some(first);
        }
        let mut all = Vec::with_capacity(self.bytes);
        all.extend_from_slice(&first);
        for part in rest {
            all.extend_from_slice(part);
        }
        Some(all.into())
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        if let Some(frame) = self.frames.pop_front() {
            if let Ok(frame) = &frame {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.hint = less(self.hint, length);
            }
            return Poll::Ready(Some(frame));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(self.rest.as_mut().poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
        }))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && (self.ended || self.rest.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if self.frames.is_empty() {
            self.rest.size_hint()
        } else {
            self.hint
        }
    }
}
