//! What is let through, what is not, and what is no requirement at all.

use std::time::Duration;

use super::{Requirement, Shortfall};
use crate::error::ConfigError;
use crate::guard::token::{Claims, Strings};
use crate::guard::{Reason, VerifiedToken};

const NOW: u64 = 1_000_000;
const LEEWAY: u64 = 30;
const MULTI_FACTOR: &str = "http://schemas.openid.net/pape/policies/2007/06/multi-factor";

fn token(change: impl FnOnce(&mut Claims)) -> VerifiedToken {
    let mut claims = Claims {
        json: "{}".into(),
        // fresh, so that whatever took it for the login would let everybody in
        issued_at: Some(NOW),
        ..Claims::default()
    };
    change(&mut claims);
    VerifiedToken::new(claims)
}

fn words(text: &str) -> Strings {
    Strings::Many(text.split_whitespace().map(Into::into).collect())
}

fn acr(text: &str) -> VerifiedToken {
    token(|claims| claims.acr = words(text))
}

fn amr(text: &str) -> VerifiedToken {
    token(|claims| claims.amr = words(text))
}

fn scopes(text: &str) -> VerifiedToken {
    token(|claims| claims.scopes = words(text))
}

fn json(text: &str) -> VerifiedToken {
    token(|claims| claims.json = text.into())
}

fn login_at(auth_time: u64) -> VerifiedToken {
    token(|claims| claims.auth_time = Some(auth_time))
}

fn check(requirement: &Requirement, token: &VerifiedToken) -> Result<(), Reason> {
    let checked = requirement.check(token, NOW, LEEWAY);
    checked.map_err(|shortfall| shortfall.reason)
}

fn shortfall(requirement: &Requirement, token: &VerifiedToken) -> Shortfall {
    requirement.check(token, NOW, LEEWAY).unwrap_err()
}

fn acr_values(requirement: &Requirement) -> String {
    let shortfall = shortfall(requirement, &token(|_| ()));
    shortfall.acr_values.unwrap().to_string()
}

fn needed_scope(requirement: &Requirement) -> String {
    let shortfall = shortfall(requirement, &token(|_| ()));
    shortfall.scope.unwrap().to_string()
}

#[track_caller]
fn refused(built: Result<Requirement, ConfigError>, says: &str) {
    let error = built.unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

const NONE: [&str; 0] = [];

#[test]
fn a_login_is_any_valid_token() {
    assert_eq!(check(&Requirement::login(), &token(|_| ())), Ok(()));
}

#[test]
fn mfa_is_an_amr_or_an_acr() {
    let mfa = Requirement::mfa();
    for good in [amr("pwd mfa"), amr("mfa"), acr(MULTI_FACTOR)] {
        assert_eq!(check(&mfa, &good), Ok(()));
    }
    for weak in [
        token(|_| ()),
        amr("pwd otp"),
        amr("MFA"),
        amr("mfax"),
        acr("mfa"),
        amr(MULTI_FACTOR),
        acr("http://schemas.openid.net/pape/policies/2007/06/multi-factor-physical"),
        json(r#"{"amr":["mfa"]}"#),
    ] {
        assert_eq!(check(&mfa, &weak), Err(Reason::Weak));
    }
    assert_eq!(acr_values(&mfa), MULTI_FACTOR);
}

#[test]
fn one_acr_of_a_list_suffices_and_the_answer_keeps_its_order() {
    let requirement = Requirement::login().acr_any_of(["b", "a", "b"]).unwrap();
    for good in ["a", "b", "x a", "a b"] {
        assert_eq!(check(&requirement, &acr(good)), Ok(()), "{good}");
    }
    for weak in ["", "c", "A", "ab"] {
        assert_eq!(check(&requirement, &acr(weak)), Err(Reason::Weak), "{weak}");
    }
    assert_eq!(acr_values(&requirement), "b a");
}

#[test]
fn an_acr_is_ranked_by_the_order_alone() {
    let order = ["low", "2", "10"];
    let requirement = Requirement::login().acr_at_least("2", order).unwrap();
    for good in ["2", "10", "low 10"] {
        assert_eq!(check(&requirement, &acr(good)), Ok(()), "{good}");
    }
    for weak in ["", "low", "3", "11", "02", "high"] {
        assert_eq!(check(&requirement, &acr(weak)), Err(Reason::Weak), "{weak}");
    }
    assert_eq!(acr_values(&requirement), "2 10");
}

#[test]
fn two_conditions_on_acr_leave_what_both_name() {
    let both = Requirement::login()
        .acr_any_of(["c", "a", "b"])
        .and_then(|requirement| requirement.acr_at_least("b", ["a", "b", "c", "d"]))
        .unwrap();
    assert_eq!(acr_values(&both), "c b");
    assert_eq!(check(&both, &acr("a")), Err(Reason::Weak));
    assert_eq!(check(&both, &acr("d")), Err(Reason::Weak));
    assert_eq!(check(&both, &acr("b")), Ok(()));

    // with both, the acr that suffices by itself is asked for first
    let mfa = Requirement::mfa().acr_any_of(["a", MULTI_FACTOR]).unwrap();
    assert_eq!(acr_values(&mfa), format!("{MULTI_FACTOR} a"));
    assert_eq!(check(&mfa, &acr("a")), Err(Reason::Weak));
    assert_eq!(check(&mfa, &amr("mfa")), Err(Reason::Weak));
    assert_eq!(check(&mfa, &acr(MULTI_FACTOR)), Ok(()));
    assert_eq!(
        acr_values(&Requirement::mfa().acr_any_of(["a", "b"]).unwrap()),
        "a b"
    );
}

#[test]
fn methods_are_all_or_any() {
    let all = Requirement::login().amr_all_of(["pwd", "otp"]).unwrap();
    assert_eq!(check(&all, &amr("otp x pwd")), Ok(()));
    assert_eq!(check(&all, &amr("otp")), Err(Reason::Weak));
    assert_eq!(check(&all, &amr("")), Err(Reason::Weak));
    let any = Requirement::login().amr_any_of(["hwk", "otp"]).unwrap();
    assert_eq!(check(&any, &amr("otp")), Ok(()));
    assert_eq!(check(&any, &amr("pwd")), Err(Reason::Weak));
    let each = any.amr_any_of(["pwd", "pin"]).unwrap();
    assert_eq!(check(&each, &amr("otp")), Err(Reason::Weak));
    assert_eq!(check(&each, &amr("pin otp")), Ok(()));
    assert_eq!(shortfall(&each, &amr("pin")).acr_values, None);
}

#[test]
fn a_login_is_fresh_up_to_and_including_its_bound() {
    let requirement = Requirement::login().max_age(Duration::from_millis(300_999));
    for (auth_time, fresh) in [
        (NOW - 299, true),
        (NOW - 300, true),
        (NOW - 301, false),
        (0, false),
        (NOW, true),
        (NOW + LEEWAY - 1, true),
        (NOW + LEEWAY, true),
        (NOW + LEEWAY + 1, false),
        (u64::MAX, false),
    ] {
        let expected = if fresh { Ok(()) } else { Err(Reason::Stale) };
        assert_eq!(
            check(&requirement, &login_at(auth_time)),
            expected,
            "{auth_time}"
        );
    }
    // `iat` is there and fresh
    assert_eq!(check(&requirement, &token(|_| ())), Err(Reason::Stale));
    assert_eq!(shortfall(&requirement, &token(|_| ())).max_age, Some(300));

    let at_once = Requirement::login().max_age(Duration::ZERO);
    assert_eq!(check(&at_once, &login_at(NOW)), Ok(()));
    assert_eq!(check(&at_once, &login_at(NOW - 1)), Err(Reason::Stale));
    let ever = Requirement::login().max_age(Duration::MAX);
    assert_eq!(check(&ever, &login_at(0)), Ok(()));
    assert_eq!(check(&ever, &token(|_| ())), Err(Reason::Stale));
}

#[test]
fn no_leeway_at_the_end_of_time_is_no_overflow() {
    let requirement = Requirement::login().max_age(Duration::from_secs(1));
    let token = login_at(u64::MAX);
    assert_eq!(requirement.check(&token, u64::MAX, u64::MAX), Ok(()));
}

#[test]
fn of_two_ages_the_shorter_one_counts() {
    for ages in [[5, 9], [9, 5]] {
        let [first, second] = ages.map(Duration::from_secs);
        let requirement = Requirement::login().max_age(first).max_age(second);
        assert_eq!(shortfall(&requirement, &token(|_| ())).max_age, Some(5));
    }
}

#[test]
fn scopes_are_all_or_any_and_the_answer_names_the_least() {
    let all = Requirement::login()
        .scopes_all_of(["read", "write"])
        .unwrap();
    assert_eq!(check(&all, &scopes("x write read")), Ok(()));
    assert_eq!(check(&all, &scopes("read")), Err(Reason::Scope));
    assert_eq!(check(&all, &scopes("read write:all")), Err(Reason::Scope));
    assert_eq!(needed_scope(&all), "read write");
    let any = Requirement::login()
        .scopes_any_of(["pay", "admin"])
        .unwrap();
    assert_eq!(check(&any, &scopes("admin")), Ok(()));
    assert_eq!(check(&any, &scopes("read")), Err(Reason::Scope));
    assert_eq!(needed_scope(&any), "pay");
    let both = all.and(any).unwrap();
    assert_eq!(needed_scope(&both), "read write pay");
    let met = both.scopes_any_of(["admin", "write"]).unwrap();
    assert_eq!(needed_scope(&met), "read write pay");
}

#[test]
fn claims_are_compared_by_their_json() {
    let equals = Requirement::login()
        .claim_equals("https://e.com/mfa", "yes")
        .unwrap();
    let contains = Requirement::login()
        .claim_contains("https://e.com/mfa", "yes")
        .unwrap();
    let is_true = Requirement::login()
        .claim_is_true("https://e.com/mfa")
        .unwrap();
    for (claim, expected) in [
        (r#""yes""#, [true, true, false]),
        (r#""\u0079es""#, [true, true, false]),
        (r#"["yes"]"#, [false, true, false]),
        (
            r#"[ "no" , {"a":[1,"yes"]}, 3, null,"y\u0065s" ]"#,
            [false, true, false],
        ),
        (r#"["no",["yes"]]"#, [false, false, false]),
        (r#"[{"yes":"yes"}]"#, [false, false, false]),
        (r#"["no","yes,"]"#, [false, false, false]),
        (r#"[]"#, [false, false, false]),
        (r#"{"yes":true}"#, [false, false, false]),
        (r#""yes no""#, [false, false, false]),
        (r#""YES""#, [false, false, false]),
        (r#""""#, [false, false, false]),
        (r#"true"#, [false, false, true]),
        (r#""true""#, [false, false, false]),
        (r#"1"#, [false, false, false]),
        (r#"[true]"#, [false, false, false]),
        (r#"false"#, [false, false, false]),
        (r#"null"#, [false, false, false]),
    ] {
        let token = json(&format!(r#"{{"a":1,"https://e.com/mfa":{claim}}}"#));
        let met = [&equals, &contains, &is_true].map(|requirement| check(requirement, &token));
        let expected = expected.map(|met| if met { Ok(()) } else { Err(Reason::Weak) });
        assert_eq!(met, expected, "{claim}");
    }
    for elsewhere in [
        r#"{}"#,
        r#"{"https://e.com/MFA":"yes"}"#,
        r#"{"a":{"https://e.com/mfa":"yes"}}"#,
    ] {
        assert_eq!(
            check(&equals, &json(elsewhere)),
            Err(Reason::Weak),
            "{elsewhere}"
        );
        assert_eq!(
            check(&contains, &json(elsewhere)),
            Err(Reason::Weak),
            "{elsewhere}"
        );
    }
}

#[test]
fn a_predicate_sees_the_claim_and_a_missing_claim_does_not_reach_it() {
    let requirement = Requirement::login()
        .claim_matches("level", |json| {
            json.parse::<u8>().is_ok_and(|level| level >= 2)
        })
        .unwrap();
    assert_eq!(check(&requirement, &json(r#"{"level":2}"#)), Ok(()));
    assert_eq!(
        check(&requirement, &json(r#"{"level":1}"#)),
        Err(Reason::Weak)
    );
    let anything = Requirement::login()
        .claim_matches("level", |_| true)
        .unwrap();
    assert_eq!(check(&anything, &json(r#"{}"#)), Err(Reason::Weak));
    assert!(format!("{anything:?}").contains("Matches"));
}

#[test]
fn scopes_come_before_strength_and_strength_before_freshness() {
    let requirement = Requirement::mfa()
        .max_age(Duration::from_secs(300))
        .scopes_all_of(["pay"])
        .and_then(|requirement| requirement.claim_is_true("marked"))
        .unwrap();
    let mut good = Claims {
        json: r#"{"marked":true}"#.into(),
        amr: words("mfa"),
        auth_time: Some(NOW),
        scopes: words("pay"),
        ..Claims::default()
    };
    let step_up = |reason| Shortfall {
        reason,
        acr_values: Some(MULTI_FACTOR.into()),
        max_age: Some(300),
        scope: Some("pay".into()),
    };
    let nothing = token(|_| ());
    let expected = Shortfall {
        acr_values: None,
        max_age: None,
        ..step_up(Reason::Scope)
    };
    assert_eq!(shortfall(&requirement, &nothing), expected);
    assert_eq!(
        shortfall(&requirement, &scopes("pay")),
        step_up(Reason::Weak)
    );
    let unmarked = token(|claims| {
        claims.scopes = words("pay");
        claims.amr = words("mfa");
        claims.auth_time = Some(NOW);
    });
    assert_eq!(shortfall(&requirement, &unmarked), step_up(Reason::Weak));
    good.auth_time = Some(NOW - 301);
    let old = VerifiedToken::new(good);
    assert_eq!(shortfall(&requirement, &old), step_up(Reason::Stale));
    assert_eq!(requirement.check(&old, NOW - 1, LEEWAY), Ok(()));
}

#[test]
fn two_requirements_make_one_that_demands_both() {
    let base = Requirement::login()
        .scopes_all_of(["pay"])
        .and_then(|requirement| requirement.claim_equals("tier", "gold"))
        .and_then(|requirement| requirement.amr_all_of(["otp"]))
        .unwrap();
    let both = base
        .clone()
        .and(Requirement::mfa().max_age(Duration::from_secs(5)));
    let both = both.unwrap();
    let token = token(|claims| {
        claims.scopes = words("pay");
        claims.json = r#"{"tier":"gold"}"#.into();
        claims.amr = words("otp");
        claims.auth_time = Some(NOW);
    });
    // adding to a requirement leaves its clones as they were
    assert_eq!(check(&base, &token), Ok(()));
    let lacks = shortfall(&both, &token);
    assert_eq!(lacks.reason, Reason::Weak);
    assert_eq!(lacks.acr_values.as_deref(), Some(MULTI_FACTOR));
    assert_eq!(lacks.max_age, Some(5));

    let other = Requirement::login().claim_equals("tier", "silver").unwrap();
    refused(base.and(other), "\"tier\"");
    let a = Requirement::login().acr_any_of(["a"]).unwrap();
    let b = Requirement::login().acr_any_of(["b"]).unwrap();
    refused(a.and(b), "no acr value is in both");
}

#[test]
fn what_no_token_can_meet_is_no_requirement() {
    let login = Requirement::login;
    refused(login().acr_any_of(NONE), "acr values is empty");
    refused(login().acr_at_least("a", NONE), "acr values is empty");
    refused(login().amr_all_of(NONE), "amr values is empty");
    refused(login().amr_any_of(NONE), "amr values is empty");
    refused(login().scopes_all_of(NONE), "scope values is empty");
    refused(login().scopes_any_of(NONE), "scope values is empty");
    for word in [
        "", " ", "a b", "a\"b", "a\\b", "a\n", "\0", "\u{7f}", "é", "a\tb",
    ] {
        refused(login().acr_any_of(["ok", word]), "is no acr value");
        refused(login().acr_at_least("ok", ["ok", word]), "is no acr value");
        refused(login().amr_all_of([word]), "is no amr value");
        refused(login().amr_any_of([word]), "is no amr value");
        refused(login().scopes_all_of([word]), "is no scope value");
        refused(login().scopes_any_of([word]), "is no scope value");
    }
    refused(login().acr_at_least("c", ["a", "b"]), "not in the order");
    refused(
        login().acr_at_least("a", ["a", "b", "a"]),
        "twice in the order",
    );
    let a = || login().acr_any_of(["a"]).unwrap();
    refused(a().acr_any_of(["b", "c"]), "no acr value is in both");
    refused(a().acr_at_least("b", ["a", "b"]), "no acr value is in both");
    let least_b = login().acr_at_least("b", ["a", "b"]).unwrap();
    refused(least_b.acr_any_of(["a"]), "no acr value is in both");
}

#[test]
fn conditions_on_one_claim_must_not_contradict_each_other() {
    let equals = || Requirement::login().claim_equals("c", "x").unwrap();
    let contains = || Requirement::login().claim_contains("c", "x").unwrap();
    let is_true = || Requirement::login().claim_is_true("c").unwrap();
    refused(
        equals().claim_equals("c", "y"),
        "demanded of the claim \"c\"",
    );
    refused(equals().claim_contains("c", "y"), "demanded of the claim");
    refused(contains().claim_equals("c", "y"), "demanded of the claim");
    refused(equals().claim_is_true("c"), "demanded of the claim");
    refused(is_true().claim_equals("c", "true"), "demanded of the claim");
    refused(is_true().claim_contains("c", "x"), "demanded of the claim");
    refused(contains().claim_is_true("c"), "demanded of the claim");
    for possible in [
        equals().claim_equals("c", "x"),
        equals().claim_contains("c", "x"),
        equals().claim_equals("d", "y"),
        is_true().claim_is_true("c"),
        is_true().claim_matches("c", |_| true),
    ] {
        assert!(possible.is_ok());
    }
    let two = contains().claim_contains("c", "y").unwrap();
    assert_eq!(check(&two, &json(r#"{"c":["y","x"]}"#)), Ok(()));
    assert_eq!(check(&two, &json(r#"{"c":["y"]}"#)), Err(Reason::Weak));
}

#[test]
fn claims_with_conditions_of_their_own_are_not_compared_as_json() {
    for name in ["acr", "amr", "auth_time", "scope", "scp"] {
        refused(Requirement::login().claim_equals(name, "x"), "instead");
        refused(Requirement::login().claim_contains(name, "x"), "instead");
        refused(Requirement::login().claim_is_true(name), "instead");
        assert!(Requirement::login().claim_matches(name, |_| true).is_ok());
    }
    refused(
        Requirement::login().claim_is_true(""),
        "a claim needs a name",
    );
    refused(
        Requirement::login().claim_matches("", |_| true),
        "a claim needs a name",
    );
}

/// The cases of Spring Security's `AllRequiredFactorsAuthorizationManagerTests`. A factor is a method in `amr` here, and its
/// time the `auth_time` of the whole login. Otherwise than there, a factor exactly as old as allowed suffices (RFC 9470: the
/// *elapsed* time must not exceed `max_age`). Its cases without an authentication never come as far as a requirement, and its
/// `null` arguments cannot be written.
#[test]
fn cases_of_spring_security() {
    const HOUR: u64 = 3600;
    let password = Requirement::login().amr_all_of(["pwd"]).unwrap();
    let expiring = password.clone().max_age(Duration::from_secs(HOUR));
    let at = |methods: &str, auth_time: Option<u64>| {
        token(|claims| {
            claims.amr = words(methods);
            claims.auth_time = auth_time;
        })
    };
    for (name, requirement, token, expected) in [
        ("granted", &password, at("pwd", Some(NOW)), Ok(())),
        (
            "no time where none is needed",
            &password,
            at("pwd", None),
            Ok(()),
        ),
        (
            "no time where one is needed",
            &expiring,
            at("pwd", None),
            Err(Reason::Stale),
        ),
        ("missing factor", &password, at("", None), Err(Reason::Weak)),
        (
            "missing factor, with a time",
            &expiring,
            at("", Some(NOW)),
            Err(Reason::Weak),
        ),
        (
            "expired",
            &expiring,
            at("pwd", Some(NOW - 2 * HOUR)),
            Err(Reason::Stale),
        ),
        (
            "just expired",
            &expiring,
            at("pwd", Some(NOW - HOUR - 1)),
            Err(Reason::Stale),
        ),
        (
            "at the bound: refused there",
            &expiring,
            at("pwd", Some(NOW - HOUR)),
            Ok(()),
        ),
        (
            "almost expired",
            &expiring,
            at("pwd", Some(NOW - HOUR + 1)),
            Ok(()),
        ),
        (
            "other factor",
            &password,
            at("pwdDIFFERENT", Some(NOW)),
            Err(Reason::Weak),
        ),
    ] {
        assert_eq!(check(requirement, &token), expected, "{name}");
    }
    refused(Requirement::login().amr_all_of(NONE), "empty");
}

/// The cases of Quarkus' `BearerTokenStepUpAuthenticationTest` that a requirement decides. Otherwise than there, one `acr` of
/// several suffices (RFC 9470 section 3), the values are separated by spaces, an `acr` may be a plain string, and `iat` never
/// stands in for `auth_time`. A role is a scope here, and is looked at before the `acr`.
#[test]
fn cases_of_quarkus() {
    let single = Requirement::login().acr_any_of(["3"]).unwrap();
    let multiple = Requirement::login().acr_any_of(["1", "2", "3"]).unwrap();
    let with_role = single.clone().scopes_all_of(["admin"]).unwrap();
    let aged = single.clone().max_age(Duration::from_secs(120));
    let at = |values: &str, auth_time: Option<u64>| {
        token(|claims| {
            claims.acr = words(values);
            claims.auth_time = auth_time;
        })
    };
    for (name, requirement, token, expected) in [
        ("no acr", &single, at("", None), Err(Reason::Weak)),
        ("wrong single", &single, at("4", None), Err(Reason::Weak)),
        ("wrong of many", &single, at("1 2", None), Err(Reason::Weak)),
        ("right single", &single, at("3", None), Ok(())),
        ("right of many", &multiple, at("1 2 3", None), Ok(())),
        (
            "some of many: refused there",
            &multiple,
            at("2", None),
            Ok(()),
        ),
        ("extra acr", &single, at("3 4 5", None), Ok(())),
        (
            "right acr, missing role",
            &with_role,
            at("3", None),
            Err(Reason::Scope),
        ),
        (
            "no auth_time, a fresh iat",
            &aged,
            at("3", None),
            Err(Reason::Stale),
        ),
        (
            "stale auth_time",
            &aged,
            at("3", Some(NOW - 121)),
            Err(Reason::Stale),
        ),
        (
            "wrong acr, fresh auth_time",
            &aged,
            at("1", Some(NOW)),
            Err(Reason::Weak),
        ),
        (
            "right acr, fresh auth_time",
            &aged,
            at("3", Some(NOW)),
            Ok(()),
        ),
    ] {
        assert_eq!(check(requirement, &token), expected, "{name}");
    }
    assert_eq!(acr_values(&multiple), "1 2 3");
}
