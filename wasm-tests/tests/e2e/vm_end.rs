//! A VM ends because its listener is removed, with callouts under way: the gauges are correct again with the next VM
//! that runs.

use std::{ops::Range, time::Duration};

use serde_json::json;
use tokio::task::JoinSet;
use wasm_tests::{Builder, Discovery, Response, Stack, corpus::scripted, plugin};

use crate::gauges::reaches;

type Waiting = JoinSet<anyhow::Result<Response>>;

/// Envoy drops a removed listener after a second.
fn builder() -> Builder {
    Stack::builder().drain_time(1).config(json!({"auth_service": {"timeout": "60s"}}))
}

/// Lets one client in with a JWT, and makes others wait for the service, each with a token of its own.
async fn occupy(stack: &Stack, listener: &str, tokens: Range<usize>) -> Waiting {
    let jwt = stack.login().await.unwrap().access;
    let known = stack.get_at(listener, "/orders").await.unwrap().bearer(&jwt).send().await.unwrap();
    assert_eq!(known.status, 200, "{}", known.text());
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 60_000})).await.unwrap();
    let under_way = async || stack.counters().await.unwrap()["verify_in_flight"].as_u64().unwrap();
    let before = under_way().await;
    let mut waiting = JoinSet::new();
    for number in tokens {
        waiting.spawn(stack.get_at(listener, "/orders").await.unwrap().api_key(&scripted::token(number)).send());
    }
    let expected = before + u64::try_from(waiting.len()).unwrap();
    while under_way().await != expected {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    waiting
}

/// The number of VMs. Envoy removes the gauge with the last of them.
async fn vms(stack: &Stack) -> u64 {
    let page = stack.admin("/stats?filter=wasm.runtime.v8.active").await.unwrap().text();
    page.trim().rsplit_once(": ").map_or(0, |(_, number)| number.parse().unwrap())
}

/// Waits until at most `left` VMs remain, and until the requests that waited in an ended one have ended.
async fn ended(stack: &Stack, left: u64, waiting: Waiting) {
    let seen = stack.upstream_hits();
    let mut running = u64::MAX;
    for _ in 0..300 {
        running = vms(stack).await;
        if running <= left {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(running <= left, "{running} VMs\n{}", stack.envoy_log());
    for answer in waiting.join_all().await {
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 400));
    }
    assert_eq!(stack.upstream_hits(), seen, "nobody was let in by the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_follows_one_that_ended_counts_from_zero() {
    let (stack, discovery) = Discovery::start(builder()).await.unwrap();
    let waiting = occupy(&stack, "gateway", 0..7).await;
    reaches(&stack, "auth_callouts_in_flight", "authgate", 7).await;
    reaches(&stack, "auth_cache_entries", "authgate", 1).await;

    discovery.publish_all("2", &[]).unwrap();
    ended(&stack, 0, waiting).await;
    discovery.publish("3").unwrap();
    while stack.get_at("gateway", "/orders").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for gauge in ["auth_callouts_in_flight", "auth_cache_entries", "auth_cache_bytes"] {
        reaches(&stack, gauge, "authgate", 0).await;
    }
    reaches(&stack, "auth_build_info", "authgate", 1).await;
    let _waiting = occupy(&stack, "gateway", 10..12).await;
    reaches(&stack, "auth_callouts_in_flight", "authgate", 2).await;
    reaches(&stack, "auth_cache_entries", "authgate", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gauges_leave_out_a_vm_that_has_ended() {
    let (stack, mut discovery) = Discovery::start(builder()).await.unwrap();
    let first = discovery.listener.clone();
    let alone = vms(&stack).await;
    // The same filter in its own VM, which has another configuration. The two share their data.
    let second = &mut discovery.listener;
    second["name"] = json!("second");
    second["address"]["socket_address"]["port_value"] = json!(0);
    plugin(second)["vm_config"]["configuration"] =
        json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "second"});
    discovery.publish_all("2", &[&first, &discovery.listener]).unwrap();
    while stack.get_at("second", "/orders").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(vms(&stack).await > alone, "the second has none of its own");
    let waiting = occupy(&stack, "gateway", 0..7).await;
    let _waiting = occupy(&stack, "second", 10..13).await;
    reaches(&stack, "auth_callouts_in_flight", "authgate", 10).await;
    reaches(&stack, "auth_cache_entries", "authgate", 2).await;

    discovery.publish("3").unwrap();
    ended(&stack, alone, waiting).await;
    // A silent VM's counts aren't dropped this soon.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (gauge, expected) in [("auth_callouts_in_flight", 3), ("auth_cache_entries", 1), ("auth_build_info", 1)] {
        assert_eq!(stack.metric(gauge, &[("filter", "authgate")]).await.unwrap(), expected, "{gauge}");
    }
}
