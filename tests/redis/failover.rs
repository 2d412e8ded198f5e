//! A failover of Redis in the middle of a step-up, through the whole layer.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_mfa::{
    AccessToken, Code, Demand, MfaLayer, StepUpError, TokenSet,
    body::ReplayBody,
    code_fn,
    dialect::{Context, Detection, Dialect, Remedy, ResponseHead},
    store::{TokenStore as _, redis::RedisStore},
};

use crate::harness::{Trio, eventually, keys, store_key};

const FAILOVER: Duration = Duration::from_secs(20);

/// A person who types when they are let.
struct Slow {
    prompts: Arc<AtomicUsize>,
    typed: Arc<Semaphore>,
}

impl Dialect for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn detect(&self, _response: ResponseHead<'_>) -> Detection {
        Detection::Demand(Demand::new())
    }

    async fn resolve(&self, _demand: Demand, context: Context) -> Result<Remedy, StepUpError> {
        self.prompts.fetch_add(1, Ordering::SeqCst);
        self.typed.acquire().await.unwrap().forget();
        let end = context.now() + Duration::from_secs(3600);
        Ok(Remedy::bearer(TokenSet::new(AccessToken::new(
            "test-elevated",
            Some(end),
        ))))
    }
}

/// Sends alice's request through a layer.
async fn send(layer: MfaLayer) -> StatusCode {
    let api = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| async move {
        let mut response = Response::new(Full::new(Bytes::new()));
        if request.headers()["authorization"] != "Bearer test-elevated" {
            *response.status_mut() = StatusCode::FORBIDDEN;
        }
        Ok::<_, Infallible>(response)
    });
    let request = Request::get("/")
        .header("authorization", "Bearer test-first")
        .body(Full::default())
        .unwrap();
    layer.layer(api).oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn a_failover_while_a_person_types_is_no_second_prompt() {
    let Some(mut trio) = Trio::start().await else {
        return;
    };
    let (prompts, typed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let store = || RedisStore::sentinel([trio.sentinel.url()], Trio::MASTER_NAME, keys()).unwrap();
    let instance = |store: RedisStore| {
        let dialect = Slow {
            prompts: Arc::clone(&prompts),
            typed: Arc::clone(&typed),
        };
        MfaLayer::new(dialect, code_fn(|_| async { Ok(Code::new("123456")) })).store(store)
    };
    let (first, second) = (store(), store());
    let sending = tokio::spawn(send(instance(first.clone())));
    eventually("the first instance prompts", FAILOVER, async || {
        prompts.load(Ordering::SeqCst) == 1
    })
    .await;

    trio.master.kill();
    eventually("the next master is found", FAILOVER, async || {
        first.get(&store_key("anything")).await.is_ok()
    })
    .await;
    typed.add_permits(1);
    assert_eq!(sending.await.unwrap(), StatusCode::OK);

    // what the first one has got is on the new master
    assert_eq!(send(instance(second)).await, StatusCode::OK);
    assert_eq!(prompts.load(Ordering::SeqCst), 1);
}
