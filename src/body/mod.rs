//! The two bodies of the layer: [`ReplayBody`] for requests, [`ResponseBody`] for responses.
//!
//! Both stream. A request body is remembered while it passes, up to a limit, so that it can be sent again; a longer one can
//! be made again by a [`BodyFactory`]. A response body is looked at only when its head says that it may be a demand, and then
//! handed on complete.

mod factory;
mod frames;
#[cfg(test)]
mod model;
mod peek;
mod replay;
mod response;
mod shared;
mod tape;

pub use factory::BodyFactory;
pub(crate) use peek::{Peek, Peeked, is_peekable};
pub(crate) use replay::Replay;
pub use replay::ReplayBody;
pub use response::ResponseBody;
