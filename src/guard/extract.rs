//! Readers for claims in which some authorization servers say what others say in `acr`, `amr` and `auth_time`.
//!
//! A claim of another shape than its server gives it says nothing, rather than something by guess.

use super::token::{Claims, Strings, VerifiedToken};

/// What an extractor read out of a token.
///
/// Its `acr`, `amr` and scopes are added to those that the token has by the standards; its `auth_time` counts only if the token
/// has none.
///
/// ```
/// use tower_mfa::guard::{Extracted, VerifiedToken};
///
/// // for a server that writes `"https://example.com/mfa": true`
/// fn marked(token: &VerifiedToken) -> Extracted {
///     let claims: serde_json::Value = serde_json::from_str(token.claims_json()).unwrap_or_default();
///     if claims["https://example.com/mfa"] == true {
///         Extracted::new().with_amr(["mfa"])
///     } else {
///         Extracted::new()
///     }
/// }
/// # let _ = marked;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "what was extracted does nothing by itself"]
pub struct Extracted {
    acr: Vec<String>,
    amr: Vec<String>,
    auth_time: Option<u64>,
    scopes: Vec<String>,
}

impl Extracted {
    /// Nothing: what the token says by the standards is all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds values of `acr`.
    pub fn with_acr(mut self, acr: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.acr.extend(acr.into_iter().map(Into::into));
        self
    }

    /// Adds values of `amr`.
    pub fn with_amr(mut self, amr: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.amr.extend(amr.into_iter().map(Into::into));
        self
    }

    /// Sets when the user last authenticated actively, in seconds since 1970.
    ///
    /// A refresh must not move it: `iat` is no such time.
    pub fn with_auth_time(mut self, seconds: u64) -> Self {
        self.auth_time = Some(seconds);
        self
    }

    /// Adds scopes.
    pub fn with_scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }

    pub(crate) fn merge_into(self, claims: &mut Claims) {
        claims.acr.extend(self.acr);
        claims.amr.extend(self.amr);
        if !self.scopes.is_empty() {
            // a string of scopes is split at its spaces, the items of an array are not
            let mut scopes = claims.scopes.to_words();
            scopes.extend(self.scopes);
            claims.scopes = Strings::Many(scopes);
        }
        claims.auth_time = claims.auth_time.or(self.auth_time);
    }
}

/// Reads `acrs`, the array of authentication contexts of Microsoft Entra ID (`["c1","c2"]`), as values of `acr`.
pub fn acrs(token: &VerifiedToken) -> Extracted {
    let acrs = token
        .claim_json("acrs")
        .and_then(|json| serde_json::from_str::<Vec<String>>(json).ok())
        .filter(|acrs| !acrs.iter().any(String::is_empty));
    Extracted::new().with_acr(acrs.unwrap_or_default())
}

/// Reads `aal`, the authenticator assurance level of NIST SP 800-63B as Supabase and Ory write it (`"aal1"` to `"aal3"`), as an
/// `acr`.
pub fn aal(token: &VerifiedToken) -> Extracted {
    let aal = token
        .claim_json("aal")
        .and_then(|json| serde_json::from_str::<&str>(json).ok())
        .filter(|aal| matches!(*aal, "aal1" | "aal2" | "aal3"));
    Extracted::new().with_acr(aal)
}

/// Reads `fva`, the factor verification age of Clerk: how many minutes before the token was issued the user showed the first
/// factor, and the second one, or -1 for never.
///
/// With a second factor the `amr` is `mfa` and the `auth_time` is when that factor was shown; without one there is neither.
///
/// The time is counted back from `iat`. That does not make `iat` stand in for a login, as it would if the age were left out: a
/// refreshed token has a later `iat`, and by as much larger ages. The ages are whole minutes, so the second factor may have been
/// shown almost a minute earlier than this says.
pub fn fva(token: &VerifiedToken) -> Extracted {
    second_factor(token).map_or_else(Extracted::new, |auth_time| {
        Extracted::new().with_amr(["mfa"]).with_auth_time(auth_time)
    })
}

fn second_factor(token: &VerifiedToken) -> Option<u64> {
    let ages = token.claim_json("fva")?;
    // unsigned: a factor that was never shown is -1, and there is no second factor without a first one
    let [_, second] = serde_json::from_str::<[u64; 2]>(ages).ok()?;
    let issued_at = token.fields().issued_at?;
    issued_at.checked_sub(second.checked_mul(60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUED_AT: u64 = 1_000_000;

    fn token(json: &str) -> VerifiedToken {
        VerifiedToken::new(Claims {
            json: json.into(),
            issued_at: Some(ISSUED_AT),
            ..Claims::default()
        })
    }

    #[test]
    fn acrs_is_an_array_of_strings() {
        let read = acrs(&token(r#"{"acrs":["c1","c2"],"x":1}"#));
        assert_eq!(read, Extracted::new().with_acr(["c1", "c2"]));
        for odd in [
            r#"{}"#,
            r#"{"acrs":[]}"#,
            r#"{"acrs":"c1"}"#,
            r#"{"acrs":["c1",2]}"#,
            r#"{"acrs":["c1",""]}"#,
            r#"{"acrs":["c1",["c2"]]}"#,
            r#"{"acrs":null}"#,
            r#"{"acrs":{"0":"c1"}}"#,
            r#"{"ACRS":["c1"]}"#,
            "no JSON",
        ] {
            assert_eq!(acrs(&token(odd)), Extracted::new(), "{odd}");
        }
    }

    #[test]
    fn aal_is_one_of_three_levels() {
        let read = aal(&token(r#"{"aal":"aal2"}"#));
        assert_eq!(read, Extracted::new().with_acr(["aal2"]));
        for odd in [
            r#"{}"#,
            r#"{"aal":2}"#,
            r#"{"aal":"2"}"#,
            r#"{"aal":"aal4"}"#,
            r#"{"aal":"AAL2"}"#,
            r#"{"aal":"aal2 "}"#,
            r#"{"aal":["aal2"]}"#,
            r#"{"aal":null}"#,
        ] {
            assert_eq!(aal(&token(odd)), Extracted::new(), "{odd}");
        }
    }

    #[test]
    fn fva_counts_back_from_when_the_token_was_issued() {
        for (json, auth_time) in [
            (r#"{"fva":[7,0]}"#, ISSUED_AT),
            (r#"{"fva":[7,3]}"#, ISSUED_AT - 180),
            (r#"{"fva":[ 0 , 16666 ]}"#, 40),
        ] {
            let expected = Extracted::new().with_amr(["mfa"]).with_auth_time(auth_time);
            assert_eq!(fva(&token(json)), expected, "{json}");
        }
        for odd in [
            r#"{}"#,
            r#"{"fva":[7,-1]}"#,
            r#"{"fva":[-1,-1]}"#,
            r#"{"fva":[-1,3]}"#,
            r#"{"fva":[7,-2]}"#,
            r#"{"fva":[7]}"#,
            r#"{"fva":[7,3,1]}"#,
            r#"{"fva":[7,3.5]}"#,
            r#"{"fva":[7,3.0]}"#,
            r#"{"fva":["7","3"]}"#,
            r#"{"fva":[null,3]}"#,
            r#"{"fva":3}"#,
            r#"{"fva":"[7,3]"}"#,
            // before 1970, and beyond any time
            r#"{"fva":[7,16667]}"#,
            r#"{"fva":[7,18446744073709551615]}"#,
            r#"{"fva":[7,18446744073709551616]}"#,
        ] {
            assert_eq!(fva(&token(odd)), Extracted::new(), "{odd}");
        }
        let no_iat = VerifiedToken::new(Claims {
            json: r#"{"fva":[7,0]}"#.into(),
            ..Claims::default()
        });
        assert_eq!(fva(&no_iat), Extracted::new());
    }

    #[test]
    fn what_was_extracted_adds_to_the_token_and_never_makes_its_login_younger() {
        let extracted = Extracted::new()
            .with_acr(["c1"])
            .with_amr(["mfa"])
            .with_scopes(["read"])
            .with_auth_time(200);
        let mut claims = Claims {
            acr: Strings::Many(vec!["1".into()]),
            auth_time: Some(100),
            ..Claims::default()
        };
        extracted.clone().merge_into(&mut claims);
        assert_eq!(claims.acr.as_slice(), ["1", "c1"]);
        assert_eq!(claims.amr.as_slice(), ["mfa"]);
        assert_eq!(claims.scopes.as_slice(), ["read"]);
        assert_eq!(claims.auth_time, Some(100));

        let mut claims = Claims::default();
        extracted.merge_into(&mut claims);
        assert_eq!(claims.auth_time, Some(200));
    }
}
