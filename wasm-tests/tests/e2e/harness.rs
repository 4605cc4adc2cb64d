//! The harness itself: its requests arrive, and the processes that it starts stop.

use std::{path::PathBuf, time::Duration};

use http::Method;
use serde_json::json;
use tokio::net::TcpStream;
use wasm_tests::{
    Protocol, Stack,
    credentials::{claims, claims_of},
};

/// A stack whose gateway lets every request through.
async fn open_gateway() -> Stack {
    Stack::builder().without_filter().without_auth_service().start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_reports_the_whole_request() {
    let stack = open_gateway().await;
    let answer = stack
        .post("/a%2Fb/..%2Fc?q=1")
        .header("x-twice", "one")
        .header("x-twice", "two")
        .header("x-bytes", b"caf\xe9")
        .body("abc")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let echo = answer.upstream().unwrap();
    assert_eq!((echo.method.as_str(), echo.path.as_str()), ("POST", "/a%2Fb/..%2Fc?q=1"));
    assert_eq!(echo.all("x-twice"), ["one", "two"]);
    let bytes = echo.headers.iter().find(|header| header[0] == "x-bytes").unwrap();
    assert_eq!(bytes[1..], ["caf\u{fffd}", "Y2Fm6Q=="]);
    assert_eq!(echo.body_bytes, 3);
    assert_eq!(echo.body_sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(stack.upstream_hits(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_use_the_requested_protocol_and_host() {
    let stack = open_gateway().await;
    let first = stack.get("/").host("one.example").send().await.unwrap();
    assert_eq!(first.version, http::Version::HTTP_11);
    assert_eq!(first.upstream().unwrap().all("host"), ["one.example"]);
    let second = stack.get("/").host("two.example").http2().send().await.unwrap();
    assert_eq!(second.version, http::Version::HTTP_2);
    assert_eq!(second.upstream().unwrap().all("host"), ["two.example"]);

    let other =
        Stack::builder().without_filter().without_auth_service().protocol(Protocol::Http2).start().await.unwrap();
    assert_eq!(other.get("/").send().await.unwrap().version, http::Version::HTTP_2);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_bytes_reach_the_gateway() {
    let stack = open_gateway().await;
    let answer = stack.raw(b"GET /raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("\"path\":\"/raw\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stack_leaves_nothing_behind() {
    let stack = open_gateway().await;
    let (gateway, upstream) = (stack.gateway(), stack.upstream_address());
    let process = PathBuf::from(format!("/proc/{}", stack.envoy_id()));
    let folder = stack.folder().to_owned();
    assert!(folder.join("envoy.log").exists());
    assert!(process.exists() || cfg!(not(target_os = "linux")));
    drop(stack);
    assert!(!folder.exists());
    assert!(!process.exists());
    assert!(TcpStream::connect(gateway).await.is_err());
    // The upstream is a task, which ends when it next runs.
    let closed = async {
        while TcpStream::connect(upstream).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_that_envoy_refuses_is_an_error_with_its_log() {
    let refused = Stack::builder()
        .without_filter()
        .without_auth_service()
        .envoy(|bootstrap| bootstrap["static_resources"]["listeners"][0]["nonsense"] = json!(1))
        .start()
        .await;
    let error = format!("{:#}", refused.unwrap_err());
    assert!(error.contains("nonsense"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_admin_page_and_log_can_be_read() {
    let stack = open_gateway().await;
    assert_eq!(stack.admin("/ready").await.unwrap().text().trim(), "LIVE");
    assert!(stack.envoy_log().contains("all clusters initialized"), "{}", stack.envoy_log());
    assert_eq!(stack.envoy_exit(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_auth_service_keeps_key_and_port_over_a_restart() {
    let mut stack = Stack::builder().without_filter().start().await.unwrap();
    let key = public_key(&stack).await;
    let address = stack.service_address().unwrap();
    stack.stop_auth().await;
    assert!(TcpStream::connect(address).await.is_err());
    stack.start_auth().await.unwrap();
    assert_eq!(public_key(&stack).await, key);
    stack.rotate().await.unwrap();
    assert_ne!(public_key(&stack).await, key);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_accepts_minted_claims_until_it_rotates() {
    let mut stack = Stack::builder().without_filter().start().await.unwrap();
    let mut altered = claims_of(&stack.login().await.unwrap().access).unwrap();
    altered["jti"] = claims()["jti"].clone();
    let jwt = stack.mint_claims(&altered).await.unwrap();
    assert_eq!(claims_of(&jwt).unwrap(), altered);
    assert_eq!(verify(&stack, &jwt).await, 200);
    stack.rotate().await.unwrap();
    assert_eq!(verify(&stack, &jwt).await, 401);
    let again = stack.mint_claims(&altered).await.unwrap();
    assert_eq!(verify(&stack, &again).await, 200);
}

async fn public_key(stack: &Stack) -> String {
    let request = stack.service_request(Method::GET, "/iam/public-key").unwrap();
    let answer = request.send().await.unwrap();
    answer.json().unwrap()["public_key"].as_str().unwrap().to_owned()
}

async fn verify(stack: &Stack, jwt: &str) -> u16 {
    let path = "/auth/verify?header_types=jwt&response_format=json_body";
    let request = stack.service_request(Method::GET, path).unwrap();
    request.bearer(jwt).send().await.unwrap().status
}
