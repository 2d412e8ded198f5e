//! Many waiters for one exchange: `tower-mfa`, a bare `Shared`, moka's `try_get_with` and tokio's `OnceCell`.

#[path = "../../support/flight.rs"]
mod support;

use std::convert::Infallible;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use moka::future::Cache;
use tokio::sync::OnceCell;

use support::{flight, measure};

fn peers(criterion: &mut Criterion) {
    measure(criterion, "moka try_get_with", |api| {
        let cache = Cache::builder().max_capacity(1_000).build();
        move || {
            let (cache, exchange) = (cache.clone(), api.exchange());
            api.clone().by_hand(async move {
                let exchange = async move { Ok::<_, Infallible>(exchange.await) };
                let token = cache.try_get_with(17_u64, exchange).await;
                token.unwrap_or_else(|error| match *error {})
            })
        }
    });
    measure(criterion, "tokio OnceCell", |api| {
        let cell = Arc::new(OnceCell::new());
        move || {
            let (cell, exchange) = (Arc::clone(&cell), api.exchange());
            api.clone()
                .by_hand(async move { cell.get_or_init(|| exchange).await.clone() })
        }
    });
}

criterion_group!(benches, flight, peers);
criterion_main!(benches);
