//! The retry is the same request on the wire, too: the same head but for one line, the same framing, the same trailers (rule 2).

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body as _, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tower::{Layer as _, ServiceExt as _};
use tower_mfa::SteppedUp;
use tower_mfa::body::{BodyFactory, ReplayBody};

use crate::harness::{Protocol, Server, over_http1_and_http2, within};
use crate::raw::{OK, REFUSED, Raw, Wire};
use crate::support::{Plan, Script, data, demand, demand_by_head, ok, trailers};

over_http1_and_http2! {
    the_retry_has_the_same_head_size_and_trailers,
}

type Case = (&'static str, fn(&Server) -> Request<Script>);

fn edited(server: &Server, body: Script, edit: impl FnOnce(&mut HeaderMap)) -> Request<Script> {
    let mut request = server.request(body);
    edit(request.headers_mut());
    request
}

fn cases() -> Vec<Case> {
    vec![
        ("GET", |server| {
            let mut request = server.request(Script::empty());
            *request.method_mut() = Method::GET;
            request
        }),
        ("POST of nothing", |server| server.request(Script::empty())),
        ("POST of nothing, in chunks", |server| {
            server.request(Script::new([]))
        }),
        ("sized", |server| {
            server.request(Script::exact([data("ab"), data("c"), data("defg")]))
        }),
        ("in chunks", |server| {
            server.request(Script::new([data("ab"), data("c"), data("defg")]))
        }),
        ("at most ten bytes", |server| {
            let mut hint = SizeHint::new();
            hint.set_upper(10);
            server.request(Script::new([data("abc"), data("d")]).with_hint(hint))
        }),
        ("its length in a header", |server| {
            edited(server, Script::new([data("ab"), data("c")]), |headers| {
                headers.insert(CONTENT_LENGTH, "3".parse().unwrap());
            })
        }),
        ("in chunks, with trailers", |server| {
            edited(
                server,
                Script::new([data("ab"), data("c"), trailers("t")]),
                |headers| {
                    headers.insert(TRAILER, "x-trailer".parse().unwrap());
                },
            )
        }),
        ("headers twice, in an order", |server| {
            Request::put(format!("http://{}/a/%7Eb?c=d&c=e", server.addr()))
                .header("x-first", "1")
                .header("cookie", "a=b")
                .header("authorization", "Bearer old")
                .header("cookie", "c=d")
                .header("x-empty", "")
                .header("x-last", "an \u{e9} in it".as_bytes())
                .header("x-last", "2")
                .body(Script::exact([data("abc")]))
                .unwrap()
        }),
        ("made anew", |server| {
            let mut request = server.request(Script::exact([data("abc"), data("d")]));
            let factory = BodyFactory::new(|| Script::exact([data("abc"), data("d")]));
            request.extensions_mut().insert(factory);
            request
        }),
        ("made anew, in chunks", |server| {
            let mut request = server.request(Script::new([data("abc"), data("d")]));
            let factory = BodyFactory::new(|| Script::new([data("abc"), data("d")]));
            request.extensions_mut().insert(factory);
            request
        }),
    ]
}

/// The head that the retry should have had if the first attempt had come with the new token.
fn with_new_token(wire: &Wire) -> Wire {
    let mut wire = wire.clone();
    wire.head = wire.head.replace("Bearer old", "Bearer new");
    wire
}

/// Records both attempts of each request, byte for byte.
async fn byte_for_byte(refuse_from_the_head: bool) {
    for (name, request) in cases() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let server = Server::raw(move |_, stream| {
            let seen = Arc::clone(&notes);
            async move {
                let mut connection = Raw::new(stream);
                while let Some(head) = connection.head().await {
                    let stepped_up = head.contains("authorization: Bearer new\r\n");
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(Wire {
                            head: head.clone(),
                            body: Vec::new(),
                            content: Vec::new(),
                        });
                        seen.len() - 1
                    };
                    if refuse_from_the_head && !stepped_up {
                        connection.write(REFUSED).await;
                    }
                    // nothing of a body that was cut
                    let (body, content) = connection.body(&head).await.unwrap_or_default();
                    {
                        let wire = &mut seen.lock().unwrap()[number];
                        (wire.body, wire.content) = (body, content);
                    }
                    if stepped_up {
                        connection.write(OK).await;
                    } else if !refuse_from_the_head {
                        connection.write(REFUSED).await;
                    }
                }
            }
        });
        let service = server
            .layer(Plan::Bearer("new"))
            .0
            .layer(Protocol::Http1.client());
        let response = service.oneshot(request(&server)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        assert!(response.extensions().get::<SteppedUp>().is_some());
        let seen = seen.lock().unwrap();
        let [first, second] = &seen[..] else {
            panic!("{name}: {} requests", seen.len());
        };
        if refuse_from_the_head {
            // the first one may have been cut
            assert_eq!(second.head, with_new_token(first).head, "{name}");
        } else {
            assert_eq!(*second, with_new_token(first), "{name}");
        }
        assert_ne!(second.head, first.head, "{name}");
    }
}

#[tokio::test]
async fn the_retry_is_the_first_attempt_byte_for_byte_but_for_the_token() {
    within(10, byte_for_byte(false)).await;
}

#[tokio::test]
async fn the_retry_after_an_early_refusal_has_the_same_head_but_for_the_token() {
    within(10, byte_for_byte(true)).await;
}

/// The tests above would not notice if no framing was ever sent.
#[tokio::test]
async fn sized_and_chunked_are_what_they_say() {
    within(10, async {
        let server = Server::raw(|_, stream| async move {
            let mut connection = Raw::new(stream);
            while let Some(request) = connection.request().await {
                let sized = request.head.contains("\r\ncontent-length: 3\r\n");
                let chunked = request.head.contains("\r\ntransfer-encoding: chunked\r\n");
                match &request.content[..] {
                    b"one" => assert!(sized && !chunked && request.body == b"one"),
                    b"two" => {
                        assert!(chunked && !sized);
                        assert_eq!(request.body, b"3\r\ntwo\r\n0\r\nx-trailer: t\r\n\r\n");
                    }
                    other => panic!("{other:?}"),
                }
                let stepped_up = request.is_stepped_up();
                connection
                    .write(if stepped_up { OK } else { REFUSED })
                    .await;
            }
        });
        let service = server
            .layer(Plan::Bearer("new"))
            .0
            .layer(Protocol::Http1.client());
        let sized = server.request(Script::exact([data("one")]));
        let chunked = edited(
            &server,
            Script::new([data("two"), trailers("t")]),
            |headers| {
                headers.insert(TRAILER, "x-trailer".parse().unwrap());
            },
        );
        for request in [sized, chunked] {
            let response = service.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
    })
    .await;
}

/// A gateway that keeps the case of header names, as hyper can: that is in the request's extensions, which the retry has too.
#[tokio::test]
async fn a_gateway_s_retry_has_the_names_as_its_client_wrote_them() {
    const HEAD: &str = "POST /a?b HTTP/1.1\r\nHost: api.example.com\r\nX-First: 1\r\nX-TWICE: a\r\nx-Twice: b\r\n\
        Content-Length: 3\r\nAuthorization: Bearer old\r\n\r\n";

    within(10, async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let upstream = Server::raw(move |_, stream| {
            let seen = Arc::clone(&notes);
            async move {
                let mut connection = Raw::new(stream);
                while let Some(head) = connection.head().await {
                    let body = connection.exactly(3).await.unwrap();
                    let stepped_up = head.contains("Bearer new");
                    seen.lock().unwrap().push((head, body));
                    connection
                        .write(if stepped_up { OK } else { REFUSED })
                        .await;
                }
            }
        });
        let client = Client::builder(TokioExecutor::new())
            .http1_preserve_header_case(true)
            .build_http::<ReplayBody<Incoming>>();
        let authority = upstream.addr();
        let gateway = upstream.layer(Plan::Bearer("new")).0.layer(client);
        let server = Server::raw(move |_, stream| {
            let gateway = gateway
                .clone()
                .map_request(move |mut request: Request<Incoming>| {
                    let uri = format!("http://{authority}{}", request.uri());
                    *request.uri_mut() = uri.parse().unwrap();
                    request
                });
            async move {
                let served = hyper::server::conn::http1::Builder::new()
                    .preserve_header_case(true)
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(gateway));
                drop(served.await);
            }
        });
        let mut connection = Raw::new(TcpStream::connect(server.addr()).await.unwrap());
        connection.write(HEAD).await;
        connection.write("abc").await;
        let head = connection.head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let refused = (HEAD.to_owned(), b"abc".to_vec());
        let retried = (HEAD.replace("Bearer old", "Bearer new"), b"abc".to_vec());
        assert_eq!(*seen.lock().unwrap(), [refused, retried]);
    })
    .await;
}

type Seen = (Vec<(String, String)>, SizeHintOf, Bytes, Option<HeaderMap>);
type SizeHintOf = (u64, Option<u64>);

/// What a hyper server makes of both attempts.
async fn the_retry_has_the_same_head_size_and_trailers(protocol: Protocol) {
    for (name, request) in cases() {
        for by_head in [true, false] {
            let seen = Arc::new(Mutex::new(Vec::<Seen>::new()));
            let notes = Arc::clone(&seen);
            let server = Server::start(protocol, move |call| {
                let seen = Arc::clone(&notes);
                async move {
                    let stepped_up = call.is_stepped_up();
                    let (head, body) = call.request.into_parts();
                    let hint = body.size_hint();
                    let body = body.collect().await.unwrap();
                    let trailers = body.trailers().cloned();
                    let mut lines = vec![(
                        head.method.to_string(),
                        format!("{} {:?}", head.uri, head.version),
                    )];
                    for (name, value) in &head.headers {
                        if name != AUTHORIZATION {
                            let value = String::from_utf8_lossy(value.as_bytes());
                            lines.push((name.to_string(), value.into_owned()));
                        }
                    }
                    let hint = (hint.lower(), hint.upper());
                    let seen_now = (lines, hint, body.to_bytes(), trailers);
                    seen.lock().unwrap().push(seen_now);
                    match (stepped_up, by_head) {
                        (true, _) => ok(),
                        (false, true) => demand_by_head(Script::empty()),
                        (false, false) => demand(),
                    }
                }
            });
            let service = server.layer(Plan::Bearer("new")).0.layer(protocol.client());
            let response = service.oneshot(request(&server)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            let seen = seen.lock().unwrap();
            assert_eq!(seen.len(), 2, "{name}");
            assert_eq!(seen[0], seen[1], "{name}");
            assert_eq!(seen[0].3.is_some(), name.ends_with("trailers"), "{name}");
        }
    }
}
