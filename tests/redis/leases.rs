//! The right to prompt: one holder at a time, for a time.

use tokio::time::Instant;
use tower_mfa::store::{Lease, TokenStore as _, redis::RedisStore};

use crate::harness::{MINUTE, Server, eventually, keys, milliseconds, store_key};

#[tokio::test]
async fn one_instance_has_it_until_it_gives_it_back() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let other = RedisStore::new(&server.url(), keys()).unwrap();
    let (first, second) = (Lease::new("first"), Lease::new("second"));
    let key = store_key("alice");

    assert!(store.lease(&key, &first, MINUTE).await.unwrap());
    assert!(!other.lease(&key, &second, MINUTE).await.unwrap());
    // renewed by the one that has it; another key is another lease
    assert!(store.lease(&key, &first, MINUTE).await.unwrap());
    assert!(
        other
            .lease(&store_key("bob"), &second, MINUTE)
            .await
            .unwrap()
    );

    // who does not have it cannot give it back
    other.release(&key, &second).await.unwrap();
    assert!(!other.lease(&key, &second, MINUTE).await.unwrap());
    store.release(&key, &first).await.unwrap();
    assert!(other.lease(&key, &second, MINUTE).await.unwrap());
    // once more is no error, and takes nothing from the next
    store.release(&key, &first).await.unwrap();
    assert!(!store.lease(&key, &first, MINUTE).await.unwrap());
}

#[tokio::test]
async fn renewing_sets_the_time_anew() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let (key, lease) = (store_key("alice"), Lease::new("first"));
    let redis_key = format!("tower-mfa:{{{key}}}:l");
    for (time_to_live, least) in [(milliseconds(5000), 4000), (MINUTE, 59_000)] {
        assert!(store.lease(&key, &lease, time_to_live).await.unwrap());
        let left: u64 = server.send(&format!("PTTL {redis_key}"));
        assert!(left >= least && u128::from(left) <= time_to_live.as_millis());
    }
    // no time at all is not "for ever"
    assert!(store.lease(&key, &lease, milliseconds(0)).await.unwrap());
    let other = Lease::new("second");
    eventually("the lease has ended", MINUTE, async || {
        store.lease(&key, &other, MINUTE).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn it_ends_by_itself_when_the_holder_is_gone() {
    let Some(server) = Server::start().await else {
        return;
    };
    let (key, first, second) = (
        store_key("alice"),
        Lease::new("first"),
        Lease::new("second"),
    );
    let holder = RedisStore::new(&server.url(), keys()).unwrap();
    assert!(holder.lease(&key, &first, milliseconds(500)).await.unwrap());
    let begun = Instant::now();
    drop(holder);

    let store = RedisStore::new(&server.url(), keys()).unwrap();
    eventually("the lease of the dead has ended", MINUTE, async || {
        store.lease(&key, &second, MINUTE).await.unwrap()
    })
    .await;
    println!(
        "a lease of 500 ms was free {:?} after the death of its holder",
        begun.elapsed()
    );
    assert!(
        begun.elapsed() >= milliseconds(480),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_gets_it() {
    let Some(server) = Server::start().await else {
        return;
    };
    let stores = [(); 4].map(|()| RedisStore::new(&server.url(), keys()).unwrap());
    let key = store_key("alice");
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let store = stores[number % stores.len()].clone();
            let lease = Lease::new(number.to_string());
            tokio::spawn(async move { store.lease(&key, &lease, MINUTE).await.unwrap() })
        })
        .collect();
    let mut holders = 0;
    for task in tasks {
        holders += usize::from(task.await.unwrap());
    }
    assert_eq!(holders, 1);
}
