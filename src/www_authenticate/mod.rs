//! The `WWW-Authenticate` header, by its grammar (RFC 9110 section 11): [`parse`] reads it, [`Challenge`] writes it.
//!
//! This is the grammar alone. What a parameter means is for others to say: for step-up challenges, see
//! [`StepUpChallenge`](crate::dialect::StepUpChallenge).
//!
//! ```
//! use http::{HeaderMap, header::WWW_AUTHENTICATE};
//! use tower_mfa::www_authenticate::{Challenge, parse};
//!
//! # fn main() -> Result<(), tower_mfa::ConfigError> {
//! let written = Challenge::bearer()
//!     .with_parameter("error", "insufficient_user_authentication")?
//!     .with_parameter("max_age", "5")?
//!     .to_header_value();
//! assert_eq!(written, r#"Bearer error="insufficient_user_authentication", max_age="5""#);
//!
//! let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, written)]);
//! let read = parse(&headers);
//! assert!(read[0].is_scheme("bearer"));
//! assert_eq!(read[0].parameter("max_age"), Some("5"));
//! # Ok(())
//! # }
//! ```

mod challenge;
mod parse;

pub use challenge::Challenge;
pub use parse::parse;
