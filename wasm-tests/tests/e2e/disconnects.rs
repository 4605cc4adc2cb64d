//! Clients that leave while their request is held.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use wasm_tests::Stack;

const CLIENTS: usize = 10_000;
const AT_ONCE: usize = 250;

/// A metric by its Prometheus name and labels; 0 while it was never touched.
async fn metric(stack: &Stack, series: &str) -> u64 {
    let page = stack.admin("/stats/prometheus").await.unwrap().text();
    let line = page.lines().find(|line| line.starts_with(series) && !line.starts_with('#'));
    line.and_then(|line| line.rsplit_once(' ')).map_or(0, |(_, value)| value.parse().unwrap())
}

/// The memory of Envoy's process that is in use, in MiB.
fn resident(stack: &Stack) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stack.envoy_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_of_them_leave_nothing_behind() {
    let config = json!({"auth_service": {"timeout": "1s", "retries": 0}});
    let stack = Stack::builder().config(config).start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 60_000})).await.unwrap();
    let token = format!("1${}", "a".repeat(128));
    let request = format!("GET /orders HTTP/1.1\r\nHost: gateway\r\nAuthorization: APIKey {token}\r\n\r\n");

    let mut curve = Vec::new();
    let seen = "auth_validation_requests_total{outcome=\"cancelled\"";
    for round in 1..=CLIENTS / AT_ONCE {
        let mut clients = Vec::new();
        for _ in 0..AT_ONCE {
            let mut client = TcpStream::connect(stack.gateway()).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            clients.push(client);
        }
        // All of them are held, and then they leave.
        let in_flight = async || metric(&stack, "auth_callouts_in_flight").await;
        while in_flight().await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(clients);
        let total = (round * AT_ONCE) as u64;
        while metric(&stack, seen).await + metric(&stack, "auth_validation_requests_total{outcome=\"error\"").await
            < total
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if round % 8 == 0 {
            curve.push(resident(&stack));
        }
    }
    println!("resident MiB every {} clients: {curve:?}", 8 * AT_ONCE);
    while metric(&stack, "auth_callouts_in_flight").await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(metric(&stack, seen).await > 0, "nobody left while held");
    assert!(curve.last().unwrap() - curve.first().unwrap() < 20, "memory grows: {curve:?}");
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200);
    assert_eq!(stack.upstream_hits(), 2);
}
