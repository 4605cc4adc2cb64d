//! `AUTHGATE_SEAL_KEY`: filters share verdicts if they have the same key or none, and otherwise they don't.

use std::net::SocketAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Method;
use serde_json::{Value, json};
use wasm_tests::{Builder, Stack, corpus::request_to, plugin};

const VARIABLE: &str = "AUTHGATE_SEAL_KEY";

fn key(byte: u8) -> String {
    BASE64_STANDARD.encode([byte; 32])
}

/// A busy machine must not cause an outage.
fn patient() -> Builder {
    Stack::builder().config(json!({"auth_service": {"timeout": "20s"}}))
}

async fn callouts(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_with_the_key_share_verdicts() {
    let stack = patient().concurrency(2).environment(VARIABLE, &key(7)).start().await.unwrap();
    let (_, token) = stack.api_token("any").await.unwrap();
    // Two entries: each worker has its own once both know the token.
    while stack.metric("auth_cache_entries", &[]).await.unwrap() < 2 {
        assert_eq!(stack.get("/orders").api_key(&token).send().await.unwrap().status, 200);
    }
    assert_eq!(callouts(&stack).await, 1);
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
}

/// Filters that share a `vm_id`, each behind its own listener, with these environment variables in its VM.
async fn filters(environments: Vec<Value>) -> (Stack, Vec<SocketAddr>) {
    let builder = patient().envoy(move |bootstrap| {
        let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
        let first = listeners[0].clone();
        listeners.clear();
        for (number, variables) in environments.into_iter().enumerate() {
            let mut listener = first.clone();
            listener["name"] = json!(format!("listener {number}"));
            plugin(&mut listener)["vm_config"]["environment_variables"] = json!({"key_values": variables});
            listeners.push(listener);
        }
    });
    let stack = builder.start().await.unwrap();
    let mut listeners = stack.listeners().await.unwrap();
    listeners.sort();
    (stack, listeners.into_iter().map(|(_, address)| address).collect())
}

/// How often the service is asked about one token that is sent to each of these listeners twice.
async fn questions(stack: &Stack, listeners: &[SocketAddr]) -> u64 {
    let (_, token) = stack.api_token("any").await.unwrap();
    for listener in listeners {
        for _ in 0..2 {
            let answer = request_to(*listener, Method::GET, "/orders").api_key(&token).send().await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    callouts(stack).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_with_another_key_can_read_nothing() {
    let (stack, listeners) = filters(vec![json!({VARIABLE: key(7)}), json!({VARIABLE: key(8)})]).await;
    assert_eq!(questions(&stack, &listeners).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_without_the_key_can_read_nothing() {
    let (stack, listeners) = filters(vec![json!({VARIABLE: key(7)}), json!({"OTHER": "1"})]).await;
    assert_eq!(questions(&stack, &listeners).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_with_equal_keys_or_none_share_data() {
    let one_key = filters(vec![json!({VARIABLE: key(7)}), json!({VARIABLE: key(7), "OTHER": "1"})]).await;
    assert_eq!(questions(&one_key.0, &one_key.1).await, 1);
    let none = filters(vec![json!({}), json!({"OTHER": "1"})]).await;
    assert_eq!(questions(&none.0, &none.1).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_key_is_refused_and_not_quoted() {
    for value in ["canary-that-is-no-base64", &BASE64_STANDARD.encode("canary: 31 bytes are too few...")] {
        let started = Stack::builder().without_auth_service().environment(VARIABLE, value).start().await;
        let error = format!("{:#}", started.map(|_| ()).expect_err(value));
        assert!(error.lines().any(|line| line.contains("refused") && line.contains(VARIABLE)), "{error}");
        assert!(!error.contains(value) && !error.contains("canary"), "{error}");
    }
}
