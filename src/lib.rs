#![doc = "tower-mfa"]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod body;
mod challenge;
pub mod code;
mod demand;
pub mod dialect;
mod error;
mod event;
mod future;
mod layer;
mod origin;
mod request;
mod service;
mod step_up;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod time;
mod token;
pub mod transport;

pub use challenge::{Authenticator, BindingMethod, Challenge, CodeRejection, Factor};
pub use code::{Code, CodeError, CodeProvider, code_fn};
pub use demand::{Demand, Requirement};
pub use dialect::Auth0;
pub use error::{BoxError, ConfigError, StepUpError};
pub use event::{Event, SteppedUp};
pub use future::ResponseFuture;
pub use layer::MfaLayer;
pub use request::RequestHead;
pub use service::{Mfa, NoStepUp};
pub use token::{AccessToken, Secret, TokenSet};
