//! What a value in Redis looks like: the table is in the documentation of this module's parent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use secrecy::zeroize::Zeroizing;

use super::error::Error;
use super::keys::{EncryptionKeys, Key};
use crate::store::{StoreKey, StoredToken};
use crate::token::Secret;

const VERSION: u8 = 1;
const TAG_LEN: usize = 16;
const EXPIRY_LEN: usize = 8;

/// Version, id and fingerprint: what tells one token from another without a key.
pub(super) const HEAD_LEN: usize = 1 + 4 + 32;
pub(super) type Head = [u8; HEAD_LEN];

/// Encrypts a token for a key of the store.
pub(super) fn seal(
    keys: &EncryptionKeys,
    store_key: &StoreKey,
    token: &StoredToken,
) -> Result<Vec<u8>, Error> {
    let key = keys.writer();
    let head = head(key, store_key, token.token());
    let secret = token.token().expose().as_bytes();

    // of its final size from the start, so that growing leaves no copy of the token behind
    let mut sealed = Zeroizing::new(Vec::with_capacity(EXPIRY_LEN + secret.len() + TAG_LEN));
    sealed.extend_from_slice(&to_millis(token.expires_at()).to_be_bytes());
    sealed.extend_from_slice(secret);
    let nonce = cipher(key)?
        .seal_in_place_append_tag(Aad::from(associated(&head, store_key)), &mut *sealed)
        .map_err(|_| Error::CRYPTO)?;

    let mut value = Vec::with_capacity(HEAD_LEN + NONCE_LEN + sealed.len());
    value.extend_from_slice(&head);
    value.extend_from_slice(nonce.as_ref());
    value.extend_from_slice(&sealed);
    Ok(value)
}

/// Decrypts what was found under a key of the store.
pub(super) fn open(
    keys: &EncryptionKeys,
    store_key: &StoreKey,
    value: Vec<u8>,
) -> Result<StoredToken, Error> {
    let mut value = Zeroizing::new(value);
    match value.first() {
        Some(&VERSION) => {}
        Some(version) => {
            return Err(Error::unreadable(format_args!(
                "its layout has version {version}, this release reads version {VERSION}"
            )));
        }
        None => return Err(Error::unreadable("it is empty")),
    }
    let Some((head, rest)) = value.split_first_chunk_mut::<HEAD_LEN>() else {
        return Err(Error::unreadable("it was cut short"));
    };
    let Some((nonce, sealed)) = rest.split_first_chunk_mut::<NONCE_LEN>() else {
        return Err(Error::unreadable("it was cut short"));
    };
    let id = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let Some(key) = keys.by_id(id) else {
        return Err(Error::unreadable(format_args!(
            "this instance has no encryption key with id {id}"
        )));
    };
    let opened = cipher(key)?
        .open_in_place(
            Nonce::from(&*nonce),
            Aad::from(associated(head, store_key)),
            sealed,
        )
        .map_err(|_| {
            Error::unreadable(format_args!(
                "it was changed, cut short or moved here, or another encryption key has the id {id}"
            ))
        })?;

    let Some((expiry, secret)) = opened.split_first_chunk::<EXPIRY_LEN>() else {
        return Err(Error::unreadable("it has no expiry date"));
    };
    let expires_at = from_millis(u64::from_be_bytes(*expiry))
        .ok_or_else(|| Error::unreadable("its expiry date is out of range"))?;
    let secret = str::from_utf8(secret).map_err(|_| Error::unreadable("its token is not text"))?;
    Ok(StoredToken::new(Secret::from(secret), expires_at))
}

/// How a value of this token may begin: once for every key that may have encrypted it.
pub(super) fn heads(
    keys: &EncryptionKeys,
    store_key: &StoreKey,
    token: &Secret,
) -> impl Iterator<Item = Head> {
    keys.iter().map(move |key| head(key, store_key, token))
}

fn head(key: &Key, store_key: &StoreKey, token: &Secret) -> Head {
    let mut fingerprint = hmac::Context::with_key(&key.fingerprint);
    fingerprint.update(store_key.as_bytes());
    fingerprint.update(token.expose().as_bytes());

    let mut head = [0; HEAD_LEN];
    head[0] = VERSION;
    head[1..5].copy_from_slice(&key.id.to_be_bytes());
    head[5..].copy_from_slice(fingerprint.sign().as_ref());
    head
}

/// What a value is bound to: a head of its own, and the key it was put under.
fn associated(head: &Head, store_key: &StoreKey) -> [u8; HEAD_LEN + 32] {
    let mut associated = [0; HEAD_LEN + 32];
    associated[..HEAD_LEN].copy_from_slice(head);
    associated[HEAD_LEN..].copy_from_slice(store_key.as_bytes());
    associated
}

fn cipher(key: &Key) -> Result<RandomizedNonceKey, Error> {
    RandomizedNonceKey::new(&AES_256_GCM_SIV, &*key.cipher).map_err(|_| Error::CRYPTO)
}

fn to_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn from_millis(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}
