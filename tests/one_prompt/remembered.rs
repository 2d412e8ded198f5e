//! What a step-up brought is used for the next requests of that principal to that origin, until it ends, is refused or forgotten
//! (rule 9).

use http::{Request, StatusCode, Version};
use tower_mfa::{AccessToken, NoStepUp, Principal, RequestHead, TokenSet};

use crate::stage::*;
use crate::support::{Script, Step, data, trailers};

/// A stage on which alice has stepped up.
fn stepped_up() -> Stage {
    stepped_up_with(|layer| layer)
}

fn stepped_up_with(edit: impl FnOnce(tower_mfa::MfaLayer) -> tower_mfa::MfaLayer) -> Stage {
    let stage = Stage::with(edit);
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-1"]);
    assert_eq!(stage.counts(), (1, 1, 1));
    stage.events();
    stage
}

#[tokio::test(start_paused = true)]
async fn the_next_request_carries_the_token_from_the_start() {
    let stage = stepped_up();
    let answer = stage.finish(alice());
    answer.accepted();
    assert!(answer.stepped_up.is_none(), "nothing has happened to it");
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
    assert_eq!(stage.counts(), (1, 1, 1));
    assert!(stage.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_minute_later_a_whole_page_makes_no_prompt() {
    let stage = stepped_up();
    pass(seconds(60)).await;
    let calls: Vec<_> = (0..40).map(|_| stage.call(alice())).collect();
    for call in calls {
        call.finish().accepted();
    }
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"; 40]);
    assert_eq!(stage.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_token_goes_to_no_other_origin_whatever_host_says() {
    let stage = Stage::with(|layer| {
        let layer = layer.trust_origin("https://api.example.com").unwrap();
        let layer = layer.trust_origin("https://*.example.com").unwrap();
        let layer = layer.trust_origin("http://api.example.com").unwrap();
        layer.trust_origin("https://api.example.com:8443").unwrap()
    });
    stage
        .finish(of("alice", "https://api.example.com/open"))
        .accepted();
    stage
        .finish(of("alice", "https://api.example.com/a"))
        .accepted();
    stage.world.tokens();
    for uri in [
        "https://api.example.com/open",
        "https://api.example.com:443/open",
        "https://API.example.COM/open",
    ] {
        stage.finish(of("alice", uri)).accepted();
        assert_eq!(stage.world.tokens(), ["elevated-alice-1"], "{uri}");
    }
    for uri in [
        "https://api.example.com:8443/open",
        "https://api.example.com:80/open",
        "http://api.example.com/open",
        "http://api.example.com:443/open",
        "https://other.example.com/open",
        "https://example.com/open",
        "https://api.example.com.evil.test/open",
        "https://evil.test/open",
        "/open",
    ] {
        let mut request = of("alice", uri);
        for (name, value) in [
            ("host", "api.example.com"),
            ("x-forwarded-host", "api.example.com"),
            ("forwarded", "host=api.example.com;proto=https"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        stage.finish(request).accepted();
        assert_eq!(stage.world.tokens(), ["weak-alice"], "{uri}");
    }
    assert_eq!(stage.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_of_this_process_goes_to_no_host() {
    let stage = stepped_up_with(|layer| layer.trust_origin("https://api.example.com").unwrap());
    let mut request = of("alice", "https://api.example.com/open");
    request.headers_mut().insert("host", "".parse().unwrap());
    stage.finish(request).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice"]);
}

#[tokio::test(start_paused = true)]
async fn the_token_is_not_used_in_its_last_half_minute() {
    let stage = stepped_up();
    pass(HOUR - seconds(31)).await;
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
    pass(seconds(1)).await;
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-2"]);
    assert_eq!(stage.counts(), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn of_a_short_life_the_last_tenth_is_not_used() {
    let stage = Stage::new();
    stage.world.issues_for(Some(seconds(100)));
    stage.finish(alice()).accepted();
    stage.world.tokens();
    pass(seconds(89)).await;
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
    pass(seconds(1)).await;
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_an_end_is_used_for_five_minutes() {
    let stage = Stage::new();
    stage.world.issues_for(None);
    stage.finish(alice()).accepted();
    stage.world.tokens();
    pass(seconds(299)).await;
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
    pass(seconds(1)).await;
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-2"]);
    assert_eq!(stage.counts(), (2, 2, 2));
}

/// A token that has ended before it came is good for the retry, and for nothing else.
#[tokio::test(start_paused = true)]
async fn a_token_without_a_life_is_not_remembered() {
    let stage = Stage::new();
    let ended = stage.world.clock.clone();
    stage.world.issues(move |request, n| {
        let now = tower_mfa::time::Clock::now(&ended);
        let token = format!("elevated-{}-{n}", user(request));
        TokenSet::new(AccessToken::new(token, Some(now - seconds(60))))
    });
    stage.finish(alice()).accepted();
    stage.finish(alice()).accepted();
    assert_eq!(stage.counts(), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn another_principal_gets_nothing_of_it() {
    let stage = stepped_up();
    for request in [
        with_token("bob", "weak-bob", "/open"),
        // hers, but of another login
        with_token("alice", "weak-alice-2", "/open"),
        with_token("alice", "weak-alic", "/open"),
        with_token("alice", "WEAK-ALICE", "/open"),
    ] {
        let own = request.headers()["authorization"].to_str().unwrap()[7..].to_owned();
        stage.finish(request).accepted();
        assert_eq!(stage.world.tokens(), [own]);
    }
    let mut anonymous = of("mallory", "/open");
    anonymous.headers_mut().remove("authorization");
    stage.finish(anonymous).accepted();
    assert_eq!(stage.world.tokens(), [""]);
    // the elevated token itself is a principal of its own
    stage
        .finish(with_token("alice", "elevated-alice-1", "/open"))
        .accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
}

/// However alike they are: entries are found by a hash of the last bytes.
#[tokio::test(start_paused = true)]
async fn principals_that_end_alike_are_kept_apart() {
    let stage = Stage::new();
    let tail = "x".repeat(64);
    let alices = || with_token("alice", &format!("weak-a-{tail}"), "/transfers");
    let bobs = || with_token("bob", &format!("weak-b-{tail}"), "/transfers");
    stage.finish(alices()).accepted();
    stage.finish(bobs()).accepted();
    assert_eq!(stage.counts(), (2, 2, 2));
    stage.world.tokens();
    stage.finish(alices()).accepted();
    stage.finish(bobs()).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1", "elevated-bob-2"]);
}

#[tokio::test(start_paused = true)]
async fn who_opted_out_does_not_get_it() {
    let stage = stepped_up();
    let mut request = of("alice", "/open");
    request.extensions_mut().insert(NoStepUp);
    stage.finish(request).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice"]);
    let mut request = of("alice", "/open");
    request
        .headers_mut()
        .insert("upgrade", "websocket".parse().unwrap());
    stage.finish(request).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice"]);
}

/// What asks for tokens shows the credentials of a client: it must not show those of a user.
#[tokio::test(start_paused = true)]
async fn a_request_for_tokens_does_not_get_it() {
    let stage = stepped_up();
    let answer = stage.finish(of("alice", "/oauth/token"));
    assert_eq!(stage.world.tokens(), ["weak-alice"]);
    assert_eq!(answer.text(), "elevated-alice-2");
    assert_eq!(stage.counts(), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn two_services_of_one_layer_share_everything() {
    let stage = Stage::new();
    let other = stage.another_service();
    stage.person.then(Reply::Code(RIGHT).waits());
    let mine = stage.begin(alice());
    let mut yours = call(&other, alice());
    assert!(!yours.poll());
    assert_eq!(stage.counts(), (1, 1, 0));
    stage.person.gate().open();
    finish_all(vec![yours, mine])
        .iter()
        .for_each(Answer::accepted);
    stage.world.tokens();
    call(&other, alice()).finish().accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
    drop(stage.layer.forget(&Principal::new("Bearer weak-alice")));
    call(&other, of("alice", "/open")).finish().accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice"]);
    assert_eq!(stage.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn another_layer_shares_nothing() {
    let stage = stepped_up();
    let other = Stage::instance(&stage.world, |layer| layer);
    other.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-2"]);
    assert_eq!((stage.person.prompts(), other.person.prompts()), (1, 1));
}

/// Rule 2 for an attempt with a remembered token: nothing but `authorization` is another.
#[tokio::test(start_paused = true)]
async fn a_request_with_the_token_is_the_same_in_all_else() {
    #[derive(Clone)]
    struct Mark;
    let request = |uri: &str| {
        let mut request = Request::builder()
            .method("PATCH")
            .uri(uri)
            .version(Version::HTTP_2)
            .header("x-first", "1")
            .header("authorization", "Bearer weak-alice")
            .header("x-twice", "a")
            .header("x-user", "alice")
            .header("x-twice", "b")
            .header("x-last", "3")
            .body(Script::new([
                data("a"),
                Step::Yield,
                data("b"),
                trailers("t"),
            ]))
            .unwrap();
        request.extensions_mut().insert(Mark);
        request
    };
    let stage = stepped_up();
    stage.finish(request("/a/%7Eb?c=d&c=e")).accepted();
    let got = stage.world.got().pop().unwrap();
    assert_eq!(got.uri, "/a/%7Eb?c=d&c=e");
    assert_eq!(got.version, Version::HTTP_2);
    assert_eq!(got.marks, 1);
    assert_eq!(got.body, "ab");
    assert_eq!(
        crate::support::lines(&got.headers),
        [
            ("x-first", "1"),
            ("authorization", "Bearer elevated-alice-1"),
            ("x-twice", "a"),
            ("x-twice", "b"),
            ("x-user", "alice"),
            ("x-last", "3"),
        ]
    );
    assert!(got.headers["authorization"].is_sensitive());
    stage.world.tokens();
    // and when the token is refused, the second attempt is what came
    stage.finish(request("/original-only")).accepted();
    let [_, got] = <[Got; 2]>::try_from(stage.world.got()).unwrap();
    assert_eq!(
        crate::support::lines(&got.headers),
        [
            ("x-first", "1"),
            ("authorization", "Bearer weak-alice"),
            ("x-twice", "a"),
            ("x-twice", "b"),
            ("x-user", "alice"),
            ("x-last", "3"),
        ]
    );
    assert_eq!((got.marks, got.version), (1, Version::HTTP_2));
    assert_eq!(got.body, "ab");
}

// ===== a refusal of the token =====

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_forgotten_and_the_original_goes_once() {
    let stage = stepped_up();
    let answer = stage.finish(of("alice", "/original-only"));
    answer.accepted();
    assert!(answer.stepped_up.is_none());
    assert_eq!(stage.world.tokens(), ["elevated-alice-1", "weak-alice"]);
    assert_eq!(stage.counts(), (1, 1, 1));
    stage.finish(of("alice", "/open")).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice"], "it was forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_and_the_original_too_is_the_second_refusal() {
    let stage = stepped_up();
    let answer = stage.finish(of("alice", "/closed"));
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.error.is_none());
    assert_eq!(answer.text(), "no");
    assert_eq!(stage.world.tokens(), ["elevated-alice-1", "weak-alice"]);
    assert_eq!(stage.counts(), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_revoked_is_replaced_by_one_new_prompt() {
    let stage = stepped_up();
    stage.world.revoke("elevated-alice-1");
    let answer = stage.finish(alice());
    answer.accepted();
    assert_eq!(answer.stepped_up.unwrap().attempts(), 1);
    assert_eq!(
        stage.world.tokens(),
        ["elevated-alice-1", "weak-alice", "elevated-alice-2"]
    );
    assert_eq!(stage.counts(), (2, 2, 2));
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-2"]);
}

/// At most one step-up (rule 4): what the API says to the new token is the answer.
#[tokio::test(start_paused = true)]
async fn a_new_token_that_is_refused_is_the_end_and_the_next_request_starts_anew() {
    let stage = stepped_up();
    stage.world.revoke("elevated-alice-1");
    stage
        .world
        .issues(|_, n| TokenSet::new(AccessToken::new(format!("weak-{n}"), None)));
    let mut call = stage.call(of("alice", "/slow/transfers"));
    assert!(!call.poll());
    stage.person.then(Reply::Code(RIGHT).waits());
    stage.world.answers.open();
    assert!(!call.poll());
    stage.person.gate().open();
    // refused while the retry was under way
    let mut call = vec![call];
    stage.world.answers.close();
    poll_all(&mut call);
    assert_eq!(
        stage.world.tokens(),
        ["elevated-alice-1", "weak-alice", "weak-2"]
    );
    stage.world.answers.open();
    finish_all(call).iter().for_each(Answer::accepted);
    stage.world.revoke("weak-2");
    stage.person.then(Reply::Declined);
    assert!(stage.finish(alice()).refused().is_declined());
    assert_eq!(stage.world.tokens(), ["weak-2", "weak-alice"]);
    assert_eq!(stage.counts(), (3, 3, 2));
}

/// A whole page with a revoked token: forty refusals, forty originals, one prompt.
#[tokio::test(start_paused = true)]
async fn a_page_with_a_revoked_token_makes_one_prompt() {
    let stage = stepped_up();
    stage.world.revoke("elevated-alice-1");
    stage.person.then(Reply::Code(RIGHT).waits());
    let calls = page(&stage);
    stage.person.gate().open();
    finish_all(calls).iter().for_each(Answer::accepted);
    let tokens = stage.world.tokens();
    let count = |token: &str| tokens.iter().filter(|other| *other == token).count();
    // the first one's refusal was known to those that came after it
    assert_eq!(count("elevated-alice-1"), 1);
    assert_eq!(count("weak-alice"), 40);
    assert_eq!(count("elevated-alice-2"), 40);
    assert_eq!(stage.counts(), (2, 2, 2));
    stage.assert_idle();
}

/// Compare and remove: the refusal of an old token, which arrives late, is nothing against a new one.
#[tokio::test(start_paused = true)]
async fn a_newer_token_is_not_removed_by_the_refusal_of_an_older_one() {
    let stage = stepped_up();
    stage.world.revoke("elevated-alice-1");
    let late = stage.begin(of("alice", "/slow/transfers"));
    stage.finish(alice()).accepted();
    assert_eq!(stage.counts(), (2, 2, 2));
    stage.world.tokens();
    stage.world.answers.open();
    // its own first attempt again, then what is remembered now
    late.finish().accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-2"]);
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-2"]);
    assert_eq!(stage.counts(), (2, 2, 2));
}

/// A refusal is 401 or 403; a fault of the server is nothing against the token.
#[tokio::test(start_paused = true)]
async fn statuses_that_are_set_do_not_decide_what_is_a_refusal_of_the_token() {
    let stage = stepped_up_with(|layer| layer.statuses([StatusCode::UNAUTHORIZED]));
    stage.finish(of("alice", "/original-only")).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1", "weak-alice"]);
}

#[tokio::test(start_paused = true)]
async fn another_requirement_is_stepped_up_and_both_originals_are_kept() {
    let stage = stepped_up();
    stage.finish(of("alice", "/need/push")).accepted();
    assert_eq!(
        stage.world.tokens(),
        ["elevated-alice-1", "weak-alice", "elevated-alice-2"]
    );
    assert_eq!(stage.counts(), (2, 2, 2));
}

// ===== with a body =====

fn upload(uri: &str, body: Script) -> Request<Script> {
    let mut request = of("alice", uri).map(|_| body);
    *request.method_mut() = http::Method::POST;
    request
}

#[tokio::test(start_paused = true)]
async fn all_three_attempts_send_the_same_bytes() {
    let stage = stepped_up();
    stage.world.revoke("elevated-alice-1");
    let body = Script::new([data("abc"), Step::Yield, data("def"), trailers("t")]);
    stage.finish(upload("/transfers", body)).accepted();
    let got = stage.world.got();
    let bodies: Vec<_> = got.iter().map(|got| &got.body[..]).collect();
    assert_eq!(bodies, [b"abcdef"; 3]);
    assert_eq!(
        stage.world.tokens(),
        ["elevated-alice-1", "weak-alice", "elevated-alice-2"]
    );
}

/// The body is still on its way when the token is refused; the API here answers after it has read everything.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_still_on_its_way_is_sent_whole_each_time() {
    let stage = stepped_up();
    stage.world.revoke("elevated-alice-1");
    let body = Script::open([data("abc")]);
    let feed = body.feed();
    let mut call = stage.begin(upload("/transfers", body));
    assert!(stage.world.got().is_empty());
    feed.push(data("def"));
    assert!(call.is_woken());
    assert!(!call.poll());
    feed.end();
    call.finish().accepted();
    let got = stage.world.got();
    assert!(got.iter().all(|got| got.body == "abcdef"), "{got:?}");
    assert_eq!(got.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_its_body_a_request_gets_the_refusal_as_it_is() {
    let stage = stepped_up_with(|layer| layer.max_replay_bytes(4));
    let long = || Script::new([data("abcdef")]);
    // no demand: the refusal of the token, and nothing more is known
    let answer = stage.finish(upload("/original-only", long()));
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.error.is_none());
    assert_eq!(answer.text(), "no");
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
    // the token is forgotten all the same
    stage.finish(of("alice", "/open")).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice"]);
    stage.finish(alice()).accepted();
    stage.world.revoke("elevated-alice-2");
    stage.world.tokens();
    let answer = stage.finish(upload("/transfers", long()));
    assert!(answer.refused().is_not_replayable());
    assert_eq!(stage.world.tokens(), ["elevated-alice-2"]);
    assert_eq!(stage.counts(), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_sent_again_is_not() {
    let stage = stepped_up_with(|layer| layer.retry_if(|head| head.uri().query().is_none()));
    let answer = stage.finish(of("alice", "/original-only?once"));
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
    stage.finish(alice()).accepted();
    stage.world.revoke("elevated-alice-2");
    stage.world.tokens();
    let answer = stage.finish(of("alice", "/transfers?once"));
    assert!(answer.refused().is_vetoed());
    assert_eq!(stage.world.tokens(), ["elevated-alice-2"]);
    assert_eq!(stage.counts(), (2, 2, 2));
}

// ===== how much, and for how long =====

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_forgotten_before_anything_is_polled() {
    let stage = stepped_up();
    stage.finish(of("alice", "/need/push")).accepted();
    stage.finish(bob()).accepted();
    stage.world.tokens();
    drop(stage.layer.forget(&Principal::new("Bearer weak-alice")));
    stage.finish(of("alice", "/open")).accepted();
    stage.finish(of("bob", "/open")).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-bob-3"]);
    // what is not there can be forgotten
    stage.layer.forget(&Principal::new("nobody")).await;
}

/// Somebody logs out while the prompt is on the screen: what it brings is not to be remembered.
#[tokio::test(start_paused = true)]
async fn what_is_forgotten_during_a_step_up_is_not_remembered_after_it() {
    let stage = Stage::new();
    stage.person.then(Reply::Code(RIGHT).waits());
    let call = stage.begin(alice());
    stage
        .layer
        .forget(&Principal::new("Bearer weak-alice"))
        .await;
    stage.person.gate().open();
    call.finish();
    stage.world.tokens();
    stage.finish(of("alice", "/open")).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_need_be_remembered() {
    let stage = Stage::with(|layer| layer.max_remembered(0));
    for n in 1..=3 {
        stage.finish(alice()).accepted();
        assert_eq!(stage.counts(), (n, n, n));
    }
    assert_eq!(
        stage.world.tokens(),
        [
            "weak-alice",
            "elevated-alice-1",
            "weak-alice",
            "elevated-alice-2",
            "weak-alice",
            "elevated-alice-3"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_ends_soonest_makes_room() {
    let stage = Stage::with(|layer| layer.max_remembered(2));
    let clock = stage.world.clock.clone();
    stage.world.issues(move |request: &RequestHead, n| {
        let life = match &*user(request) {
            "alice" => seconds(1000),
            "bob" => seconds(500),
            _ => seconds(700),
        };
        let now = tower_mfa::time::Clock::now(&clock);
        let token = format!("elevated-{}-{n}", user(request));
        TokenSet::new(AccessToken::new(token, Some(now + life)))
    });
    for user in ["alice", "bob", "carol"] {
        stage.finish(of(user, "/transfers")).accepted();
    }
    stage.world.tokens();
    for user in ["alice", "bob", "carol"] {
        stage.finish(of(user, "/open")).accepted();
    }
    assert_eq!(
        stage.world.tokens(),
        ["elevated-alice-1", "weak-bob", "elevated-carol-3"]
    );
    // one that replaces itself takes no other's place
    stage.world.revoke("elevated-alice-1");
    stage.finish(alice()).accepted();
    stage.world.tokens();
    stage.finish(of("carol", "/open")).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-carol-3"]);
}

/// The answer to a request that was begun with a token is inspected by that request alone.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_leaves_the_token_alone() {
    let stage = stepped_up();
    stage.world.revoke("elevated-alice-1");
    let mut call = stage.call(of("alice", "/slow/transfers"));
    assert!(!call.poll());
    drop(call);
    stage.world.tokens();
    stage.finish(of("alice", "/open")).accepted();
    assert_eq!(stage.world.tokens(), ["elevated-alice-1"]);
}
