//! [`Early`]: a connector that can open a connection before its client asks for one.
//!
//! The client's pool has no call for that, and a request that is made only to have a connection is one that the server has to
//! answer. So it is done below the pool: a connection is opened and held here, and handed out when the pool asks for one.
//!
//! The pool repeats a request that met a connection closed by the server, but not on a connection that it takes for a new one. So
//! a held connection is watched, and looked at once more before it is handed out; and `https.rs` repeats what was not sent.

mod io;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::Uri;
use http::uri::PathAndQuery;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tower_service::Service;

use crate::error::BoxError;
use io::Io;

/// How long connecting may take: as long as a call.
const CONNECT_TIMEOUT: Duration = super::CALL_TIMEOUT;

/// How long a connection is held. Servers give a client 10 seconds and more for its first request; one that is used just when the
/// server closes it costs a request.
const MAX_AGE: Duration = Duration::from_secs(8);

/// How long nothing is opened after a connection that was not used; twice as long after the next one, and so on.
const PAUSE: Duration = Duration::from_secs(30);

/// How often the pause is doubled: to 64 minutes. A server that refuses for other reasons all day costs 30 connections.
const MAX_DOUBLINGS: u32 = 7;

/// A connector around another one.
pub(super) struct Early<C: Service<Uri>> {
    inner: C,
    state: Arc<Mutex<State<C::Response>>>,
}

/// Where the task that holds a connection is told where to send it.
type Handover<T> = oneshot::Sender<oneshot::Sender<Io<T>>>;

struct State<T> {
    /// The one that was opened last, until it is taken.
    ahead: Option<Ahead<T>>,
    /// Where connections go that the client has: in use, idle in its pool, or being opened.
    open: Vec<Weak<Uri>>,
    /// How many in a row were opened for nothing, and how long none is opened therefore.
    unused: u32,
    pause_until: Option<Instant>,
}

struct Ahead<T> {
    place: Uri,
    /// A connection works only as long as its runtime does: no other gets it.
    runtime: runtime::Id,
    /// Closed when the connection is gone.
    handover: Handover<T>,
}

impl<C: Service<Uri>> Early<C> {
    pub(super) fn new(inner: C) -> Self {
        let state = State {
            ahead: None,
            open: Vec::new(),
            unused: 0,
            pause_until: None,
        };
        Self {
            inner,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Whether the next connection may be one that was opened ahead.
    pub(super) fn holds_one(&self) -> bool {
        lock(&self.state).holds_one()
    }
}

impl<C> Early<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Connection + Unpin + Send + 'static,
    C::Error: Into<BoxError> + Send,
    C::Future: Send + 'static,
{
    /// Opens a connection to the host of a URI and holds it, unless there is one, or it was for nothing the last time. Returns at
    /// once; does nothing outside a runtime.
    pub(super) fn open_ahead(&self, uri: &Uri) {
        let mut state = lock(&self.state);
        if !state.may_open(uri) {
            return;
        }
        let (Ok(runtime), Some(place)) = (Handle::try_current(), place(uri)) else {
            return;
        };
        let (handover, taken) = oneshot::channel();
        state.pause_until = Some(Instant::now() + PAUSE * (1 << state.unused.min(MAX_DOUBLINGS)));
        state.unused = state.unused.saturating_add(1);
        state.ahead = Some(Ahead {
            place: place.clone(),
            runtime: runtime.id(),
            handover,
        });
        drop(state);
        runtime.spawn(open_and_hold(self.inner.clone(), place, taken));
    }
}

/// The URI that the client's pool gives its connector: without a path.
fn place(uri: &Uri) -> Option<Uri> {
    uri.authority()?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

fn is_at(uri: &Uri, place: &Uri) -> bool {
    uri.scheme() == place.scheme() && uri.authority() == place.authority()
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> State<T> {
    fn holds_one(&self) -> bool {
        let ahead = self.ahead.as_ref();
        ahead.is_some_and(|ahead| !ahead.handover.is_closed())
    }

    fn may_open(&mut self, uri: &Uri) -> bool {
        !self.holds_one()
            && self.pause_until.is_none_or(|end| end <= Instant::now())
            && !self.open().any(|open| is_at(uri, &open))
    }

    /// Where the open connections go.
    fn open(&mut self) -> impl Iterator<Item = Arc<Uri>> {
        self.open.retain(|open| open.strong_count() > 0);
        self.open.iter().filter_map(Weak::upgrade)
    }

    /// Takes the connection that is held, or being opened.
    fn take(&mut self, place: &Uri) -> Option<Handover<T>> {
        let runtime = Handle::try_current().ok()?.id();
        let ahead = self
            .ahead
            .take_if(|ahead| ahead.place == *place && ahead.runtime == runtime)?;
        Some(ahead.handover)
    }

    fn was_used(&mut self) {
        self.unused = 0;
        self.pause_until = None;
    }
}

/// Opens a connection and holds it until it is taken, closed by the server, or too old; or until the client is gone.
async fn open_and_hold<C>(
    connector: C,
    place: Uri,
    mut taken: oneshot::Receiver<oneshot::Sender<Io<C::Response>>>,
) where
    C: Service<Uri>,
    C::Response: Read + Connection + Unpin,
    C::Error: Into<BoxError>,
{
    let at = Arc::new(place.clone());
    let connecting = pin!(timeout(CONNECT_TIMEOUT, connector.oneshot(place)));
    let (connected, client) = match select(connecting, &mut taken).await {
        Either::Left((connected, _)) => (connected, None),
        Either::Right((Ok(client), connecting)) => (connecting.await, Some(client)),
        Either::Right((Err(_), _)) => return,
    };
    // whoever needs one connects again, and tells more
    let mut io = match connected {
        Ok(Ok(inner)) => Io::new(inner, at),
        Ok(Err(error)) => {
            return tracing::debug!(error = %error.into(), %at, "no connection ahead of need");
        }
        Err(_) => return tracing::debug!(%at, "no connection ahead of need in time"),
    };
    let client = match client {
        Some(client) => client,
        None => {
            let closed = poll_fn(|cx| io.poll_closed(cx));
            match timeout(MAX_AGE, select(closed, taken)).await {
                Ok(Either::Right((Ok(client), _))) => client,
                _ => return,
            }
        }
    };
    // after this the runtime has looked at its sockets, so that what the server did until now is seen
    yield_now().await;
    if poll_fn(|cx| Poll::Ready(io.poll_closed(cx)))
        .await
        .is_pending()
    {
        // fails if the client has given up
        let _ = client.send(io);
    }
}

impl<C> Service<Uri> for Early<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Send + 'static,
    C::Future: Send + 'static,
{
    type Response = Io<C::Response>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, place: Uri) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.state);
        let at = Arc::new(place.clone());
        let mut state = lock(&shared);
        let handover = state.take(&place);
        state.open.retain(|open| open.strong_count() > 0);
        state.open.push(Arc::downgrade(&at));
        drop(state);
        Box::pin(async move {
            if let Some(handover) = handover {
                let (client, io) = oneshot::channel();
                // fails if it was closed meanwhile
                let _ = handover.send(client);
                if let Ok(io) = io.await {
                    lock(&shared).was_used();
                    return Ok(io.at(at));
                }
            }
            Ok(Io::new(inner.call(place).await?, at))
        })
    }
}

impl<C: Service<Uri> + Clone> Clone for Early<C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            state: Arc::clone(&self.state),
        }
    }
}
