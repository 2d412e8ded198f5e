use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::shard::Shard;
use super::{Cache, Refused};
use crate::guard::Reason;

const FOREVER: u64 = u64::MAX;

/// A token of some 600 characters; both its payload and its signature tell its number.
fn token(number: usize) -> String {
    format!("eyJhbGciOiJSUzI1NiJ9.{number:0>256}.{number:0>342}")
}

/// The same, with a payload of its own.
fn forged(number: usize) -> String {
    token(number).replacen(".0", ".1", 1)
}

/// What one entry of such a token and an empty value counts.
fn cost<V: Clone>() -> usize {
    token(0).len() + Shard::<V>::PER_ENTRY
}

#[test]
fn finds_what_was_stored_and_nothing_else() {
    let cache = Cache::new(100, 1 << 20);
    assert_eq!(cache.get(token(1).as_bytes()), None);
    cache.insert(&token(1), "one", 0, FOREVER);
    cache.insert(&token(2), "two", 0, FOREVER);
    assert_eq!(cache.get(token(1).as_bytes()), Some("one"));
    assert_eq!(cache.get(token(2).as_bytes()), Some("two"));
    assert_eq!(cache.get(b""), None);
    assert_eq!((cache.len(), cache.bytes()), (2, 2 * cost::<&str>()));
    cache.remove(token(1).as_bytes());
    cache.remove(token(3).as_bytes());
    assert_eq!(cache.get(token(1).as_bytes()), None);
    assert_eq!(cache.get(token(2).as_bytes()), Some("two"));
    assert_eq!((cache.len(), cache.bytes()), (1, cost::<&str>()));
}

#[test]
fn the_same_signature_under_another_payload_is_another_token() {
    let cache = Cache::new(100, 1 << 20);
    cache.insert(&token(1), "good", 0, FOREVER);
    assert_ne!(token(1), forged(1));
    assert_eq!(
        cache.place(token(1).as_bytes()),
        cache.place(forged(1).as_bytes())
    );
    assert_eq!(cache.get(forged(1).as_bytes()), None);
    cache.remove(forged(1).as_bytes());
    assert_eq!(cache.get(token(1).as_bytes()), Some("good"));
    // every single character counts
    let good = token(1);
    for at in 0..good.len() {
        let mut other = good.clone();
        other.replace_range(at..=at, "x");
        assert_eq!(cache.get(other.as_bytes()), None, "{at}");
        assert_eq!(cache.get(&good.as_bytes()[at + 1..]), None, "{at}");
    }
    // two verified ones: the newer has the place, and neither is taken for the other
    cache.insert(&forged(1), "other", 0, FOREVER);
    assert_eq!(cache.get(forged(1).as_bytes()), Some("other"));
    assert_eq!(cache.get(token(1).as_bytes()), None);
    assert_eq!((cache.len(), cache.bytes()), (1, cost::<&str>()));
}

#[test]
fn a_token_stored_again_is_counted_once() {
    let cache = Cache::new(100, 1 << 20);
    cache.insert(&token(1), 1, 500, FOREVER);
    cache.insert(&token(1), 2, 70, FOREVER);
    assert_eq!(cache.get(token(1).as_bytes()), Some(2));
    assert_eq!((cache.len(), cache.bytes()), (1, cost::<i32>() + 70));
}

#[test]
fn it_never_holds_more_entries_than_it_may() {
    let cache = Cache::new(1000, usize::MAX);
    for number in 0..100_000 {
        cache.insert(&token(number), number, 0, FOREVER);
        assert!(cache.len() <= 1000);
    }
    assert_eq!(cache.len(), 1000);
    let held = (0..100_000)
        .filter(|number| cache.get(token(*number).as_bytes()) == Some(*number))
        .count();
    assert_eq!(held, 1000);
}

#[test]
fn it_holds_as_many_as_it_may_however_they_are_spread() {
    let cache = Cache::new(5000, usize::MAX);
    for number in 0..5000 {
        cache.insert(&token(number), number, 0, FOREVER);
    }
    assert!((0..5000).all(|number| cache.get(token(number).as_bytes()) == Some(number)));
}

#[test]
fn it_never_takes_more_bytes_than_it_may() {
    let limit = 1 << 20;
    let cache = Cache::new(usize::MAX, limit);
    for number in 0..100_000 {
        cache.insert(&token(number), number, number % 3000, FOREVER);
        assert!(cache.bytes() <= limit);
    }
    assert!(cache.bytes() > limit - 3000 - cost::<usize>());
    let held: usize = (0..100_000)
        .filter(|number| cache.get(token(*number).as_bytes()).is_some())
        .map(|number| cost::<usize>() + number % 3000)
        .sum();
    assert_eq!(held, cache.bytes());
}

#[test]
fn what_can_never_fit_is_not_stored_and_pushes_nothing_out() {
    let cache = Cache::new(100, 10_000);
    cache.insert(&token(1), 1, 0, FOREVER);
    cache.insert(&token(2), 2, 10_000, FOREVER);
    cache.insert(&token(3), 3, usize::MAX, FOREVER);
    assert_eq!(cache.len(), 1);
    assert_eq!(cache.get(token(1).as_bytes()), Some(1));
}

#[test]
fn with_room_for_nothing_it_is_off() {
    for cache in [Cache::new(0, usize::MAX), Cache::new(100, 0)] {
        cache.insert(&token(1), 1, 0, FOREVER);
        assert_eq!(cache.get(token(1).as_bytes()), None);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
        cache.remove(token(1).as_bytes());
    }
}

#[test]
fn with_room_for_one_it_holds_the_newest() {
    let cache = Cache::new(1, usize::MAX);
    for number in 0..100 {
        cache.insert(&token(number), number, 0, FOREVER);
        assert_eq!(cache.get(token(number).as_bytes()), Some(number));
        assert_eq!(cache.len(), 1);
    }
}

#[test]
fn whoever_is_asked_for_stays() {
    let cache = Cache::new(1000, usize::MAX);
    for number in 0..100 {
        cache.insert(&token(number), number, 0, FOREVER);
    }
    for number in 100..20_000 {
        if number % 50 == 0 {
            for hot in 0..100 {
                cache.get(token(hot).as_bytes());
            }
        }
        cache.insert(&token(number), number, 0, FOREVER);
    }
    let kept = (0..100)
        .filter(|hot| cache.get(token(*hot).as_bytes()).is_some())
        .count();
    assert_eq!(kept, 100);
}

#[test]
fn of_those_not_asked_for_the_ones_that_end_soon_make_room() {
    let cache = Cache::new(1000, usize::MAX);
    for number in 0..1000 {
        let ends = if number % 2 == 0 { 1_000 } else { 2_000 };
        cache.insert(&token(number), number, 0, ends);
    }
    for number in 1000..1300 {
        cache.insert(&token(number), number, 0, 3_000);
    }
    let late = (0..1000)
        .filter(|number| number % 2 == 1 && cache.get(token(*number).as_bytes()).is_some())
        .count();
    let soon = (0..1000)
        .filter(|number| number % 2 == 0 && cache.get(token(*number).as_bytes()).is_some())
        .count();
    assert!(late > 440 && soon < 260, "{late} late, {soon} soon");
}

#[test]
fn threads_never_see_it_over_its_bounds() {
    let limit = 64 * cost::<usize>();
    let cache = Cache::new(300, limit);
    let hits = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (cache, hits) = (&cache, &hits);
            scope.spawn(move || {
                for step in 0..10_000 {
                    let number = (step * 7 + worker * 13) % 400;
                    match step % 8 {
                        0..=3 => cache.insert(&token(number), number, 0, FOREVER),
                        4 => cache.remove(token(number).as_bytes()),
                        _ => {
                            if let Some(value) = cache.get(token(number).as_bytes()) {
                                assert_eq!(value, number);
                                hits.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                    assert!(cache.len() <= 64 && cache.bytes() <= limit);
                }
            });
        }
    });
    let held = (0..400)
        .filter(|number| cache.get(token(*number).as_bytes()).is_some())
        .count();
    assert_eq!((cache.len(), cache.bytes()), (held, held * cost::<usize>()));
    assert!(hits.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_panic_under_the_lock_costs_what_that_shard_held_and_no_more() {
    let cache = Cache::new(1, usize::MAX);
    cache.insert(&token(1), "value", 0, FOREVER);
    thread::scope(|scope| {
        let poisoning = scope.spawn(|| cache.shards[0].panic_while_locked());
        assert!(poisoning.join().is_err());
    });
    assert!(cache.get(token(1).as_bytes()).is_none());
    cache.insert(&token(2), "value", 0, FOREVER);
    assert_eq!(cache.get(token(2).as_bytes()), Some("value"));
    assert_eq!((cache.len(), cache.bytes()), (1, cost::<&str>()));
}

#[test]
fn tokens_and_values_are_not_printed() {
    let cache = Cache::new(1, usize::MAX);
    cache.insert(&token(1), "value", 0, FOREVER);
    assert_eq!(
        format!("{cache:?} {:?}", Refused::new()),
        "Cache { .. } Refused { .. }"
    );
}

#[test]
fn a_refusal_lasts_ten_seconds() {
    let (refused, now) = (Refused::new(), Instant::now());
    assert_eq!(refused.get(&token(1), || now), None);
    refused.insert(&token(1), Reason::Signature, now);
    assert_eq!(refused.get(&token(1), || now), Some(Reason::Signature));
    assert_eq!(
        refused.get(&token(1), || now + Duration::from_millis(9_999)),
        Some(Reason::Signature)
    );
    assert_eq!(
        refused.get(&token(1), || now + Duration::from_secs(10)),
        None
    );
    assert_eq!(refused.get(&forged(1), || now), None);
    refused.insert(&token(1), Reason::UnknownKey, now + Duration::from_secs(10));
    assert_eq!(
        refused.get(&token(1), || now + Duration::from_secs(19)),
        Some(Reason::UnknownKey)
    );
}

#[test]
fn a_flood_of_garbage_pushes_out_garbage_only() {
    let (cache, refused, now) = (Cache::new(100, 1 << 20), Refused::new(), Instant::now());
    for number in 0..100 {
        cache.insert(&token(number), number, 0, FOREVER);
    }
    let before = cache.bytes();
    for number in 0..100_000 {
        let garbage = forged(number);
        assert_eq!(cache.get(garbage.as_bytes()), None);
        refused.insert(&garbage, Reason::Signature, now);
    }
    assert!((0..100).all(|number| cache.get(token(number).as_bytes()) == Some(number)));
    assert_eq!((cache.len(), cache.bytes()), (100, before));
    let remembered = (0..100_000)
        .filter(|number| refused.get(&forged(*number), || now).is_some())
        .count();
    assert!((900..=1024).contains(&remembered), "{remembered}");
    assert!((0..100).all(|number| refused.get(&token(number), || now).is_none()));
}
