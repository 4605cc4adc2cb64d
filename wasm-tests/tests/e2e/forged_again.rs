//! A forged JWT that comes again.

use serde_json::json;
use wasm_tests::{Stack, credentials};

const TIMES: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_jwt_that_comes_again_does_not_wait_for_the_next_fetch() {
    // The first two wait for a fetch each. The others come before the next one.
    let interval = json!({"jwt": {"public_key": {"min_refetch_interval": "8s"}}});
    let stack = Stack::builder().concurrency(1).config(interval).start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    let forged = credentials::forged(&jwt).unwrap();
    let mut codes = Vec::new();
    for _ in 0..TIMES + 2 {
        codes.push(stack.get("/orders").bearer(&forged).send().await.unwrap().code().unwrap_or_default());
    }
    assert!(codes.iter().all(|code| code == "signature_invalid"), "{codes:?}");
    let fetches = stack.metric("auth_public_key_refresh_total", &[("outcome", "success")]).await.unwrap();
    assert_eq!(fetches, 3, "each that waits is answered after a fetch of its own");
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
}
