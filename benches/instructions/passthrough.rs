//! A request that needs no second factor: through `MfaLayer`, and through layers that also keep a request or change it.

use std::convert::Infallible;
use std::future::{Future, Ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::retry::RetryLayer;
use tower::{Layer, Service};
use tower_http::auth::AddAuthorizationLayer;
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_mfa::{MfaLayer, NoStepUp};

use crate::suite::{Case, Limit, Suite};
use crate::support::{Copy, mfa, received, remembering, request, request_of};

const RETRY: &str = "tower Retry, 6 headers";
const RETRY_RECEIVED: &str = "tower Retry, 6 headers, received";
const RETRY_20: &str = "tower Retry, 20 headers";
const FOLLOW: &str = "tower-http FollowRedirect, 6 headers";

pub(crate) fn suite() -> Suite {
    let case = Case::new;
    Suite {
        name: "Pass-through",
        cases: vec![
            case(
                "bare, 6 headers",
                "bare, 6 headers",
                |n| bare(n, six),
                vec![],
            ),
            case(RETRY, "bare, 6 headers", |n| retry(n, six), vec![]),
            case(
                FOLLOW,
                "bare, 6 headers",
                |n| follow_redirect(n, six),
                vec![],
            ),
            case(
                "tower-http AddAuthorization, 6 headers",
                "bare, 6 headers",
                |n| add_authorization(n, six),
                vec![],
            ),
            case(
                "MfaLayer, 6 headers",
                "bare, 6 headers",
                |n| layered(n, &mfa(), six),
                vec![
                    Limit::instructions(0.60, RETRY).but_held(0.78),
                    Limit::instructions(0.42, FOLLOW).but_held(0.50),
                    Limit::allocations(0.0),
                ],
            ),
            case(
                "MfaLayer, 6 headers, elevation remembered",
                "bare, 6 headers",
                |n| layered(n, &remembering(), six),
                vec![
                    Limit::instructions(0.80, RETRY).but_held(1.30),
                    Limit::allocations(0.0),
                ],
            ),
            case(
                "MfaLayer, 6 headers, another's elevation remembered",
                "bare, 6 headers",
                |n| layered(n, &remembering(), another),
                vec![Limit::allocations(0.0)],
            ),
            case(
                "bare, 6 headers, received",
                "bare, 6 headers, received",
                |n| bare(n, received),
                vec![],
            ),
            case(
                RETRY_RECEIVED,
                "bare, 6 headers, received",
                |n| retry(n, received),
                vec![],
            ),
            case(
                "MfaLayer, 6 headers, received",
                "bare, 6 headers, received",
                |n| layered(n, &mfa(), received),
                vec![
                    Limit::instructions(0.86, RETRY_RECEIVED),
                    Limit::allocations(0.0),
                ],
            ),
            case(
                "bare, 6 headers, marked",
                "bare, 6 headers, marked",
                |n| bare(n, opted_out),
                vec![],
            ),
            case(
                "MfaLayer, 6 headers, opted out",
                "bare, 6 headers, marked",
                |n| layered(n, &mfa(), opted_out),
                vec![Limit::instructions(0.16, RETRY), Limit::allocations(0.0)],
            ),
            case(
                "MfaLayer, 6 headers, takes no part",
                "bare, 6 headers",
                |n| {
                    layered(
                        n,
                        &mfa().step_up_if(|head| head.uri.path() != "/transfer"),
                        six,
                    )
                },
                vec![Limit::instructions(0.18, RETRY), Limit::allocations(0.0)],
            ),
            case(
                "bare, 20 headers",
                "bare, 20 headers",
                |n| bare(n, twenty),
                vec![],
            ),
            case(RETRY_20, "bare, 20 headers", |n| retry(n, twenty), vec![]),
            case(
                "tower-http FollowRedirect, 20 headers",
                "bare, 20 headers",
                |n| follow_redirect(n, twenty),
                vec![],
            ),
            case(
                "MfaLayer, 20 headers",
                "bare, 20 headers",
                |n| layered(n, &mfa(), twenty),
                vec![Limit::instructions(0.50, RETRY_20), Limit::allocations(0.0)],
            ),
        ],
    }
}

// ===== the requests =====

fn six() -> Request<Full<Bytes>> {
    request(6)
}

fn twenty() -> Request<Full<Bytes>> {
    request(20)
}

fn another() -> Request<Full<Bytes>> {
    request_of(6, 'z')
}

fn opted_out() -> Request<Full<Bytes>> {
    let mut request = six();
    request.extensions_mut().insert(NoStepUp);
    request
}

// ===== the service =====

/// Takes the request apart, as every real one does, and answers 200.
#[derive(Clone)]
struct Answer;

impl<B: Body> Service<Request<B>> for Answer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        std::future::ready(Ok(Response::new(Full::from("{}"))))
    }
}

fn drive<S>(calls: u64, mut service: S, request: fn() -> Request<Full<Bytes>>)
where
    S: Service<Request<Full<Bytes>>>,
    S::Error: std::fmt::Debug,
{
    let request = black_box(request);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..calls {
        let request = request();
        black_box(&request);
        assert!(service.poll_ready(&mut context).is_ready());
        let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut context) else {
            panic!("this service answers at once");
        };
        black_box(&response);
    }
}

fn bare(calls: u64, request: fn() -> Request<Full<Bytes>>) {
    drive(calls, Answer, request);
}

fn layered(calls: u64, layer: &MfaLayer, request: fn() -> Request<Full<Bytes>>) {
    drive(calls, layer.layer(Answer), request);
}

// ===== the peers =====

fn retry(calls: u64, request: fn() -> Request<Full<Bytes>>) {
    drive(calls, RetryLayer::new(Copy).layer(Answer), request);
}

fn follow_redirect(calls: u64, request: fn() -> Request<Full<Bytes>>) {
    drive(calls, FollowRedirectLayer::new().layer(Answer), request);
}

fn add_authorization(calls: u64, request: fn() -> Request<Full<Bytes>>) {
    let layer = AddAuthorizationLayer::bearer("test-token");
    drive(calls, layer.layer(Answer), request);
}
