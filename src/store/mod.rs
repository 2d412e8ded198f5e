//! Token stores: where the elevation of a user is kept for other instances of the same service.
//!
//! What one process remembers needs no store: the layer does that by itself. A [`TokenStore`] makes several processes, or
//! several layers of one process, share elevations, and lets only one of them prompt at a time. [`MemoryStore`] is one within a
//! process; `RedisStore` (feature `redis`) is one for many machines.
//!
//! A store is asked only when a step-up is about to happen, never for a request that needs none. If it fails or takes longer than a
//! second, the step-up goes on without it.

mod definition;
mod memory;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod redis;

pub(crate) use definition::ErasedStore;
pub use definition::{Lease, StoreKey, StoredToken, TokenStore};
pub use memory::MemoryStore;
