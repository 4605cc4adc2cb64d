//! The shipped rate limit per client, behind authgate.

use std::fs;

use serde_json::{Value, json};
use wasm_tests::{Request, Stack, connection_manager, workspace};

/// How many of these requests aren't limited.
async fn served(stack: &Stack, requests: usize, request: impl Fn(&Stack) -> Request) -> usize {
    let mut served = 0;
    for _ in 0..requests {
        let answer = request(stack).send().await.unwrap();
        match answer.status {
            200 => served += 1,
            429 => {
                assert_eq!(answer.headers.get("retry-after").unwrap(), "60");
                assert_eq!(answer.code(), None, "Envoy's own answer");
            }
            other => panic!("{other}"),
        }
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_per_client_and_not_per_claimed_identity() {
    let text = fs::read_to_string(workspace().join("envoy/rate-limit.yaml")).unwrap();
    let mut parts: Value = serde_norway::from_str(&text).unwrap();
    // Envoy refills a bucket steadily: one token in 0.6 seconds. Here one takes 14 minutes, so that no count depends on
    // time.
    let interval = &mut parts["http_filter"]["typed_config"]["descriptors"][0]["token_bucket"]["fill_interval"];
    assert_eq!(*interval, json!("60s"));
    *interval = json!("86400s");
    let stack = Stack::builder()
        .concurrency(2)
        .envoy(move |bootstrap| {
            let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
            let filters = manager["http_filters"].as_array_mut().unwrap();
            filters.insert(filters.len() - 1, parts["http_filter"].clone());
            manager["route_config"]["virtual_hosts"][0]["rate_limits"] = parts["rate_limits"].clone();
        })
        .start()
        .await
        .unwrap();
    let mut jwts = Vec::new();
    for client in [1, 2] {
        let mut claims = wasm_tests::credentials::claims();
        claims["client_id"] = json!(client);
        jwts.push(stack.mint_claims(&claims).await.unwrap());
    }
    assert_eq!(served(&stack, 110, |stack| stack.get("/orders").bearer(&jwts[0])).await, 100);
    // Claiming to be another client changes nothing for either client.
    let claiming = |stack: &Stack| stack.get("/orders").bearer(&jwts[0]).header("x-client-id", "2");
    assert_eq!(served(&stack, 3, claiming).await, 0);
    assert_eq!(served(&stack, 110, |stack| stack.get("/orders").bearer(&jwts[1])).await, 100);
    // A request without an identity isn't counted, and a denied request counts for no client.
    assert_eq!(served(&stack, 3, |stack| stack.get("/public/page").header("x-client-id", "1")).await, 3);
    assert_eq!(stack.get("/orders").header("x-client-id", "1").send().await.unwrap().status, 401);
}
