//! A corpus of hostile tokens: none is accepted, each is refused for its reason, and no good one is refused.
#![cfg(all(feature = "guard", feature = "testing"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops"
)]

mod algorithms;
mod claims;
mod encoding;
mod forge;
mod good;
mod headers;
mod keys;
mod kinds;
mod layer;
mod signatures;

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use tower_mfa::guard::{Algorithm, Keys, Reason, TokenType, Verifier};
use tower_mfa::time::Clock;

use forge::{AUDIENCE, Case, ISSUER, LEEWAY, NOW, World};
use good::Good;

/// Where no time goes by.
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// All hostile tokens, by class.
static HOSTILE: LazyLock<Vec<(&'static str, Vec<Case>)>> = LazyLock::new(|| {
    let world = &*WORLD;
    vec![
        ("no signature", algorithms::none(world)),
        (
            "HMAC with the public key",
            algorithms::hmac_with_the_public_key(world),
        ),
        ("one key, another algorithm", algorithms::confusion(world)),
        ("names of algorithms", algorithms::names(world)),
        ("embedded keys", headers::embedded_keys(world)),
        ("names of keys", headers::key_names(world)),
        ("critical headers", headers::critical(world)),
        ("b64, zip, enc, detached", headers::transformed(world)),
        ("repeated headers", headers::repeated(world)),
        ("other types", kinds::types(world)),
        ("other kinds without a type", kinds::untyped(world)),
        ("bound to a key", kinds::bound(world)),
        ("issuers", claims::issuers(world)),
        ("audiences", claims::audiences(world)),
        ("shapes of claims", claims::shapes(world)),
        ("shapes of times", claims::time_shapes(world)),
        ("too late or too early", claims::times(world)),
        ("repeated claims", claims::repeated(world)),
        ("base64", encoding::base64(world)),
        ("forms of tokens", encoding::forms(world)),
        ("JSON", encoding::json_texts(world)),
        ("sizes", encoding::sizes(world)),
        ("broken signatures", signatures::broken(world)),
        ("special signatures", signatures::special(world)),
        ("parts and keys of others", signatures::swapped(world)),
    ]
});

static GOOD: LazyLock<Vec<Good>> = LazyLock::new(|| good::tokens(&WORLD));

fn cases() -> impl Iterator<Item = (&'static str, &'static Case)> {
    let classes = HOSTILE.iter();
    classes.flat_map(|(class, cases)| cases.iter().map(move |case| (*class, case)))
}

fn keys() -> Keys {
    Keys::from_jwks(&WORLD.issuer.jwks()).unwrap()
}

fn verifier(keys: Keys, token_type: TokenType) -> Verifier {
    Verifier::new(ISSUER, AUDIENCE, keys)
        .unwrap()
        .token_type(token_type)
        .leeway(Duration::from_secs(LEEWAY))
        .clock(Stopped)
}

/// What was tried and what came of it.
#[derive(Default)]
struct Count {
    tried: usize,
    accepted: usize,
    wrong: Vec<String>,
}

impl Count {
    /// Shows the numbers, and every fault.
    fn check(&self, what: &str) {
        println!("{what}: {} tried, {} accepted", self.tried, self.accepted);
        let faults = self.wrong.join("\n");
        assert!(
            self.wrong.is_empty(),
            "{} wrong:\n{faults}",
            self.wrong.len()
        );
    }
}

async fn try_hostile(verifiers: &[(TokenType, Verifier)]) {
    let mut all = Count::default();
    for (class, cases) in HOSTILE.iter() {
        let mut count = Count::default();
        for case in cases {
            let (_, verifier) = verifiers
                .iter()
                .find(|(token_type, _)| *token_type == case.token_type)
                .unwrap();
            // The second time something about it may be remembered.
            for time in ["first", "second"] {
                count.tried += 1;
                let outcome = verifier.verify(&case.token).await.map(drop);
                count.accepted += usize::from(outcome.is_ok());
                if outcome != Err(case.reason) {
                    count.wrong.push(format!(
                        "{class}: {}, the {time} time: {outcome:?} instead of {}",
                        case.name, case.reason
                    ));
                }
            }
        }
        println!(
            "{class}: {} tokens, {} tries, {} accepted",
            cases.len(),
            count.tried,
            count.accepted
        );
        all.tried += count.tried;
        all.accepted += count.accepted;
        all.wrong.append(&mut count.wrong);
    }
    all.check("hostile");
    assert_eq!(all.accepted, 0);
}

async fn try_good(verifiers: &[(TokenType, Verifier)]) {
    let mut count = Count::default();
    for good in GOOD.iter() {
        let (_, verifier) = verifiers
            .iter()
            .find(|(token_type, _)| *token_type == good.token_type)
            .unwrap();
        for _ in 0..2 {
            count.tried += 1;
            match verifier.verify(&good.token).await {
                Ok(token) => {
                    count.accepted += 1;
                    assert_eq!(token.issuer(), ISSUER);
                }
                Err(reason) => count.wrong.push(format!("{}: {reason}", good.name)),
            }
        }
    }
    count.check("good");
}

async fn try_all(cache: impl Fn(Verifier) -> Verifier) {
    let verifiers = [TokenType::AccessToken, TokenType::Jwt]
        .map(|token_type| (token_type, cache(verifier(keys(), token_type))));
    // Good ones first, so that there is something to be confused with; and again, as nothing hostile may have driven them out.
    try_good(&verifiers).await;
    try_hostile(&verifiers).await;
    try_good(&verifiers).await;
}

#[tokio::test]
async fn no_hostile_token_is_accepted_and_no_good_one_refused() {
    try_all(|verifier| verifier).await;
}

#[tokio::test]
async fn nor_where_nothing_is_remembered() {
    try_all(|verifier| verifier.cache(0, 0)).await;
}

#[test]
fn the_corpus_is_large_and_has_nothing_twice() {
    let mut names = HashMap::new();
    for (class, case) in cases() {
        let tried_with = (case.token.as_str(), case.token_type == TokenType::Jwt);
        let name = format!("{class}: {}", case.name);
        if let Some(other) = names.insert(tried_with, name.clone()) {
            panic!("the same: {other}; {name}");
        }
    }
    let good = GOOD.len();
    println!("{} hostile tokens, {good} good ones", names.len());
    assert!(names.len() >= 900 && good >= 30);
}

/// A single key has no name, so that every name fits it.
#[tokio::test]
async fn one_key_is_no_easier_to_fool() {
    let mut count = Count::default();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let key = WORLD.issuer.key(algorithm);
        let from_pem = Keys::from_pem(key.pem().as_bytes()).unwrap();
        let from_jwk = Keys::from_jwk(&key.jwk().to_string()).unwrap();
        for keys in [from_pem, from_jwk] {
            let verifier = verifier(keys, TokenType::AccessToken);
            verifier.verify(&forge::good(key)).await.unwrap();
            for (class, case) in cases() {
                // What is wrong with these is only that the key has another name, or is for one algorithm only.
                if case.reason == Reason::UnknownKey || class == "names of keys" {
                    continue;
                }
                // These are good for a verifier that takes less.
                if case.token_type == TokenType::Jwt {
                    continue;
                }
                count.tried += 1;
                if verifier.verify(&case.token).await.is_ok() {
                    count.accepted += 1;
                    let name = &case.name;
                    count.wrong.push(format!("{class}: {name} for {}", key.kid));
                }
            }
        }
    }
    count.check("one key");
}

#[tokio::test]
async fn a_forbidden_algorithm_stays_forbidden_for_a_good_key() {
    let verifier = verifier(keys(), TokenType::AccessToken)
        .algorithms([Algorithm::Rs256, Algorithm::Ps256])
        .unwrap();
    for algorithm in keys::ALGORITHMS {
        let outcome = verifier
            .verify(&forge::good(WORLD.issuer.key(algorithm)))
            .await
            .map(drop);
        let expected = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => Ok(()),
            _ => Err(Reason::UnsupportedAlgorithm),
        };
        assert_eq!(outcome, expected, "{}", algorithm.name());
    }
}
