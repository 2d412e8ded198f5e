//! [`HeaderCode`]: the code comes with the request.

use http::{HeaderMap, HeaderName};

use crate::challenge::{Challenge, Factor};
use crate::code::{Code, CodeError, CodeProvider};
use crate::request::RequestHead;

/// Takes the code from a header of the original request: for a server that relays `mfa_required`, whose client answers by
/// sending the same request with a one-time password in, say, `x-mfa-code`.
///
/// The layer takes the header off before anything is forwarded. Only codes that exist before the challenge can come this
/// way, so only [`Factor::Otp`] and, with [`recovery_header`](Self::recovery_header), [`Factor::RecoveryCode`] are
/// answered. Without the header nobody is challenged and the caller gets the refusal as it came.
///
/// A code that was wrong is not sent twice: the refusal goes back, and the client may try again.
///
/// ```
/// use http::HeaderName;
/// use tower_mfa::code::HeaderCode;
///
/// let provider = HeaderCode::new(HeaderName::from_static("x-mfa-code"));
/// # let _ = provider;
/// ```
#[derive(Clone, Debug)]
pub struct HeaderCode {
    otp: HeaderName,
    recovery: Option<HeaderName>,
}

impl HeaderCode {
    /// Takes one-time passwords from the header of this name.
    #[must_use]
    pub fn new(name: HeaderName) -> Self {
        Self {
            otp: name,
            recovery: None,
        }
    }

    /// Also takes recovery codes, from the header of this name. Defaults to none: a recovery code is worth a whole factor,
    /// so accepting one is a decision.
    #[must_use]
    pub fn recovery_header(mut self, name: HeaderName) -> Self {
        self.recovery = Some(name);
        self
    }

    fn find(&self, factor: Factor, headers: &HeaderMap) -> Option<Code> {
        match factor {
            Factor::Otp => only(&self.otp, headers).map(Code::new),
            Factor::RecoveryCode => only(self.recovery.as_ref()?, headers).map(Code::recovery),
            _ => None,
        }
    }
}

/// The value of a header that is there exactly once: of two codes nobody can say which is meant.
fn only<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && !value.trim().is_empty()).then_some(value)
}

impl CodeProvider for HeaderCode {
    async fn code(&self, challenge: Challenge) -> Result<Code, CodeError> {
        if challenge.attempt() > 1 {
            return Err(CodeError::NotInteractive);
        }
        self.find(challenge.factor(), challenge.request().headers())
            .ok_or(CodeError::NotInteractive)
    }

    fn is_interactive(&self) -> bool {
        false
    }

    fn is_available(&self, request: &RequestHead) -> bool {
        [Factor::Otp, Factor::RecoveryCode]
            .into_iter()
            .any(|factor| self.supports(factor, request))
    }

    fn supports(&self, factor: Factor, request: &RequestHead) -> bool {
        self.find(factor, request.headers()).is_some()
    }

    fn code_headers(&self) -> Vec<HeaderName> {
        let mut names = vec![self.otp.clone()];
        names.extend(self.recovery.clone());
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const CODE: HeaderName = HeaderName::from_static("x-mfa-code");
    const RECOVERY: HeaderName = HeaderName::from_static("x-mfa-recovery-code");

    fn head(headers: &[(&HeaderName, &str)]) -> RequestHead {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        RequestHead::new(&request.body(()).unwrap())
    }

    #[tokio::test]
    async fn the_code_is_the_headers_value() {
        let head = head(&[(&CODE, "123 456")]);
        let code = HeaderCode::new(CODE)
            .code(Challenge::new(Factor::Otp, head))
            .await
            .unwrap();
        assert_eq!(code.expose(), "123456");
        assert!(!code.is_recovery());
    }

    #[test]
    fn only_what_the_request_carries_is_supported() {
        let provider = HeaderCode::new(CODE).recovery_header(RECOVERY);
        let with =
            |headers: &[(&HeaderName, &str)], factor| provider.supports(factor, &head(headers));
        assert!(with(&[(&CODE, "123456")], Factor::Otp));
        assert!(!with(&[(&CODE, "123456")], Factor::RecoveryCode));
        assert!(!with(&[(&CODE, "123456")], Factor::Sms));
        assert!(with(&[(&RECOVERY, "TESTCODE")], Factor::RecoveryCode));
        assert!(!with(&[], Factor::Otp));
        assert!(!provider.is_available(&head(&[])));
        assert!(provider.is_available(&head(&[(&RECOVERY, "TESTCODE")])));
        assert!(!with(&[(&CODE, "  ")], Factor::Otp));
    }

    #[test]
    fn two_code_headers_are_no_code() {
        let provider = HeaderCode::new(CODE);
        assert!(!provider.supports(Factor::Otp, &head(&[(&CODE, "1"), (&CODE, "2")])));
    }

    #[tokio::test]
    async fn a_wrong_code_is_not_sent_twice() {
        let challenge =
            Challenge::new(Factor::Otp, head(&[(&CODE, "123456")])).with_attempt(2, 3, None);
        let answer = HeaderCode::new(CODE).code(challenge).await;
        assert!(matches!(answer, Err(CodeError::NotInteractive)));
    }
}
