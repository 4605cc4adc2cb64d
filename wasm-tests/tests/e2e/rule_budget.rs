//! The limit on the cost of a path, in real Envoy.

use serde_json::{Value, json};
use wasm_tests::{Stack, corpus};

#[tokio::test(flavor = "multi_thread")]
async fn only_a_path_that_takes_too_much_work_is_refused() {
    let rules: Vec<Value> = (0..50).map(|index| json!({"match": {"regex": format!("/api/.*/item{index}")}})).collect();
    let builder = Stack::builder().config(corpus::config()).config(json!({"rules": rules}));
    let stack = builder.fault(corpus::trusted_key()).start().await.unwrap();
    let code = async |path: String| stack.get(&path).send().await.unwrap().code().unwrap();
    assert_eq!(code("/api/v1/customers/4711/orders/2024-05-17/item49".to_owned()).await, "missing_credentials");
    assert_eq!(code("/api/caf%C3%A9%2Fa%20b/100%25;v=1/item49".to_owned()).await, "missing_credentials");
    assert_eq!(code(format!("/api/{}", "a/".repeat(25_000))).await, "ambiguous_path");
    assert_eq!(code(format!("/api/{}", "%2f".repeat(5_000))).await, "ambiguous_path");
    assert_eq!(code(format!("/api/x?{}", "a/".repeat(25_000))).await, "missing_credentials");
}
