//! A master, a replica and a sentinel: the master is found, and the next one after a failover.

use std::time::Duration;

use tower_mfa::store::{Lease, TokenStore as _, redis::RedisStore};

use crate::harness::{MINUTE, Trio, eventually, keys, milliseconds, store_key, token};

/// The sentinel notices after half a second; electing and promoting takes it some seconds.
const FAILOVER: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_store_follows_a_failover_while_in_use() {
    let Some(mut trio) = Trio::start().await else {
        return;
    };
    // one sentinel of several does not answer
    let sentinels = ["redis://127.0.0.1:1".to_owned(), trio.sentinel.url()];
    let store = RedisStore::sentinel(sentinels, Trio::MASTER_NAME, keys()).unwrap();
    let (key, lease) = (store_key("alice"), Lease::new("first"));
    store.check().await.unwrap();
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();
    assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
    eventually("the replica has both", FAILOVER, async || {
        trio.replica.send::<usize>("DBSIZE") == 2
    })
    .await;

    trio.master.kill();
    let mut failures = 0;
    let recovery = eventually("the store works again", FAILOVER, async || {
        let renewed = store.lease(&key, &lease, MINUTE).await;
        failures += usize::from(renewed.is_err());
        renewed.is_ok_and(|renewed| renewed)
    })
    .await;
    println!("working {recovery:?} after the death of the master, {failures} failures");
    // what was replicated is there, and the lease is still ours
    assert!(store.get(&key).await.unwrap().is_some());
    assert!(
        !store
            .lease(&key, &Lease::new("second"), MINUTE)
            .await
            .unwrap()
    );
    store
        .put(&key, &token("test-token-2"), MINUTE)
        .await
        .unwrap();
    store
        .remove(&key, token("test-token-2").token())
        .await
        .unwrap();
    assert_eq!(trio.replica.send::<usize>("DBSIZE"), 1);
}

#[tokio::test]
async fn the_store_leaves_a_master_that_was_demoted() {
    let Some(trio) = Trio::start().await else {
        return;
    };
    let store = RedisStore::sentinel([trio.sentinel.url()], Trio::MASTER_NAME, keys()).unwrap();
    let key = store_key("alice");
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();

    // refused until the sentinel has heard lately of a replica that is ready
    eventually("a failover begins", FAILOVER, async || {
        let failover = format!("SENTINEL FAILOVER {}", Trio::MASTER_NAME);
        trio.sentinel.try_send::<()>(&failover).is_ok()
    })
    .await;
    let recovery = eventually("the new master has it", FAILOVER, async || {
        let put = store.put(&key, &token("test-token-2"), MINUTE).await;
        put.is_ok() && trio.replica.tells("replication", "role:master")
    })
    .await;
    println!("working {recovery:?} after a failover that was asked for");
    eventually("the former master is a replica", FAILOVER, async || {
        trio.master.tells("replication", "role:slave")
    })
    .await;
    // written through the same store, to the new master
    eventually("writes go on", FAILOVER, async || {
        store
            .put(&key, &token("test-token-3"), MINUTE)
            .await
            .is_ok()
    })
    .await;
    let found = store.get(&key).await.unwrap().unwrap();
    assert_eq!(found.token().expose(), "test-token-3");
    assert_eq!(trio.replica.send::<usize>("DBSIZE"), 1);
}

#[tokio::test]
async fn a_sentinel_that_hangs_is_passed_over() {
    let Some(trio) = Trio::start().await else {
        return;
    };
    // takes connections and says nothing
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("redis://{}", silent.local_addr().unwrap());
    let store =
        RedisStore::sentinel([silent, trio.sentinel.url()], Trio::MASTER_NAME, keys()).unwrap();
    let took = eventually("the other one is asked", FAILOVER, async || {
        store.check().await.is_ok()
    })
    .await;
    println!("passed over in {took:?}");
    assert!(took < milliseconds(5000), "{took:?}");
}

#[tokio::test]
async fn an_unknown_master_is_an_error() {
    let Some(trio) = Trio::start().await else {
        return;
    };
    let store = RedisStore::sentinel([trio.sentinel.url()], "nobody", keys()).unwrap();
    let error = store.check().await.unwrap_err();
    assert!(
        error.to_string().contains("master name not found"),
        "{error}"
    );
}
