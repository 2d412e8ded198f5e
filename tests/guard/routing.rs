//! Policies by method and path, dynamic ones, and guards in an axum router.

use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tower::ServiceExt;
use tower_mfa::guard::{Policy, Requirement, Routes, VerifiedToken};

use crate::harness::{Answer, World, with_token};

fn request(method: Method, path: &str, token: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = match token {
        Some(token) => with_token(token),
        None => Request::new(Full::default()),
    };
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    request
}

fn routes() -> Routes {
    Routes::new(Requirement::login())
        .prefix("/health", Policy::public())
        .unwrap()
        .prefix("/admin", Requirement::mfa())
        .unwrap()
        .method_prefix(Method::POST, "/transfer", Requirement::mfa())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_longest_prefix_of_whole_segments_decides() {
    let world = World::new();
    let weak = world.token().sign();
    let layer = world.guard().require(routes());
    for (method, path, token, status) in [
        (Method::GET, "/health", None, 200),
        (Method::GET, "/health/live", None, 200),
        (Method::GET, "/healthy", None, 401),
        (Method::GET, "/", None, 401),
        (Method::GET, "/", Some(&*weak), 200),
        (Method::GET, "/transfer/1", Some(&*weak), 200),
        (Method::POST, "/transfer/1", Some(&*weak), 401),
        (Method::GET, "/admin", Some(&*weak), 401),
        (Method::GET, "/admin/x?y=/health", Some(&*weak), 401),
        (Method::GET, "/administrator", Some(&*weak), 200),
        (Method::GET, "/%61dmin", Some(&*weak), 401),
    ] {
        let answer = world
            .send(layer.clone(), request(method.clone(), path, token))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_that_can_be_read_in_two_ways_is_refused_whatever_the_token() {
    let world = World::new();
    let strong = world.token().amr(["mfa"]).sign();
    let layer = world.guard().require(routes());
    for path in [
        "/health/../admin",
        "/health/%2e%2E/admin",
        "//admin",
        "/health//x",
        "/health%2f..%2fadmin",
        "/health%5c..%5cadmin",
        "/health/./x",
        "/x%00",
        "/x%zz",
    ] {
        let answer = world
            .send(layer.clone(), request(Method::GET, path, Some(&strong)))
            .await;
        assert_eq!(answer.status.as_u16(), 400, "{path}");
        assert_eq!(answer.json()["error"], "invalid_request");
    }
    assert_eq!(world.reached(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_requirement_may_depend_on_the_request() {
    let world = World::new();
    let policy = Policy::dynamic(|head| {
        let amount = head
            .headers
            .get("x-amount")
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match amount {
            Some(amount) if amount <= 100 => Requirement::login(),
            _ => Requirement::mfa(),
        }
    });
    let layer = world.guard().require(policy);
    let token = world.token().sign();
    for (amount, status) in [("100", 200), ("101", 401), ("much", 401), ("-1", 401)] {
        let mut request = with_token(&token);
        request
            .headers_mut()
            .insert("x-amount", amount.parse().unwrap());
        let answer = world.send(layer.clone(), request).await;
        assert_eq!(answer.status.as_u16(), status, "{amount}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_axum_it_is_a_layer_of_a_handler_of_routes_and_of_nested_routers() {
    async fn who(Extension(token): Extension<VerifiedToken>) -> String {
        token.subject().unwrap_or("nobody").to_owned()
    }
    let world = World::new();
    let guard = world.guard();
    let recent = Requirement::mfa().max_age(Duration::from_secs(300));
    let admin = Router::new()
        .route("/users", get(who))
        .route_layer(guard.require(Requirement::mfa()));
    let app: Router = Router::new()
        .route("/transfer", post(who).layer(guard.require(recent)))
        .nest("/admin", admin)
        .layer(guard.require(Requirement::login()))
        .route("/public", get(|| async { "open" }));
    let weak = world.token().sign();
    let strong = world.token().amr(["pwd", "mfa"]).sign();
    for (method, path, token, status) in [
        (Method::GET, "/public", None, 200),
        (Method::POST, "/transfer", None, 401),
        (Method::POST, "/transfer", Some(&weak), 401),
        (Method::POST, "/transfer", Some(&strong), 200),
        (Method::GET, "/admin/users", Some(&weak), 401),
        (Method::GET, "/admin/users", Some(&strong), 200),
        // `route_layer` is for routes that exist
        (Method::GET, "/admin/none", Some(&weak), 404),
    ] {
        let request = request(method, path, token.map(String::as_str)).map(axum::body::Body::new);
        let answer = Answer::read(app.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        if status == 200 && path != "/public" {
            assert!(answer.text.contains("alice"));
        }
    }
}
