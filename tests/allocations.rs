//! What the layer allocates over the bare service. A request that needs no step-up costs nothing and, if it has a body, the tape
//! (design, rule 1).
//!
//! A test binary of its own, since its allocator counts. Every figure is the difference to the bare service with the same
//! request, in steady state.
#![allow(unsafe_code, reason = "an allocator cannot be written without")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::ops::Sub;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_mfa::body::BodyFactory;
use tower_mfa::dialect::{self, Detection, Dialect, Remedy, ResponseHead};
use tower_mfa::store::{MemoryStore, StoreKey, StoredToken, TokenStore};
use tower_mfa::time::{Clock, SystemClock};
use tower_mfa::{
    AccessToken, Auth0, Code, Demand, MfaLayer, NoStepUp, StepUpError, TokenSet, code_fn,
};
use tower_service::Service;

// ===== the allocator =====

struct Counting;

/// What a thread has allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    allocations: usize,
    bytes: usize,
}

thread_local! {
    /// Bytes allocated and not freed.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static COUNT: Cell<Count> = const { Cell::new(Count { allocations: 0, bytes: 0 }) };
}

fn live(change: isize) {
    let _ = LIVE.try_with(|live| live.set(live.get() + change));
}

fn count(bytes: usize) {
    live(bytes as isize);
    // while a thread ends there is nothing to count
    let _ = COUNT.try_with(|count| {
        let Count {
            allocations,
            bytes: before,
        } = count.get();
        count.set(Count {
            allocations: allocations + 1,
            bytes: before + bytes,
        });
    });
}

// SAFETY: hands everything on to the system's allocator, and counts in a cell that never allocates
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        live(-(layout.size() as isize));
        count(size);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        live(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Sub for Count {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            allocations: self.allocations - other.allocations,
            bytes: self.bytes - other.bytes,
        }
    }
}

/// What a function allocates; what it gives is dropped afterwards.
fn counted<T>(function: impl FnOnce() -> T) -> Count {
    let before = COUNT.get();
    let result = black_box(function());
    let after = COUNT.get();
    drop(result);
    after - before
}

// ===== the services =====

/// A body of a few frames, of known size.
#[derive(Clone, Debug)]
struct Frames(VecDeque<Bytes>);

impl Frames {
    fn new(frames: impl IntoIterator<Item = Bytes>) -> Self {
        Self(frames.into_iter().collect())
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|data| data.len() as u64).sum())
    }
}

/// Reads a body to its end, and drops its frames as they come.
fn drain<B: Body<Data = Bytes>>(body: B) -> usize {
    let mut body = pin!(body);
    let mut bytes = 0;
    while !body.is_end_stream() {
        match body
            .as_mut()
            .poll_frame(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Poll::Ready(None) => break,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {
                panic!("this body neither fails nor waits")
            }
        }
    }
    bytes
}

/// Reads the request's body and answers at once.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: &'static str,
}

impl<B: Body<Data = Bytes>> Service<Request<B>> for Answer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        black_box(drain(body));
        drop(head);
        let mut response = Response::new(Full::from(self.body));
        *response.status_mut() = self.status;
        let content_type = HeaderValue::from_static(self.content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        ready(Ok(response))
    }
}

const OK: Answer = Answer {
    status: StatusCode::OK,
    content_type: "application/json",
    body: r#"{"id":1}"#,
};
const FORBIDDEN: Answer = Answer {
    status: StatusCode::FORBIDDEN,
    content_type: "application/json",
    body: r#"{"error":"forbidden"}"#,
};

/// What a call allocates, from the request to the end of the response's body.
fn cost<S, B>(service: &mut S, request: impl Fn() -> Request<Frames>) -> Count
where
    S: Service<Request<Frames>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    let mut call = || {
        let request = request();
        counted(|| {
            let mut context = Context::from_waker(Waker::noop());
            assert!(service.poll_ready(&mut context).is_ready());
            let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut context) else {
                panic!("this service answers at once");
            };
            drain(response.into_body())
        })
    };
    call();
    let steady = call();
    assert_eq!(steady, call(), "no steady state");
    steady
}

fn mfa() -> MfaLayer {
    let codes = code_fn(|_challenge| async { Ok(Code::new("123456")) });
    MfaLayer::new(
        Auth0::new("https://tenant.example.com/", "example-client").unwrap(),
        codes,
    )
    .trust_origin("https://api.example.com")
    .unwrap()
}

/// What the layer adds.
fn added(layer: &MfaLayer, answer: &Answer, request: impl Fn() -> Request<Frames>) -> Count {
    let bare = cost(&mut answer.clone(), &request);
    cost(&mut layer.layer(answer.clone()), &request) - bare
}

const NOTHING: Count = Count {
    allocations: 0,
    bytes: 0,
};

// ===== the requests =====

const NAMES: [&str; 5] = [
    "accept",
    "accept-language",
    "content-type",
    "user-agent",
    "x-request-id",
];

/// A request as a client makes it, from strings: six headers, among them a bearer token of 1 KiB.
fn post(frames: impl IntoIterator<Item = Bytes>) -> Request<Frames> {
    let bearer = format!("Bearer {}", "x".repeat(1024));
    let mut request = Request::post("https://api.example.com/transfers?draft=false")
        .header("authorization", bearer.as_str());
    for name in NAMES {
        request = request.header(name, "a value of usual length");
    }
    request.body(Frames::new(frames)).unwrap()
}

fn get() -> Request<Frames> {
    post([])
}

/// The same as a server gets it: every value is a part of the buffer that was read from the connection.
fn received() -> Request<Frames> {
    let buffer = Bytes::from(vec![b'x'; 2048]);
    let mut request = get();
    for (at, value) in request.headers_mut().values_mut().enumerate() {
        let part = buffer.slice(at * 100..at * 100 + 100);
        *value = HeaderValue::from_maybe_shared(part).unwrap();
    }
    request
}

/// Memory as a `Vec` gives it, which was never shared before.
fn chunk(size: usize) -> Bytes {
    Bytes::from(vec![b'x'; size])
}

// ===== what a request costs that needs no step-up =====

/// Its head is copied into a buffer that requests take turns to use.
#[test]
fn a_request_without_a_body_costs_nothing() {
    assert_eq!(added(&mfa(), &OK, get), NOTHING);
}

#[test]
fn a_request_that_a_server_received_costs_nothing() {
    assert_eq!(added(&mfa(), &OK, received), NOTHING);
}

/// What the clone of its head allocates, and the boxes of that: its text is too long for a buffer.
#[test]
fn a_request_with_a_very_long_head_costs_a_clone() {
    let long = || {
        let mut request = get();
        let cookie = HeaderValue::from_bytes(&[b'x'; 5000]).unwrap();
        request.headers_mut().insert("cookie", cookie);
        request
    };
    let (head, _body) = long().into_parts();
    let clone = counted(|| head.clone());
    let added = added(&mfa(), &OK, long);
    assert_eq!(added.allocations, clone.allocations + 1);
    assert!(added.bytes < clone.bytes + 512, "a copy: {added:?}");
}

/// Buffers are for requests in flight: what they hold at a time is what their heads need, and not twice as much.
#[test]
fn a_request_in_flight_takes_less_than_two_kilobytes() {
    let service = tower::service_fn(|_request| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let mut service = mfa().layer(service);
    let call = |service: &mut tower_mfa::Mfa<_>| Box::pin(Service::call(service, get()));
    let few: Vec<_> = (0..100).map(|_| call(&mut service)).collect();
    let before = LIVE.get();
    let many: Vec<_> = (0..1000).map(|_| call(&mut service)).collect();
    let each = (LIVE.get() - before) / 1000;
    println!("{each} bytes for each request in flight, with a token of 1 KiB");
    drop((few, many));
    assert!(each < 2048, "{each}");
}

/// Three for the first extension (the map behind its pointer, its table, the box of the value) and one more for each other, as
/// long as the table has room; and what the values' own clones cost.
#[test]
fn extensions_cost_their_own_clones() {
    let one = || {
        let mut request = get();
        request.extensions_mut().insert(7_u32);
        request
    };
    let two = || {
        let mut request = one();
        request.extensions_mut().insert("a str");
        request
    };
    for (request, allocations) in [(&one as &dyn Fn() -> Request<Frames>, 3), (&two, 4)] {
        let (head, _body) = request().into_parts();
        let added = added(&mfa(), &OK, request);
        assert_eq!(added, counted(|| head.extensions.clone()));
        assert_eq!(added.allocations, allocations);
    }
}

/// One: the tape that the attempt and the layer share, with room for four frames.
/// A frame that was never shared before costs 24 bytes, as a header's value does.
#[test]
fn a_small_body_costs_the_tape() {
    let shared = || post([Bytes::from_static(b"ten euros")]);
    let added_shared = added(&mfa(), &OK, shared);
    assert_eq!(added_shared.allocations, 1);

    let owned = || post([chunk(9)]);
    let added_owned = added(&mfa(), &OK, owned) - added_shared;
    assert_eq!(
        added_owned,
        Count {
            allocations: 1,
            bytes: 24
        }
    );
}

/// The tape, and 24 bytes for each frame that was never shared before.
#[test]
fn a_body_of_64_kib_in_four_frames_costs_no_copy() {
    let request = || post([(); 4].map(|()| chunk(16 * 1024)));
    let added = added(&mfa(), &OK, request);
    assert_eq!(added.allocations, 1 + 4);
    assert!(added.bytes < 2048, "a body was copied: {added:?}");
}

/// Beyond the four, a list, and one for each doubling of it.
#[test]
fn a_body_of_1_mib_costs_no_copy_where_it_may_be_remembered() {
    let request = || post([(); 64].map(|()| chunk(16 * 1024)));
    let added = added(&mfa().max_replay_bytes(1024 * 1024), &OK, request);
    assert_eq!(added.allocations, 1 + 64 + 5);
    assert!(added.bytes < 16 * 1024, "a body was copied: {added:?}");
}

/// A body that says that it is too long is not taped.
#[test]
fn a_body_that_is_too_long_costs_nothing() {
    let request = || post([(); 64].map(|()| chunk(16 * 1024)));
    assert_eq!(added(&mfa(), &OK, request), NOTHING);
}

/// One: the tape. There is no list, and no frame is shared.
#[test]
fn a_body_with_a_factory_costs_the_tape() {
    let frames = || Frames::new([(); 64].map(|()| chunk(16 * 1024)));
    let request = || {
        let mut request = post([]);
        *request.body_mut() = frames();
        request.extensions_mut().insert(BodyFactory::new(frames));
        request
    };
    let added = added(&mfa(), &OK, request);
    let (head, _body) = request().into_parts();
    let extensions = counted(|| head.extensions.clone());
    assert_eq!(added.allocations, extensions.allocations + 1);
    assert!(added.bytes < 2048, "a body was copied: {added:?}");
}

#[test]
fn a_request_that_opted_out_costs_nothing() {
    for body in [0, 9, 1024 * 1024] {
        let request = || {
            let mut request = post((body > 0).then(|| chunk(body)));
            request.extensions_mut().insert(NoStepUp);
            request
        };
        assert_eq!(added(&mfa(), &OK, request), NOTHING);
    }
}

#[test]
fn a_request_that_takes_no_part_costs_nothing() {
    let layer = mfa().step_up_if(|head| head.uri.path() != "/transfers");
    let request = || {
        let mut request = post([chunk(9)]);
        request.extensions_mut().insert(7_u32);
        request
    };
    assert_eq!(added(&layer, &OK, request), NOTHING);
}

// ===== what a response costs =====

/// Every status that is not one of the configured ones, whatever its body: nothing over the request.
#[test]
fn a_response_that_cannot_be_a_demand_costs_nothing() {
    for status in [200, 201, 204, 302, 404, 500] {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            ..OK
        };
        assert_eq!(added(&mfa(), &answer, get), NOTHING, "{status}");
    }
}

/// Looks at bodies, finds no demand, and allocates nothing for that.
struct Frugal;

impl Dialect for Frugal {
    fn name(&self) -> &'static str {
        "frugal"
    }

    fn detect(&self, _response: ResponseHead<'_>) -> Detection {
        Detection::Body
    }

    fn detect_body(&self, _response: ResponseHead<'_>, body: &[u8]) -> Option<Demand> {
        assert_eq!(body, FORBIDDEN.body.as_bytes());
        None
    }

    async fn resolve(
        &self,
        _demand: Demand,
        _context: dialect::Context,
    ) -> Result<Remedy, StepUpError> {
        panic!("there is no demand")
    }
}

/// Three: the body, pinned; the state in which it is read, boxed; the list of its frames. A body in one frame is shown to the
/// dialect as it is.
#[test]
fn a_403_that_is_peeked_and_no_demand_costs_three() {
    let codes = code_fn(|_challenge| async { Ok(Code::new("123456")) });
    let added = added(&MfaLayer::new(Frugal, codes), &FORBIDDEN, get);
    assert_eq!(added.allocations, 3);
}

/// And what it takes to parse the JSON: here three more, the two strings and the map.
#[test]
fn a_403_that_auth0_finds_to_be_no_demand_costs_its_parsing_too() {
    let added = added(&mfa(), &FORBIDDEN, get);
    assert_eq!(added.allocations, 3 + 3);
}

/// A 403 that is no JSON is not peeked.
#[test]
fn a_403_that_is_no_json_costs_nothing() {
    let answer = Answer {
        content_type: "text/html",
        ..FORBIDDEN
    };
    assert_eq!(added(&mfa(), &answer, get), NOTHING);
}

// ===== what a remembered elevation costs =====

/// Takes every 403 for a demand, and meets it with a token of 1 KiB that ends in an hour.
struct Granting;

impl Dialect for Granting {
    fn name(&self) -> &'static str {
        "granting"
    }

    fn detect(&self, _response: ResponseHead<'_>) -> Detection {
        Detection::Demand(Demand::new())
    }

    async fn resolve(
        &self,
        _demand: Demand,
        context: dialect::Context,
    ) -> Result<Remedy, StepUpError> {
        let end = context.now() + Duration::from_secs(3600);
        let token = AccessToken::new(format!("elevated-{}", "y".repeat(1024)), Some(end));
        Ok(Remedy::bearer(TokenSet::new(token)))
    }
}

/// Answers 200 to elevated tokens and 403 to all others.
#[derive(Clone)]
struct Strict;

impl<B: Body<Data = Bytes>> Service<Request<B>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let authorization = request.headers()["authorization"].to_str().unwrap();
        match authorization.starts_with("Bearer elevated-") {
            true => OK.clone().call(request),
            false => FORBIDDEN.clone().call(request),
        }
    }
}

fn granting() -> MfaLayer {
    let codes = code_fn(|_challenge| async { Ok(Code::new("123456")) });
    MfaLayer::new(Granting, codes)
        .trust_origin("https://api.example.com")
        .unwrap()
}

/// Lets the layer step a request up.
fn step_up(layer: &MfaLayer, request: Request<Frames>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let response = runtime
        .block_on(layer.layer(Strict).oneshot(request))
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// The lookup compares, and the token is shared: nothing over a request for which nothing is remembered.
#[test]
fn a_remembered_elevation_is_looked_up_and_attached_for_nothing() {
    let layer = granting();
    step_up(&layer, get());
    // a 403 would be stepped up, which takes a runtime, which is not there: the token is attached
    let remembered = cost(&mut layer.layer(Strict), get) - cost(&mut OK.clone(), get);
    assert_eq!(remembered, NOTHING);
}

/// What the documentation of `max_remembered` says, and a little less.
#[test]
fn a_remembered_elevation_takes_two_and_a_half_kilobytes() {
    let layer = granting();
    let numbered = |number: usize| {
        let mut request = get();
        let bearer = format!("Bearer {number:0>1024}");
        let value = HeaderValue::try_from(bearer).unwrap();
        request.headers_mut().insert("authorization", value);
        request
    };
    // beyond the growth of the tables
    for number in 0..100 {
        step_up(&layer, numbered(number));
    }
    let before = LIVE.get();
    for number in 100..1000 {
        step_up(&layer, numbered(number));
    }
    let each = (LIVE.get() - before) / 900;
    println!("{each} bytes for each elevation, with two tokens of 1 KiB");
    assert!((2048..2560).contains(&each), "{each}");
}

/// What the documentation of `MemoryStore` says.
#[test]
fn an_entry_of_the_memory_store_takes_some_three_hundred_bytes_and_its_token() {
    let store = MemoryStore::new(2000);
    let put = |number: u32| {
        let key = StoreKey::of_parts([number.to_be_bytes()]);
        let token = format!("{number:0>1024}");
        let token = StoredToken::new(token, SystemClock::new().now());
        let life = Duration::from_secs(60);
        pin!(store.put(&key, &token, life))
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    };
    assert!((0..100).all(put));
    let before = LIVE.get();
    assert!((100..1000).all(put));
    let each = (LIVE.get() - before) / 900 - 1024;
    println!("{each} bytes for each entry, and its token");
    assert!((150..350).contains(&each), "{each}");
}
