//! Many simultaneous requests with one unknown token: each worker asks the service at most once.

use serde_json::json;
use wasm_tests::{Response, Stack};

const CROWD: usize = 1000;

/// The answers to this many simultaneous requests, each on its own connection.
async fn crowd(stack: &Stack, token: &str, size: usize) -> Vec<Response> {
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..size {
        requests.spawn(stack.get("/orders").api_key(token).send());
    }
    requests.join_all().await.into_iter().map(Result::unwrap).collect()
}

/// How often the service was asked about a credential.
async fn callouts(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

/// The number of connections that each worker has had.
async fn connections(stack: &Stack, workers: u32) -> Vec<u64> {
    let stats = stack.admin("/stats?filter=listener.*worker_.*downstream_cx_total").await.unwrap().text();
    let of = |worker: u32| {
        let name = format!(".worker_{worker}.downstream_cx_total: ");
        let lines = stats.lines().filter(|line| !line.starts_with("listener.admin"));
        lines.filter_map(|line| line.split_once(&name)?.1.parse::<u64>().ok()).sum()
    };
    (0..workers).map(of).collect()
}

async fn one_cold_token(workers: u32) {
    // A long timeout: all requests miss together, and none asks again.
    let config = json!({"auth_service": {"timeout": "20s"}});
    let builder = Stack::builder().concurrency(workers).config(config).envoy(|bootstrap| {
        // All requests go on at the same moment, which takes time on a busy machine.
        bootstrap["static_resources"]["clusters"][0]["connect_timeout"] = json!("20s");
    });
    let stack = builder.start().await.unwrap();
    let (_, token) = stack.api_token("any").await.unwrap();
    stack.reset_counters().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 2000})).await.unwrap();
    let answers = crowd(&stack, &token, CROWD).await;
    let refused = answers.iter().find(|answer| answer.status != 200);
    assert!(refused.is_none(), "{:?}", refused.map(Response::text));
    assert!(answers.iter().all(|answer| answer.identity().unwrap()["x-user-id"] == "1"));

    let asked = callouts(&stack).await;
    let event = async |event| stack.metric("auth_cache_events_total", &[("event", event)]).await.unwrap();
    let (missed, coalesced) = (event("miss").await, event("coalesced").await);
    let shares = connections(&stack, workers).await;
    println!(
        "{CROWD} requests, {workers} workers with {shares:?} connections: {asked} callouts; {missed} requests missed \
         the cache, {coalesced} of them joined others of their worker"
    );
    assert!(shares.iter().all(|share| *share > 0), "a worker had nothing to do: {shares:?}");
    assert!((1..=u64::from(workers)).contains(&asked), "{asked} callouts");
    assert!(missed > CROWD as u64 / 2, "only {missed} of them were there before the answer");

    // Every worker knows the token now.
    let answers = crowd(&stack, &token, 100).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(callouts(&stack).await, asked);
    assert_eq!(event("miss").await, missed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_over_two_workers_make_a_callout_per_worker_at_most() {
    one_cold_token(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_clients_over_four_workers_make_a_callout_per_worker_at_most() {
    one_cold_token(4).await;
}
