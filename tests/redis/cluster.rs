//! Three nodes that share the slots: every operation, wherever its key lives.

use std::time::Duration;

use redis::cmd;
use tokio::time::Instant;
use tower_mfa::store::{Lease, TokenStore as _, redis::RedisStore};

use crate::harness::{Cluster, MINUTE, eventually, keys, milliseconds, store_key, token};

const RECOVERY: Duration = Duration::from_secs(20);

#[tokio::test]
async fn every_operation_works_in_every_slot() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    // one node that is not there, and one that tells the others
    let urls = ["redis://127.0.0.1:1".to_owned(), cluster.urls().remove(0)];
    let store = RedisStore::cluster(urls, keys()).unwrap();
    let (lease, other) = (Lease::new("first"), Lease::new("second"));
    for number in 0..60 {
        let key = store_key(&number.to_string());
        store.put(&key, &token("test-token"), MINUTE).await.unwrap();
        assert!(store.get(&key).await.unwrap().is_some());
        assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
        assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
        assert!(!store.lease(&key, &other, MINUTE).await.unwrap());
        store.release(&key, &other).await.unwrap();
        assert!(!store.lease(&key, &other, MINUTE).await.unwrap());
        store
            .remove(&key, token("test-token-2").token())
            .await
            .unwrap();
        assert!(store.get(&key).await.unwrap().is_some());
        if number % 2 == 0 {
            store.release(&key, &lease).await.unwrap();
            store
                .remove(&key, token("test-token").token())
                .await
                .unwrap();
            assert!(store.get(&key).await.unwrap().is_none());
        }
    }

    // every node has some of the 30 that were left, and what belongs together is in one slot
    let mut count = 0;
    for node in &cluster.nodes {
        let here: Vec<String> = node.send("KEYS *");
        assert!(here.len() > 2, "{here:?}");
        count += here.len();
        for key in here {
            let slot = |key: &str| -> u16 {
                let mut keyslot = cmd("CLUSTER");
                keyslot
                    .arg("KEYSLOT")
                    .arg(key)
                    .query(&mut node.connect())
                    .unwrap()
            };
            let token_key = key.replace("}:l", "}:t");
            assert_eq!(slot(&key), slot(&token_key));
        }
    }
    assert_eq!(count, 2 * 30);
}

#[tokio::test]
async fn a_node_that_restarts_holds_up_its_own_slots_only() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let store = RedisStore::cluster(cluster.urls(), keys()).unwrap();
    let all: Vec<_> = (0..30)
        .map(|number| store_key(&number.to_string()))
        .collect();
    for key in &all {
        store.put(key, &token("test-token"), MINUTE).await.unwrap();
    }

    let others = all.len() - cluster.nodes[2].send::<usize>("DBSIZE");
    cluster.nodes[2].kill();
    let settled = eventually("the other slots work", RECOVERY, async || {
        let mut reached = 0;
        for key in &all {
            reached += usize::from(store.get(key).await.is_ok());
        }
        reached == others
    })
    .await;
    println!("the other slots work {settled:?} after the death of a node");

    cluster.nodes[2].run().await;
    cluster.is_whole().await;
    let recovery = eventually("all slots are there", RECOVERY, async || {
        for key in &all {
            if store.put(key, &token("test-token"), MINUTE).await.is_err() {
                return false;
            }
        }
        true
    })
    .await;
    println!("working {recovery:?} after the node was back");
    let lease = Lease::new("first");
    for key in &all {
        assert!(store.lease(key, &lease, MINUTE).await.unwrap());
    }
}

#[tokio::test]
async fn slots_that_move_are_followed() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let store = RedisStore::cluster(cluster.urls(), keys()).unwrap();
    let key = store_key("alice");
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();
    let redis_key = format!("tower-mfa:{{{key}}}:t");
    let from = (0..3)
        .find(|index| {
            cluster.nodes[*index]
                .send::<Vec<String>>("KEYS *")
                .contains(&redis_key)
        })
        .unwrap();
    let to = (from + 1) % 3;
    let slot: u16 = cluster.nodes[from].send(&format!("CLUSTER KEYSLOT {redis_key}"));
    let id = |index: usize| -> String { cluster.nodes[index].send("CLUSTER MYID") };
    let (from_id, to_id) = (id(from), id(to));

    let (from, to) = (&cluster.nodes[from], &cluster.nodes[to]);
    to.send::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
    from.send::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
    // half-way: it is here still, and what is not here yet is there
    assert!(store.get(&key).await.unwrap().is_some());
    from.send::<()>(&format!(
        "MIGRATE 127.0.0.1 {} {redis_key} 0 5000",
        to.port()
    ));
    assert!(store.get(&key).await.unwrap().is_some());
    let lease = Lease::new("first");
    assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
    for node in &cluster.nodes {
        node.send::<()>(&format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    }
    assert!(store.get(&key).await.unwrap().is_some());
    assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
    assert_eq!(to.send::<usize>("DBSIZE"), 2);
}

#[tokio::test]
async fn a_node_that_hangs_ends_in_time() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let store = RedisStore::cluster(cluster.urls(), keys())
        .unwrap()
        .timeout(milliseconds(400));
    let all: Vec<_> = (0..12)
        .map(|number| store_key(&number.to_string()))
        .collect();
    // a busy machine may take longer than that at first
    eventually("all tokens are there", RECOVERY, async || {
        for key in &all {
            if store.put(key, &token("test-token"), MINUTE).await.is_err() {
                return false;
            }
        }
        true
    })
    .await;
    let others = all.len() - cluster.nodes[0].send::<usize>("DBSIZE");
    cluster.nodes[0].freeze();
    let mut reached = 0;
    for key in &all {
        let begun = Instant::now();
        reached += usize::from(store.get(key).await.is_ok());
        assert!(
            begun.elapsed() < milliseconds(1900),
            "{:?}",
            begun.elapsed()
        );
    }
    println!(
        "{reached} of {} keys with one node of three hanging",
        all.len()
    );
    // all but those that had to wait while the client looked for slots at the one that hangs
    assert!(
        reached * 2 > others && reached <= others,
        "{reached} of {others}"
    );
    cluster.nodes[0].thaw();
    eventually("all slots are there", RECOVERY, async || {
        for key in &all {
            if store.get(key).await.is_err() {
                return false;
            }
        }
        true
    })
    .await;
}
