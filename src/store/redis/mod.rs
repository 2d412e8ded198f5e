//! [`RedisStore`]: elevations shared by many machines, in Redis or what speaks its protocol (Valkey).
//!
//! # Overview
//!
//! [`RedisStore`] is a [`TokenStore`](crate::store::TokenStore) on a single node, on the master that Sentinel names, or on a
//! Cluster. It connects when it is first asked and again whenever the connection was lost, so a service starts and goes on while
//! Redis is away: the layer then does without it.
//!
//! Tokens are encrypted with [`EncryptionKeys`] before they leave the process: whoever reads Redis, its dumps or its replicas finds
//! neither tokens nor users. Such a reader sees how many elevations there are, how long their tokens are, and when they end.
//!
//! # Example
//!
//! ```no_run
//! use tower_mfa::store::redis::{EncryptionKeys, RedisStore};
//!
//! # fn secret(name: &str) -> [u8; 32] { [0; 32] }
//! # async fn example() -> Result<(), tower_mfa::BoxError> {
//! // 32 random bytes each, the same on every instance, from where the other secrets come from
//! let keys = EncryptionKeys::new(2, secret("elevation-key-2")).with_old(1, secret("elevation-key-1"));
//! let store = RedisStore::new("redis://redis.internal:6379", keys)?.prefix("billing");
//! // optional: to notice a wrong address or password when the service starts
//! if let Err(error) = store.check().await {
//!     eprintln!("elevations are not shared for now: {error}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # In Redis
//!
//! Of a [`StoreKey`](crate::store::StoreKey) whose digest is `4f…`, with the default prefix:
//!
//! | key | holds | ends |
//! | --- | --- | --- |
//! | `tower-mfa:{4f…}:t` | the elevated token, encrypted | with the token's time to live |
//! | `tower-mfa:{4f…}:l` | the random value of the instance that prompts | with the lease |
//!
//! The braces make Cluster keep both in one slot. The commands are `GET`, `SET`, `DEL` and, for what has to compare before it
//! writes, `EVALSHA` or `EVAL` of scripts that call `GET`, `GETRANGE`, `SET`, `PEXPIRE` and `DEL`. An ACL that allows just that:
//! `~tower-mfa:* +get +getrange +set +del +pexpire +eval +evalsha`; on Cluster also `+cluster|slots`.
//!
//! An encrypted token is, in this order:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | version of this layout: 1 |
//! | 4 | id of the encryption key, big-endian |
//! | 32 | fingerprint of the token: HMAC-SHA256 of the digest and the token |
//! | 12 | random nonce |
//! | 8 + n | encrypted: when the token ends (milliseconds since 1970, big-endian), and the token |
//! | 16 | tag over all of it and the digest of the key it is stored under |
//!
//! The cipher is AES-256-GCM-SIV (RFC 8452): nonces are drawn at random by many machines, and it is the one of aws-lc-rs that
//! gives away no more than the equality of two entries if a nonce ever comes twice, where plain GCM would give away its
//! authentication key. Cipher and fingerprint have a key of their own each, derived from the one you give (HKDF-Expand, RFC 5869).
//! The fingerprint lets a script remove exactly one token without Redis knowing it. Since the digest goes into it, equal tokens
//! under two keys have nothing in common.
//!
//! A value that cannot be read, since its key is unknown, it was changed, cut short, moved from another key or written by a newer
//! release, is an error of `get`. It stays until its time is over or the next `put` replaces it; nothing else depends on it.
//!
//! # What Redis does not promise
//!
//! Replication is asynchronous: a failover may lose the last writes. A lost token is one more prompt; a lost lease is two prompts at
//! once. Neither gives anybody a token that is not theirs.

mod command;
mod connection;
mod error;
mod keys;
mod link;
mod plan;
mod store;
mod value;

pub use keys::EncryptionKeys;
pub use store::RedisStore;
