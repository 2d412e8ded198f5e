//! [`Requirement`]: what a request's token has to show, and how it is checked.

mod claim;
mod definition;
mod freshness;
mod scope;
mod shortfall;
mod strength;
#[cfg(test)]
mod tests;
mod words;

pub use definition::Requirement;
pub use shortfall::Shortfall;
