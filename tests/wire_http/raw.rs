//! [`Raw`]: the server's side of an HTTP/1.1 connection, byte by byte.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A refusal that is a demand by its head.
pub(crate) const REFUSED: &str =
    "HTTP/1.1 401 Unauthorized\r\nx-mfa: required\r\ncontent-length: 0\r\n\r\n";
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// One end of an HTTP/1.1 connection.
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// The bytes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) head: String,
    /// As it came, with chunk sizes and trailers.
    pub(crate) body: Vec<u8>,
    /// What it means.
    pub(crate) content: Vec<u8>,
}

impl Wire {
    pub(crate) fn is_stepped_up(&self) -> bool {
        self.head.contains("\r\nauthorization: Bearer new\r\n")
    }
}

impl Raw {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Reads more; false at the end of the connection, however it came.
    async fn fill(&mut self) -> bool {
        self.stream.read_buf(&mut self.unread).await.unwrap_or(0) > 0
    }

    /// Reads up to and with these bytes; nothing if the connection ends before.
    async fn through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.unread.windows(end.len()).position(|part| part == end);
            if let Some(at) = found {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads so many bytes; nothing if the connection ends before.
    pub(crate) async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.unread.drain(..length).collect())
    }

    /// Reads a head, its empty line included; nothing if the connection ends before.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let head = self.through(b"\r\n\r\n").await?;
        Some(String::from_utf8(head).unwrap())
    }

    /// Reads the body that a head announces; nothing if the connection ends before.
    pub(crate) async fn body(&mut self, head: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let value = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        if let Some(length) = value("content-length") {
            let content = self.exactly(length.parse().unwrap()).await?;
            return Some((content.clone(), content));
        }
        let (mut body, mut content) = (Vec::new(), Vec::new());
        if value("transfer-encoding") != Some("chunked") {
            return Some((body, content));
        }
        loop {
            let line = self.through(b"\r\n").await?;
            let size = str::from_utf8(&line).unwrap().trim_end();
            let size = usize::from_str_radix(size, 16).unwrap();
            body.extend(line);
            if size == 0 {
                break;
            }
            let chunk = self.exactly(size + 2).await?;
            content.extend(&chunk[..size]);
            body.extend(chunk);
        }
        loop {
            let trailer = self.through(b"\r\n").await?;
            let ends = trailer == b"\r\n";
            body.extend(trailer);
            if ends {
                return Some((body, content));
            }
        }
    }

    /// Reads a request; nothing if the connection ends before.
    pub(crate) async fn request(&mut self) -> Option<Wire> {
        let head = self.head().await?;
        let (body, content) = self.body(&head).await?;
        Some(Wire {
            head,
            body,
            content,
        })
    }

    /// Writes, unless the other end has gone.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Reads until the connection ends, however it does.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.unread)
    }

    /// Whether the other end has sent anything that was not read, as far as it has come here.
    pub(crate) fn has_unread(&mut self) -> bool {
        let _ = self.stream.try_read_buf(&mut self.unread);
        !self.unread.is_empty()
    }
}
