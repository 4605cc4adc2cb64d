//! Entries of the shared data come and go: a row that was emptied takes the next entry. Envoy returns an empty value in
//! a different way, so only Envoy can show this.

use serde_json::json;
use wasm_tests::{Connection, Stack};

async fn verify_answers(stack: &Stack, status: u16) {
    let fault = match status {
        200 => json!({"on": "verify", "kind": "none"}),
        status => json!({"on": "verify", "kind": "status", "status": status}),
    };
    stack.fault(fault).await.unwrap();
}

/// Asks until the answer has this status, and fails if it ever has the other.
async fn ask_until(client: &mut Connection, authorization: &str, status: u16, never: Option<u16>) {
    loop {
        let answer = client.get("/orders", authorization).await.unwrap();
        assert_ne!(Some(answer.status), never, "{}", answer.text());
        if answer.status == status {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_refusal_also_ends_the_verdict_in_every_worker() {
    let config = json!({
        "auth_service": {"timeout": "20s"},
        "cache": {"ttl": "1s", "negative_ttl": "1s", "stale_ttl": "1h"},
        "circuit_breaker": {"failures": 1000},
    });
    let stack = Stack::builder().concurrency(2).config(config).start().await.unwrap();
    let (_, token) = stack.api_token("refused twice").await.unwrap();
    let authorization = format!("APIKey {token}");

    let mut client = stack.connect().await.unwrap();
    verify_answers(&stack, 401).await;
    ask_until(&mut client, &authorization, 401, None).await;
    verify_answers(&stack, 200).await;
    ask_until(&mut client, &authorization, 200, None).await;
    // Two entries: each worker has its own once both know the token.
    let mut others = Vec::new();
    while stack.metric("auth_cache_entries", &[]).await.unwrap() < 2 {
        let mut other = stack.connect().await.unwrap();
        ask_until(&mut other, &authorization, 200, None).await;
        others.push(other);
    }

    verify_answers(&stack, 401).await;
    ask_until(&mut client, &authorization, 401, None).await;
    verify_answers(&stack, 500).await;
    for other in &mut others {
        ask_until(other, &authorization, 503, Some(200)).await;
    }
}
