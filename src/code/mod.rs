//! Code providers: where the answer to a challenge comes from.
//!
//! [`CodeProvider`] is the one trait. [`code_fn`] makes one of a closure; [`HeaderCode`] takes the code from a header of
//! the original request; [`ApprovalOnly`] needs none, since the user approves on a device; `TotpCode` (feature `totp`)
//! computes it from a shared secret.
//!
//! ```
//! use tower_mfa::{Code, CodeError, code_fn};
//!
//! let provider = code_fn(|challenge| async move {
//!     println!("code for {} ({:?}):", challenge.factor(), challenge.destination());
//!     // ask the person who waits for this request; `None` stands for "cancelled"
//!     let typed: Option<String> = Some("123456".to_owned());
//!     typed.map(Code::new).ok_or(CodeError::Declined)
//! });
//! # let _ = provider;
//! ```

mod answer;
mod approval;
mod header;
mod provider;
#[cfg(feature = "totp")]
mod totp;

pub use answer::{Code, CodeError};
pub use approval::ApprovalOnly;
pub use header::HeaderCode;
pub(crate) use provider::ErasedCodeProvider;
pub use provider::{CodeFn, CodeProvider, code_fn};
#[cfg(feature = "totp")]
#[cfg_attr(docsrs, doc(cfg(feature = "totp")))]
pub use totp::{TotpAlgorithm, TotpCode};
