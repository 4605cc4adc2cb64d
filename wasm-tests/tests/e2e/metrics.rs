//! What `/stats/prometheus` shows of the cache, the breaker and the revocation list, as in docs/reference.md#metrics.

use std::time::Duration;

use http::Method;
use serde_json::json;
use wasm_tests::{Stack, corpus::scripted};

use crate::feed;

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_the_cache_the_breaker_and_the_revocation_list() {
    let config = json!({
        "auth_service": {"retries": 0, "timeout": "20s"},
        "circuit_breaker": {"failures": 2, "open_for": "1h"},
        "cache": {"max_entries": 1},
    });
    let stack = Stack::builder().config(config).config(feed::config()).start().await.unwrap();
    let value = async |name: &str, labels: &[(&str, &str)]| stack.metric(name, labels).await.unwrap();
    let events = async |event: &str| value("auth_cache_events_total", &[("event", event)]).await;
    let (_, token) = stack.api_token("any").await.unwrap();
    let [left, stays] = [stack.login().await.unwrap().access, stack.login().await.unwrap().access];

    for _ in 0..3 {
        assert_eq!(stack.get("/orders").api_key(&token).send().await.unwrap().status, 200);
    }
    assert_eq!((events("miss").await, events("hit").await), (1, 2));
    // The gauge is updated at the next tick.
    let ticked = async {
        while value("auth_cache_entries", &[]).await != 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ticked).await.unwrap();
    let bytes = value("auth_cache_bytes", &[]).await;
    assert!((200..4096).contains(&bytes), "{bytes} bytes of one entry");
    // The cache has room for one entry.
    assert_eq!(stack.get("/orders").bearer(&left).send().await.unwrap().status, 200);
    assert_eq!((events("evict").await, value("auth_cache_entries", &[]).await), (1, 1));

    for _ in 0..2 {
        assert_eq!(stack.get("/orders").api_key(&scripted::token(1000)).send().await.unwrap().status, 401);
    }
    assert_eq!(events("negative").await, 1);

    feed::is_read(&stack).await;
    assert!(value("auth_blacklist_polls_total", &[("outcome", "success")]).await >= 1);
    assert_eq!(value("auth_blacklist_size", &[]).await, 0);
    let logout = stack.service_request(Method::POST, "/auth/jwt/logout").unwrap().bearer(&left).send().await.unwrap();
    assert_eq!(logout.status, 204);
    feed::is_read(&stack).await;
    assert_eq!(value("auth_blacklist_size", &[]).await, 1);
    assert_eq!(stack.get("/orders").bearer(&left).send().await.unwrap().status, 401);
    assert_eq!(value("auth_blacklist_checks_total", &[("result", "revoked")]).await, 1);
    assert_eq!(stack.get("/orders").bearer(&stays).send().await.unwrap().status, 200);
    assert!(value("auth_blacklist_checks_total", &[("result", "clear")]).await >= 1);

    assert_eq!(value("auth_breaker_state", &[]).await, 0);
    stack.fault(json!({"on": "verify", "kind": "status", "status": 503})).await.unwrap();
    for number in 1..=2 {
        assert_eq!(stack.get("/orders").api_key(&scripted::token(1000 + number)).send().await.unwrap().status, 503);
    }
    assert_eq!(value("auth_breaker_state", &[]).await, 2);

    types_are_told(&stack).await;
}

async fn types_are_told(stack: &Stack) {
    let metrics = stack.metrics().await.unwrap();
    let page = metrics.page();
    for (name, kind) in [
        ("auth_cache_events_total", "counter"),
        ("auth_cache_entries", "gauge"),
        ("auth_cache_bytes", "gauge"),
        ("auth_breaker_state", "gauge"),
        ("auth_blacklist_size", "gauge"),
        ("auth_blacklist_checks_total", "counter"),
        ("auth_blacklist_polls_total", "counter"),
    ] {
        assert!(page.contains(&format!("# TYPE {name} {kind}\n")), "{name}:\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_shared_and_stale_answers() {
    let config = json!({"cache": {"ttl": "1s"}, "auth_service": {"retries": 0, "timeout": "20s"}});
    let stack = Stack::builder().config(config).start().await.unwrap();
    let events = async |event: &str| stack.metric("auth_cache_events_total", &[("event", event)]).await.unwrap();
    let (_, token) = stack.api_token("any").await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 1000})).await.unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..10 {
        requests.spawn(stack.get("/orders").api_key(&token).send());
    }
    assert!(requests.join_all().await.into_iter().all(|answer| answer.unwrap().status == 200));
    assert!(events("coalesced").await > 0);

    stack.fault(json!({"on": "verify", "kind": "status", "status": 500})).await.unwrap();
    assert_eq!(events("stale").await, 0);
    while events("stale").await == 0 {
        assert_eq!(stack.get("/orders").api_key(&token).send().await.unwrap().status, 200);
    }
    let labels = [("outcome", "allow"), ("source", "stale")];
    assert!(stack.metric("auth_validation_requests_total", &labels).await.unwrap() > 0);
}
