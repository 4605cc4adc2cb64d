//! A large body that arrives while its request waits for the service.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use wasm_tests::Stack;

const MEGABYTES: usize = 50;

async fn arrives_unchanged(http2: bool) {
    let stack = Stack::builder().start().await.unwrap();
    let (_, token) = stack.api_token("any").await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 1500})).await.unwrap();
    let body: Vec<u8> = (0..MEGABYTES * 1024 * 1024).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect();
    let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();

    let request = stack.post("/upload").api_key(&token).body(body);
    let answer = if http2 { request.http2() } else { request }.send().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let echo = answer.upstream().unwrap();
    assert_eq!((echo.body_bytes, echo.body_sha256.as_str()), (MEGABYTES * 1024 * 1024, digest.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_forwarded_over_http1() {
    arrives_unchanged(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_forwarded_over_http2() {
    arrives_unchanged(true).await;
}
