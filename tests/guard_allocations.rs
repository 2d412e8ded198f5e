//! What a guard allocates over the bare service for a token that it has seen before: nothing, or three times to put the claims into
//! the request's extensions.
//!
//! A test binary of its own, since its allocator counts.
#![cfg(all(feature = "guard", feature = "testing"))]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower_layer::Layer;
use tower_mfa::guard::{Guard, Policy, RemoteKeys, Requirement, Routes, Verifier};
use tower_mfa::testing::{AuthorizationServer, Client, Signing, User};
use tower_mfa::transport::Transport;
use tower_service::Service;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // while a thread ends there is nothing to count
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: hands everything on to the system's allocator, and counts in a cell that never allocates
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ISSUER: &str = "https://tenant.example.com/";
const AUDIENCE: &str = "https://api.example.com/";

/// Takes the request apart and answers 200.
#[derive(Clone)]
struct Answer;

impl Service<Request<Full<Bytes>>> for Answer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(Full::from("{}"))))
    }
}

fn server() -> AuthorizationServer {
    AuthorizationServer::builder()
        .client(Client::public("example-client"))
        .user(User::new("alice", "example-password"))
        .issuer(ISSUER)
        .signing(Signing::Es256)
        .build()
}

/// A guard that has its keys.
fn guard(server: &AuthorizationServer) -> Guard {
    let keys = RemoteKeys::discovery().transport(Transport::new(server.clone()));
    let verifier = Verifier::new(ISSUER, AUDIENCE, keys).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    assert!(runtime.block_on(verifier.prefetch()));
    Guard::new(verifier)
}

/// What a request allocates in a service, in steady state, and the status it gets.
fn allocations<S, R>(mut service: S, token: &str) -> (usize, StatusCode)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    let mut last = None;
    for _ in 0..3 {
        let request = Request::post("https://api.example.com/transfer")
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "application/json")
            .body(Full::default())
            .unwrap();
        let before = ALLOCATIONS.get();
        assert!(service.poll_ready(&mut context).is_ready());
        let answer = pin!(service.call(request)).poll(&mut context);
        let allocated = ALLOCATIONS.get() - before;
        let Poll::Ready(Ok(response)) = answer else {
            panic!("it answers at once");
        };
        last = Some((allocated, response.status()));
    }
    last.unwrap()
}

#[track_caller]
fn assert_costs(guard: &Guard, policy: impl Into<Policy>, token: &str, expected: usize) {
    let (bare, _) = allocations(Answer, token);
    let (guarded, status) = allocations(guard.require(policy).layer(Answer), token);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(guarded - bare, expected);
}

#[test]
fn a_seen_token_costs_no_allocation() {
    let server = server();
    let guard = guard(&server).insert_token(false);
    let token = server.elevated_token("alice");
    assert_costs(&guard, Requirement::login(), &token, 0);
    assert_costs(&guard, Requirement::mfa(), &token, 0);
    let fresh = Requirement::mfa()
        .max_age(std::time::Duration::from_secs(600))
        .acr_any_of(["http://schemas.openid.net/pape/policies/2007/06/multi-factor"])
        .unwrap();
    assert_costs(&guard, fresh, &token, 0);
}

#[test]
fn a_seen_token_behind_routes_costs_no_allocation() {
    let server = server();
    let guard = guard(&server).insert_token(false);
    let routes = Routes::new(Requirement::login())
        .method_prefix(Method::POST, "/transfer", Requirement::mfa())
        .unwrap();
    assert_costs(&guard, routes, &server.elevated_token("alice"), 0);
}

#[test]
fn the_claims_in_the_extensions_cost_three() {
    let server = server();
    let token = server.elevated_token("alice");
    assert_costs(&guard(&server), Requirement::mfa(), &token, 3);
}
