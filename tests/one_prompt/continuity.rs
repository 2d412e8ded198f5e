//! A step-up never turns one user into another, and trust is stated (rule 8).

use std::sync::{Arc, Mutex};

use tower_mfa::{AccessToken, Principal, TokenSet};

use crate::stage::*;

/// Alice's request with a JWT of hers.
fn alice_with_jwt() -> http::Request<crate::support::Script> {
    with_token("alice", &jwt("alice", 0), "/transfers")
}

#[tokio::test(start_paused = true)]
async fn an_access_token_of_another_user_is_thrown_away() {
    let stage = Stage::new();
    stage
        .world
        .issues(|_, n| TokenSet::new(AccessToken::new(jwt("bob", n), None)));
    stage.person.then(Reply::Code(RIGHT).waits());
    let calls: Vec<_> = (0..3).map(|_| stage.begin(alice_with_jwt())).collect();
    stage.person.gate().open();
    for answer in finish_all(calls) {
        assert!(answer.refused().is_subject_mismatch());
    }
    assert_eq!(stage.counts(), (1, 1, 1));
    assert_eq!(stage.events(), ["started", "subject_mismatch"]);
    // it is not remembered
    assert!(
        stage
            .finish(alice_with_jwt())
            .refused()
            .is_subject_mismatch()
    );
    assert_eq!(stage.counts(), (2, 2, 2));
    assert_eq!(stage.world.tokens(), vec![jwt("alice", 0); 4]);
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn an_id_token_of_another_user_throws_the_access_token_away() {
    for (access_token, id_sub, is_good) in [
        ("opaque".to_owned(), "bob", false),
        (jwt("alice", 1), "bob", false),
        (jwt("alice", 1), "alice", true),
        ("opaque".to_owned(), "alice", true),
    ] {
        let stage = Stage::new();
        stage.world.issues(move |_, n| {
            let access_token = AccessToken::new(access_token.as_str(), None);
            TokenSet::new(access_token).with_id_token(jwt(id_sub, n))
        });
        let answer = stage.finish(alice_with_jwt());
        if is_good {
            answer.accepted();
        } else {
            assert!(answer.refused().is_subject_mismatch());
            assert_eq!(stage.world.tokens(), [jwt("alice", 0)]);
        }
        assert_eq!(stage.counts(), (1, 1, 1));
    }
}

/// What is no JWT names nobody.
#[tokio::test(start_paused = true)]
async fn opaque_tokens_are_not_compared() {
    let stage = Stage::new();
    let issue = |_: &_, n| TokenSet::new(AccessToken::new(jwt("auth0|8", n), None));
    stage.world.issues(issue);
    stage.finish(alice()).accepted();
    let stage = Stage::new();
    stage.finish(alice_with_jwt()).accepted();
}

/// A session in which somebody else has logged in: what the first one earned is not for the second.
#[tokio::test(start_paused = true)]
async fn a_remembered_token_is_not_attached_to_another_users_request() {
    let stage = Stage::with(|layer| {
        layer.principal(|head| head.headers.get("x-session").map(Principal::new))
    });
    stage
        .world
        .issues(|request, n| TokenSet::new(AccessToken::new(jwt(&user(request), n), None)));
    let in_session = |user: &str, token: &str, path: &str| {
        let mut request = with_token(user, token, path);
        request
            .headers_mut()
            .insert("x-session", "17".parse().unwrap());
        request
    };
    stage
        .finish(in_session("alice", &jwt("alice", 0), "/transfers"))
        .accepted();
    stage.world.tokens();
    // her own next token is hers
    stage
        .finish(in_session("alice", &jwt("alice", 7), "/open"))
        .accepted();
    assert_eq!(stage.world.tokens(), [jwt("alice", 1)]);
    stage
        .finish(in_session("bob", &jwt("bob", 0), "/open"))
        .accepted();
    assert_eq!(stage.world.tokens(), [jwt("bob", 0)]);
    // nor is it in his way: he steps up himself
    stage
        .finish(in_session("bob", &jwt("bob", 0), "/transfers"))
        .accepted();
    assert_eq!(stage.world.tokens(), [jwt("bob", 0), jwt("bob", 2)]);
    assert_eq!(stage.counts(), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn the_hook_sees_the_old_and_the_new_and_may_refuse() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let sees = Arc::clone(&seen);
    let stage = Stage::with(|layer| {
        layer.accept(move |old, new| {
            let old = old.map_or("nothing", |value| value.to_str().unwrap());
            lock(&sees).push(format!("{old} > {}", new.access_token().expose()));
            !new.access_token().expose().ends_with("-1")
        })
    });
    let answer = stage.finish(alice());
    assert!(answer.refused().is_not_accepted());
    assert_eq!(answer.text(), "not like this");
    assert_eq!(stage.world.tokens(), ["weak-alice"]);
    // neither remembered nor held against the next
    stage.finish(alice()).accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-2"]);
    assert_eq!(stage.counts(), (2, 2, 2));
    // what is remembered was accepted
    stage.finish(alice()).accepted();
    let mut anonymous = alice();
    anonymous.headers_mut().remove("authorization");
    stage.finish(anonymous).accepted();
    assert_eq!(
        *lock(&seen),
        [
            "Bearer weak-alice > elevated-alice-1",
            "Bearer weak-alice > elevated-alice-2",
            "nothing > elevated-alice-3",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn sub_domains_are_trusted_by_their_own_form_and_each_has_its_own_token() {
    let stage = Stage::with(|layer| layer.trust_origin("https://*.example.com").unwrap());
    stage
        .finish(of("alice", "https://a.example.com/"))
        .accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-1"]);
    stage
        .finish(of("alice", "https://b.example.com/"))
        .accepted();
    assert_eq!(stage.world.tokens(), ["weak-alice", "elevated-alice-2"]);
    stage
        .finish(of("alice", "https://x.y.example.com/"))
        .accepted();
    stage
        .finish(of("alice", "https://A.example.com:443/"))
        .accepted();
    stage.world.tokens();
    for uri in [
        "https://example.com/",
        "https://badexample.com/",
        "https://a.example.com.evil.test/",
        "https://a.example.com:8443/",
        "http://a.example.com/",
    ] {
        let answer = stage.finish(of("alice", uri));
        assert!(answer.refused().is_untrusted_origin(), "{uri}");
        assert_eq!(stage.world.tokens(), ["weak-alice"], "{uri}");
    }
    assert_eq!(stage.counts(), (3, 3, 3));
}
