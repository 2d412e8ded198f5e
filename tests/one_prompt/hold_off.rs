//! For a moment after a person said no, nobody is prompted again for the same; every other failure is forgotten at once (rule 5).

use std::time::Duration;

use tower_mfa::StepUpError;

use crate::stage::*;

type Question = fn(&StepUpError) -> bool;

/// What a person does that holds others off, and how the error says it.
fn by_a_person() -> [(Vec<Reply>, Question, usize); 3] {
    [
        (vec![Reply::Declined], StepUpError::is_declined, 1),
        (vec![Reply::Code("1"); 3], StepUpError::is_wrong_code, 3),
        (vec![Reply::Code("rejected")], StepUpError::is_rejected, 1),
    ]
}

#[tokio::test(start_paused = true)]
async fn within_two_seconds_of_a_no_everybody_gets_the_same_no_and_then_a_new_prompt() {
    for (replies, is_it, prompts) in by_a_person() {
        let stage = Stage::new();
        for reply in replies {
            stage.person.then(reply);
        }
        let first = stage.finish(alice());
        assert!(is_it(first.refused()), "{:?}", first.error);
        let message = first.refused().to_string();
        assert_eq!(stage.counts(), (1, prompts, 0));
        stage.events();
        for _ in 0..3 {
            let answer = stage.finish(alice());
            assert!(is_it(answer.refused()));
            assert_eq!(answer.refused().to_string(), message);
        }
        pass(Duration::from_millis(1999)).await;
        assert!(is_it(stage.finish(alice()).refused()));
        assert_eq!(stage.counts(), (1, prompts, 0));
        // each is told as a failure, none as a step-up
        let outcome = first.refused().outcome();
        assert_eq!(stage.events(), [outcome; 4]);
        pass(Duration::from_millis(1)).await;
        stage.finish(alice()).accepted();
        assert_eq!(stage.counts(), (2, prompts + 1, 1));
        stage.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn a_no_holds_off_neither_another_principal_nor_another_requirement() {
    let stage = Stage::new();
    stage.person.then(Reply::Declined);
    assert!(stage.finish(alice()).refused().is_declined());
    stage.finish(bob()).accepted();
    stage.finish(of("alice", "/need/push")).accepted();
    assert!(stage.finish(alice()).refused().is_declined());
    assert_eq!(stage.counts(), (3, 3, 2));
}

#[tokio::test(start_paused = true)]
async fn what_no_person_did_holds_nobody_off() {
    for (reply, is_it) in [
        (Reply::Fails, StepUpError::is_code_provider as Question),
        (Reply::NotInteractive, StepUpError::is_not_interactive),
        (Reply::Panics, StepUpError::is_panicked),
        (Reply::Code("unreachable"), StepUpError::is_transport),
    ] {
        let stage = Stage::new();
        stage.person.then(reply);
        assert!(is_it(stage.finish(alice()).refused()));
        stage.finish(alice()).accepted();
        assert_eq!(stage.counts(), (2, 2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_holds_nobody_off() {
    let stage = Stage::with(|layer| layer.deadline(seconds(60)));
    stage.person.then(Reply::Code(RIGHT).waits());
    let call = stage.begin(alice());
    pass(seconds(60)).await;
    assert!(call.finish().refused().is_timeout());
    stage.finish(alice()).accepted();
    assert_eq!(stage.counts(), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_not_held_off() {
    let stage = Stage::new();
    stage.person.is_a_machine().then(Reply::Code("rejected"));
    assert!(stage.finish(alice()).refused().is_rejected());
    stage.finish(alice()).accepted();
    assert_eq!(stage.counts(), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn nobodys_no_holds_nobody_off() {
    let stage = Stage::new();
    let nobodys = || {
        let mut request = alice();
        request.headers_mut().remove("authorization");
        request
    };
    stage.person.then(Reply::Declined);
    assert!(stage.finish(nobodys()).refused().is_declined());
    stage.finish(nobodys()).accepted();
    assert_eq!(stage.counts(), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_time_can_be_set_to_longer_and_to_none() {
    let stage = Stage::with(|layer| layer.hold_off(seconds(30)));
    stage.person.then(Reply::Declined);
    assert!(stage.finish(alice()).refused().is_declined());
    pass(seconds(29)).await;
    assert!(stage.finish(alice()).refused().is_declined());
    assert_eq!(stage.counts(), (1, 1, 0));
    pass(seconds(1)).await;
    stage.finish(alice()).accepted();

    let stage = Stage::with(|layer| layer.hold_off(Duration::ZERO));
    stage.person.then(Reply::Declined);
    assert!(stage.finish(alice()).refused().is_declined());
    stage.finish(alice()).accepted();
    assert_eq!(stage.counts(), (2, 2, 1));
}

/// A client that hammers: it gets answers, its user gets peace.
#[tokio::test(start_paused = true)]
async fn who_repeats_a_request_all_the_time_prompts_once_in_two_seconds() {
    let stage = Stage::with(|layer| layer.prompt_limit(1000, seconds(1)));
    stage.person.always(Reply::Declined);
    for _ in 0..100 {
        assert!(stage.finish(alice()).refused().is_declined());
        pass(Duration::from_millis(100)).await;
    }
    assert_eq!(stage.counts(), (5, 5, 0));
}
