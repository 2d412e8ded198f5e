//! Several instances share elevations by a store, and one of them prompts; whatever the store does, a step-up works.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use tower_mfa::store::{MemoryStore, TokenStore};
use tower_mfa::{AccessToken, MfaLayer, Principal, TokenSet};

use crate::stage::*;
use crate::watched::{Mood, Watched};

/// Two instances with one store.
fn two(store: &(impl TokenStore + Clone)) -> (Stage, Stage) {
    two_with(store, |layer| layer)
}

fn two_with(
    store: &(impl TokenStore + Clone),
    edit: impl Fn(MfaLayer) -> MfaLayer,
) -> (Stage, Stage) {
    let world = World::new();
    let instance = || {
        let store = store.clone();
        Stage::instance(&world, |layer| edit(layer.store(store)))
    };
    (instance(), instance())
}

/// A call that a task polls, and what it gave.
fn spawn(stage: &Stage, request: http::Request<crate::support::Script>) -> Running {
    let service = stage.service.clone();
    Running(tokio::spawn(async move {
        let mut call = call(&service, request);
        std::future::poll_fn(move |cx| call.poll_with(cx)).await
    }))
}

struct Running(tokio::task::JoinHandle<Answer>);

impl Running {
    async fn answer(self) -> Answer {
        self.0.await.unwrap()
    }

    fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    async fn die(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_instance_waits_for_the_first_and_does_not_prompt() {
    let (a, b) = two(&MemoryStore::default());
    a.person.then(Reply::Code(RIGHT).waits());
    let first = spawn(&a, alice());
    wait(seconds(1)).await;
    let second: Vec<_> = (0..10).map(|_| spawn(&b, alice())).collect();
    wait(seconds(60)).await;
    assert!(second.iter().all(|running| !running.is_over()));
    assert_eq!((a.person.prompts(), b.person.prompts()), (1, 0));
    a.person.gate().open();
    let opened = Instant::now();
    first.answer().await.accepted();
    for running in second {
        running.answer().await.accepted();
    }
    assert!(opened.elapsed() <= Duration::from_millis(250));
    assert_eq!((a.person.prompts(), b.person.prompts()), (1, 0));
    assert_eq!((a.world.challenges(), a.world.exchanges()), (1, 1));
    a.world.tokens();
    // and it is remembered there
    b.finish(alice()).accepted();
    assert_eq!(a.world.tokens(), ["elevated-alice-1"]);
    a.assert_idle();
    b.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_one_instance_has_got_another_one_takes_without_a_prompt() {
    let (a, b) = two(&MemoryStore::default());
    a.finish(alice()).accepted();
    b.finish(alice()).accepted();
    assert_eq!((a.person.prompts(), b.person.prompts()), (1, 0));
    assert_eq!(b.events(), ["started", "succeeded"]);
    // bob has none
    b.finish(bob()).accepted();
    assert_eq!((a.person.prompts(), b.person.prompts()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn if_the_first_fails_the_second_prompts() {
    let (a, b) = two(&MemoryStore::default());
    a.person.then(Reply::Declined.waits());
    let first = spawn(&a, alice());
    wait(seconds(1)).await;
    let second = spawn(&b, alice());
    wait(seconds(5)).await;
    a.person.gate().open();
    assert!(first.answer().await.refused().is_declined());
    second.answer().await.accepted();
    assert_eq!((a.person.prompts(), b.person.prompts()), (1, 1));
}

/// Ten seconds are its lease; a quarter of a second later at most the others have looked again.
#[tokio::test(start_paused = true)]
async fn an_instance_that_died_holds_the_others_up_for_ten_seconds() {
    const LOOK: Duration = Duration::from_millis(250);
    let mut longest = Duration::ZERO;
    // just after it got or renewed the lease, and later
    for lived in [0, 1000, 2900, 3000, 100_000] {
        for late in [0, 10, 100, 240] {
            let (a, b) = two(&MemoryStore::default());
            a.person.then(Reply::Code(RIGHT).waits());
            let first = spawn(&a, alice());
            wait(Duration::from_millis(lived)).await;
            tokio::task::yield_now().await;
            let died = Instant::now();
            first.die().await;
            assert_eq!(a.person.prompts(), 1);
            wait(Duration::from_millis(late)).await;
            spawn(&b, alice()).answer().await.accepted();
            let took = died.elapsed();
            assert!(took <= seconds(10) + LOOK, "{lived}: {took:?}");
            assert!(took >= seconds(7), "{lived}: {took:?}");
            assert_eq!((a.person.prompts(), b.person.prompts()), (1, 1));
            longest = longest.max(took);
        }
    }
    assert!(longest >= seconds(10), "{longest:?}");
}

/// As a machine that hangs: the future lives on, and nobody polls it.
#[tokio::test(start_paused = true)]
async fn an_instance_that_hangs_holds_the_others_up_for_ten_seconds() {
    let (a, b) = two(&MemoryStore::default());
    a.person.then(Reply::Code(RIGHT).waits());
    let hanging = a.begin(alice());
    let since = Instant::now();
    spawn(&b, alice()).answer().await.accepted();
    assert_eq!(since.elapsed(), seconds(10));
    // when it wakes up it gets its own, which harms nobody
    a.person.gate().open();
    hanging.finish().accepted();
    assert_eq!((a.person.prompts(), b.person.prompts()), (1, 1));
}

/// The user pressed "cancel" and then "again".
#[tokio::test(start_paused = true)]
async fn a_step_up_that_was_dropped_does_not_hold_up_the_next_one_of_its_own_instance() {
    let (a, _) = two(&MemoryStore::default());
    a.person.then(Reply::Code(RIGHT).waits());
    drop(a.begin(alice()));
    let since = Instant::now();
    spawn(&a, alice()).answer().await.accepted();
    assert_eq!(since.elapsed(), Duration::ZERO);
    assert_eq!(a.person.prompts(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_kept_while_a_person_types_for_minutes() {
    let (a, b) = two(&MemoryStore::default());
    a.person.then(Reply::Code(RIGHT).after(seconds(240)));
    let first = spawn(&a, alice());
    wait(seconds(1)).await;
    let second = spawn(&b, alice());
    first.answer().await.accepted();
    second.answer().await.accepted();
    assert_eq!((a.person.prompts(), b.person.prompts()), (1, 0));
}

/// The deadline holds for who waits for another instance, too.
#[tokio::test(start_paused = true)]
async fn who_waits_for_another_instance_waits_until_the_deadline() {
    let (a, b) = two_with(&MemoryStore::default(), |layer| layer.deadline(seconds(60)));
    a.person.then(Reply::Code(RIGHT).after(seconds(59)));
    let first = spawn(&a, alice());
    wait(seconds(1)).await;
    let second = spawn(&b, alice());
    first.answer().await.accepted();
    second.answer().await.accepted();
    a.person.then(Reply::Code(RIGHT).after(seconds(3600)));
    let first = spawn(&a, bob());
    wait(seconds(1)).await;
    let second = spawn(&b, bob());
    assert!(first.answer().await.refused().is_timeout());
    // it takes over from the one that gave up, and is a second from its own end
    second.answer().await.accepted();
    assert_eq!((a.person.prompts(), b.person.prompts()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stored_token_that_was_refused_is_removed_and_replaced() {
    let store = MemoryStore::default();
    let (a, b) = two(&store);
    a.finish(alice()).accepted();
    a.world.revoke("elevated-alice-1");
    a.world.tokens();
    a.finish(alice()).accepted();
    assert_eq!(
        a.world.tokens(),
        ["elevated-alice-1", "weak-alice", "elevated-alice-2"]
    );
    assert_eq!(store.len(), 1);
    b.finish(alice()).accepted();
    assert_eq!(a.world.tokens(), ["weak-alice", "elevated-alice-2"]);
    assert_eq!((a.person.prompts(), b.person.prompts()), (2, 0));
}

/// The first instance has a new token already when the second one finds the old one refused.
#[tokio::test(start_paused = true)]
async fn the_refusal_of_an_old_token_takes_no_new_one_out_of_the_store() {
    let (a, b) = two(&MemoryStore::default());
    a.finish(alice()).accepted();
    b.finish(alice()).accepted();
    a.world.revoke("elevated-alice-1");
    a.finish(alice()).accepted();
    a.world.tokens();
    b.finish(alice()).accepted();
    assert_eq!(
        a.world.tokens(),
        ["elevated-alice-1", "weak-alice", "elevated-alice-2"]
    );
    assert_eq!((a.person.prompts(), b.person.prompts()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stored_token_that_has_ended_or_is_about_to_is_not_used() {
    for (passed, is_used) in [(3569, true), (3570, false), (3599, false), (4000, false)] {
        let (a, b) = two(&MemoryStore::default());
        a.finish(alice()).accepted();
        pass(seconds(passed)).await;
        b.finish(alice()).accepted();
        let prompts = usize::from(!is_used);
        assert_eq!(b.person.prompts(), prompts, "{passed}");
    }
    // one that has ended is not, whatever the store's own clock says
    let store = Watched::default();
    let (a, b) = two(&store);
    store.keep_for_ever();
    a.finish(alice()).accepted();
    pass(HOUR).await;
    b.finish(alice()).accepted();
    assert_eq!(b.person.prompts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_an_end_is_shared_for_five_minutes() {
    let (a, b) = two(&MemoryStore::default());
    a.world.issues_for(None);
    a.finish(alice()).accepted();
    pass(seconds(100)).await;
    b.finish(alice()).accepted();
    assert_eq!(b.person.prompts(), 0);
    a.world.tokens();
    pass(seconds(200)).await;
    b.finish(alice()).accepted();
    assert_eq!(b.person.prompts(), 1);
}

// ===== what the store is asked, and what it may do =====

#[tokio::test(start_paused = true)]
async fn the_store_is_asked_only_when_a_step_up_is_about_to_happen() {
    let store = Watched::default();
    let stage = Stage::with(|layer| {
        let layer = layer.store(store.clone()).max_step_ups(1);
        layer.retry_if(|head| head.uri().query().is_none())
    });
    stage.finish(of("alice", "/open")).accepted();
    assert_eq!(stage.finish(of("alice", "/closed")).status, 403);
    // passed over
    assert!(stage.finish(of("alice", "/x?y")).refused().is_vetoed());
    let elsewhere = of("alice", "https://evil.test/");
    assert!(stage.finish(elsewhere).refused().is_untrusted_origin());
    assert_eq!(store.asked(), 0);
    // look, lease, look, put, release
    stage.finish(alice()).accepted();
    assert_eq!(store.asked(), 5);
    for _ in 0..10 {
        stage.finish(alice()).accepted();
    }
    assert_eq!(stage.finish(of("alice", "/original-only")).status, 200);
    assert_eq!(store.asked(), 0);
    // nobody's are nobody else's
    let mut anonymous = alice();
    anonymous.headers_mut().remove("authorization");
    stage.finish(anonymous).accepted();
    stage.finish(of("alice", "/oauth/token"));
    assert_eq!(store.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn forty_requests_ask_the_store_as_often_as_one() {
    let store = Watched::default();
    let stage = Stage::with(|layer| layer.store(store.clone()));
    stage.person.then(Reply::Code(RIGHT).waits());
    let calls = page(&stage);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    assert_eq!(store.asked(), 5);
    assert_eq!(stage.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn keys_of_other_principals_origins_and_requirements_are_other_keys() {
    let store = Watched::default();
    let stage = Stage::with(|layer| {
        let layer = layer.store(store.clone()).prompt_limit(100, HOUR);
        let layer = layer.trust_origin("https://a.example.com").unwrap();
        let layer = layer.trust_origin("https://a.example.com:8443").unwrap();
        let layer = layer.trust_origin("http://a.example.com").unwrap();
        layer.trust_origin("https://b.example.com").unwrap()
    });
    let mut keys = HashSet::new();
    for user in ["alice", "bob"] {
        for origin in [
            "",
            "https://a.example.com",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://b.example.com",
        ] {
            for need in ["otp", "push"] {
                stage
                    .finish(of(user, &format!("{origin}/need/{need}")))
                    .accepted();
                let used: HashSet<_> = store.keys().into_iter().collect();
                assert_eq!(used.len(), 1, "one step-up has one key");
                keys.extend(used);
            }
        }
    }
    assert_eq!(keys.len(), 20);
    for key in &keys {
        let shown = format!("{key:?} {key}");
        assert!(!shown.contains("alice") && !shown.contains("example"));
    }
}

/// The same key in every process: nothing in it is random.
#[tokio::test(start_paused = true)]
async fn instances_agree_on_the_key() {
    let store = Watched::default();
    let (a, b) = two(&store);
    a.finish(alice()).accepted();
    b.finish(alice()).accepted();
    let keys: HashSet<_> = store.keys().into_iter().collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(store.tokens(), ["elevated-alice-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_changes_nothing_and_costs_no_time() {
    let store = Watched::default();
    store.set(Mood::Fails);
    let (a, b) = two(&store);
    let since = Instant::now();
    a.finish(alice()).accepted();
    a.finish(alice()).accepted();
    assert_eq!(a.counts(), (1, 1, 1));
    b.finish(alice()).accepted();
    assert_eq!(b.person.prompts(), 1);
    assert_eq!(since.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_a_second_and_no_prompt_more() {
    let store = Watched::default();
    store.set(Mood::Hangs);
    let stage = Stage::with(|layer| layer.store(store.clone()));
    let since = Instant::now();
    let calls: Vec<_> = (0..40).map(|_| spawn(&stage, alice())).collect();
    for running in calls {
        running.answer().await.accepted();
    }
    assert_eq!(since.elapsed(), seconds(1));
    assert_eq!(stage.counts(), (1, 1, 1));
    stage.finish(alice()).accepted();
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_written_to_costs_two_seconds_at_most() {
    for (mood, most) in [(Mood::FailsToWrite, 0), (Mood::HangsToWrite, 2)] {
        let store = Watched::default();
        store.set(mood);
        let stage = Stage::with(|layer| layer.store(store.clone()));
        let since = Instant::now();
        spawn(&stage, alice()).answer().await.accepted();
        assert_eq!(since.elapsed(), seconds(most));
        assert_eq!(stage.counts(), (1, 1, 1));
    }
}

/// The person types on, whatever becomes of the store, and nobody else of this instance is prompted.
#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_while_the_person_types_changes_nothing() {
    for mood in [Mood::Fails, Mood::Hangs] {
        let store = Watched::default();
        let stage = Stage::with(|layer| layer.store(store.clone()));
        stage.person.then(Reply::Code(RIGHT).after(seconds(60)));
        let calls: Vec<_> = (0..40).map(|_| spawn(&stage, alice())).collect();
        wait(seconds(10)).await;
        store.set(mood);
        for running in calls {
            running.answer().await.accepted();
        }
        assert_eq!(stage.counts(), (1, 1, 1));
        stage.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_taken_out_of_the_store() {
    let store = Watched::default();
    let (a, b) = two(&store);
    a.finish(alice()).accepted();
    a.finish(of("alice", "/need/push")).accepted();
    a.finish(bob()).accepted();
    // the first one was given up when a stronger one was asked for
    a.layer.forget(&Principal::new("Bearer weak-alice")).await;
    b.finish(of("alice", "/need/push")).accepted();
    b.finish(bob()).accepted();
    assert_eq!(b.person.prompts(), 1, "hers; his is there");
    // a store that hangs is not waited for
    store.set(Mood::Hangs);
    let since = Instant::now();
    a.layer.forget(&Principal::new("Bearer weak-bob")).await;
    assert_eq!(since.elapsed(), seconds(1));
}

/// Another user's token under the same key is not taken, and does not stay: see `principal` and rule 8.
#[tokio::test(start_paused = true)]
async fn another_users_token_in_the_store_is_not_taken() {
    let (a, b) = two_with(&MemoryStore::default(), |layer| {
        layer.principal(|_| Some(Principal::new("one for all")))
    });
    a.world
        .issues(|request, n| TokenSet::new(AccessToken::new(jwt(&user(request), n), None)));
    a.finish(with_token("alice", &jwt("alice", 0), "/transfers"))
        .accepted();
    b.finish(with_token("bob", &jwt("bob", 0), "/transfers"))
        .accepted();
    assert_eq!((a.person.prompts(), b.person.prompts()), (1, 1));
}
