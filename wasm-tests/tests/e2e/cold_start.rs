//! Many JWTs at once, before the gateway has a key.

use std::time::Duration;

use serde_json::json;
use wasm_tests::Stack;

const WORKERS: u32 = 2;
const REQUESTS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_jwts_wait_for_one_fetch_of_the_key_per_worker() {
    // The key is delayed, so that the requests arrive before it.
    let slow = json!({"on": "public_key", "kind": "delay", "delay_ms": 3000});
    let stack = Stack::builder().concurrency(WORKERS).fault(slow).start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;

    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..REQUESTS {
        requests.spawn(stack.get("/orders").bearer(&jwt).send());
    }
    let answers: Vec<_> = requests.join_all().await.into_iter().map(Result::unwrap).collect();

    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200; REQUESTS]);
    // Otherwise the key arrived before the requests. With a key, an answer takes a few milliseconds.
    let fastest = answers.iter().map(|answer| answer.elapsed).min().unwrap();
    assert!(fastest > Duration::from_millis(100), "no request had to wait for the key: {fastest:?}");
    assert_eq!(stack.upstream_hits(), REQUESTS as u64);
    let fetches = stack.counters().await.unwrap()["public_key"].as_u64().unwrap();
    assert!((1..=u64::from(WORKERS)).contains(&fetches), "{fetches} fetches");
}
