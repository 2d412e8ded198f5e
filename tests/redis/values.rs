//! What is in Redis: whose key encrypted it, whether it was changed, whether it is where it was put.

use redis::{Connection, cmd};
use tower_mfa::store::{
    StoreKey, TokenStore as _,
    redis::{EncryptionKeys, RedisStore},
};

use crate::harness::{KEY, MINUTE, Server, keys, store_key, token};

const OTHER_KEY: [u8; 32] = [7; 32];

fn redis_key(key: &StoreKey) -> String {
    format!("tower-mfa:{{{key}}}:t")
}

fn read(connection: &mut Connection, key: &StoreKey) -> Vec<u8> {
    cmd("GET").arg(redis_key(key)).query(connection).unwrap()
}

fn write(connection: &mut Connection, key: &StoreKey, value: &[u8]) {
    let mut set = cmd("SET");
    set.arg(redis_key(key)).arg(value).exec(connection).unwrap();
}

#[tokio::test]
async fn the_layout_is_the_documented_one() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), EncryptionKeys::new(0x0102_0304, KEY)).unwrap();
    let key = store_key("alice");
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();
    let mut connection = server.connect();
    let first = read(&mut connection, &key);
    assert_eq!(first.len(), 1 + 4 + 32 + 12 + (8 + "test-token".len()) + 16);
    assert_eq!(first[..5], [1, 1, 2, 3, 4]);
    let left: u64 = server.send(&format!("PTTL {}", redis_key(&key)));
    assert!((50_000..=60_000).contains(&left), "{left}");

    // the same token again: the same fingerprint, another nonce, another ciphertext
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();
    let second = read(&mut connection, &key);
    assert_eq!(first[..37], second[..37]);
    assert_ne!(first[37..49], second[37..49]);
    assert_ne!(first[49..], second[49..]);
    // the same token for somebody else has nothing in common with it
    let other = store_key("bob");
    store
        .put(&other, &token("test-token"), MINUTE)
        .await
        .unwrap();
    assert_ne!(first[5..37], read(&mut connection, &other)[5..37]);
}

#[tokio::test]
async fn keys_change_one_deployment_at_a_time() {
    let Some(server) = Server::start().await else {
        return;
    };
    let key = store_key("alice");
    let with = |keys| RedisStore::new(&server.url(), keys).unwrap();
    let before = with(EncryptionKeys::new(1, KEY));
    let both_before = with(EncryptionKeys::new(1, KEY).with_old(2, OTHER_KEY));
    let both_after = with(EncryptionKeys::new(2, OTHER_KEY).with_old(1, KEY));
    let after = with(EncryptionKeys::new(2, OTHER_KEY));

    // during each step both kinds of instances run: what one of them writes, the other reads and removes. In the last one only
    // the new key writes any more.
    let pairs = [
        (&before, &both_before),
        (&both_before, &before),
        (&both_before, &both_after),
        (&both_after, &both_before),
        (&both_after, &after),
        (&after, &both_after),
    ];
    for (writer, reader) in pairs {
        let put = token("test-token");
        writer.put(&key, &put, MINUTE).await.unwrap();
        let found = reader.get(&key).await.unwrap().unwrap();
        assert_eq!(found.token().expose(), "test-token");
        reader.remove(&key, put.token()).await.unwrap();
        assert!(writer.get(&key).await.unwrap().is_none());
    }

    // skipped steps: an error that names the id, and neither removed nor in the way
    before
        .put(&key, &token("test-token"), MINUTE)
        .await
        .unwrap();
    let error = after.get(&key).await.unwrap_err().to_string();
    assert!(error.contains("no encryption key with id 1"), "{error}");
    after
        .remove(&key, token("test-token").token())
        .await
        .unwrap();
    assert!(before.get(&key).await.unwrap().is_some());
    after
        .put(&key, &token("test-token-2"), MINUTE)
        .await
        .unwrap();
    assert!(after.get(&key).await.unwrap().is_some());

    // another key under the same id
    let error = with(EncryptionKeys::new(2, KEY))
        .get(&key)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[tokio::test]
async fn no_changed_or_shortened_value_is_a_token() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let key = store_key("alice");
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();
    let mut connection = server.connect();
    let good = read(&mut connection, &key);

    let flipped = (0..good.len() * 8).map(|bit| {
        let mut value = good.clone();
        value[bit / 8] ^= 1 << (bit % 8);
        value
    });
    let shortened = (0..good.len()).map(|length| good[..length].to_vec());
    let extended = [[&good[..], &[0]].concat(), [&good[..], &good[..]].concat()];
    let foreign = [b"not ours".to_vec(), vec![1; 4096]];
    let mut tried = 0;
    for value in flipped.chain(shortened).chain(extended).chain(foreign) {
        write(&mut connection, &key, &value);
        let error = store.get(&key).await.unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
        assert!(!error.contains("test-token"), "{error}");
        tried += 1;
    }
    println!("{tried} values refused");

    // a value of another type is an error as well, and the next put replaces it
    server.send::<()>(&format!("DEL {}", redis_key(&key)));
    server.send::<()>(&format!("LPUSH {} x", redis_key(&key)));
    store.get(&key).await.unwrap_err();
    store
        .remove(&key, token("test-token").token())
        .await
        .unwrap_err();
    store.put(&key, &token("test-token"), MINUTE).await.unwrap();
    assert!(store.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_value_moved_to_another_key_is_no_token() {
    let Some(server) = Server::start().await else {
        return;
    };
    let store = RedisStore::new(&server.url(), keys()).unwrap();
    let (alice, mallory) = (store_key("alice"), store_key("mallory"));
    store
        .put(&alice, &token("test-token"), MINUTE)
        .await
        .unwrap();
    let mut connection = server.connect();
    let value = read(&mut connection, &alice);
    write(&mut connection, &mallory, &value);
    let error = store.get(&mallory).await.unwrap_err().to_string();
    assert!(error.contains("moved"), "{error}");
    assert!(store.get(&alice).await.unwrap().is_some());
}
