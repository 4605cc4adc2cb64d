//! A filter that ends after an update gives back what it has asked. Its successor doesn't wait for it.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{Discovery, Stack, corpus::scripted, plugin};

/// Longer than the test may take.
const LONG: &str = "60s";

/// Envoy ends a replaced filter after a second.
async fn start(config: Value) -> (Stack, Discovery) {
    Discovery::start(Stack::builder().drain_time(1).config(config)).await.unwrap()
}

/// The service answers the next request of this kind after the test.
async fn hold_the_next(stack: &Stack, kind: &str) {
    stack.fault(json!({"on": kind, "kind": "delay", "delay_ms": 60_000, "times": 1})).await.unwrap();
}

/// Waits until that request has come: it uses up the fault.
async fn is_held(stack: &Stack, kind: &str) {
    let is_left = async || {
        let faults = stack.service_request(Method::GET, "/faults").unwrap().send().await.unwrap();
        faults.text().contains(kind)
    };
    let began = Instant::now();
    while is_left().await {
        assert!(began.elapsed() < Duration::from_secs(30), "no request has come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn replace(discovery: &mut Discovery) {
    plugin(&mut discovery.listener)["configuration"]["value"]["jwt"]["clock_skew"] = json!("7s");
    discovery.publish("2").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_asks_about_a_credential() {
    let (stack, mut discovery) = start(json!({"auth_service": {"timeout": LONG}})).await;
    let token = scripted::token(1);
    hold_the_next(&stack, "verify").await;
    let asks = async {
        let cut = stack.get("/orders").api_key(&token).send().await;
        assert!(cut.is_err() || cut.is_ok_and(|answer| answer.status >= 500), "it ends with its filter");
    };
    let replaces = async {
        is_held(&stack, "verify").await;
        replace(&mut discovery);
    };
    tokio::join!(replaces, asks);
    let asked = Instant::now();
    let answer = stack.get("/orders").api_key(&token).send().await.unwrap();
    assert_eq!(answer.code().as_deref(), Some("token_rejected"), "{}", answer.text());
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_polls_the_feed() {
    let revocation = json!({"path": "/auth/blacklist", "poll_interval": "1s"});
    let (stack, mut discovery) = start(json!({"auth_service": {"timeout": LONG}, "revocation": revocation})).await;
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    hold_the_next(&stack, "blacklist").await;
    is_held(&stack, "blacklist").await;
    replace(&mut discovery);
    let logout = stack.service_request(Method::POST, "/auth/jwt/logout").unwrap().bearer(&jwt).send().await.unwrap();
    assert_eq!(logout.status, 204);
    let revoked = Instant::now();
    // The old filter's connections end meanwhile.
    let code = async || stack.get("/orders").bearer(&jwt).send().await.ok().and_then(|answer| answer.code());
    while code().await.as_deref() != Some("token_revoked") {
        assert!(revoked.elapsed() < Duration::from_secs(30), "it still passes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
