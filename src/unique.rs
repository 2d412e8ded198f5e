//! Random values: unique, and not to be guessed by others.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// 128 bits in hexadecimal digits. They come from a keyed hash whose key the operating system gave this process, and from a
/// counter: they differ from all others of this process, and from those of other processes.
pub(crate) fn unique() -> String {
    static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let keys = KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    keys.iter()
        .map(|key| format!("{:016x}", key.hash_one(count)))
        .collect()
}
