//! The connector, over connections that end in the test.

use hyper::rt::ReadBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::advance;
use tokio_test::task::{self, Spawn};
use tower_test::mock::{self, Handle as MockHandle, Mock, SendResponse};

use super::*;
use crate::transport::wire::Wire;

const TENANT: &str = "https://tenant.example.com/oauth/token";
const OTHER: &str = "https://other.example.com/oauth/token";

type Connecting = Spawn<Pin<Box<dyn Future<Output = Result<Io<Wire>, BoxError>> + Send>>>;

/// A connector, and the network behind it.
struct Net {
    early: Early<Mock<Uri, Wire>>,
    network: MockHandle<Uri, Wire>,
}

fn net() -> Net {
    let (inner, network) = mock::pair();
    let early = Early::new(inner);
    Net { early, network }
}

impl Net {
    fn open_ahead(&self, uri: &str) {
        self.early.open_ahead(&uri.parse().unwrap());
    }

    /// What the client's pool does.
    fn connect(&self, uri: &str) -> Connecting {
        let place = place(&uri.parse().unwrap()).unwrap();
        task::spawn(Box::pin(self.early.clone().oneshot(place)))
    }

    /// The connection that somebody wants to have next.
    async fn wanted(&mut self) -> SendResponse<Wire> {
        settle().await;
        match self.network.poll_request() {
            Poll::Ready(wanted) => wanted.unwrap().1,
            Poll::Pending => panic!("no connection is wanted"),
        }
    }

    /// Nobody wants a connection.
    async fn is_quiet(&mut self) {
        settle().await;
        let wanted = self.network.poll_request();
        assert!(wanted.is_pending(), "a connection is wanted");
    }

    /// Opens one ahead, to its end.
    async fn opened_ahead(&mut self, is_h2: bool) -> DuplexStream {
        self.open_ahead(TENANT);
        let server = establish(self.wanted().await, is_h2);
        settle().await;
        server
    }

    /// Opens one in the usual way.
    async fn opened(&mut self) -> (Io<Wire>, DuplexStream) {
        let mut connecting = self.connect(TENANT);
        assert!(connecting.poll().is_pending());
        settle().await;
        assert!(connecting.poll().is_pending());
        let server = establish(self.wanted().await, false);
        (ended(connecting).await.unwrap(), server)
    }
}

fn establish(wanted: SendResponse<Wire>, is_h2: bool) -> DuplexStream {
    let (client, server) = Wire::new(is_h2);
    wanted.send_response(client);
    server
}

/// Lets all tasks do what they can do now.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

async fn ended(mut connecting: Connecting) -> Result<Io<Wire>, BoxError> {
    for _ in 0..2 {
        settle().await;
        if let Poll::Ready(result) = connecting.poll() {
            return result;
        }
    }
    panic!("still connecting");
}

async fn is_closed(mut server: DuplexStream) -> bool {
    settle().await;
    let read = task::spawn(server.read_u8()).poll();
    matches!(read, Poll::Ready(Err(_)))
}

/// What a client reads.
async fn read(io: &mut Io<Wire>) -> Vec<u8> {
    let mut bytes = [0; 4];
    let mut buffer = ReadBuf::new(&mut bytes);
    poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buffer.unfilled()))
        .await
        .unwrap();
    buffer.filled().to_vec()
}

// ===== what is handed out =====

#[tokio::test(start_paused = true)]
async fn a_connection_opened_ahead_is_handed_out_once() {
    let mut net = net();
    let mut server = net.opened_ahead(false).await;
    let mut first = ended(net.connect(TENANT)).await.unwrap();
    server.write_all(b"one").await.unwrap();
    assert_eq!(read(&mut first).await, b"one");

    let mut second = net.connect(TENANT);
    assert!(second.poll().is_pending());
    let mut server = establish(net.wanted().await, false);
    let mut second = ended(second).await.unwrap();
    server.write_all(b"two").await.unwrap();
    assert_eq!(read(&mut second).await, b"two");
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_connection_that_is_being_opened() {
    let mut net = net();
    net.open_ahead(TENANT);
    let wanted = net.wanted().await;
    let mut client = net.connect(TENANT);
    assert!(client.poll().is_pending());
    net.is_quiet().await;
    let _server = establish(wanted, false);
    ended(client).await.unwrap();
    net.is_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn another_host_gets_a_connection_of_its_own() {
    let mut net = net();
    let server = net.opened_ahead(false).await;
    let mut other = net.connect(OTHER);
    assert!(other.poll().is_pending());
    let _other = establish(net.wanted().await, false);
    ended(other).await.unwrap();
    assert!(!is_closed(server).await);
}

#[tokio::test(start_paused = true)]
async fn another_runtime_gets_a_connection_of_its_own() {
    let mut net = net();
    let _server = net.opened_ahead(false).await;
    let connecting = net.connect(TENANT);
    let other = std::thread::spawn(|| {
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        let mut connecting = connecting;
        assert!(connecting.poll().is_pending());
        connecting
    });
    let _connecting = other.join().unwrap();
    net.wanted().await;
}

// ===== what is not =====

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_after_eight_seconds() {
    let mut net = net();
    let server = net.opened_ahead(false).await;
    advance(MAX_AGE).await;
    assert!(is_closed(server).await);
    let _io = net.opened().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_server_closed_is_not_handed_out() {
    let mut net = net();
    drop(net.opened_ahead(false).await);
    // nobody has had the time to see it
    let _io = net.opened().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_handed_out_after_a_goodbye() {
    let mut net = net();
    let mut server = net.opened_ahead(false).await;
    let goodbye = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n";
    server.write_all(goodbye).await.unwrap();
    let _io = net.opened().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_http2_server_sends_first_is_kept_for_the_client() {
    let mut net = net();
    let mut server = net.opened_ahead(true).await;
    server.write_all(b"SETT").await.unwrap();
    settle().await;
    server.write_all(b"INGS").await.unwrap();
    let mut io = ended(net.connect(TENANT)).await.unwrap();
    assert!(io.connected().is_negotiated_h2());
    server.write_all(b"next").await.unwrap();
    for expected in [b"SETT", b"INGS", b"next"] {
        assert_eq!(read(&mut io).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_server_that_goes_on_and_on_is_not_listened_to() {
    let mut net = net();
    let mut server = net.opened_ahead(true).await;
    server.write_all(&[0; 1025]).await.unwrap();
    assert!(is_closed(server).await);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_told_to_the_client_which_connects_itself() {
    let mut net = net();
    net.open_ahead(TENANT);
    let wanted = net.wanted().await;
    let mut client = net.connect(TENANT);
    assert!(client.poll().is_pending());
    wanted.send_error("test: refused");
    settle().await;
    assert!(client.poll().is_pending());
    let _server = establish(net.wanted().await, false);
    ended(client).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connecting_is_given_up_after_ten_seconds() {
    let mut net = net();
    net.open_ahead(TENANT);
    let _unanswered = net.wanted().await;
    let mut client = net.connect(TENANT);
    assert!(client.poll().is_pending());
    settle().await;
    advance(CONNECT_TIMEOUT).await;
    settle().await;
    assert!(client.poll().is_pending());
    net.wanted().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_up_leaves_nothing_behind() {
    let mut net = net();
    net.open_ahead(TENANT);
    let wanted = net.wanted().await;
    let mut client = net.connect(TENANT);
    assert!(client.poll().is_pending());
    drop(client);
    assert!(is_closed(establish(wanted, false)).await);
}

#[tokio::test(start_paused = true)]
async fn the_last_connector_takes_the_held_connection_with_it() {
    let mut net = net();
    let server = net.opened_ahead(false).await;
    drop(net);
    assert!(is_closed(server).await);
}

// ===== when one is opened =====

#[tokio::test(start_paused = true)]
async fn none_is_opened_while_there_is_one() {
    let mut net = net();
    net.open_ahead(TENANT);
    let wanted = net.wanted().await;
    // being opened
    net.open_ahead(TENANT);
    net.is_quiet().await;
    let _server = establish(wanted, false);
    settle().await;
    // held
    net.open_ahead(TENANT);
    net.is_quiet().await;
    let io = ended(net.connect(TENANT)).await.unwrap();
    // in use, or idle in the pool
    net.open_ahead(TENANT);
    net.is_quiet().await;
    drop(io);
    net.open_ahead(TENANT);
    net.wanted().await;
}

#[tokio::test(start_paused = true)]
async fn none_is_opened_while_the_client_opens_one() {
    let mut net = net();
    let mut client = net.connect(TENANT);
    assert!(client.poll().is_pending());
    let _wanted = net.wanted().await;
    net.open_ahead(TENANT);
    net.is_quiet().await;
    // another host is another matter
    net.open_ahead(OTHER);
    net.wanted().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_for_nothing_is_tried_more_and_more_rarely() {
    let mut net = net();
    for (n, seconds) in [30, 60, 120, 240, 480, 960, 1920, 3840, 3840, 3840]
        .into_iter()
        .enumerate()
    {
        // one that fails is as much for nothing
        match n % 2 {
            0 => drop(net.opened_ahead(false).await),
            _ => {
                net.open_ahead(TENANT);
                net.wanted().await.send_error("test: refused");
                settle().await;
            }
        }
        advance(Duration::from_secs(seconds - 1)).await;
        net.open_ahead(TENANT);
        net.is_quiet().await;
        advance(Duration::from_secs(1)).await;
    }
    // until one is used
    let _server = net.opened_ahead(false).await;
    drop(ended(net.connect(TENANT)).await.unwrap());
    drop(net.opened_ahead(false).await);
    advance(PAUSE).await;
    let _server = net.opened_ahead(false).await;
}

#[test]
fn outside_a_runtime_nothing_happens() {
    let mut net = net();
    net.open_ahead(TENANT);
    assert!(net.network.poll_request().is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_uri_without_a_host_is_none_to_connect_to() {
    let mut net = net();
    net.open_ahead("/oauth/token");
    net.is_quiet().await;
}
