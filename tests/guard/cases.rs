//! The cases that other products test, ported, with the differences stated.

use std::time::Duration;

use tower_mfa::guard::Requirement;
use tower_mfa::time::Clock;

use crate::harness::{MULTI_FACTOR, World, with_authorization};

const STEP_UP: Option<&str> = Some("insufficient_user_authentication");

/// Quarkus, `BearerTokenStepUpAuthenticationTest`.
///
/// Differences: Quarkus wants all listed `acr`, reads the claim only as an array and joins `acr_values` with commas; RFC 9470 says that
/// one suffices, RFC 9068 that it is a string, and the list is separated by spaces.
mod quarkus {
    use super::*;

    fn single() -> Requirement {
        Requirement::login().acr_any_of(["myACR"]).unwrap()
    }

    fn several() -> Requirement {
        Requirement::login().acr_any_of(["one", "two"]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn anonymous_is_challenged_without_an_error() {
        let world = World::new();
        let request = http::Request::new(Default::default());
        let answer = world.send(world.guard().require(single()), request).await;
        answer.is(401, None);
        assert_eq!(answer.challenge_text(), "Bearer");
    }

    #[tokio::test(start_paused = true)]
    async fn no_acr_is_not_enough() {
        let world = World::new();
        let answer = world.ask(single(), &world.token().sign()).await;
        answer.is(401, STEP_UP);
        assert_eq!(answer.challenge().parameter("acr_values"), Some("myACR"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_acr_is_not_enough() {
        let world = World::new();
        for acr in ["other", "myacr", "myACR ", "myAC", ""] {
            let token = world.token().acr(acr).sign();
            world.ask(single(), &token).await.is(401, STEP_UP);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn none_of_many_is_not_enough_and_the_challenge_names_them_in_order() {
        let world = World::new();
        let answer = world
            .ask(several(), &world.token().acr("three").sign())
            .await;
        answer.is(401, STEP_UP);
        assert_eq!(answer.challenge().parameter("acr_values"), Some("one two"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_right_acr_is_let_through() {
        let world = World::new();
        world
            .ask(single(), &world.token().acr("myACR").sign())
            .await
            .is_let_through();
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_many_suffices_unlike_there() {
        let world = World::new();
        world
            .ask(several(), &world.token().acr("two").sign())
            .await
            .is_let_through();
    }

    #[tokio::test(start_paused = true)]
    async fn an_array_with_one_more_acr_is_fine() {
        let world = World::new();
        let token = world
            .token()
            .json_claim("acr", r#"["other","myACR"]"#)
            .sign();
        world.ask(single(), &token).await.is_let_through();
    }

    /// There a role; here a scope.
    #[tokio::test(start_paused = true)]
    async fn the_right_acr_without_the_right_is_forbidden() {
        let world = World::new();
        let requirement = single().scopes_all_of(["admin"]).unwrap();
        let answer = world
            .ask(requirement, &world.token().acr("myACR").sign())
            .await;
        answer.is(403, Some("insufficient_scope"));
        assert_eq!(answer.challenge().parameter("scope"), Some("admin"));
    }

    #[tokio::test(start_paused = true)]
    async fn no_auth_time_is_not_fresh_whatever_iat_says() {
        let world = World::new();
        let requirement = Requirement::login().max_age(Duration::from_secs(300));
        let answer = world
            .ask(requirement, &world.token().without("auth_time").sign())
            .await;
        answer.is(401, STEP_UP);
        assert_eq!(answer.challenge().parameter("max_age"), Some("300"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_auth_time_is_not_fresh() {
        let world = World::new();
        let requirement = Requirement::login().max_age(Duration::from_secs(300));
        let then = world.clock.now() - Duration::from_secs(301);
        world
            .ask(requirement, &world.token().auth_time(then).sign())
            .await
            .is(401, STEP_UP);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_acr_with_a_fresh_auth_time_is_told_both_demands() {
        let world = World::new();
        let requirement = single().max_age(Duration::from_secs(300));
        let answer = world
            .ask(requirement, &world.token().acr("other").sign())
            .await;
        answer.is(401, STEP_UP);
        assert_eq!(answer.challenge().parameter("acr_values"), Some("myACR"));
        assert_eq!(answer.challenge().parameter("max_age"), Some("300"));
    }
}

/// Spring Security, `AllRequiredFactorsAuthorizationManagerTests`.
///
/// Difference: there each factor has its own time; a token has one, `auth_time`.
mod spring {
    use super::*;

    fn requirement() -> Requirement {
        Requirement::login()
            .amr_all_of(["pwd", "otp"])
            .unwrap()
            .max_age(Duration::from_secs(60))
    }

    #[tokio::test(start_paused = true)]
    async fn all_factors_and_a_recent_login_are_granted() {
        let world = World::new();
        let token = world.token().amr(["pwd", "otp", "mfa"]).sign();
        world.ask(requirement(), &token).await.is_let_through();
    }

    #[tokio::test(start_paused = true)]
    async fn unauthenticated_is_challenged() {
        let world = World::new();
        let layer = world.guard().require(requirement());
        world
            .send(layer, with_authorization("Basic dGVzdDp0ZXN0"))
            .await
            .is(401, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_or_another_factor_is_not_enough() {
        let world = World::new();
        for token in [
            world.token().amr(["pwd"]),
            world.token().amr(["pwd", "sms"]),
            world.token().amr([]),
        ] {
            world
                .ask(requirement(), &token.sign())
                .await
                .is(401, STEP_UP);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_where_one_is_needed_is_not_enough() {
        let world = World::new();
        let token = world.token().amr(["pwd", "otp"]).without("auth_time");
        world
            .ask(requirement(), &token.sign())
            .await
            .is(401, STEP_UP);
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_may_be_below_and_at_the_bound_and_not_above() {
        let world = World::new();
        for (age, fresh) in [(0, true), (59, true), (60, true), (61, false)] {
            let then = world.clock.now() - Duration::from_secs(age);
            let token = world.token().amr(["pwd", "otp"]).auth_time(then).sign();
            let answer = world.ask(requirement(), &token).await;
            assert_eq!(answer.status == 200, fresh, "{age} s: {answer:?}");
        }
    }

    #[test]
    fn an_empty_policy_is_refused() {
        let none: [&str; 0] = [];
        assert!(Requirement::login().amr_all_of(none).is_err());
        assert!(Requirement::login().amr_any_of(none).is_err());
        assert!(Requirement::login().acr_any_of(none).is_err());
        assert!(Requirement::login().scopes_all_of(none).is_err());
        assert!(Requirement::login().scopes_any_of(none).is_err());
    }
}

/// Servers that issue tokens of a second factor without `amr` or `acr`, Auth0's MFA API among them.
mod marked_otherwise {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_namespaced_claim_marks_a_second_factor() {
        let world = World::new();
        let requirement = Requirement::login()
            .claim_is_true("https://api.example.com/mfa")
            .unwrap();
        let plain = world.token().sign();
        world
            .ask(requirement.clone(), &plain)
            .await
            .is(401, STEP_UP);
        for (json, satisfied) in [
            ("true", true),
            ("false", false),
            ("\"true\"", false),
            ("1", false),
        ] {
            let token = world
                .token()
                .json_claim("https://api.example.com/mfa", json)
                .sign();
            let answer = world.ask(requirement.clone(), &token).await;
            assert_eq!(answer.status == 200, satisfied, "{json}: {answer:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_scope_marks_a_second_factor() {
        let world = World::new();
        let requirement = Requirement::login()
            .scopes_all_of(["transfer:funds"])
            .unwrap();
        let plain = world.token().sign();
        world
            .ask(requirement.clone(), &plain)
            .await
            .is(403, Some("insufficient_scope"));
        let wide = world.token().scope("openid transfer:funds").sign();
        world.ask(requirement, &wide).await.is_let_through();
    }

    #[tokio::test(start_paused = true)]
    async fn mfa_is_met_by_the_method_or_by_the_class() {
        let world = World::new();
        for token in [
            world.token().amr(["pwd", "otp", "mfa"]),
            world.token().amr([]).acr(MULTI_FACTOR),
        ] {
            world
                .ask(Requirement::mfa(), &token.sign())
                .await
                .is_let_through();
        }
        let answer = world.ask(Requirement::mfa(), &world.token().sign()).await;
        answer.is(401, STEP_UP);
        assert_eq!(
            answer.challenge().parameter("acr_values"),
            Some(MULTI_FACTOR)
        );
    }
}
