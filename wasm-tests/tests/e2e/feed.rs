//! The revocation feed, as tests switch it on and wait for it.

use std::time::Duration;

use serde_json::{Value, json};
use wasm_tests::Stack;

/// The shortest interval that there is.
pub fn config() -> Value {
    json!({"revocation": {"path": "/auth/blacklist", "poll_interval": "1s"}})
}

/// How often the service was asked for the list.
async fn polls(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["blacklist"].as_u64().unwrap()
}

/// Waits until what the service has revoked by now is applied: the next poll that the service sees brings it, and has
/// ended when another one begins.
pub async fn is_read(stack: &Stack) {
    let seen = polls(stack).await;
    while polls(stack).await < seen + 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
