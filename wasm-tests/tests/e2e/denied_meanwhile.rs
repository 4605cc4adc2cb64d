//! Requests that go on while others that waited are denied. Envoy takes a denial within the callback of a request for a
//! denial of that request, and holds it whatever the filter returns.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use tokio::task::JoinSet;
use wasm_tests::{Connection, Stack, corpus::scripted};

const CONNECTIONS: usize = 8;
/// Together fewer than the failures that open the breaker.
const REQUESTS: usize = 100;

/// Asks for what the service has to verify, which isn't there: the denial comes with the tick after each broken answer.
async fn be_denied(mut connection: Connection, number: usize) {
    for token in number * REQUESTS..(number + 1) * REQUESTS {
        let answer = connection.get("/orders", &format!("APIKey {}", scripted::token(token))).await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("auth_service_unavailable"), "{}", answer.text());
    }
}

/// Asks for what needs no credential, until it is over. Returns how often.
async fn be_served(mut connection: Connection, is_over: Arc<AtomicBool>) -> usize {
    let mut served = 0;
    while !is_over.load(Ordering::SeqCst) {
        let answer = connection.get("/public", "").await.unwrap();
        assert_eq!(answer.status, 200, "after {served}: {}", answer.text());
        served += 1;
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_request_does_not_wait_for_the_denial_of_another() {
    let config = json!({"auth_service": {"retries": 0}, "circuit_breaker": {"failures": 1000}});
    let stack = Stack::builder().without_auth_service().config(config).start().await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let (mut denied, mut served) = (JoinSet::new(), JoinSet::new());
    for number in 0..CONNECTIONS {
        served.spawn(be_served(stack.connect().await.unwrap(), Arc::clone(&is_over)));
        denied.spawn(be_denied(stack.connect().await.unwrap(), number));
    }
    denied.join_all().await;
    is_over.store(true, Ordering::SeqCst);
    let served: usize = served.join_all().await.into_iter().sum();
    assert!(served > 0);
}
