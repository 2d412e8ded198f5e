//! Nobody is ever served with another's elevation (rule 9): random interleavings of users, tokens, origins, requirements,
//! evictions, refusals, removals, drops and time, of two instances with a store that keeps little. At the API every request
//! arrives with a token of its own user, and with an elevated one only where that was got.
//!
//! A run is a function of its seed, which a failure prints.

use std::panic::AssertUnwindSafe;

use tower_mfa::store::MemoryStore;
use tower_mfa::time::Clock as _;
use tower_mfa::{AccessToken, MfaLayer, Principal, TokenSet};

use crate::stage::*;
use crate::support::{Script, data};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const ORIGINS: [&str; 3] = ["", "https://a.example.com", "https://b.example.com"];
const PATHS: [&str; 6] = [
    "/transfers",
    "/need/push",
    "/slow/transfers",
    "/original-only",
    "/open",
    "/closed",
];

/// SplitMix64: small, and good enough to choose what happens next.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// Where a request goes, as the tokens name it.
fn place(uri: &http::Uri) -> &str {
    match uri.host() {
        None => "here",
        Some(host) => &host[..1],
    }
}

fn settings(seed: u64) -> impl Fn(MfaLayer) -> MfaLayer {
    move |layer| {
        let mut layer = layer
            .max_remembered(3)
            .max_step_ups(if seed.is_multiple_of(5) { 2 } else { 100 })
            .prompt_limit(10, seconds(60))
            .max_replay_bytes(8);
        for origin in &ORIGINS[1..] {
            layer = layer.trust_origin(origin).unwrap();
        }
        match seed % 3 {
            0 => layer.principal(|head| head.headers.get("x-user").map(Principal::new)),
            _ => layer,
        }
    }
}

#[derive(Default)]
struct Run {
    requests: usize,
    elevated: usize,
    step_ups: usize,
}

async fn run(seed: u64) -> Run {
    let random = &mut Random(seed);
    let world = World::new();
    let clock = world.clock.clone();
    let of_jwts = seed.is_multiple_of(2);
    world.issues(move |request, n| {
        let life = 20 + (n as u64 * 37) % 300;
        let place = place(request.uri());
        let token = format!("elevated-{}-{place}-{n}", user(request));
        let tokens = TokenSet::new(AccessToken::new(token, Some(clock.now() + seconds(life))));
        match of_jwts {
            true => tokens.with_id_token(jwt(&user(request), n)),
            false => tokens,
        }
    });
    let store = MemoryStore::new(3);
    let instance = || {
        Stage::instance(&world, |layer| {
            let layer = settings(seed)(layer);
            match seed % 4 {
                0 => layer,
                _ => layer.store(store.clone()),
            }
        })
    };
    let stages = [instance(), instance()];
    let mut calls: Vec<Call> = Vec::new();
    let weak = |user: &str, n: usize| format!("weak-{user}-{n}");
    for _ in 0..150 {
        let stage = &stages[random.below(2)];
        match random.below(20) {
            0..9 => {
                let user = random.one_of(&USERS);
                let uri = format!("{}{}", random.one_of(&ORIGINS), random.one_of(&PATHS));
                let body = match random.below(4) {
                    0 => Script::new([data("long"), data("er than eight")]),
                    1 => Script::new([data("short")]),
                    _ => Script::empty(),
                };
                let token = weak(user, random.below(2));
                let mut request = with_token(user, &token, &uri).map(|_| body);
                if random.below(10) == 0 {
                    request.headers_mut().remove("authorization");
                }
                let mut call = stage.call(request);
                if random.below(4) > 0 {
                    call.poll();
                }
                calls.push(call);
            }
            9..12 if !calls.is_empty() => {
                let chosen = random.below(calls.len());
                calls[chosen].poll();
            }
            12 | 13 if !calls.is_empty() => {
                drop(calls.swap_remove(random.below(calls.len())));
            }
            14 => {
                let good = world.good_tokens();
                if !good.is_empty() {
                    world.revoke(&random.one_of(&good));
                }
            }
            15 => {
                let user = random.one_of(&USERS);
                let principal = match seed % 3 {
                    0 => Principal::new(user),
                    _ => Principal::new(format!("Bearer {}", weak(user, random.below(2)))),
                };
                stage.layer.forget(&principal).await;
            }
            16 => {
                let reply = random.one_of(&[
                    Reply::Code(RIGHT).waits(),
                    Reply::Code(RIGHT).waits(),
                    Reply::Code("1"),
                    Reply::Declined.waits(),
                    Reply::Fails,
                ]);
                stage.person.then(reply);
            }
            17 => match random.below(2) {
                0 => stage.person.gate().open(),
                _ => stage.person.gate().close(),
            },
            18 => match random.below(2) {
                0 => world.answers.open(),
                _ => world.answers.close(),
            },
            _ => pass(seconds(random.next() % 60)).await,
        }
        poll_all(&mut calls);
    }
    // in the end everybody gets an answer
    world.answers.open();
    for stage in &stages {
        stage.person.gate().open();
    }
    for _ in 0..2000 {
        poll_all(&mut calls);
        calls.retain_mut(|call| !call.poll());
        if calls.is_empty() {
            break;
        }
        pass(std::time::Duration::from_millis(250)).await;
    }
    assert!(calls.is_empty(), "{} requests starve", calls.len());
    stages.iter().for_each(Stage::assert_idle);

    let mut ran = Run {
        step_ups: world.exchanges(),
        ..Run::default()
    };
    for got in world.got() {
        ran.requests += 1;
        let token = got.token();
        if token.is_empty() {
            continue;
        }
        let parts: Vec<_> = token.split('-').collect();
        assert_eq!(parts[1], got.headers["x-user"], "{token}: another user's");
        if parts[0] == "elevated" {
            ran.elevated += 1;
            assert_eq!(parts[2], place(&got.uri), "{token}: got elsewhere");
        }
    }
    ran
}

#[test]
fn whatever_happens_every_request_arrives_with_a_token_of_its_own_user() {
    let mut all = Run::default();
    for seed in 0..300 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        // these calls are polled far more often than a task of a runtime would be
        let running = AssertUnwindSafe(|| runtime.block_on(tokio::task::unconstrained(run(seed))));
        let ran = std::panic::catch_unwind(running).unwrap_or_else(|_| panic!("seed {seed}"));
        all.requests += ran.requests;
        all.elevated += ran.elevated;
        all.step_ups += ran.step_ups;
    }
    // the interleavings are worth something
    assert!(all.requests > 10_000, "{}", all.requests);
    assert!(all.elevated > 2_000, "{}", all.elevated);
    assert!(all.step_ups > 1_000, "{}", all.step_ups);
}
