//! Counters are told to Envoy after the requests that they count. None is lost when the VM ends.

use std::time::Duration;

use serde_json::json;
use wasm_tests::{Discovery, Stack, plugin};

const REQUESTS: u64 = 50;

/// So many requests without a credential, one after the other, faster than the counters are told.
async fn send(stack: &Stack) {
    for _ in 0..REQUESTS {
        assert_eq!(stack.get("/orders").send().await.unwrap().status, 401);
    }
}

async fn denied(stack: &Stack) -> u64 {
    stack.metric("auth_validation_requests_total", &[("outcome", "deny")]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_loses_no_counter() {
    let stack = Stack::builder().module("test_module.wasm").start().await.unwrap();
    send(&stack).await;
    let trapped = stack.get("/orders").header("x-authgate-panic", "request_headers").send().await;
    assert!(trapped.is_ok_and(|answer| answer.status == 503), "the worker has trapped");
    assert_eq!(denied(&stack).await, REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_loses_no_counter() {
    let (stack, mut discovery) = Discovery::start(Stack::builder().drain_time(1)).await.unwrap();
    plugin(&mut discovery.listener)["configuration"]["value"]["identity_headers"] = json!({"X-New": "user_id"});
    let jwt = stack.login().await.unwrap().access;
    send(&stack).await;
    discovery.publish("2").unwrap();
    let is_new = async || {
        let answer = stack.get("/orders").bearer(&jwt).send().await.unwrap();
        answer.upstream().unwrap().header("x-new").is_some()
    };
    while !is_new().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(denied(&stack).await, REQUESTS);
}
