//! Clients and servers on 127.0.0.1, and what a test may ask about them.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body::{Body, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tower_mfa::body::ReplayBody;
use tower_mfa::{BoxError, MfaLayer};

use crate::support::{Feed, Plan, Script, Seen};

// ===== guards =====

/// Ends a test that hangs. It measures nothing.
pub(crate) async fn within<F: Future>(seconds: u64, test: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(seconds), Box::pin(test)).await {
        Ok(output) => output,
        Err(_) => panic!("hangs"),
    }
}

/// Makes two tests of each function: `http1::name` and `http2::name`.
macro_rules! over_http1_and_http2 {
    ($($(#[guard = $seconds:literal])? $name:ident,)+) => {
        mod http1 {
            $(#[tokio::test]
            async fn $name() {
                let seconds = [10 $(, $seconds)?];
                let test = super::$name(crate::harness::Protocol::Http1);
                crate::harness::within(seconds[seconds.len() - 1], test).await;
            })+
        }
        mod http2 {
            $(#[tokio::test]
            async fn $name() {
                let seconds = [10 $(, $seconds)?];
                let test = super::$name(crate::harness::Protocol::Http2);
                crate::harness::within(seconds[seconds.len() - 1], test).await;
            })+
        }
    };
}
pub(crate) use over_http1_and_http2;

/// Waits until something has happened.
pub(crate) async fn until(mut happened: impl FnMut() -> bool) {
    while !happened() {
        tokio::task::yield_now().await;
    }
}

/// How many tasks live on the runtime of this test, the test itself not counted.
pub(crate) fn alive_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

/// Waits until no task lives but those of before, and of a server that still holds what it has not read: a hyper server over
/// HTTP/1.1 does not notice that its client has gone before it reads.
pub(crate) async fn until_clients_are_gone(before: usize, server: &Server) {
    until(|| alive_tasks() == before + 1 + server.open()).await;
}

/// Waits until no connection and no task lives but those of before.
pub(crate) async fn until_all_is_gone(before: usize, server: Server) {
    until(|| server.open() == 0).await;
    drop(server);
    until(|| alive_tasks() == before).await;
}

// ===== clients =====

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) fn client<B>(self) -> Client<HttpConnector, ReplayBody<B>>
    where
        B: Body + Send + Unpin,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.client_by(HttpConnector::new())
    }

    pub(crate) fn client_by<B>(
        self,
        mut connector: HttpConnector,
    ) -> Client<HttpConnector, ReplayBody<B>>
    where
        B: Body + Send + Unpin,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        // small writes wait for each other otherwise, 40 ms a time
        connector.set_nodelay(true);
        Client::builder(TokioExecutor::new())
            .http2_only(self == Self::Http2)
            .build(connector)
    }
}

/// How HTTP/1.1 says where a body ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framing {
    Sized,
    Chunked,
}

pub(crate) const FRAMINGS: [Framing; 2] = [Framing::Sized, Framing::Chunked];

impl Framing {
    /// A body of this many bytes, of which the test says when they come.
    pub(crate) fn open(self, length: usize) -> (Script, Feed) {
        let body = match self {
            Self::Sized => Script::open([]).with_hint(SizeHint::with_exact(length as u64)),
            Self::Chunked => Script::open([]),
        };
        let feed = body.feed();
        (body, feed)
    }
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect()
}

// ===== servers =====

/// A server on a port of 127.0.0.1 until it is dropped; dropping it fails the test if a part of it has panicked.
pub(crate) struct Server {
    addr: SocketAddr,
    stats: Arc<Stats>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Stats {
    accepted: AtomicUsize,
    open: AtomicUsize,
    calls: AtomicUsize,
    panicked: Mutex<bool>,
}

/// One request to a hyper server.
pub(crate) struct Call {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    pub(crate) request: Request<Incoming>,
}

impl Call {
    /// Whether it comes with the token of the step-up.
    pub(crate) fn is_stepped_up(&self) -> bool {
        self.request.headers().get(AUTHORIZATION).unwrap() == "Bearer new"
    }

    pub(crate) async fn bytes(self) -> Bytes {
        let body = self.request.into_body().collect().await;
        body.unwrap().to_bytes()
    }

    /// 200 with what was sent.
    pub(crate) async fn echo(self) -> Response<Script> {
        let bytes = self.bytes().await;
        Response::new(Script::exact([crate::support::data(bytes)]))
    }
}

/// Reads a body until so many bytes have come.
pub(crate) async fn read_bytes(body: &mut Incoming, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let frame = body.frame().await.unwrap().unwrap();
        bytes.extend_from_slice(&frame.into_data().unwrap());
    }
    bytes
}

impl Server {
    /// A hyper server.
    pub(crate) fn start<H, F>(protocol: Protocol, handler: H) -> Self
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Script>> + Send + 'static,
    {
        Self::hyper(protocol, bind(None), None, handler)
    }

    /// A hyper server that can take little before its handler reads: an upload is soon stuck.
    pub(crate) fn narrow<H, F>(protocol: Protocol, handler: H) -> Self
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Script>> + Send + 'static,
    {
        Self::hyper(protocol, bind(Some(NARROW)), Some(NARROW), handler)
    }

    fn hyper<H, F>(
        protocol: Protocol,
        listener: TcpListener,
        window: Option<u32>,
        handler: H,
    ) -> Self
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Response<Script>> + Send + 'static,
    {
        let stats = Arc::<Stats>::default();
        let handler = Arc::new(handler);
        let shared = Arc::clone(&stats);
        let serve = move |connection, stream| {
            let (stats, handler) = (Arc::clone(&shared), Arc::clone(&handler));
            let answer = service_fn(move |request| {
                stats.calls.fetch_add(1, Ordering::SeqCst);
                let call = Call {
                    connection,
                    request,
                };
                let response = handler(call);
                let stats = Arc::clone(&stats);
                async move { stats.watch(response).await.ok_or("the handler panicked") }
            });
            async move {
                let stream = TokioIo::new(stream);
                // how a connection ends is its client's business
                match protocol {
                    Protocol::Http1 => {
                        let served = hyper::server::conn::http1::Builder::new()
                            .serve_connection(stream, answer);
                        drop(served.with_upgrades().await);
                    }
                    Protocol::Http2 => {
                        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .initial_stream_window_size(window)
                            .serve_connection(stream, answer);
                        drop(served.await);
                    }
                }
            }
        };
        Self::accepting(listener, stats, serve)
    }

    /// A server of bytes: a function for each connection, with its number from 0.
    pub(crate) fn raw<H, F>(handler: H) -> Self
    where
        H: Fn(usize, TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::accepting(bind(Some(NARROW)), Arc::default(), handler)
    }

    fn accepting<H, F>(listener: TcpListener, stats: Arc<Stats>, serve: H) -> Self
    where
        H: Fn(usize, TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let addr = listener.local_addr().unwrap();
        let shared = Arc::clone(&stats);
        let accept = async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let (stats, connection) = (Arc::clone(&shared), serve(number, stream));
                connections.spawn(async move {
                    stats.watch(connection).await;
                    stats.open.fetch_sub(1, Ordering::SeqCst);
                });
                while connections.try_join_next().is_some() {}
            }
        };
        Self {
            addr,
            stats,
            accepting: tokio::spawn(accept).abort_handle(),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> usize {
        self.stats.accepted.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.stats.open.load(Ordering::SeqCst)
    }

    /// How many requests have come.
    pub(crate) fn calls(&self) -> usize {
        self.stats.calls.load(Ordering::SeqCst)
    }

    /// A layer that trusts this server, and whose step-up brings the token `new` as planned.
    pub(crate) fn layer(&self, plan: Plan) -> (MfaLayer, Arc<Seen>) {
        let (layer, seen) = crate::support::layer(plan);
        (self.trusted(layer), seen)
    }

    pub(crate) fn trusted(&self, layer: MfaLayer) -> MfaLayer {
        layer
            .trust_origin(&format!("http://{}", self.addr))
            .unwrap()
            // each request is to be refused and stepped up, however many there are
            .principal(|_| None)
    }

    /// A request with the token `old`.
    pub(crate) fn request<B>(&self, body: B) -> Request<B> {
        Request::post(format!("http://{}/transfers?id=7", self.addr))
            .header(AUTHORIZATION, "Bearer old")
            .body(body)
            .unwrap()
    }
}

/// What a server of bytes and a narrow one take before they read.
const NARROW: u32 = 64 * 1024;

fn bind(receive_buffer: Option<u32>) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = receive_buffer {
        // the connections inherit it
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket.listen(1024).unwrap()
}

impl Stats {
    /// Notes a panic.
    async fn watch<F: Future>(&self, part: F) -> Option<F::Output> {
        let result = AssertUnwindSafe(part).catch_unwind().await;
        if result.is_err() {
            *self.panicked.lock().unwrap() = true;
        }
        result.ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        if !std::thread::panicking() {
            assert!(!*self.stats.panicked.lock().unwrap(), "the server panicked");
        }
    }
}
