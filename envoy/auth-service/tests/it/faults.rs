//! `/faults`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::support::{Service, answer, claims, mint, refusal, rs256, start, start_with_faults};

/// Sends a `GET` on a new connection, and returns all that comes back until it is closed.
async fn raw_get(addr: SocketAddr, path: &'static str) -> Vec<u8> {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
    .await
    .unwrap()
}

async fn health(service: &Service) -> u16 {
    service.send(service.get("/health")).await.status().as_u16()
}

#[tokio::test]
async fn without_the_option_there_are_no_faults() {
    let service = start().await;
    for path in ["/faults", "/faults/counters", "/faults/private-key"] {
        assert_eq!(refusal(service.get(path)).await.0, 404);
    }
    assert_eq!(refusal(service.post("/faults/rotate")).await.0, 404);
}

#[tokio::test]
async fn requests_are_counted_even_when_they_meet_a_fault() {
    let service = start_with_faults().await;
    service.login("alice").await;
    service.fault(json!({"on": "verify", "kind": "status", "status": 503})).await;
    for _ in 0..3 {
        assert_eq!(answer(service.verify_jwt("a.b.c")).await.0, 503);
    }
    service.blacklist(None).await;
    let _ = answer(service.get("/nowhere")).await;
    let none = json!({
        "verify": 0, "public_key": 0, "login": 0, "refresh": 0, "logout": 0, "blacklist": 0, "tokens": 0, "health": 0, "other": 0,
        "verify_in_flight": 0, "verify_peak_in_flight": 0, "verify_by_credential": {},
    });
    let mut expected = none.clone();
    for (name, count) in [("verify", 3), ("login", 1), ("blacklist", 1), ("other", 1), ("verify_peak_in_flight", 1)] {
        expected[name] = json!(count);
    }
    // The first digits of SHA-256("a.b.c").
    expected["verify_by_credential"] = json!({"845e3044": 3});
    assert_eq!(service.counters().await, expected);
    assert_eq!(service.send(service.post("/faults/counters/reset")).await.status(), 204);
    assert_eq!(service.counters().await, none);
}

#[tokio::test]
async fn a_fault_answers_with_its_status_the_given_number_of_times() {
    let service = start_with_faults().await;
    service.fault(json!({"on": "health", "kind": "status", "times": 2, "headers": [["retry-after", "7"]]})).await;
    let response = service.send(service.get("/health")).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (500, "7"));
    assert!(response.json::<Value>().await.unwrap()["error"].is_string());
    let (_, shown) = answer(service.get("/faults")).await;
    assert_eq!(
        shown,
        json!([{
            "on": "health", "kind": "status", "delay_ms": 0, "headers": [["retry-after", "7"]], "megabytes": 50, "times": 1,
        }])
    );
    assert_eq!(health(&service).await, 500);
    assert_eq!(health(&service).await, 200);
    assert_eq!(answer(service.get("/faults")).await.1, json!([]));
}

#[tokio::test]
async fn a_fault_of_an_endpoint_comes_before_one_of_all() {
    let service = start_with_faults().await;
    service.fault(json!({"on": "verify", "kind": "status", "status": 501})).await;
    service.fault(json!({"on": "all", "kind": "status", "status": 502})).await;
    assert_eq!(answer(service.verify_jwt("x")).await.0, 502);
    service.fault(json!({"on": "verify", "kind": "status", "status": 503})).await;
    service.fault(json!({"on": "health", "kind": "none"})).await;
    assert_eq!(answer(service.verify_jwt("x")).await.0, 503);
    assert_eq!(health(&service).await, 200);
    assert_eq!(answer(service.get("/iam/public-key")).await.0, 502);
    service.fault(json!({"on": "all", "kind": "none"})).await;
    assert_eq!(answer(service.verify_jwt("x")).await.0, 401);
    assert_eq!(answer(service.get("/faults")).await.1, json!([]));
}

#[tokio::test]
async fn a_fault_breaks_the_connection() {
    let service = start_with_faults().await;
    let addr = service.server.addr();
    service.fault(json!({"on": "public_key", "kind": "reset"})).await;
    assert_eq!(raw_get(addr, "/iam/public-key").await, b"");
    assert!(service.get("/iam/public-key").send().await.is_err());

    service.fault(json!({"on": "public_key", "kind": "reset_mid_body"})).await;
    let bytes = String::from_utf8(raw_get(addr, "/iam/public-key").await).unwrap();
    let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-length: 1000"), "{head}");
    assert_eq!(body, "{\"exp\": 1");
    let response = service.get("/iam/public-key").send().await.unwrap();
    assert!(response.bytes().await.is_err());

    service.fault(json!({"on": "public_key", "kind": "none"})).await;
    assert_eq!(answer(service.get("/iam/public-key")).await.0, 200);
}

#[tokio::test]
async fn a_fault_sends_an_unusable_body() {
    let service = start_with_faults().await;
    service.fault(json!({"on": "blacklist", "kind": "garbage"})).await;
    let body = service.send(service.get("/auth/blacklist")).await.bytes().await.unwrap();
    assert!(std::str::from_utf8(&body).is_err());

    service.fault(json!({"on": "blacklist", "kind": "huge", "megabytes": 3})).await;
    let response = service.send(service.get("/auth/blacklist")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.unwrap().len(), 3 << 20);
}

#[tokio::test]
async fn a_fault_sends_raw_bytes() {
    let service = start_with_faults().await;
    let raw = |rest: Value| {
        let mut fault = json!({"on": "verify", "kind": "raw"});
        fault.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        fault
    };
    service
        .fault(raw(json!({"status": 418, "headers": [["x-a", "1"], ["x-a", "2"]], "body": "short and stout"})))
        .await;
    let response = service.send(service.verify_jwt("x")).await;
    assert_eq!(response.status(), 418);
    assert_eq!(response.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(!response.headers().contains_key("cache-control"));
    assert_eq!(response.text().await.unwrap(), "short and stout");

    service.fault(raw(json!({"body_base64": "/wA="}))).await;
    let response = service.send(service.verify_jwt("x")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(&response.bytes().await.unwrap()[..], b"\xff\0");

    service.fault(raw(json!({"headers": [["Content-Length", "5"]], "body": "whole"}))).await;
    assert_eq!(service.send(service.verify_jwt("x")).await.text().await.unwrap(), "whole");
    service.fault(raw(json!({"headers": [["content-length", "99"]], "body": "cut"}))).await;
    let bytes = String::from_utf8(raw_get(service.server.addr(), "/auth/verify").await).unwrap();
    assert!(bytes.contains("content-length: 99") && bytes.ends_with("\r\n\r\ncut"), "{bytes}");
}

#[tokio::test]
async fn bad_faults_are_refused() {
    let service = start_with_faults().await;
    for fault in [
        json!({"kind": "reset"}),
        json!({"on": "everything", "kind": "reset"}),
        json!({"on": "all", "kind": "explode"}),
        json!({"on": "all", "kind": "status", "status": 100}),
        json!({"on": "all", "kind": "raw", "headers": [["a b", "c"]]}),
        json!({"on": "all", "kind": "raw", "headers": [["a", "b\nc"]]}),
        json!({"on": "all", "kind": "raw", "body_base64": "?"}),
        json!({"on": "all", "kind": "raw", "body_base64": "", "body": ""}),
        json!({"on": "all", "kind": "raw", "colour": "red"}),
    ] {
        assert_eq!(refusal(service.put("/faults").json(&fault)).await.0, 400, "{fault}");
    }
    assert_eq!(health(&service).await, 200);
}

#[tokio::test]
async fn a_delayed_request_is_in_flight_until_it_is_answered_or_given_up() {
    let service = start_with_faults().await;
    service.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 3_600_000, "times": 1})).await;
    let waiting = tokio::spawn(service.verify_jwt("a.b.c").send());
    while service.counters().await["verify_in_flight"] != 1 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    while service.counters().await["verify_in_flight"] != 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.counters().await["verify"], 1);
    assert_eq!(service.counters().await["verify_peak_in_flight"], 1);

    service.fault(json!({"on": "verify", "kind": "status", "status": 504, "delay_ms": 20})).await;
    let started = std::time::Instant::now();
    assert_eq!(answer(service.verify_jwt("a.b.c")).await.0, 504);
    assert!(started.elapsed().as_millis() >= 20);
}

#[tokio::test]
async fn a_rotation_replaces_the_key() {
    let service = start_with_faults().await;
    let (access, _) = service.login("alice").await;
    let public_key = async || answer(service.get("/iam/public-key")).await.1;
    let (before, old) = (public_key().await, service.private_key().await);
    let (status, rotated) = answer(service.post("/faults/rotate")).await;
    assert_eq!(status, 200);
    assert_eq!(public_key().await, rotated);
    assert_ne!(rotated, before);
    let new = service.private_key().await;
    assert!(new.starts_with("-----BEGIN PRIVATE KEY-----\n") && new != old);

    let invalid = (401, "Token has an invalid signature".to_owned());
    assert_eq!(refusal(service.verify_jwt(&access)).await, invalid);
    assert_eq!(answer(service.verify_jwt(&mint(&new, &rs256(), &claims(&access)))).await.0, 200);
    assert_eq!(answer(service.verify_jwt(&service.login("alice").await.0)).await.0, 200);
    assert_ne!(answer(service.post("/faults/rotate")).await.1, rotated);
}
