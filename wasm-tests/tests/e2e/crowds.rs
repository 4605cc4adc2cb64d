//! Many held requests that end at the same moment.

use serde_json::json;
use wasm_tests::{Response, Stack, credentials};

const CROWD: usize = 1000;

/// The answers to many simultaneous requests with the same JWT.
async fn crowd(stack: &Stack, jwt: &str) -> Vec<Response> {
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        requests.spawn(stack.get("/orders").bearer(jwt).send());
    }
    requests.join_all().await.into_iter().map(Result::unwrap).collect()
}

fn all_denied_with(answers: &[Response], status: u16, code: &str, stack: &Stack) {
    let other = answers.iter().find(|answer| (answer.status, answer.code().as_deref()) != (status, Some(code)));
    assert!(other.is_none(), "{:?}:\n{}", other.map(Response::text), stack.envoy_log());
    assert!(!stack.envoy_log().contains("Function: proxy_on"), "{}", stack.envoy_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_forged_tokens_are_each_denied() {
    let stack = Stack::builder().start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    // The key is delayed, so that all requests are held when it arrives.
    stack.fault(json!({"on": "public_key", "kind": "delay", "delay_ms": 2500})).await.unwrap();
    let answers = crowd(&stack, &credentials::forged(&jwt).unwrap()).await;
    all_denied_with(&answers, 401, "signature_invalid", &stack);
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_without_a_key_each_get_a_503() {
    let broken = json!({"on": "public_key", "kind": "status", "status": 500, "delay_ms": 2500});
    let stack = Stack::builder().fault(broken).start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    let answers = crowd(&stack, &jwt).await;
    all_denied_with(&answers, 503, "public_key_unavailable", &stack);
    stack.fault(json!({"on": "public_key", "kind": "none"})).await.unwrap();
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
}
