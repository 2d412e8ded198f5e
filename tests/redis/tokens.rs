//! Tokens on a single node: put, found, replaced, ended, removed.

use std::time::Duration;

use tokio::time::Instant;
use tower_mfa::store::{StoredToken, TokenStore as _, redis::RedisStore};

use crate::harness::{MINUTE, Server, eventually, keys, milliseconds, now, store_key, token};

#[tokio::test]
async fn a_token_comes_back_as_it_was() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    store.check().await.unwrap();
    let key = store_key("alice");
    assert!(store.get(&key).await.unwrap().is_none());

    for secret in ["test-token", "", "TEST-ümläut", &"x".repeat(16 * 1024)] {
        let put = token(secret);
        store.put(&key, &put, MINUTE).await.unwrap();
        let found = store.get(&key).await.unwrap().unwrap();
        assert_eq!(found.token().expose(), secret);
        let rounding = put.expires_at().duration_since(found.expires_at()).unwrap();
        assert!(rounding < milliseconds(1), "{rounding:?}");
    }
    assert!(store.get(&store_key("bob")).await.unwrap().is_none());

    // another instance, and a clone, find it; another prefix does not
    let other = RedisStore::new(&server.url(), keys()).unwrap();
    assert!(other.get(&key).await.unwrap().is_some());
    assert!(store.clone().get(&key).await.unwrap().is_some());
    assert!(other.prefix("other").get(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn a_token_ends_with_its_time_to_live() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let key = store_key("alice");

    let begun = Instant::now();
    store
        .put(&key, &token("test-token"), milliseconds(300))
        .await
        .unwrap();
    eventually("the token has ended", MINUTE, async || {
        store.get(&key).await.unwrap().is_none()
    })
    .await;
    assert!(
        begun.elapsed() >= milliseconds(299),
        "{:?}",
        begun.elapsed()
    );

    // times too short and too long for Redis
    for short in [Duration::ZERO, Duration::from_nanos(1)] {
        store.put(&key, &token("test-token"), MINUTE).await.unwrap();
        store
            .put(&key, &token("test-token-2"), short)
            .await
            .unwrap();
        assert!(store.get(&key).await.unwrap().is_none(), "{short:?}");
    }
    store
        .put(&key, &token("test-token"), milliseconds(1))
        .await
        .unwrap();
    store
        .put(&key, &token("test-token"), Duration::MAX)
        .await
        .unwrap();
    assert!(store.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_token_ends_with_its_date_even_if_redis_still_has_it() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let key = store_key("alice");
    for past in [now() - milliseconds(1), std::time::UNIX_EPOCH] {
        let ended = StoredToken::new("test-token", past);
        store.put(&key, &ended, MINUTE).await.unwrap();
        assert_eq!(server.send::<usize>("DBSIZE"), 1);
        assert!(store.get(&key).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn the_last_token_put_is_the_one_that_is_there() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let key = store_key("alice");
    for secret in ["test-token-1", "test-token-2"] {
        store.put(&key, &token(secret), MINUTE).await.unwrap();
    }
    let found = store.get(&key).await.unwrap().unwrap();
    assert_eq!(found.token().expose(), "test-token-2");
    assert_eq!(server.send::<usize>("DBSIZE"), 1);
}

#[tokio::test]
async fn only_the_token_that_was_refused_is_removed() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let (alice, bob) = (store_key("alice"), store_key("bob"));
    let (refused, fresh) = (token("test-refused"), token("test-fresh"));
    // nothing there is no error
    store.remove(&alice, refused.token()).await.unwrap();

    store.put(&bob, &refused, MINUTE).await.unwrap();
    store.put(&alice, &fresh, MINUTE).await.unwrap();
    store.remove(&alice, refused.token()).await.unwrap();
    assert!(store.get(&alice).await.unwrap().is_some());
    store.remove(&alice, fresh.token()).await.unwrap();
    assert!(store.get(&alice).await.unwrap().is_none());
    assert!(store.get(&bob).await.unwrap().is_some());
}

#[tokio::test]
async fn a_thousand_operations_at_once_share_one_connection() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let before: u64 = connections(&server);
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let key = store_key(&number.to_string());
                store
                    .put(&key, &token(&number.to_string()), MINUTE)
                    .await
                    .unwrap();
                store
                    .get(&key)
                    .await
                    .unwrap()
                    .unwrap()
                    .token()
                    .expose()
                    .to_owned()
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap(), number.to_string());
    }
    // the other one asks
    assert_eq!(connections(&server) - before, 2);
}

fn connections(server: &Server) -> u64 {
    let info: String = server.send("INFO stats");
    let line = info
        .lines()
        .find(|line| line.starts_with("total_connections_received:"));
    line.unwrap().split(':').nth(1).unwrap().parse().unwrap()
}
