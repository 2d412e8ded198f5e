//! Sends requests through the gateway over real sockets, and checks what becomes of them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client as HttpClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tower_mfa::BoxError;
use tower_mfa::testing::AuthorizationServer;

use crate::upstream::{HOP, Upstream};
use crate::{gateway, start};

const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 512;

pub(crate) async fn run(
    server: &AuthorizationServer,
    upstream: &Upstream,
    gateway: SocketAddr,
) -> Result<(), BoxError> {
    let (password, mfa) = (server.access_token("alice"), server.elevated_token("alice"));
    let (password, mfa) = (Some(password.as_str()), Some(mfa.as_str()));

    // who gets through: by path, over both versions
    for (version, http2) in [("HTTP/1.1", false), ("HTTP/2", true)] {
        for (what, path, token, status, challenge) in [
            ("public path, a stranger", "/health", None, 200, ""),
            ("other path, a stranger", "/account", None, 401, "Bearer"),
            ("other path, a login", "/account", password, 200, ""),
            (
                "admin path, a login",
                "/admin/users",
                password,
                401,
                r#"error="insufficient_user_authentication""#,
            ),
            ("admin path, a second factor", "/admin/users", mfa, 200, ""),
        ] {
            let answer = send(gateway, http2, Method::GET, path, token, &[]).await?;
            let (got, got_challenge) = (answer.status(), header(&answer, WWW_AUTHENTICATE));
            check(
                format_args!("{version}, {what}: {got} {got_challenge}"),
                got == status && got_challenge.contains(challenge),
            )?;
        }
        let streaming = stream(gateway, http2, password);
        let streamed = timeout(Duration::from_secs(50), streaming).await;
        let bytes =
            streamed.map_err(|_| "the stream stands still: is it collected on the way?")??;
        check(
            format_args!("{version}, {bytes} bytes there and back, each chunk before the next"),
            bytes == CHUNK * CHUNKS,
        )?;
    }

    fields(gateway).await?;

    // the path and the query, as they were sent
    let path = "/files/%7Ealice/caf%C3%A9%20(1)?q=%2F..%2F&Q=a+b%zz&&=";
    let list = text(send(gateway, false, Method::GET, path, password, &[]).await?).await?;
    let line = list.lines().next().unwrap_or_default();
    check(
        format_args!("byte for byte: {line}"),
        line == format!("GET {path}"),
    )?;

    let user = list
        .lines()
        .find(|line| line.starts_with("x-forwarded-user"));
    let user = user.unwrap_or("nobody");
    check(
        format_args!("the upstream is told whose token it was: {user}"),
        user == "x-forwarded-user: auth0|alice",
    )?;

    // ways around the rule for /admin, with a token that is good for everything but that
    for path in [
        "/public/../admin",
        "/health/../admin",
        "/health/%2e%2e/admin",
        "/health/..;/admin",
        "/%61dmin",
        "/admin/",
        "/admin%2fusers",
        "/admin;x",
        "//admin",
        "/\\admin",
    ] {
        let before = upstream.requests();
        let got = raw(gateway, &format!("GET {path}"), &bearer(password)).await?;
        check(
            format_args!("way around, {path}: {got}"),
            matches!(got.as_str(), "400" | "401") && upstream.requests() == before,
        )?;
    }

    // what cannot be passed on
    let token = bearer(password);
    for (what, line, more, status) in [
        ("tunnel", "CONNECT example.com:443", token.as_str(), "501"),
        (
            "upgrade",
            "GET /health",
            "connection: upgrade\r\nupgrade: websocket\r\n",
            "501",
        ),
        (
            "offer of HTTP/2, ignored",
            "GET /health",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
            "200",
        ),
        ("two hosts", "GET /health", "host: b.example\r\n", "400"),
        (
            "unknown transfer coding",
            "POST /health",
            "transfer-encoding: gzip, chunked\r\n",
            "501",
        ),
    ] {
        let got = raw(gateway, line, more).await?;
        check(format_args!("{what}: {got}"), got == status)?;
    }

    outages(server, password).await
}

/// What a client writes into fields that are not its own does not arrive, in either direction.
async fn fields(gateway: SocketAddr) -> Result<(), BoxError> {
    let sent = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-host", "forged.example"),
        ("x-forwarded-user", "forged"),
        ("x_forwarded_for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("connection", "x-client-hop, x-forwarded-for"),
        ("x-client-hop", "for the gateway"),
        ("keep-alive", "timeout=1000"),
        ("proxy-authorization", "Basic dGVzdA=="),
        ("te", "trailers, deflate"),
        ("trailer", "x-forwarded-for"),
        ("x-end-to-end", "kept"),
    ];
    let answer = send(gateway, false, Method::GET, "/health", None, &sent).await?;
    let hop_came_back = answer.headers().contains_key(HOP);
    let list = text(answer).await?;
    let arrived = |wanted: &str| list.lines().any(|line| line == wanted);

    let own = ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"];
    let own = own.iter().all(|line| arrived(line))
        && arrived(&format!("x-forwarded-host: {gateway}"))
        && arrived(&format!(
            "forwarded: for=127.0.0.1;host=\"{gateway}\";proto=http"
        ));
    check("the gateway says where a request came from", own)?;
    let forged = ["203.0.113.9", "forged", "x_forwarded", "x-real-ip"];
    let forged = forged.iter().any(|part| list.contains(part));
    check("forged x-forwarded-for and the like end here", !forged)?;
    let hops = [
        "x-client-hop",
        "keep-alive",
        "proxy-",
        "deflate",
        "trailer:",
    ];
    let hops = hops.iter().any(|part| list.contains(part)) || hop_came_back;
    check("fields of one connection end here, both ways", !hops)?;
    let kept = arrived("x-end-to-end: kept") && arrived("te: trailers");
    check("all others go on", kept && arrived("via: 1.1 gateway"))
}

/// Without keys nobody gets in, and without an upstream there is nothing to get.
async fn outages(server: &AuthorizationServer, token: Option<&str>) -> Result<(), BoxError> {
    // a port that was just closed
    let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;

    let (address, _) = start(gateway(&server.issuer(), nobody)?).await?;
    let got = send(address, false, Method::GET, "/account", token, &[]).await?;
    let got = got.status();
    check(format_args!("upstream down: {got}"), got == 502)?;

    let (address, _) = start(gateway(&format!("http://{nobody}/"), nobody)?).await?;
    // the token names its issuer, which here is the one that is down
    let token = server
        .token("alice")
        .claim("iss", format!("http://{nobody}/"));
    let token = token.sign();
    let got = send(address, false, Method::GET, "/account", Some(&token), &[]).await?;
    let (got, wait) = (got.status(), header(&got, RETRY_AFTER));
    check(
        format_args!("authorization server down: {got}, retry after {wait} s"),
        got == 503 && !wait.is_empty(),
    )
}

/// Sends a chunk, waits until it is back, and sends the next: whoever collects a body on the way would wait for ever.
async fn stream(gateway: SocketAddr, http2: bool, token: Option<&str>) -> Result<usize, BoxError> {
    let (sender, receiver) = mpsc::channel(1);
    let request = Request::post(format!("http://{gateway}/echo"))
        .header(
            AUTHORIZATION,
            format!("Bearer {}", token.unwrap_or_default()),
        )
        .body(Chunks { receiver })?;
    let mut body = client(http2).request(request).await?.into_body();
    let mut received = 0;
    for number in 0..CHUNKS {
        // the number is in every byte, so that a chunk out of its turn is noticed
        let byte = u8::try_from(number % 251)?;
        sender.send(Bytes::from(vec![byte; CHUNK])).await?;
        while received < (number + 1) * CHUNK {
            let frame = body.frame().await.ok_or("the body ended early")??;
            let data = frame.into_data().map_err(|_| "trailers came early")?;
            if data.iter().any(|got| *got != byte) {
                return Err(format!("chunk {number} came back changed").into());
            }
            received += data.len();
        }
    }
    drop(sender);
    // over HTTP/2 the end may come as a frame of its own, without bytes
    let rest = body.collect().await?.to_bytes();
    Ok(received + rest.len())
}

/// A body of chunks that are made while it is sent.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let chunk = self.receiver.poll_recv(cx);
        chunk.map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

async fn send(
    address: SocketAddr,
    http2: bool,
    method: Method,
    path: &str,
    token: Option<&str>,
    fields: &[(&str, &str)],
) -> Result<Response<Incoming>, BoxError> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"));
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    Ok(client(http2).request(request).await?)
}

fn client<B>(http2: bool) -> HttpClient<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    HttpClient::builder(TokioExecutor::new())
        .http2_only(http2)
        .build_http()
}

/// Sends what no client library would, and gives the status of the answer.
async fn raw(address: SocketAddr, line: &str, fields: &str) -> Result<String, BoxError> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("{line} HTTP/1.1\r\nhost: {address}\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 12];
    timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await??;
    let answer = std::str::from_utf8(&answer)?;
    let status = answer.strip_prefix("HTTP/1.1 ");
    Ok(status.ok_or("this is no answer")?.to_owned())
}

fn bearer(token: Option<&str>) -> String {
    let token = token.unwrap_or_default();
    format!("authorization: Bearer {token}\r\n")
}

fn header(answer: &Response<Incoming>, name: http::HeaderName) -> String {
    let value = answer.headers().get(name);
    let value = value.and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

async fn text(answer: Response<Incoming>) -> Result<String, BoxError> {
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.into())?)
}

/// Prints what was seen, and ends the test if it is not what it should be.
fn check(what: impl std::fmt::Display, as_wanted: bool) -> Result<(), BoxError> {
    if as_wanted {
        println!("{what}");
        Ok(())
    } else {
        Err(format!("NOT as it should be: {what}").into())
    }
}
