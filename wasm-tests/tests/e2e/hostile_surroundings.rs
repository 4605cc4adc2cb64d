//! Unexpected bytes, answers and clusters: each causes one denial, and the worker keeps serving.

use serde_json::{Value, json};
use wasm_tests::{Request, Response, Stack};

/// The denial's status and code.
fn denial(answer: &Response) -> (u16, String) {
    (answer.status, answer.code().unwrap_or_else(|| answer.text()))
}

/// The only worker still lets a JWT pass, and its VM never failed.
async fn serves_on(stack: &Stack, jwt: &str) {
    let next = stack.get("/orders").bearer(jwt).send().await.unwrap();
    assert_eq!(next.status, 200, "{}", next.text());
    let log = stack.envoy_log();
    for trace in ["panicked", "Wasm VM failed", "Function: proxy_on"] {
        assert!(!log.contains(trace), "{trace}:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_survives_header_bytes_that_are_not_utf8() {
    let stack = Stack::builder().start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    let malformed = stack.get("/orders").header("authorization", b"Bearer \xff\xfe").send().await;
    assert_eq!(malformed.unwrap().status, 401);
    let with = |request: Request, name: &str| request.header(name, b"caf\xe9").bearer(&jwt).send();
    for name in ["x-user-id", "x-anything", "cookie", "user-agent"] {
        let answer = with(stack.get("/orders"), name).await.unwrap();
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
    let spoofed = with(stack.get("/orders"), "x-user-id").await.unwrap().identity().unwrap();
    assert_eq!(spoofed["x-user-id"], "1");
    let answer = stack.raw(b"GET /public/\xff HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n").await.unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.starts_with("HTTP/1.1 4"), "{text}");
    for request in [
        &b"GET /orders HTTP/1.1\r\nHost: a\r\nX-\xff: 1\r\nConnection: close\r\n\r\n"[..],
        b"GET /orders HTTP/1.1\r\nHost: a\r\n\xffuthorization: Bearer x\r\nConnection: close\r\n\r\n",
        b"\xff /orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let answer = stack.raw(request).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
    serves_on(&stack, &jwt).await;
}

/// With this answer to a verification, the request is denied as unverifiable.
async fn is_no_verdict(fault: Value) {
    // A busy machine must not cause an outage.
    let config = json!({"auth_service": {"timeout": "20s"}, "cache": {"negative_ttl": "1s"}});
    let stack = Stack::builder().config(config).start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    let (_, token) = stack.api_token("any").await.unwrap();
    stack.fault(fault.clone()).await.unwrap();
    let answer = stack.get("/orders").api_key(&token).send().await.unwrap();
    assert_eq!(denial(&answer), (503, "auth_service_unavailable".to_owned()), "{fault}");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(stack.upstream_hits(), 0);
    serves_on(&stack, &jwt).await;
    stack.fault(json!({"on": "verify", "kind": "none"})).await.unwrap();
    // An answer without a verdict is remembered for a second.
    let asked_again = async {
        while stack.get("/orders").api_key(&token).send().await.unwrap().status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), asked_again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_survives_a_callout_that_is_reset() {
    is_no_verdict(json!({"on": "verify", "kind": "reset"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_survives_a_callout_that_is_reset_within_its_body() {
    is_no_verdict(json!({"on": "verify", "kind": "reset_mid_body"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_survives_an_answer_of_garbage() {
    is_no_verdict(json!({"on": "verify", "kind": "garbage"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_survives_an_answer_of_fifty_megabytes() {
    is_no_verdict(json!({"on": "verify", "kind": "huge", "megabytes": 50})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_survives_a_service_that_fails() {
    is_no_verdict(json!({"on": "verify", "kind": "status", "status": 500})).await;
}

/// A gateway whose auth cluster can't be called denies requests that need it, and serves the rest.
async fn denies_without_a_cluster(stack: Stack) {
    let token = format!("1${}", "a".repeat(128));
    let denied = stack.get("/orders").api_key(&token).send().await.unwrap();
    assert_eq!(denial(&denied), (503, "auth_service_unavailable".to_owned()));
    let jwt = stack.mint_claims(&wasm_tests::credentials::claims()).await.unwrap();
    let keyless = stack.get("/orders").bearer(&jwt).send().await.unwrap();
    assert_eq!(denial(&keyless), (503, "public_key_unavailable".to_owned()));
    assert_eq!(stack.get("/public/page").send().await.unwrap().status, 200);
    assert_eq!(stack.upstream_hits(), 1);
    assert_eq!(stack.envoy_exit(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_survives_a_missing_cluster() {
    let nowhere = json!({"auth_service": {"cluster": "nowhere"}});
    denies_without_a_cluster(Stack::builder().config(nowhere).start().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_survives_a_cluster_without_endpoints() {
    let emptied = Stack::builder().envoy(|bootstrap| {
        bootstrap["static_resources"]["clusters"][1]["load_assignment"]["endpoints"] = json!([]);
    });
    denies_without_a_cluster(emptied.start().await.unwrap()).await;
}
