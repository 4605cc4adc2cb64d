//! A panic in the module: the VM is recreated, and no request passes unauthenticated meanwhile.
//!
//! The module is the filter with panics on demand, because no known input makes the real one trap.

use std::time::{Duration, Instant};

use serde_json::json;
use wasm_tests::{Response, Stack, connection_manager, corpus::scripted};

/// The header that names the callback that panics next.
const ORDER: &str = "x-authgate-panic";

/// The shipped configuration, with trailers: by default Envoy drops them from HTTP/1.
fn builder() -> wasm_tests::Builder {
    Stack::builder().module("test_module.wasm").envoy(|bootstrap| {
        let listener = &mut bootstrap["static_resources"]["listeners"][0];
        connection_manager(listener)["http_protocol_options"] = json!({"enable_trailers": true});
    })
}

/// The gateway's answer, or `None` if it gave none.
async fn ask(stack: &Stack, jwt: Option<&str>) -> Option<Response> {
    let request = stack.get("/orders");
    match jwt {
        Some(jwt) => request.bearer(jwt),
        None => request,
    }
    .send()
    .await
    .ok()
}

async fn serves_again_after_a_panic_in(callback: &str) {
    let stack = builder().start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    let (_, token) = stack.api_token("any").await.unwrap();
    assert_eq!(ask(&stack, Some(&jwt)).await.unwrap().status, 200);

    // A request with an API token passes through every callback of a stream. The tick comes by itself.
    let order = format!(
        "POST /orders HTTP/1.1\r\nHost: a\r\nAuthorization: APIKey {token}\r\n{ORDER}: {callback}\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nbody\r\n0\r\nend: 1\r\n\r\n"
    );
    let answer = String::from_utf8_lossy(&stack.raw(order.as_bytes()).await.unwrap()).into_owned();
    let as_the_owner = answer.contains(r#"["x-user-id","1"]"#);
    assert!(!answer.starts_with("HTTP/1.1 200") || as_the_owner, "let through as somebody it isn't: {answer}");
    let trapped = Instant::now();
    let mut served = false;
    while !served {
        assert!(trapped.elapsed() < Duration::from_secs(20), "not served again:\n{}", stack.envoy_log());
        if let Some(nobody) = ask(&stack, None).await {
            assert!(matches!(nobody.status, 401 | 500 | 503), "{}: {}", nobody.status, nobody.text());
        }
        // Counted at the upstream, because the trap may take the response away.
        assert_eq!(stack.anonymous_upstream_hits(), 0, "a request without a credential passed");
        if let Some(answer) = ask(&stack, Some(&jwt)).await {
            if answer.status == 200 {
                assert_eq!(answer.identity().unwrap()["x-user-id"], "1");
            }
            served = answer.status == 200 && stack.envoy_log().contains(&format!("injected at {callback}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{callback}: served again {:?} after the order", trapped.elapsed());
    // At most three seconds after the trap (SECURITY.md). An ordered panic in the tick may take another second.
    let until_trap = Duration::from_secs(u64::from(callback == "tick"));
    assert!(trapped.elapsed() < until_trap + Duration::from_secs(3), "{:?}", trapped.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_again_after_a_trap_at_the_start_of_a_stream() {
    serves_again_after_a_panic_in("create_context").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_again_after_a_trap_in_a_request() {
    serves_again_after_a_panic_in("request_headers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_again_after_a_trap_in_a_body() {
    serves_again_after_a_panic_in("request_body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_again_after_a_trap_in_trailers() {
    serves_again_after_a_panic_in("request_trailers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_again_after_a_trap_in_actions() {
    serves_again_after_a_panic_in("carry_out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_again_after_a_trap_in_an_answer() {
    serves_again_after_a_panic_in("call_response").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_again_after_a_trap_at_the_end_of_a_stream() {
    serves_again_after_a_panic_in("done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_again_after_a_trap_in_a_tick() {
    serves_again_after_a_panic_in("tick").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_waited_in_a_trapped_vm_end_within_the_idle_timeout() {
    let builder = builder().envoy(|bootstrap| {
        connection_manager(&mut bootstrap["static_resources"]["listeners"][0])["stream_idle_timeout"] = json!("3s");
    });
    let stack = builder.start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 60_000})).await.unwrap();

    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..20 {
        // Each request has its own token: requests with the same token wait for the same callout.
        waiting.spawn(stack.get("/orders").api_key(&scripted::token(number)).send());
    }
    while stack.counters().await.unwrap()["verify_in_flight"] != 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let order = stack.get("/orders").bearer(&jwt).header(ORDER, "request_headers").send().await;
    assert!(order.is_ok_and(|answer| answer.status != 200));
    for answer in waiting.join_all().await {
        let answer = answer.unwrap();
        assert!(answer.status >= 400, "{}", answer.text());
        assert!(answer.elapsed < Duration::from_secs(8), "{:?}", answer.elapsed);
    }
    assert_eq!(stack.upstream_hits(), 0);
}
