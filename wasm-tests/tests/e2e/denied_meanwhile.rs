//! Requests that go on while others that waited are denied. If a denial is sent within a request's callback, Envoy
//! takes it for a denial of that request and holds the request, whatever the filter returns.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use tokio::task::JoinSet;
use wasm_tests::{Connection, Stack, corpus::scripted};

const CONNECTIONS: usize = 8;
/// All connections together cause fewer failures than open the breaker.
const REQUESTS: usize = 100;

/// Sends requests that need the service, which isn't there. Each is denied at the tick after its broken answer.
async fn be_denied(mut connection: Connection, number: usize) {
    for token in number * REQUESTS..(number + 1) * REQUESTS {
        let answer = connection.get("/orders", &format!("APIKey {}", scripted::token(token))).await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("auth_service_unavailable"), "{}", answer.text());
    }
}

/// Sends requests that need no credential until `is_over`. Returns how many.
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
