//! Gauges stay correct when the VMs that change them end, and filters don't mix.

use std::time::Duration;

use serde_json::json;
use wasm_tests::{Discovery, Stack, connection_manager, corpus::scripted, plugin};

/// Waits until a filter's gauge has the expected value.
pub async fn reaches(stack: &Stack, gauge: &str, filter: &str, expected: u64) {
    let mut value = u64::MAX;
    for _ in 0..60 {
        value = stack.metric(gauge, &[("filter", filter)]).await.unwrap();
        if value == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{gauge} of {filter} is {value} and not {expected}\n{}", stack.envoy_log());
}

/// Asks questions that the service doesn't answer.
async fn hang(stack: &Stack, questions: usize) -> tokio::task::JoinSet<anyhow::Result<wasm_tests::Response>> {
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 60_000})).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..questions {
        waiting.spawn(stack.get("/orders").api_key(&scripted::token(number)).send());
    }
    while stack.counters().await.unwrap()["verify_in_flight"] != questions {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_has_series_of_its_own() {
    let builder = Stack::builder().envoy(|bootstrap| {
        let listener = &mut bootstrap["static_resources"]["listeners"][0];
        let mut second = connection_manager(listener)["http_filters"][0].clone();
        let config = &mut second["typed_config"]["config"];
        config["name"] = json!("second gate.1");
        config["configuration"]["value"]["cache"] = json!({"ttl": "0s"});
        connection_manager(listener)["http_filters"].as_array_mut().unwrap().insert(1, second);
    });
    let stack = builder.start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    for _ in 0..3 {
        assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    }
    for _ in 0..3 {
        reaches(&stack, "auth_cache_entries", "authgate", 1).await;
        reaches(&stack, "auth_cache_entries", "second_gate_1", 0).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for (source, filter, times) in [("cache", "authgate", 2), ("jwt", "authgate", 1), ("jwt", "second_gate_1", 3)] {
        let labels = [("filter", filter), ("source", source), ("outcome", "allow")];
        assert_eq!(stack.metric("auth_validation_requests_total", &labels).await.unwrap(), times, "{labels:?}");
    }
    let metrics = stack.metrics().await.unwrap();
    let page = metrics.page();
    let ours = page.lines().filter(|line| line.starts_with("auth_"));
    for line in ours {
        assert!(line.contains("filter=\"authgate\"") || line.contains("filter=\"second_gate_1\""), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_share_a_label_are_warned_of_once() {
    let builder = Stack::builder().concurrency(2).envoy(|bootstrap| {
        let listener = &mut bootstrap["static_resources"]["listeners"][0];
        let mut second = connection_manager(listener)["http_filters"][0].clone();
        second["typed_config"]["config"]["name"] = json!("a.b");
        plugin(listener)["name"] = json!("a_b");
        connection_manager(listener)["http_filters"].as_array_mut().unwrap().insert(1, second);
    });
    let stack = builder.start().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let log = stack.envoy_log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("are mixed")).collect();
    let expected = ["warning", "\"a.b\"", "\"a_b\"", "filter="];
    assert!(lines.len() == 1 && expected.iter().all(|text| lines[0].contains(text)), "{lines:?}");
}

/// At once or after some seconds of silence: `tests/steps/trapped.rs` tells the difference.
#[tokio::test(flavor = "multi_thread")]
async fn the_counts_of_a_trapped_vm_are_removed() {
    let config = json!({"auth_service": {"timeout": "60s"}});
    let stack = Stack::builder().module("test_module.wasm").config(config).start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    let _waiting = hang(&stack, 7).await;
    reaches(&stack, "auth_callouts_in_flight", "authgate", 7).await;
    reaches(&stack, "auth_cache_entries", "authgate", 1).await;
    let order = stack.get("/orders").bearer(&jwt).header("x-authgate-panic", "request_headers").send().await;
    assert!(order.is_ok_and(|answer| answer.status != 200));
    reaches(&stack, "auth_callouts_in_flight", "authgate", 0).await;
    reaches(&stack, "auth_cache_entries", "authgate", 0).await;
    reaches(&stack, "auth_cache_bytes", "authgate", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callouts_of_a_replaced_configuration_are_subtracted() {
    let builder = Stack::builder().drain_time(1).config(json!({"auth_service": {"timeout": "60s"}}));
    let (stack, mut discovery) = Discovery::start(builder).await.unwrap();
    let _waiting = hang(&stack, 7).await;
    reaches(&stack, "auth_callouts_in_flight", "authgate", 7).await;
    plugin(&mut discovery.listener)["configuration"]["value"]["identity_headers"] = json!({"X-New": "user_id"});
    discovery.publish("2").unwrap();
    reaches(&stack, "auth_callouts_in_flight", "authgate", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_ends_the_feed_empties_its_gauges() {
    let with_feed = json!({"revocation": {"path": "/auth/blacklist", "poll_interval": "1s"}});
    let (stack, mut discovery) = Discovery::start(Stack::builder().drain_time(1).config(with_feed)).await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    let logout = stack.service_request(http::Method::POST, "/auth/jwt/logout").unwrap().bearer(&jwt).send().await;
    assert_eq!(logout.unwrap().status, 204);
    reaches(&stack, "auth_blacklist_size", "authgate", 1).await;
    plugin(&mut discovery.listener)["configuration"]["value"]["revocation"] = json!({"path": null});
    discovery.publish("2").unwrap();
    reaches(&stack, "auth_blacklist_size", "authgate", 0).await;
    reaches(&stack, "auth_blacklist_age_seconds", "authgate", 0).await;
}
