//! The layer fits where a tower user puts it: around and inside axum, hyper-util and reqwest, in a `ServiceBuilder`, in a buffer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::post as on_post;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, Error as ClientError, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_layer::Layer;
use tower_mfa::body::{ReplayBody, ResponseBody};
use tower_mfa::{Mfa, MfaLayer, SteppedUp};
use tower_service::Service;

use support::{Plan, layer};

const DEMAND: &str = r#"{"error":"mfa_required"}"#;

/// Accepts the request with the new token only, and answers with its body.
async fn transfer(headers: HeaderMap, body: Bytes) -> Response<AxumBody> {
    if headers
        .get(AUTHORIZATION)
        .is_some_and(|value| value == "Bearer new")
    {
        return Response::new(AxumBody::from(body));
    }
    Response::builder()
        .status(StatusCode::FORBIDDEN)
        .header("content-type", "application/json")
        .body(AxumBody::from(DEMAND))
        .unwrap()
}

fn request<B>(body: B) -> Request<B> {
    Request::post("/transfers")
        .header(AUTHORIZATION, "Bearer old")
        .body(body)
        .unwrap()
}

async fn assert_stepped_up<B>(response: Response<B>)
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.extensions().get::<SteppedUp>().is_some());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "ten euros");
}

fn mfa() -> MfaLayer {
    layer(Plan::Bearer("new")).0
}

#[tokio::test(start_paused = true)]
async fn the_layer_goes_onto_an_axum_router() {
    let router = Router::new()
        .route("/transfers", on_post(transfer))
        .layer(mfa());
    let response = router
        .oneshot(request(AxumBody::from("ten euros")))
        .await
        .unwrap();
    assert_stepped_up(response).await;
}

#[tokio::test(start_paused = true)]
async fn the_layer_goes_onto_an_axum_route_and_a_nested_router() {
    let nested = Router::new().route("/transfers", on_post(transfer).layer(mfa()));
    let router = Router::new().nest("/v1", nested).route_layer(mfa());
    let mut request = request(AxumBody::from("ten euros"));
    *request.uri_mut() = "/v1/transfers".parse().unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_stepped_up(response).await;
}

#[tokio::test(start_paused = true)]
async fn the_layer_goes_around_an_axum_router() {
    let router = Router::new().route("/transfers", on_post(transfer));
    let service = mfa().layer(router);
    let body = Full::new(Bytes::from("ten euros"));
    let Ok::<_, Infallible>(response) = service.oneshot(request(body)).await;
    assert_stepped_up(response).await;
}

#[tokio::test(start_paused = true)]
async fn the_layer_goes_into_a_service_builder_with_others_around_and_inside() {
    let router = Router::new().route("/transfers", on_post(transfer));
    let service = ServiceBuilder::new()
        .buffer(8)
        .layer(mfa())
        .concurrency_limit(1)
        .timeout(Duration::from_secs(10))
        .map_request(|request: Request<ReplayBody<Full<Bytes>>>| request.map(AxumBody::new))
        .service(router);
    let body = Full::new(Bytes::from("ten euros"));
    let response: Result<Response<_>, BoxError> = service.oneshot(request(body)).await;
    assert_stepped_up(response.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn the_layer_goes_around_a_buffer() {
    let router = Router::new().route("/transfers", on_post(transfer));
    let service = ServiceBuilder::new().layer(mfa()).buffer(1).service(router);
    let body = Full::new(Bytes::from("ten euros"));
    let response = service.oneshot(request(body)).await.unwrap();
    assert_stepped_up(response).await;
}

#[tokio::test(start_paused = true)]
async fn the_service_can_be_boxed() {
    let router = Router::new().route("/transfers", on_post(transfer));
    let service = mfa().layer(router).boxed_clone();
    let body = Full::new(Bytes::from("ten euros"));
    let response = service.oneshot(request(body)).await.unwrap();
    assert_stepped_up(response).await;
}

/// The client of hyper-util, named as a user would name it in a struct.
type HyperClient = Mfa<Client<HttpConnector, ReplayBody<Full<Bytes>>>>;

fn assert_client<S, R, E>(_: &S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = E> + Clone + Send + Sync,
    S::Future: Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static,
{
}

#[tokio::test(start_paused = true)]
async fn the_layer_goes_around_a_client_of_hyper_util() {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let client: HyperClient = mfa().layer(client);
    assert_client::<_, ResponseBody<hyper_util_incoming::Incoming>, ClientError>(&client);
}

/// The body of hyper's responses, by the way a user without hyper as a dependency can name it.
mod hyper_util_incoming {
    use super::{Bytes, Client, Full, HttpConnector, ReplayBody, Request, Service};

    pub(super) trait BodyOf {
        type Body;
    }
    impl<B> BodyOf for http::Response<B> {
        type Body = B;
    }
    type Answer = <Client<HttpConnector, ReplayBody<Full<Bytes>>> as Service<
        Request<ReplayBody<Full<Bytes>>>,
    >>::Response;
    pub(super) type Incoming = <Answer as BodyOf>::Body;
}

#[tokio::test(start_paused = true)]
async fn the_layer_goes_around_a_client_of_reqwest() {
    let inner = reqwest::Client::new()
        .map_request(|request: Request<ReplayBody<Full<Bytes>>>| {
            reqwest::Request::try_from(request.map(reqwest::Body::wrap)).unwrap()
        })
        .map_response(Response::<reqwest::Body>::from);
    let client = mfa().layer(inner);
    assert_client::<_, ResponseBody<reqwest::Body>, reqwest::Error>(&client);
}

/// What clients that tonic generates ask of their service.
fn assert_grpc<S>(_: &tonic::client::Grpc<S>)
where
    S: tonic::client::GrpcService<tonic::body::Body, Error: Into<BoxError>> + Clone + Send + Sync,
    S::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
    S::Future: Send,
{
}

#[tokio::test(start_paused = true)]
async fn the_layer_goes_around_a_channel_of_tonic() {
    // connects when it is used, and it is not used here
    let channel = tonic::transport::Endpoint::from_static("http://api.example.com").connect_lazy();
    let service = ServiceBuilder::new()
        .layer(mfa())
        .map_request(|request: Request<ReplayBody<tonic::body::Body>>| {
            request.map(tonic::body::Body::new)
        })
        .service(channel);
    assert_grpc(&tonic::client::Grpc::new(service));
}

#[tokio::test(start_paused = true)]
async fn the_service_need_not_be_send() {
    // as on a `LocalSet`
    let inner = tower::service_fn(|_: Request<ReplayBody<Full<Bytes>>>| {
        let local = std::rc::Rc::new(());
        async move {
            let _local = local;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("ok"))))
        }
    });
    let response = mfa()
        .layer(inner)
        .oneshot(Request::new(Full::default()))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}
