//! [`Policy`] and [`Routes`]: which requirement applies to which request.

mod definition;
mod path;
mod routes;

pub use definition::Policy;
pub(crate) use definition::Selected;
pub use routes::Routes;
