//! Methods in other letter cases, HEAD, and what a preflight request must not open.

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Stack,
    corpus::{self, raw},
};

const ORIGIN: &str = "https://app.example.com";

fn allow_upgrades(bootstrap: &mut Value) {
    let manager =
        bootstrap.pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config").unwrap();
    manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]);
    manager["http2_protocol_options"]["allow_connect"] = json!(true);
}

async fn stack(config: Value) -> Stack {
    let builder = Stack::builder().config(corpus::config()).config(config).fault(corpus::trusted_key());
    builder.envoy(allow_upgrades).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_is_the_same_in_any_letter_case() {
    let stack = stack(json!({"rules": [
        {"match": {"prefix": "/", "methods": ["DELETE"]}, "require": {"token_types": ["api_token"]}},
        {"match": {"prefix": "/"}, "public": true},
    ]}))
    .await;
    for method in ["DELETE", "delete", "Delete", "dELETE"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = stack.request(method.clone(), "/x").http2().send().await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("missing_credentials"), "{method}");
    }
    assert_eq!(stack.upstream_hits(), 0);
    assert_eq!(stack.request(Method::PUT, "/x").http2().send().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_get_covers_head() {
    let stack = stack(json!({"rules": [{"match": {"prefix": "/x", "methods": ["GET"]}, "public": true}]})).await;
    for (method, status) in [(Method::GET, 200), (Method::HEAD, 200), (Method::POST, 401)] {
        let answer = stack.request(method.clone(), "/x").send().await.unwrap();
        assert_eq!(answer.status, status, "{method}");
    }
}

/// A preflight request with these lines added to its head.
fn preflight(lines: &str, rest: &str) -> Vec<u8> {
    format!(
        "OPTIONS /x HTTP/1.1\r\nHost: a.example\r\nOrigin: {ORIGIN}\r\nAccess-Control-Request-Method: PUT\r\n{lines}\r\n{rest}"
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_request_opens_no_tunnel_and_brings_no_body() {
    let stack = stack(json!({"responses": {"cors_origins": [ORIGIN]}})).await;
    let close = "Connection: close\r\n";
    for lines in ["", "Content-Length: 0\r\n"] {
        let answer = raw(stack.gateway(), &preflight(&format!("{lines}{close}"), "")).await.unwrap();
        assert!(answer.upstream().is_some(), "{lines:?}: {}", answer.head);
    }
    let before = stack.upstream_hits();
    for (lines, rest) in [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", ""),
        ("Connection: Upgrade, close\r\nUpgrade: websocket\r\n", ""),
        ("Content-Length: 5\r\nConnection: close\r\n", "drop!"),
        ("Transfer-Encoding: chunked\r\nConnection: close\r\n", "5\r\ndrop!\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nConnection: close\r\n", "0\r\n\r\n"),
    ] {
        let answer = raw(stack.gateway(), &preflight(lines, rest)).await.unwrap();
        assert_eq!(answer.seen(), "401 missing_credentials", "{lines:?}: {}", answer.head);
    }
    let with = |body: &'static str| {
        let request = stack.request(Method::OPTIONS, "/x").http2().header("origin", ORIGIN);
        request.header("access-control-request-method", "PUT").body(body)
    };
    assert_eq!(with("drop!").send().await.unwrap().code().as_deref(), Some("missing_credentials"));
    assert_eq!(stack.upstream_hits(), before);
    assert_eq!(with("").send().await.unwrap().status, 200);
}
