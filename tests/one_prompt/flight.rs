//! One step-up for all who need the same at the same time, whatever becomes of any of them (rule 5).

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tower_mfa::{Event, Principal, RequestHead, TokenSet};

use crate::stage::*;
use crate::support::Script;

#[tokio::test(start_paused = true)]
async fn forty_requests_of_one_principal_make_one_prompt() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let calls = page(&stage);
    assert_eq!(stage.counts(), (1, 1, 0));
    assert_eq!(stage.layer.step_ups_under_way(), 1);
    assert_eq!(stage.world.tokens(), ["weak-alice"; 40]);
    stage.person.gate().open();
    for answer in finish_all(calls) {
        answer.accepted();
        let stepped_up = answer.stepped_up.unwrap();
        assert_eq!(stepped_up.attempts(), 1);
        assert_eq!(
            stepped_up.tokens().unwrap().access_token().expose(),
            "elevated-alice-1"
        );
    }
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"; 40]);
    assert_eq!(stage.counts(), (1, 1, 1));
    assert_eq!(stage.events(), ["started", "succeeded"]);
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_dropped_before_it_is_refused_starts_nothing() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let leader = stage.call(alice());
    let waiters = page(&stage);
    drop(leader);
    stage.person.gate().open();
    finish_all(waiters).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (1, 1, 1));
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_dropped_while_the_person_types_leaves_the_prompt_to_the_others() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let leader = stage.begin(alice());
    let waiters = page(&stage);
    drop(leader);
    assert_eq!(stage.person.thinking(), 1);
    stage.person.gate().open();
    finish_all(waiters).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (1, 1, 1));
    assert_eq!(stage.events(), ["started", "succeeded"]);
    stage.assert_idle();
}

/// The leader was the one that the person's answer woke.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_dropped_after_it_was_woken_leaves_the_prompt_to_the_others() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let leader = stage.begin(alice());
    let waiters = page(&stage);
    stage.person.gate().open();
    assert!(leader.is_woken());
    drop(leader);
    finish_all(waiters).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_nobody_polls_any_more_holds_nobody_up() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let parked = stage.begin(alice());
    let waiters = page(&stage);
    stage.person.gate().open();
    finish_all(waiters).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (1, 1, 1));
    assert_eq!(stage.layer.step_ups_under_way(), 0);
    // and it is not forgotten
    parked.finish().accepted();
    assert_eq!(stage.counts(), (1, 1, 1));
}

/// The one that drove the step-up last is the one that its wake-ups went to.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_nobody_polls_any_more_holds_nobody_up() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let leader = stage.begin(alice());
    let parked: Vec<_> = page(&stage);
    stage.person.gate().open();
    leader.finish().accepted();
    finish_all(parked).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_for_all_and_the_next_request_starts_anew() {
    let stage = Stage::new();
    stage.person.then(Reply::Panics.waits());
    let calls = page(&stage);
    stage.person.gate().open();
    for answer in finish_all(calls) {
        assert!(answer.refused().is_panicked());
    }
    assert_eq!(stage.counts(), (1, 1, 0));
    assert_eq!(stage.world.tokens(), ["weak-alice"; 40]);
    stage.assert_idle();
    stage.finish(alice()).accepted();
    assert_eq!(stage.counts(), (2, 2, 1));
}

/// It is called within the step-up, for all who wait for it.
#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_is_an_error_for_all_and_the_next_request_starts_anew() {
    let once = AtomicBool::new(true);
    let stage = Stage::with(|layer| {
        layer.on_event(move |event| {
            let ends = matches!(event, Event::Succeeded { .. });
            assert!(
                !ends || !once.swap(false, SeqCst),
                "this panic is part of the test"
            );
        })
    });
    stage.person.then(Reply::Code(RIGHT).waits());
    let calls: Vec<_> = (0..3)
        .map(|_| stage.begin(of("alice", "/need/push")))
        .collect();
    stage.person.gate().open();
    for answer in finish_all(calls) {
        assert!(answer.refused().is_panicked());
    }
    stage.assert_idle();
    stage.finish(alice()).accepted();
    assert_eq!(stage.counts(), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn waiters_that_are_dropped_change_nothing() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let leader = stage.begin(alice());
    let mut calls = page(&stage);
    drop(calls.drain(..13));
    stage.person.gate().open();
    drop(calls.drain(13..));
    calls.push(leader);
    assert_eq!(calls.len(), 14);
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (1, 1, 1));
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn when_the_last_one_goes_the_prompt_goes_too() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let mut calls = page(&stage);
    let last = calls.pop();
    drop(calls);
    assert_eq!(stage.person.thinking(), 1);
    assert_eq!(stage.layer.step_ups_under_way(), 1);
    drop(last);
    stage.assert_idle();
    let polls = stage.person.polls();
    stage.person.gate().open();
    pass(HOUR).await;
    assert_eq!(stage.person.polls(), polls);
    assert_eq!(stage.counts(), (1, 1, 0));
    // no one is left with half of it
    stage.finish(alice()).accepted();
    assert_eq!(stage.counts(), (2, 2, 1));
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_everybodys() {
    let stage = Stage::new();
    stage.person.then(Reply::Fails.waits());
    let calls = page(&stage);
    stage.person.gate().open();
    let answers = finish_all(calls);
    let sources: Vec<_> = answers
        .iter()
        .map(|answer| {
            assert!(answer.refused().is_code_provider());
            std::ptr::from_ref(std::error::Error::source(answer.refused()).unwrap()).cast::<()>()
        })
        .collect();
    assert!(
        sources.iter().all(|source| *source == sources[0]),
        "one error"
    );
    assert_eq!(stage.counts(), (1, 1, 0));
    assert_eq!(stage.events(), ["started", "provider"]);
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_nobodys_who_comes_later() {
    let stage = Stage::new();
    stage.person.then(Reply::Fails);
    assert!(stage.finish(alice()).refused().is_code_provider());
    stage.finish(alice()).accepted();
    assert_eq!(stage.counts(), (2, 2, 1));
}

/// Its first attempt went out while the others waited, and was refused when they had their token.
#[tokio::test(start_paused = true)]
async fn who_comes_right_after_the_end_is_not_prompted() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let calls = page(&stage);
    let late = stage.begin(of("alice", "/slow/transfers"));
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    stage.world.tokens();
    stage.world.answers.open();
    let answer = late.finish();
    answer.accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
    assert_eq!(stage.counts(), (1, 1, 1));
    assert_eq!(stage.events(), ["started", "succeeded"]);
    // nothing was spent on it
    let stepped_up = answer.stepped_up.unwrap();
    assert_eq!(stepped_up.attempts(), 0);
    assert!(stepped_up.tokens().is_none());
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn two_requirements_of_one_principal_are_two_step_ups() {
    let stage = Stage::new();
    stage.person.always(Reply::Code(RIGHT).waits());
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let path = ["/need/otp", "/need/push"][n % 2];
            stage.begin(of("alice", path))
        })
        .collect();
    assert_eq!(stage.layer.step_ups_under_way(), 2);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (2, 2, 2));
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn two_principals_are_two_step_ups() {
    let stage = Stage::new();
    stage.person.always(Reply::Code(RIGHT).waits());
    let calls: Vec<_> = (0..20)
        .map(|n| stage.begin(of(["alice", "bob"][n % 2], "/transfers")))
        .collect();
    assert_eq!(stage.layer.step_ups_under_way(), 2);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (2, 2, 2));
    let mut tokens = stage.world.tokens();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(
        tokens.len(),
        4,
        "two weak ones, two elevated ones: {tokens:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn two_origins_are_two_step_ups() {
    let stage = Stage::with(|layer| {
        let layer = layer.trust_origin("https://a.example.com").unwrap();
        layer.trust_origin("https://b.example.com").unwrap()
    });
    stage.person.always(Reply::Code(RIGHT).waits());
    let calls = vec![
        stage.begin(of("alice", "https://a.example.com/")),
        stage.begin(of("alice", "https://b.example.com/")),
        stage.begin(of("alice", "https://A.example.com:443/x")),
    ];
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (2, 2, 2));
}

fn without_authorization() -> http::Request<Script> {
    let mut request = alice();
    request.headers_mut().clear();
    request
        .headers_mut()
        .insert("x-user", "alice".parse().unwrap());
    request
}

/// Whose such a request is, nobody can say.
fn with_two_authorizations() -> http::Request<Script> {
    let mut request = without_authorization();
    for value in ["Bearer weak-alice", "Basic test"] {
        request
            .headers_mut()
            .append("authorization", value.parse().unwrap());
    }
    request
}

#[tokio::test(start_paused = true)]
async fn requests_of_nobody_are_never_joined_and_never_remembered() {
    let stage = Stage::new();
    stage.person.always(Reply::Code(RIGHT).waits());
    let calls: Vec<_> = (0..3)
        .map(|_| stage.begin(without_authorization()))
        .collect();
    assert_eq!(stage.layer.step_ups_under_way(), 3);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (3, 3, 3));
    stage.finish(without_authorization()).accepted();
    assert_eq!(stage.counts(), (4, 4, 4));
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn requests_with_two_authorizations_are_nobodys() {
    let stage = Stage::new();
    stage.person.always(Reply::Code(RIGHT).waits());
    let calls = vec![
        stage.begin(with_two_authorizations()),
        stage.begin(with_two_authorizations()),
        stage.begin(alice()),
    ];
    assert_eq!(stage.layer.step_ups_under_way(), 3);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (3, 3, 3));
    stage.finish(with_two_authorizations()).accepted();
    assert_eq!(stage.counts(), (4, 4, 4));
    stage.assert_idle();
}

/// It is no credentials: everybody may have it.
#[tokio::test(start_paused = true)]
async fn an_authorization_of_nothing_is_nobodys() {
    let stage = Stage::new();
    stage.person.always(Reply::Code(RIGHT).waits());
    let empty = || {
        let mut request = without_authorization();
        request
            .headers_mut()
            .insert("authorization", "".parse().unwrap());
        request
    };
    let calls = vec![stage.begin(empty()), stage.begin(empty())];
    assert_eq!(stage.layer.step_ups_under_way(), 2);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (2, 2, 2));
}

/// The session of a browser is one principal, however many tokens it has.
fn by_session(layer: tower_mfa::MfaLayer) -> tower_mfa::MfaLayer {
    layer.principal(|head| head.headers.get("x-session").map(Principal::new))
}

fn in_session(mut request: http::Request<Script>, session: &str) -> http::Request<Script> {
    let session = session.parse().unwrap();
    request.headers_mut().insert("x-session", session);
    request
}

#[tokio::test(start_paused = true)]
async fn a_principal_of_ones_own_joins_different_authorizations() {
    let stage = Stage::with(by_session);
    stage.person.then(Reply::Code(RIGHT).waits());
    let calls: Vec<_> = (0..10)
        .map(|n| {
            let request = with_token("alice", &format!("weak-{n}"), "/transfers");
            stage.begin(in_session(request, "17"))
        })
        .collect();
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (1, 1, 1));
    // nor does the same token join two sessions
    stage.person.always(Reply::Code(RIGHT).waits());
    stage.person.gate().close();
    let calls = vec![
        stage.begin(in_session(alice(), "18")),
        stage.begin(in_session(alice(), "19")),
        stage.begin(alice()),
        stage.begin(alice()),
    ];
    assert_eq!(stage.layer.step_ups_under_way(), 4);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (5, 5, 5));
}

#[tokio::test(start_paused = true)]
async fn who_joins_with_another_users_token_does_not_get_the_new_one() {
    let stage = Stage::with(by_session);
    let issue = |request: &RequestHead, n: usize| {
        let token = jwt(&user(request), n);
        TokenSet::new(tower_mfa::AccessToken::new(token, None))
    };
    stage.world.issues(issue);
    stage.person.then(Reply::Code(RIGHT).waits());
    let of = |user: &str| in_session(with_token(user, &jwt(user, 0), "/transfers"), "17");
    let hers = stage.begin(of("alice"));
    let his = stage.begin(of("bob"));
    stage.world.tokens();
    stage.person.gate().open();
    let answers = finish_all(vec![his, hers]);
    assert!(answers[0].refused().is_subject_mismatch());
    answers[1].accepted();
    assert_eq!(stage.world.tokens(), [jwt("alice", 1)]);
    assert_eq!(stage.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn requests_for_tokens_are_never_joined_and_never_remembered() {
    let stage = Stage::new();
    stage.person.always(Reply::Code(RIGHT).waits());
    let calls: Vec<_> = (0..3)
        .map(|_| stage.begin(of("alice", "/oauth/token")))
        .collect();
    assert_eq!(stage.layer.step_ups_under_way(), 3);
    stage.person.gate().open();
    let mut tokens: Vec<_> = finish_all(calls).into_iter().map(Answer::text).collect();
    tokens.sort_unstable();
    assert_eq!(
        tokens,
        ["elevated-alice-1", "elevated-alice-2", "elevated-alice-3"]
    );
    assert_eq!(stage.counts(), (3, 3, 3));
    assert_eq!(stage.world.tokens(), ["weak-alice"; 3]);
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-4"]);
    stage.assert_idle();
}

// ===== how many at a time =====

#[tokio::test(start_paused = true)]
async fn beyond_the_cap_the_refusal_goes_back_and_those_who_join_are_not_counted() {
    let stage = Stage::with(|layer| layer.max_step_ups(2));
    stage.person.always(Reply::Code(RIGHT).waits());
    let mut calls = vec![
        stage.begin(alice()),
        stage.begin(bob()),
        stage.begin(alice()),
    ];
    let answer = stage.finish(of("carol", "/transfers"));
    assert!(answer.refused().is_overloaded());
    assert_eq!(answer.text(), "not like this");
    // nobody's are counted as well
    assert!(
        stage
            .finish(without_authorization())
            .refused()
            .is_overloaded()
    );
    assert_eq!(
        stage.events(),
        ["started", "started", "overloaded", "overloaded"]
    );
    calls.push(stage.begin(bob()));
    assert_eq!(stage.layer.step_ups_under_way(), 2);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(stage.counts(), (2, 2, 2));
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_after_success_failure_panic_and_drop() {
    let stage = Stage::with(|layer| layer.max_step_ups(1));
    for end in [
        Reply::Code(RIGHT),
        Reply::Fails,
        Reply::Panics,
        Reply::NotInteractive,
    ] {
        stage.person.gate().close();
        stage.person.then(end.waits());
        let call = stage.begin(without_authorization());
        assert!(stage.finish(bob()).refused().is_overloaded());
        stage.person.gate().open();
        call.finish();
        stage.assert_idle();
    }
    stage.person.gate().close();
    stage.person.then(Reply::Code(RIGHT).waits());
    let call = stage.begin(alice());
    assert!(stage.finish(bob()).refused().is_overloaded());
    drop(call);
    stage.assert_idle();
    stage.finish(bob()).accepted();
}

/// Nothing is under way for it.
#[tokio::test(start_paused = true)]
async fn who_finds_the_token_there_needs_no_place() {
    let stage = Stage::with(|layer| layer.max_step_ups(1));
    let late = stage.begin(of("alice", "/slow/transfers"));
    stage.finish(alice()).accepted();
    stage.person.then(Reply::Code(RIGHT).waits());
    let his = stage.begin(bob());
    stage.world.answers.open();
    late.finish().accepted();
    stage.person.gate().open();
    his.finish().accepted();
    assert_eq!(stage.counts(), (2, 2, 2));
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn no_step_up_at_all_can_be_set() {
    let stage = Stage::with(|layer| layer.max_step_ups(0));
    assert!(stage.finish(alice()).refused().is_overloaded());
    assert_eq!(stage.counts(), (0, 0, 0));
}

// ===== how long =====

#[tokio::test(start_paused = true)]
async fn the_deadline_is_the_step_ups_and_shared_by_who_joined_late() {
    let stage = Stage::with(|layer| layer.deadline(seconds(60)));
    stage.person.always(Reply::Code(RIGHT).waits());
    let mut calls = vec![stage.begin(alice())];
    pass(seconds(59)).await;
    calls.push(stage.begin(alice()));
    poll_all(&mut calls);
    assert_eq!(stage.layer.step_ups_under_way(), 1);
    pass(seconds(1)).await;
    for answer in finish_all(calls) {
        assert!(answer.refused().is_timeout());
    }
    assert_eq!(stage.counts(), (1, 1, 0));
    assert_eq!(stage.events(), ["started", "timeout"]);
    stage.assert_idle();
}

/// The timer of the deadline was made by the leader, and wakes whoever is left.
#[tokio::test(start_paused = true)]
async fn the_deadline_wakes_the_others_when_the_leader_is_gone_or_parked() {
    for is_parked in [true, false] {
        let stage = Stage::with(|layer| layer.deadline(seconds(60)));
        stage.person.always(Reply::Code(RIGHT).waits());
        let mut leader = Some(stage.begin(alice()));
        let calls = page(&stage);
        if !is_parked {
            leader = None;
        }
        pass(seconds(60)).await;
        for answer in finish_all(calls) {
            assert!(answer.refused().is_timeout());
        }
        if let Some(leader) = leader {
            assert!(leader.finish().refused().is_timeout());
        }
        assert_eq!(stage.counts(), (1, 1, 0));
        stage.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn the_hook_may_call_the_layer() {
    let under_way: Arc<Mutex<Vec<usize>>> = Arc::default();
    let slot: Arc<Mutex<Option<tower_mfa::MfaLayer>>> = Arc::default();
    let (seen, layer) = (Arc::clone(&under_way), Arc::clone(&slot));
    let stage = Stage::with(|new| {
        new.on_event(move |_| {
            if let Some(layer) = &*lock(&layer) {
                lock(&seen).push(layer.step_ups_under_way());
            }
        })
    });
    *lock(&slot) = Some(stage.layer.clone());
    stage.finish(alice()).accepted();
    assert_eq!(*lock(&under_way), [1, 1]);
    *lock(&slot) = None;
}
