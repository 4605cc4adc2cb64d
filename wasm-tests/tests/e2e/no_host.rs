//! The service's cluster has no host, while a poll of the revocation list hangs at another cluster.

use std::time::Duration;

use serde_json::json;
use wasm_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_hangs_elsewhere_hides_no_outage() {
    let config = json!({
        "auth_service": {"timeout": "30s", "retries": 0},
        "jwt": {"verification": "remote", "public_key": {"cluster": "lists"}},
        "revocation": {"path": "/auth/blacklist", "cluster": "lists", "poll_interval": "1s"},
        "circuit_breaker": {"failures": 3, "open_for": "1h"},
    });
    let builder = Stack::builder().config(config).envoy(|bootstrap| {
        let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
        let mut lists = clusters[1].clone();
        lists["name"] = json!("lists");
        lists["load_assignment"]["cluster_name"] = json!("lists");
        clusters[1]["load_assignment"]["endpoints"] = json!([]);
        clusters.push(lists);
    });
    let stack = builder.start().await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(stack.login().await.unwrap().access);
    }
    assert_eq!(
        stack.get("/orders").bearer(&tokens[0]).send().await.unwrap().status,
        200,
        "the key and the list are there"
    );
    stack.fault(json!({"on": "blacklist", "kind": "delay", "delay_ms": 60_000})).await.unwrap();
    let polls = async {
        while stack.metric("auth_callouts_in_flight", &[]).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), polls).await.expect("a poll is under way");
    for token in &tokens[1..] {
        let answer = stack.get("/orders").bearer(token).send().await.unwrap();
        assert_eq!((answer.status, answer.code()), (200, None), "by its signature");
    }
    assert_eq!(stack.metric("auth_breaker_state", &[]).await.unwrap(), 2);
}
