//! A configuration that the filter doesn't understand keeps Envoy from starting, and the log names the field.

use serde_json::{Value, json};
use wasm_tests::Stack;

/// Envoy doesn't start with this change, and explains it in a log line with all of these words.
async fn refused(patch: Value, words: &[&str]) {
    let started = Stack::builder().without_auth_service().config(patch.clone()).start().await;
    let error = format!("{:#}", started.map(|_| ()).expect_err(&patch.to_string()));
    let named = error.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(named, "{patch}: no line with {words:?} in\n{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_field_is_refused() {
    refused(json!({"jwt": {"algorithm": "none"}}), &["jwt", "algorithm"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_the_wrong_type_is_refused() {
    refused(json!({"auth_service": {"retries": "many"}}), &["auth_service.retries"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_cluster_is_refused() {
    refused(json!({"auth_service": {"cluster": ""}}), &["auth_service.cluster"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_regular_expression_is_refused() {
    let rules = json!([{"match": {"path": "/a"}, "public": true}, {"match": {"regex": "("}, "public": true}]);
    refused(json!({"rules": rules}), &["rules[1].match.regex"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_duration_is_refused() {
    refused(json!({"auth_service": {"timeout": "soon"}}), &["auth_service.timeout"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_eviction_is_refused() {
    refused(json!({"cache": {"eviction": "fifo"}}), &["cache.eviction"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_short_a_poll_interval_is_refused() {
    let revocation = json!({"path": "/auth/blacklist", "poll_interval": "10ms"});
    refused(json!({"revocation": revocation}), &["revocation.poll_interval"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_that_never_opens_is_refused() {
    refused(json!({"circuit_breaker": {"failures": 0}}), &["circuit_breaker.failures"]).await;
}
