#![doc = include_str!("../README.md")]
//!
//! # Where to start
//!
//! * [`MfaLayer`] has every setting; [`Mfa`] is the service it makes.
//! * [`CodeProvider`] and [`code_fn`]: where codes come from; [`Challenge`]: what is asked. Ready-made ones are in [`code`].
//! * [`Auth0`], [`Rfc9470`] and the trait [`Dialect`](dialect::Dialect): what is spoken; [`www_authenticate`]: the header, to read and
//!   to write.
//! * [`StepUpError`] and [`SteppedUp`]: what a response tells about its step-up; [`Event`] tells the same as it happens.
//! * [`Principal`] and [`store`]: for whom elevation is remembered, and where.
//! * [`Transport`](transport::Transport): another way to the authorization server.
//!
//! # Cancel safety
//!
//! A response future may be dropped at any point. Dropped while it steps up, it drops the code provider's future and stops
//! polling; the connection of the first attempt is given up if its request was still being sent. Two things cannot be undone: a
//! message that is on its way, and a code that was just sent to the authorization server, whose tokens are then lost.
//! Store what must not be lost in [`MfaLayer::on_event`], which is called in the same poll in which the tokens arrive.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod body;
mod challenge;
pub mod code;
mod cooperation;
mod demand;
pub mod dialect;
mod elevation;
mod error;
mod event;
mod flight;
mod future;
#[cfg(feature = "guard")]
#[cfg_attr(docsrs, doc(cfg(feature = "guard")))]
pub mod guard;
mod kept;
mod keyed_hash;
mod layer;
mod met;
mod origin;
mod principal;
mod prompt_limit;
mod refused;
mod request;
mod service;
mod statuses;
mod step;
mod step_up;
pub mod store;
mod subject;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod time;
mod token;
pub mod transport;
mod unique;
pub mod www_authenticate;

pub use challenge::{Authenticator, BindingMethod, Challenge, CodeRejection, Factor};
pub use code::{Code, CodeError, CodeProvider, code_fn};
pub use demand::{Demand, Requirement};
pub use dialect::{Auth0, Rfc9470};
pub use error::{BoxError, ConfigError, StepUpError};
pub use event::{Event, SteppedUp};
pub use future::ResponseFuture;
pub use layer::MfaLayer;
pub use principal::Principal;
pub use request::RequestHead;
pub use service::{Mfa, NoStepUp};
pub use token::{AccessToken, Secret, TokenSet};
