//! Redis is not there, hangs, goes away and comes back.

use std::time::Duration;

use tokio::time::Instant;
use tower_mfa::store::{Lease, TokenStore as _, redis::RedisStore};

use crate::harness::{MINUTE, Server, eventually, keys, milliseconds, store_key, token};

/// What a machine with two busy cores may add to a time limit.
const SLACK: Duration = Duration::from_millis(1500);
/// In which Redis is noticed to be there again: the longest pause and a connection.
const RECOVERY: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_store_is_made_while_redis_is_down_and_works_when_it_comes() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    server.kill();
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let key = store_key("alice");
    let begun = Instant::now();
    let error = store.get(&key).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());

    server.run().await;
    let recovery = eventually("the store works", RECOVERY, async || {
        store.put(&key, &token("test-token"), MINUTE).await.is_ok()
    })
    .await;
    println!("working {recovery:?} after Redis has come");
    assert!(store.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn operations_end_in_time_while_redis_hangs() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys())
        .unwrap()
        .timeout(milliseconds(300));
    let (key, lease) = (store_key("alice"), Lease::new("first"));
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();
    server.freeze();

    // the first takes its time; those that follow at once do not add up
    let begun = Instant::now();
    let error = store.get(&key).await.unwrap_err();
    let first = begun.elapsed();
    assert!(error.to_string().contains("300ms"), "{error}");
    assert!(
        first >= milliseconds(299) && first < milliseconds(300) + SLACK,
        "{first:?}"
    );
    let begun = Instant::now();
    store.lease(&key, &lease, MINUTE).await.unwrap_err();
    store
        .put(&key, &token("test-token"), MINUTE)
        .await
        .unwrap_err();
    store
        .remove(&key, token("test-token").token())
        .await
        .unwrap_err();
    let error = store.release(&key, &lease).await.unwrap_err();
    assert!(begun.elapsed() < milliseconds(250), "{:?}", begun.elapsed());
    assert!(error.to_string().contains("a moment ago"), "{error}");

    // many at once, after the pause: no longer than one
    let mut last = Duration::ZERO;
    eventually("the pause is over", RECOVERY, async || {
        let begun = Instant::now();
        let gets = (0..50).map(|_| store.get(&key));
        let all = futures_util::future::join_all(gets).await;
        assert!(all.iter().all(Result::is_err));
        last = begun.elapsed();
        last >= milliseconds(250)
    })
    .await;
    assert!(last < milliseconds(300) + SLACK, "{last:?}");

    server.thaw();
    let recovery = eventually("the store works", RECOVERY, async || {
        store.get(&key).await.is_ok_and(|found| found.is_some())
    })
    .await;
    println!("working {recovery:?} after Redis went on");
}

#[tokio::test]
async fn a_restart_goes_unnoticed_but_for_what_was_lost() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let (key, lease) = (store_key("alice"), Lease::new("first"));
    for round in 0..3 {
        store.put(&key, &token("test-token"), MINUTE).await.unwrap();
        assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
        server.kill();
        server.run().await;
        // no operation fails: the lost connection is noticed, and replaced within the operation. Neither does the script that
        // the new server has never seen
        if round == 0 {
            assert!(store.get(&key).await.unwrap().is_none());
        }
        assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
        store.release(&key, &lease).await.unwrap();
        store
            .remove(&key, token("test-token").token())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_outage_in_the_middle_is_an_error_and_then_over() {
    let Some(mut server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let key = store_key("alice");
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();
    server.kill();
    let begun = Instant::now();
    store.get(&key).await.unwrap_err();
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());

    server.run().await;
    let recovery = eventually("the store works", RECOVERY, async || {
        store.put(&key, &token("test-token"), MINUTE).await.is_ok()
    })
    .await;
    println!("working {recovery:?} after the restart");
    assert!(recovery < SLACK, "{recovery:?}");
}

#[tokio::test]
async fn scripts_are_sent_again_to_a_server_that_forgot_them() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let (key, lease) = (store_key("alice"), Lease::new("first"));
    for _ in 0..2 {
        assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
        store.put(&key, &token("test-token"), MINUTE).await.unwrap();
        server.send::<()>("SCRIPT FLUSH");
        store
            .remove(&key, token("test-token").token())
            .await
            .unwrap();
        assert!(store.get(&key).await.unwrap().is_none());
        server.send::<()>("SCRIPT FLUSH");
        store.release(&key, &lease).await.unwrap();
        assert!(
            store
                .lease(&key, &Lease::new("second"), MINUTE)
                .await
                .unwrap()
        );
        store.release(&key, &Lease::new("second")).await.unwrap();
    }
}

#[tokio::test]
async fn few_attempts_to_connect_while_redis_is_away() {
    // in place of Redis: something that takes connections and drops them
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = count.clone();
    let accepting = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let store = RedisStore::new(&url, keys()).unwrap();
    let key = store_key("alice");
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < milliseconds(1000) {
        store.get(&key).await.unwrap_err();
        asked += 1;
        tokio::task::yield_now().await;
    }
    let count = count.load(std::sync::atomic::Ordering::Relaxed);
    println!("{count} attempts for {asked} operations in a second");
    assert!(count <= 22, "{count}");
    accepting.abort();
}

#[tokio::test]
async fn a_dropped_operation_leaves_the_store_usable() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let key = store_key("alice");
    // dropped at every point at which it waits, connecting included
    for polls in 0..20 {
        let store = store.clone().prefix(polls.to_string());
        let token = token("test-token");
        let mut put = tokio_test::task::spawn(store.put(&key, &token, MINUTE));
        for _ in 0..polls {
            if put.poll().is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(put);
        assert!(store.get(&key).await.is_ok());
    }
}
