//! What the log says about an outage, and how much at each level.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use wasm_tests::{Builder, Stack, auth_service_alone, corpus::scripted};

/// Each question has one try, with a timeout of a second.
fn builder() -> Builder {
    Stack::builder().config(json!({"auth_service": {"timeout": "1s", "retries": 0}}))
}

/// Asks about an API token and waits until the log holds each of these texts.
async fn says(stack: &Stack, expected: &[&str]) {
    let mut number = 0;
    while let Some(missing) = expected.iter().find(|text| !stack.envoy_log().contains(**text)) {
        assert!(number < 40, "no {missing:?} in the log:\n{}", stack.envoy_log());
        assert_ne!(stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap().status, 200);
        number += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_a_service_that_refuses_connections() {
    let stack = builder().without_auth_service().start().await.unwrap();
    says(
        &stack,
        &[
            "auth service (cluster auth_service): no connection: it was refused",
            "public key not fetched (cluster auth_service), no key yet: no connection: it was refused",
        ],
    )
    .await;
    let log = stack.envoy_log();
    assert!(!log.contains("keeping the previous key") && !log.contains("status 503"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_a_service_that_hangs_fails_or_disconnects() {
    let stack = builder().start().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 60_000})).await.unwrap();
    says(&stack, &["auth service (cluster auth_service): no answer within auth_service.timeout"]).await;
    let stack = builder().start().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "status", "status": 503})).await.unwrap();
    says(&stack, &["auth service (cluster auth_service): it answered with status 503"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_a_service_that_does_not_speak_http() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            // The gateway may already have closed the connection.
            drop(connection.write_all(b"SSH-2.0-no-http\r\n").await);
        }
    });
    let with_feed = builder().without_auth_service().config(json!({"revocation": {"path": "/auth/blacklist"}}));
    let stack = with_feed.envoy(move |bootstrap| {
        auth_service_alone(bootstrap, port);
    });
    let stack = stack.start().await.unwrap();
    says(
        &stack,
        &[
            "auth service (cluster auth_service): its answer is not HTTP",
            "public key not fetched (cluster auth_service), no key yet: its answer is not HTTP",
            "revocation feed not read (cluster auth_service), no list yet: its answer is not HTTP",
        ],
    )
    .await;
    let log = stack.envoy_log();
    assert!(!log.contains("status 502") && !log.contains("status 503"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_a_cluster_that_is_missing_or_has_no_host() {
    let unknown = builder().config(json!({"auth_service": {"cluster": "nowhere"}})).start().await.unwrap();
    says(&unknown, &["auth service (cluster nowhere): Envoy has no such cluster"]).await;
    let empty = builder().envoy(|bootstrap| {
        let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
        let service = clusters.iter_mut().find(|cluster| cluster["name"] == "auth_service").unwrap();
        service["load_assignment"]["endpoints"] = json!([]);
    });
    says(&empty.start().await.unwrap(), &["(cluster auth_service): the cluster has no healthy host"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_level_can_change_at_run_time() {
    let stack = Stack::builder().start().await.unwrap();
    let secret = "c2VjcmV0LWluLWEtdG9rZW4";
    let malformed = async || {
        let answer = stack.get("/orders").bearer(&format!("{secret}.{secret}.!")).send().await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("token_malformed"));
    };
    let reason = "a credential is malformed: JWT: header";
    let set = async |level: &str| {
        assert_eq!(stack.admin_post(&format!("/logging?wasm={level}")).await.unwrap().status, 200);
    };
    malformed().await;
    assert!(!stack.envoy_log().contains(reason));
    set("debug").await;
    for _ in 0..60 {
        malformed().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lines = |stack: &Stack| stack.envoy_log().matches(reason).count();
    assert!((1..=50).contains(&lines(&stack)), "{} lines in 3 s", lines(&stack));
    assert!(!stack.envoy_log().contains(secret));
    set("info").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = lines(&stack);
    malformed().await;
    assert_eq!(lines(&stack), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsealed_shared_data_is_warned_of_once() {
    let stack = Stack::builder().concurrency(2).start().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let log = stack.envoy_log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("shared data are not sealed")).collect();
    assert!(lines.len() == 1 && lines[0].contains("warning") && lines[0].contains("host_env_keys"), "{lines:?}");
}

/// Envoy begins a line with the `vm_id`, and with the plugin's name before it where the line is about a request. The
/// message doesn't name the filter again.
#[tokio::test(flavor = "multi_thread")]
async fn only_envoy_names_the_filter_in_a_line() {
    let stack = builder().without_auth_service().start().await.unwrap();
    says(&stack, &["wasm log authgate: public key not fetched"]).await;
    let log = stack.envoy_log();
    let messages = log.lines().filter_map(|line| line.split_once("wasm log ")?.1.split_once(": "));
    let named = messages.filter(|(_, message)| message.starts_with("authgate")).collect::<Vec<_>>();
    assert!(named.is_empty(), "{named:?}");
}
