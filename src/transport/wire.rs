//! [`Wire`]: a connection that ends in a test.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{DuplexStream, duplex};

pub(super) struct Wire {
    stream: TokioIo<DuplexStream>,
    is_h2: bool,
    /// How often it is read before the server is found to have closed it.
    reads: usize,
}

impl Wire {
    /// Its two ends.
    pub(super) fn new(is_h2: bool) -> (Self, DuplexStream) {
        let (client, server) = duplex(4096);
        let client = Self {
            stream: TokioIo::new(client),
            is_h2,
            reads: usize::MAX,
        };
        (client, server)
    }

    pub(super) fn closed_after(self, reads: usize) -> Self {
        Self { reads, ..self }
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(reads) = self.reads.checked_sub(1) else {
            return Poll::Ready(Ok(()));
        };
        self.reads = reads;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        match self.is_h2 {
            true => Connected::new().negotiated_h2(),
            false => Connected::new(),
        }
    }
}
