//! [`TotpCode`]: the code is computed from a shared secret (RFC 6238).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use totp_rs::{Builder, Totp};

use crate::challenge::{Challenge, Factor};
use crate::code::{Code, CodeError, CodeProvider};
use crate::error::ConfigError;
use crate::request::RequestHead;
use crate::time::{Clock, SystemClock};

/// The hash of a one-time password (RFC 6238 section 1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TotpAlgorithm {
    /// HMAC-SHA-1: what authenticator apps and Auth0 use.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// Computes one-time passwords from a shared secret (RFC 6238): for jobs, tests and agents that own their factor.
///
/// Whoever holds this secret holds the second factor; keep it away from the first one.
///
/// A code that was handed out is never handed out again: servers refuse it (RFC 6238 section 5.2). The next one is given
/// when its time step begins, so asking twice within a step waits up to 30 seconds.
///
/// Clones share the memory of what was handed out.
///
/// ```
/// use tower_mfa::code::TotpCode;
///
/// # fn main() -> Result<(), tower_mfa::ConfigError> {
/// let provider = TotpCode::from_base32("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")?;
/// # let _ = provider;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TotpCode {
    secret: totp_rs::Secret,
    algorithm: TotpAlgorithm,
    digits: u8,
    step: u64,
    clock: Arc<dyn Clock>,
    /// The last time step whose code was handed out.
    used: Arc<Mutex<Option<u64>>>,
}

impl TotpCode {
    /// A provider from the secret in Base32, as an enrollment shows it (`secret` of `otpauth://`). White space, lower case
    /// and padding are accepted.
    ///
    /// # Errors
    ///
    /// If it is not Base32, or shorter than the 128 bits that RFC 4226 section 4 demands.
    pub fn from_base32(secret: &str) -> Result<Self, ConfigError> {
        let canonical: String = secret
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '=' && *c != '-')
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let secret = totp_rs::Secret::try_from_base32(&canonical).map_err(|_| {
            ConfigError::new("the TOTP secret is not Base32 (letters A to Z and digits 2 to 7)")
        })?;
        Self::from_secret(secret)
    }

    /// A provider from the secret's bytes.
    ///
    /// # Errors
    ///
    /// If it is shorter than the 128 bits that RFC 4226 section 4 demands.
    pub fn from_bytes(secret: impl Into<Vec<u8>>) -> Result<Self, ConfigError> {
        Self::from_secret(totp_rs::Secret::new(secret.into().into_boxed_slice()))
    }

    fn from_secret(secret: totp_rs::Secret) -> Result<Self, ConfigError> {
        let this = Self {
            secret,
            algorithm: TotpAlgorithm::default(),
            digits: 6,
            step: 30,
            clock: Arc::new(SystemClock::new()),
            used: Arc::default(),
        };
        this.totp()?;
        Ok(this)
    }

    /// Sets the hash. Defaults to SHA-1, as in every authenticator app.
    #[must_use]
    pub fn algorithm(mut self, algorithm: TotpAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets the number of digits, 6 to 8. Defaults to 6, as in every authenticator app.
    ///
    /// # Errors
    ///
    /// If it is not 6, 7 or 8 (RFC 4226 section 5.3).
    pub fn digits(mut self, digits: u8) -> Result<Self, ConfigError> {
        self.digits = digits;
        self.totp()?;
        Ok(self)
    }

    /// Sets the clock. Defaults to the system's; it must agree with the server's within a time step of 30 seconds.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn totp(&self) -> Result<Totp, ConfigError> {
        Builder::new()
            .with_algorithm(match self.algorithm {
                TotpAlgorithm::Sha1 => totp_rs::Algorithm::SHA1,
                TotpAlgorithm::Sha256 => totp_rs::Algorithm::SHA256,
                TotpAlgorithm::Sha512 => totp_rs::Algorithm::SHA512,
            })
            .with_digits(self.digits)
            .with_step_duration(self.step)
            .with_secret(self.secret.clone())
            .build()
            .map_err(|error| {
                ConfigError::with_source(
                    "the TOTP secret needs at least 16 bytes, and 6 to 8 digits",
                    error.to_string(),
                )
            })
    }

    /// Takes the time step of now, if its code was not handed out yet; else says how long to wait.
    fn take_step(&self) -> Result<u64, Duration> {
        let now = self
            .clock
            .now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let step = now.as_secs() / self.step;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.is_none_or(|used| used < step) {
            *used = Some(step);
            return Ok(step);
        }
        Err(Duration::from_secs((step + 1) * self.step).saturating_sub(now))
    }
}

impl fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TotpCode")
            .field("algorithm", &self.algorithm)
            .field("digits", &self.digits)
            .finish_non_exhaustive()
    }
}

impl CodeProvider for TotpCode {
    async fn code(&self, _challenge: Challenge) -> Result<Code, CodeError> {
        let totp = self.totp().map_err(CodeError::other)?;
        loop {
            match self.take_step() {
                Ok(step) => {
                    return Ok(Code::new(totp.generate(step * self.step).to_string()));
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    fn is_interactive(&self) -> bool {
        false
    }

    fn supports(&self, factor: Factor, _request: &RequestHead) -> bool {
        factor == Factor::Otp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use tokio::time::Instant;

    /// A clock that starts at a second and follows Tokio's paused one.
    struct From(u64, Instant);

    impl Clock for From {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(self.0) + self.1.elapsed()
        }
    }

    fn challenge() -> Challenge {
        Challenge::new(Factor::Otp, RequestHead::new(&Request::new(())))
    }

    #[tokio::test(start_paused = true)]
    async fn codes_are_those_of_rfc_6238_appendix_b() {
        let secret =
            |n: usize| -> Vec<u8> { b"1234567890".iter().copied().cycle().take(n).collect() };
        let cases = [
            (
                TotpAlgorithm::Sha1,
                20,
                [
                    (59, "94287082"),
                    (1_111_111_109, "07081804"),
                    (20_000_000_000, "65353130"),
                ],
            ),
            (
                TotpAlgorithm::Sha256,
                32,
                [
                    (59, "46119246"),
                    (1_111_111_109, "68084774"),
                    (20_000_000_000, "77737706"),
                ],
            ),
            (
                TotpAlgorithm::Sha512,
                64,
                [
                    (59, "90693936"),
                    (1_111_111_109, "25091201"),
                    (20_000_000_000, "47863826"),
                ],
            ),
        ];
        for (algorithm, length, vectors) in cases {
            for (time, expected) in vectors {
                let provider = TotpCode::from_bytes(secret(length))
                    .unwrap()
                    .algorithm(algorithm)
                    .digits(8)
                    .unwrap()
                    .clock(From(time, Instant::now()));
                assert_eq!(provider.code(challenge()).await.unwrap().expose(), expected);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_code_is_not_given_again() {
        let begin = Instant::now();
        let provider = TotpCode::from_base32("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
            .unwrap()
            .clock(From(1_000_000_010, begin));
        let first = provider.code(challenge()).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let second = provider.clone().code(challenge()).await.unwrap();
        assert_ne!(first.expose(), second.expose());
        // 1_000_000_010 is 20 s into its step
        assert_eq!(begin.elapsed().as_secs(), 10);
    }

    #[test]
    fn secrets_are_read_as_people_paste_them() {
        assert!(TotpCode::from_base32("jbsw y3dp ehpk 3pxp jbsw y3dp ehpk 3pxp").is_ok());
        for bad in ["", "JBSWY3DP", "not base32!"] {
            let error = TotpCode::from_base32(bad).unwrap_err();
            assert!(error.to_string().contains("TOTP secret"), "{error}");
        }
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let provider = TotpCode::from_base32("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP").unwrap();
        assert!(!format!("{provider:?}").contains("JBSWY3DP"));
    }

    #[test]
    fn digits_are_six_to_eight() {
        let provider = TotpCode::from_bytes(*b"12345678901234567890").unwrap();
        assert!(provider.clone().digits(5).is_err());
        assert!(provider.digits(9).is_err());
    }
}
