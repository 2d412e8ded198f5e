//! [`Challenge`]: a scheme and what comes with it, and how they are written.

use http::HeaderValue;

use crate::error::ConfigError;

/// One challenge of a `WWW-Authenticate` header: a scheme, and its parameters or its token68.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Challenge {
    scheme: String,
    details: Details,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Details {
    Parameters(Vec<(String, String)>),
    Token68(String),
}

impl Challenge {
    /// A challenge without parameters.
    ///
    /// # Errors
    ///
    /// If the scheme is not a token (RFC 9110 section 5.6.2).
    pub fn new(scheme: impl Into<String>) -> Result<Self, ConfigError> {
        let scheme = scheme.into();
        if is_token(&scheme) {
            Ok(Self::bare(scheme))
        } else {
            Err(ConfigError::new(format!(
                "`{}` cannot be an authentication scheme: it is not a token",
                scheme.escape_debug()
            )))
        }
    }

    /// The challenge `Bearer` without parameters, which is the whole answer to a request without credentials (RFC 6750
    /// section 3.1).
    #[must_use]
    pub fn bearer() -> Self {
        Self::bare("Bearer".to_owned())
    }

    /// Adds a parameter, which is written as a quoted string.
    ///
    /// # Errors
    ///
    /// If the name is not a token or is there already, or the challenge has a token68; and if the value has anything but printable
    /// ASCII and spaces. The grammar allows more, but few recipients agree on its meaning, and RFC 6750 section 3 does not.
    pub fn with_parameter(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        let (name, value) = (name.into(), value.into());
        let bad = |why: &str| {
            ConfigError::new(format!(
                "`{}` cannot be a parameter of a challenge: {why}",
                name.escape_debug()
            ))
        };
        if !is_token(&name) {
            return Err(bad("its name is not a token"));
        }
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(bad(
                "its value has characters other than printable ASCII and spaces",
            ));
        }
        if self.parameter(&name).is_some() {
            return Err(bad("it is there already"));
        }
        match &mut self.details {
            Details::Parameters(parameters) => parameters.push((name, value)),
            Details::Token68(_) => return Err(bad("the challenge has a token68 instead")),
        }
        Ok(self)
    }

    /// The scheme, as it was written. To compare it, use [`is_scheme`](Self::is_scheme).
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether this is the scheme, in whatever case.
    #[must_use]
    pub fn is_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The value of a parameter, without quotes and escapes; its name may be in whatever case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The names and values of all parameters, in their order.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let parameters = match &self.details {
            Details::Parameters(parameters) => parameters.as_slice(),
            Details::Token68(_) => &[],
        };
        parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What some schemes have instead of parameters: `Negotiate`, for one.
    #[must_use]
    pub fn token68(&self) -> Option<&str> {
        match &self.details {
            Details::Parameters(_) => None,
            Details::Token68(token) => Some(token),
        }
    }

    /// The challenge as a field line; all values are quoted strings.
    #[must_use]
    pub fn to_header_value(&self) -> HeaderValue {
        let mut text = self.scheme.clone();
        if let Some(token) = self.token68() {
            text.push(' ');
            text.push_str(token);
        }
        for (index, (name, value)) in self.parameters().enumerate() {
            text.push_str(if index == 0 { " " } else { ", " });
            text.push_str(name);
            text.push_str("=\"");
            for character in value.chars() {
                if matches!(character, '"' | '\\') {
                    text.push('\\');
                }
                text.push(character);
            }
            text.push('"');
        }
        // nothing that cannot be in a header gets in here, neither from the caller nor from a header
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// A challenge whose scheme is known to be a token.
    pub(super) fn bare(scheme: String) -> Self {
        Self {
            scheme,
            details: Details::Parameters(Vec::new()),
        }
    }

    /// A challenge whose parts are known to keep to the grammar.
    pub(super) fn with_parameters(scheme: String, parameters: Vec<(String, String)>) -> Self {
        Self {
            scheme,
            details: Details::Parameters(parameters),
        }
    }

    /// A challenge whose parts are known to keep to the grammar.
    pub(super) fn with_token68(scheme: String, token: String) -> Self {
        Self {
            scheme,
            details: Details::Token68(token),
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
