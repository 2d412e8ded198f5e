//! A request with a bearer token that was verified before: through a guard, and through a guard with `MfaLayer` behind it, as in
//! a gateway.

use std::sync::LazyLock;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::Layer;
use tower_mfa::guard::{Guard, Guarded, Requirement};

use crate::issuer::{Answer, Issuer, call, request};
use crate::suite::{Case, Limit, Suite};
use crate::support::mfa;

const BARE: &str = "bare, signed token";

pub(crate) fn suite() -> Suite {
    let case = |name, run, limits| Case::new(name, BARE, run, limits);
    Suite {
        name: "Guard",
        cases: vec![
            case(BARE, bare, vec![]),
            case(
                "GuardLayer, seen token",
                |calls| seen(calls, false),
                vec![Limit::allocations(0.0), Limit::count(1_460.0)],
            ),
            case(
                "GuardLayer, seen token, claims in extensions",
                |calls| seen(calls, true),
                vec![Limit::allocations(3.0), Limit::count(2_260.0)],
            ),
            case(
                "GuardLayer, new token, EdDSA",
                new,
                vec![Limit::allocations(21.0)],
            ),
            case(
                "GuardLayer, expired token",
                expired,
                vec![Limit::allocations(8.0), Limit::count(20_700.0)],
            ),
            case(
                "GuardLayer and MfaLayer, seen token",
                both,
                vec![Limit::allocations(0.0), Limit::count(2_500.0)],
            ),
        ],
    }
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(Issuer::seeded);
static TOKEN: LazyLock<String> = LazyLock::new(|| ISSUER.token(0));

fn requests(calls: u64) -> impl Iterator<Item = Request<Full<Bytes>>> {
    (0..calls).map(|_| request(&TOKEN))
}

fn guarded<S>(insert: bool, inner: S) -> Guarded<S> {
    Guard::new(ISSUER.verifier())
        .insert_token(insert)
        .require(Requirement::mfa())
        .layer(inner)
}

fn bare(calls: u64) {
    requests(calls).for_each(|request| drop(call(&mut Answer, request)));
}

fn seen(calls: u64, insert: bool) {
    let mut service = guarded(insert, Answer);
    requests(calls).for_each(|request| drop(call(&mut service, request)));
}

/// Each of two tokens pushes the other out of a cache with room for one.
fn new(calls: u64) {
    let verifier = ISSUER.verifier().cache(1, 1 << 20);
    let mut service = Guard::new(verifier)
        .require(Requirement::mfa())
        .layer(Answer);
    let tokens = [ISSUER.token(0), ISSUER.token(1)];
    let tokens = tokens.iter().cycle();
    for (_, token) in (0..calls).zip(tokens) {
        drop(call(&mut service, request(token)));
    }
}

fn expired(calls: u64) {
    let mut service = guarded(false, Answer);
    drop(call(&mut service, request(&TOKEN)));
    let token = ISSUER.expired();
    (0..calls).for_each(|_| drop(call(&mut service, request(&token))));
}

fn both(calls: u64) {
    let mut service = guarded(false, mfa().layer(Answer));
    requests(calls).for_each(|request| drop(call(&mut service, request)));
}
