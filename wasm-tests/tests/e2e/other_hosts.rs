//! The key and the revocation list come from other hosts than the one that verifies credentials. Checks what the
//! callouts to each host carry of a request.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::{Value, json};
use wasm_tests::{
    Stack,
    corpus::{keys, tokens},
};

use crate::noting;

/// A host that serves its own key and an empty list, and knows no credential.
fn answer(path: &str) -> Response {
    match path {
        "/iam/public-key" => Json(json!({"public_key": keys::Signer::trusted().public_pem()})).into_response(),
        "/auth/blacklist" => Json(json!({"cursor": "c", "revoked": []})).into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Another cluster with one host.
pub fn add_cluster(bootstrap: &mut Value, name: &str, port: u16) {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address}}]},
        ]},
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_and_the_list_come_from_the_configured_hosts() {
    let (port, heads) = noting::start(answer).await;
    let config = json!({
        "jwt": {"public_key": {"cluster": "keys", "authority": "keys.internal"}},
        "revocation": {"path": "/auth/blacklist", "cluster": "keys"},
    });
    let builder = Stack::builder().config(config).envoy(move |bootstrap| add_cluster(bootstrap, "keys", port));
    let stack = builder.start().await.unwrap();
    let (_, token) = stack.api_token("any").await.unwrap();
    let by_key = stack.get("/orders").bearer(&tokens::good()).send().await.unwrap();
    assert_eq!(by_key.status, 200, "signed by the key of the other host: {}", by_key.text());
    let by_service = stack.get("/orders").api_key(&token).send().await.unwrap();
    assert_eq!(by_service.status, 200, "the service verifies: {}", by_service.text());
    let heads = heads.lock().unwrap().clone();
    for (path, host) in [("/iam/public-key", "keys.internal"), ("/auth/blacklist", "keys")] {
        let head = heads.iter().find(|head| head.path == path).map(|head| head.headers["host"].as_str());
        assert_eq!(head, Some(host), "{path}");
    }
    assert!(!heads.iter().any(|head| head.path == "/auth/verify"), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callout_carries_the_requests_trace() {
    let (port, heads) = noting::start(answer).await;
    let config = json!({
        "auth_service": {"cluster": "other", "forward_headers": ["x-request-id", "traceparent", "x-tenant"]},
    });
    let builder = Stack::builder().config(config).envoy(move |bootstrap| add_cluster(bootstrap, "other", port));
    let stack = builder.start().await.unwrap();
    let request = stack.get("/orders").api_key(&format!("1${}", "a".repeat(128)));
    let request = request.header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let request = request.header("x-tenant", "a b").header("tracestate", "a=1").header("cookie", "a=1");
    assert_eq!(request.send().await.unwrap().status, 401);
    let heads = heads.lock().unwrap().clone();
    let head = &heads.iter().find(|head| head.path == "/auth/verify").unwrap().headers;
    assert!(head["traceparent"].starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{head:?}");
    assert!(!head["x-request-id"].is_empty(), "Envoy's own");
    for name in ["x-tenant", "tracestate", "cookie"] {
        assert_eq!(head.get(name), None, "{name}");
    }
}
