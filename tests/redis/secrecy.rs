//! Neither a dump, nor an error, nor `Debug` tells a token, a principal, a key or a password.

use std::fs;

use tower_mfa::{
    BoxError, ConfigError,
    store::{Lease, TokenStore as _, redis::RedisStore},
};

use crate::harness::{KEY, MINUTE, Server, keys, store_key, token};

const PASSWORD: &str = "TEST-redis-password";
const SECRETS: [&str; 4] = [
    "test-token",
    "alice@example.com",
    "TEST-encryption-key",
    PASSWORD,
];

#[track_caller]
fn assert_tells_nothing(what: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let is_in = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(
            !is_in,
            "{what} has {secret}: {}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[track_caller]
fn assert_error_tells_nothing(error: &BoxError) {
    assert_tells_nothing("an error", format!("{error} {error:?}").as_bytes());
    assert!(error.source().is_none());
}

#[tokio::test]
async fn a_dump_holds_no_token_and_no_principal() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    for number in 0..20 {
        let key = store_key(&format!("alice@example.com {number}"));
        store
            .put(&key, &token(&format!("test-token-{number}")), MINUTE)
            .await
            .unwrap();
        let lease = Lease::new(format!("random-{number}"));
        assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
    }

    let keys = String::from_utf8(server.cli(&["--scan"])).unwrap();
    assert_eq!(keys.lines().count(), 40);
    for key in keys.lines() {
        assert_tells_nothing("a key", key.as_bytes());
        let value = server.cli(&["GET", key]);
        assert!(!value.is_empty());
        assert_tells_nothing("a value", &value);
    }

    server.send::<()>("CONFIG SET rdbcompression no");
    server.send::<()>("SAVE");
    let dump = fs::read(server.directory().join("dump.rdb")).unwrap();
    // it is the right file, and not compressed
    assert!(dump.windows(9).any(|window| window == b"random-17"));
    assert_tells_nothing("the dump", &dump);
}

#[tokio::test]
async fn a_password_is_used_and_never_told() {
    let Some(server) = Server::start_with(&[], Some(PASSWORD)).await else {
        return;
    };
    let key = store_key("alice@example.com");
    let without = format!("redis://127.0.0.1:{}", server.port());
    let in_url = RedisStore::new(&server.url(), keys()).unwrap();
    let set = RedisStore::new(&without, keys())
        .unwrap()
        .credentials("", PASSWORD);
    let named = RedisStore::new(&without, keys())
        .unwrap()
        .credentials("default", PASSWORD);
    for store in [&in_url, &set, &named] {
        store.check().await.unwrap();
        store.put(&key, &token("test-token"), MINUTE).await.unwrap();
        assert!(store.get(&key).await.unwrap().is_some());
        let shown = format!("{store:?}");
        assert_tells_nothing("Debug", shown.as_bytes());
        assert!(shown.contains(&server.port().to_string()), "{shown}");
    }

    // refused: without a password, and with a wrong one that is as secret
    let unnamed = RedisStore::new(&without, keys()).unwrap();
    let error = unnamed.get(&key).await.unwrap_err();
    assert!(error.to_string().contains("NOAUTH"), "{error}");
    assert_error_tells_nothing(&error);
    server.send::<()>("CONFIG SET requirepass another");
    let wrong = RedisStore::new(&server.url(), keys()).unwrap();
    let error = wrong.check().await.unwrap_err();
    assert!(error.to_string().contains("Redis"), "{error}");
    assert_error_tells_nothing(&error);
}

#[tokio::test]
async fn what_redis_refuses_is_told_by_its_code() {
    let Some(server) = Server::start_with(
        &[
            "--rename-command",
            "EVALSHA",
            "",
            "--rename-command",
            "SET",
            "",
        ],
        None,
    )
    .await
    else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let key = store_key("alice@example.com");
    // Redis repeats the arguments of an unknown command
    for error in [
        store
            .put(&key, &token("test-token"), MINUTE)
            .await
            .unwrap_err(),
        store
            .lease(&key, &Lease::new("test-token"), MINUTE)
            .await
            .unwrap_err(),
        store
            .remove(&key, token("test-token").token())
            .await
            .unwrap_err(),
    ] {
        assert!(error.to_string().contains("ERR"), "{error}");
        assert_error_tells_nothing(&error);
    }
}

#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let Some(server) = Server::start().await else {
        return;
    };
    let rights = "~tower-mfa:* +get +getrange +set +del +pexpire +eval +evalsha";
    server.send::<()>(&format!("ACL SETUSER elevations on >{PASSWORD} {rights}"));
    let store = RedisStore::new(&server.url(), keys())
        .unwrap()
        .credentials("elevations", PASSWORD);
    let (key, lease) = (store_key("alice"), Lease::new("first"));
    store.check().await.unwrap();
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();
    assert!(store.get(&key).await.unwrap().is_some());
    store
        .remove(&key, token("test-token").token())
        .await
        .unwrap();
    assert!(store.get(&key).await.unwrap().is_none());
    assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
    assert!(store.lease(&key, &lease, MINUTE).await.unwrap());
    store.release(&key, &lease).await.unwrap();
    let error = store.prefix("other").get(&key).await.unwrap_err();
    assert!(error.to_string().contains("NOPERM"), "{error}");
}

#[test]
fn a_wrong_url_is_an_error_that_does_not_repeat_it() {
    let urls = [
        format!("http://:{PASSWORD}@127.0.0.1"),
        format!("redis://:{PASSWORD}@127.0.0.1:port"),
        PASSWORD.to_owned(),
        format!("redis://:{PASSWORD}@127.0.0.1/{PASSWORD}"),
        format!("rediss://:{PASSWORD}@127.0.0.1"),
        String::new(),
    ];
    let tell = |error: ConfigError| {
        let shown = format!("{error} {error:?}");
        assert_tells_nothing("an error", shown.as_bytes());
    };
    for url in &urls {
        tell(RedisStore::new(url, keys()).unwrap_err());
        tell(RedisStore::sentinel([url], "testmaster", keys()).unwrap_err());
        tell(RedisStore::cluster([url], keys()).unwrap_err());
    }
    let none: [&str; 0] = [];
    tell(RedisStore::sentinel(none, "testmaster", keys()).unwrap_err());
    tell(RedisStore::cluster(none, keys()).unwrap_err());
    let mixed = [
        "redis://127.0.0.1:1".to_owned(),
        format!("redis://:{PASSWORD}@127.0.0.1:2"),
    ];
    tell(RedisStore::cluster(mixed, keys()).unwrap_err());
}

#[test]
fn debug_tells_where_and_nothing_secret() {
    let url = format!("redis://user:{PASSWORD}@127.0.0.1:6379");
    for store in [
        RedisStore::new(&url, keys()).unwrap(),
        RedisStore::sentinel([&url], "testmaster", keys())
            .unwrap()
            .credentials("user", PASSWORD),
        RedisStore::cluster([&url], keys()).unwrap(),
    ] {
        let shown = format!("{store:?} {store:#?} {:?}", keys());
        assert_tells_nothing("Debug", shown.as_bytes());
        assert!(shown.contains("127.0.0.1:6379"), "{shown}");
        let key: Vec<_> = KEY.iter().map(u8::to_string).collect();
        assert!(!shown.contains(&key[..8].join(", ")));
    }
}
