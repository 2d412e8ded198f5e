//! [`Io`]: a connection that may have been opened before it was asked for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// How much a server may send before the first request. HTTP/2 settings are less than 100 bytes.
const MAX_EARLY_BYTES: usize = 1024;

/// A connection that may have been opened before it was asked for.
pub(in crate::transport) struct Io<T> {
    inner: T,
    /// What the server sent while the connection was held.
    early: BytesMut,
    /// Where it goes; for the count of those that are open.
    _place: Arc<Uri>,
}

impl<T> Io<T> {
    pub(super) fn new(inner: T, place: Arc<Uri>) -> Self {
        Self {
            inner,
            early: BytesMut::new(),
            _place: place,
        }
    }

    pub(super) fn at(self, place: Arc<Uri>) -> Self {
        Self {
            _place: place,
            ..self
        }
    }
}

impl<T: Read + Connection + Unpin> Io<T> {
    /// Ready when the connection is of no use any more: closed, or with bytes that should not be there. In HTTP/1.1 a server
    /// says nothing before it is asked but goodbye; in HTTP/2 it sends its settings, which are kept for the client.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut bytes = [0; 256];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer.unfilled()));
            let early = buffer.filled();
            let is_settings = !early.is_empty()
                && self.early.len() + early.len() <= MAX_EARLY_BYTES
                && self.inner.connected().is_negotiated_h2();
            if read.is_err() || !is_settings {
                return Poll::Ready(());
            }
            self.early.extend_from_slice(early);
        }
    }
}

impl<T: Read + Unpin> Read for Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let length = self.early.len().min(buffer.remaining());
        buffer.put_slice(self.early.get(..length).unwrap_or_default());
        self.early.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin> Write for Io<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }
}

impl<T: Connection> Connection for Io<T> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}
