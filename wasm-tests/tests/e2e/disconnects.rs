//! Clients that leave while their request is held.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wasm_tests::{Stack, corpus::scripted};

const CLIENTS: usize = 10_000;
const AT_ONCE: usize = 250;

/// The number of callouts under way.
async fn in_flight(stack: &Stack) -> u64 {
    stack.metric("auth_callouts_in_flight", &[]).await.unwrap()
}

/// The number of questions that have reached the service. The filter's own metrics lag by a second.
async fn asked(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

/// The number of requests with one of these outcomes.
async fn ended(stack: &Stack, outcomes: &[&str]) -> u64 {
    let metrics = stack.metrics().await.unwrap();
    let of = |outcome: &&str| metrics.value("auth_validation_requests_total", &[("outcome", outcome)]).unwrap();
    outcomes.iter().map(of).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_disconnects_leave_nothing_behind() {
    let stack = Stack::builder().config(json!({"auth_service": {"timeout": "30s"}})).start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 500})).await.unwrap();

    let mut curve = Vec::new();
    for round in 1..=CLIENTS / AT_ONCE {
        let before = asked(&stack).await;
        let mut clients = Vec::new();
        for client in 0..AT_ONCE {
            // Each request has its own token: requests with the same token wait for the same callout.
            let token = scripted::token(round * AT_ONCE + client);
            let request = format!("GET /orders HTTP/1.1\r\nHost: gateway\r\nAuthorization: APIKey {token}\r\n\r\n");
            let mut client = TcpStream::connect(stack.gateway()).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            clients.push(client);
        }
        // All of them are held, except those that are answered already because the machine is busy. Then the clients leave.
        while asked(&stack).await < before + AT_ONCE as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(clients);
        let total = (round * AT_ONCE) as u64;
        while ended(&stack, &["cancelled", "deny"]).await < total {}
        // The callouts go on without their clients.
        while in_flight(&stack).await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if round % 8 == 0 {
            curve.push(stack.memory().unwrap() >> 20);
        }
    }
    println!("resident MiB every {} clients: {curve:?}", 8 * AT_ONCE);
    assert!(ended(&stack, &["cancelled"]).await > 0, "nobody left while held");
    assert!(curve.last().unwrap() - curve.first().unwrap() < 20, "memory grows: {curve:?}");
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    assert_eq!(stack.upstream_hits(), 2);
}
