//! Where the guard's keys come from, and which of them a token means.

mod documents;
mod fetch;
mod jwk;
mod pem;
mod public_key;
mod remote;
mod set;
mod settings;
mod signature;
mod source;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;

pub use settings::RemoteKeys;
pub use source::Keys;

pub(crate) use {fetch::Fetch, set::Key, source::Lookup};
