//! The revocation feed for tests: its configuration, and waiting until it is read.

use std::time::Duration;

use serde_json::{Value, json};
use wasm_tests::Stack;

/// The shortest interval that is allowed.
pub fn config() -> Value {
    json!({"revocation": {"path": "/auth/blacklist", "poll_interval": "1s"}})
}

/// How often the service was asked for the list.
async fn polls(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["blacklist"].as_u64().unwrap()
}

/// Waits until everything that the service has revoked so far is applied. The next poll that the service sees brings
/// it, and has ended when another poll begins.
pub async fn is_read(stack: &Stack) {
    let seen = polls(stack).await;
    while polls(stack).await < seen + 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
