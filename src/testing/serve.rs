//! [`Serving`]: a service on a port.

use std::{
    error::Error,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::future::{Either, select};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{AbortHandle, JoinSet},
};
use tower::ServiceExt as _;
use tower_service::Service;

use super::body::{Body, BoxError};

/// How long to rest after a failed accept: the cause, mostly no free descriptor, does not pass at once.
const REST: Duration = Duration::from_millis(10);

/// A service on a port of 127.0.0.1, until this is dropped: then the port closes, and all its connections.
#[derive(Debug)]
pub struct Serving {
    url: String,
    addr: SocketAddr,
    accepting: AbortHandle,
}

impl Serving {
    /// Where it is: `http://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address and port.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub(super) async fn start<S>(service: S) -> io::Result<Serving>
where
    S: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    let accepting = tokio::spawn(accept(listener, service)).abort_handle();
    Ok(Serving {
        url: format!("http://{addr}/"),
        addr,
        accepting,
    })
}

async fn accept<S>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    // Dropped with this future, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, service.clone()));
            }
            Err(_) => tokio::time::sleep(REST).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Why a connection is dropped: a named type, since the compiler loses its way in a boxed one here.
#[derive(Debug)]
struct Dropped(BoxError);

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Dropped {}

async fn connection<S>(stream: TcpStream, service: S)
where
    S: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let dropped = Arc::new(Notify::new());
    let answer = service_fn(|request| {
        let service = service.clone();
        let dropped = Arc::clone(&dropped);
        async move {
            let answer = service
                .oneshot(request)
                .await
                .map_err(|error| Dropped(error.into()));
            if answer.is_err() {
                // Over HTTP/2 an error ends one stream only; a dropped connection takes them all.
                dropped.notify_one();
            }
            answer
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let served = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    let dropped = pin!(dropped.notified());
    match select(served, dropped).await {
        // How a connection ends is its client's business.
        Either::Left(_) | Either::Right(_) => {}
    }
}
