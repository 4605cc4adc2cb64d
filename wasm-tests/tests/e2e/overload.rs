//! A service that is too slow, and a cluster that accepts no more requests.

use std::time::Duration;

use serde_json::json;
use wasm_tests::{
    Stack,
    corpus::{scripted, tokens},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_question_to_a_slow_service_is_retried_once() {
    let config = json!({"auth_service": {"timeout": "300ms", "retries": 1}});
    let stack = Stack::builder().config(config).start().await.unwrap();
    let (_, token) = stack.api_token("any").await.unwrap();
    stack.reset_counters().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 60_000})).await.unwrap();
    let answer = stack.get("/orders").api_key(&token).send().await.unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (503, Some("auth_service_unavailable")));
    assert_eq!(stack.counters().await.unwrap()["verify"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_clusters_limit_are_denied_and_the_others_served() {
    let full = json!([{"max_requests": 2, "max_pending_requests": 2, "max_connections": 2}]);
    let builder = Stack::builder().envoy(move |bootstrap| {
        bootstrap["static_resources"]["clusters"][1]["circuit_breakers"]["thresholds"] = full;
    });
    let stack = builder.start().await.unwrap();
    // The filter has the key before the crowd comes.
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    let good = tokens::base().to_string();
    stack.fault(json!({"on": "verify", "kind": "raw", "delay_ms": 1000, "body": good})).await.unwrap();

    let mut requests = tokio::task::JoinSet::new();
    for number in 0..30 {
        // Each request has its own token: requests with the same token wait for the same callout.
        requests.spawn(stack.get("/orders").api_key(&scripted::token(number)).send());
    }
    let answers: Vec<_> = requests.join_all().await.into_iter().map(Result::unwrap).collect();
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let denied = answers.iter().filter(|answer| answer.code().as_deref() == Some("auth_service_unavailable")).count();
    assert_eq!(served + denied, 30);
    assert!(served >= 2 && denied > 5, "{served} served, {denied} denied");
    assert_eq!(stack.metric("auth_breaker_state", &[]).await.unwrap(), 0, "the service is well");
    assert!(!stack.envoy_log().contains("panicked"), "{}", stack.envoy_log());
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_filled_by_another_worker_is_not_an_outage() {
    let config = json!({"auth_service": {"timeout": "60s"}, "circuit_breaker": {"failures": 3}});
    let builder = Stack::builder().concurrency(2).config(config).envoy(|bootstrap| {
        let cluster = bootstrap["static_resources"]["clusters"][1].as_object_mut().unwrap();
        cluster["circuit_breakers"]["thresholds"] = json!([{"max_requests": 2}]);
        // A busy machine must not cause an outage.
        cluster["connect_timeout"] = json!("20s");
        cluster.remove("health_checks");
        cluster.remove("outlier_detection");
    });
    let stack = builder.start().await.unwrap();
    // The filter has the key before the crowd comes.
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    stack.reset_counters().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 20_000})).await.unwrap();
    // All requests of one connection go to one worker.
    let mut attacker = stack.frames().await.unwrap();
    let guesses = [1, 2].map(|number| format!("APIKey {}", scripted::token(number)));
    attacker.ask(&guesses).await.unwrap();
    while stack.counters().await.unwrap()["verify"].as_u64().unwrap() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Each request has its own connection, so about half of them go to the other worker.
    for number in 100..130 {
        let answer = stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("auth_service_unavailable"), "{}", answer.text());
    }
    assert_eq!(stack.metric("auth_breaker_state", &[]).await.unwrap(), 0, "the service is well");
}
