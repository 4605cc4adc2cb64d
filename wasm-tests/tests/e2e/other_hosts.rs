//! The key and the revocation list served by other hosts than the one that verifies credentials, and what of a request
//! goes along with its callout.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use wasm_tests::{
    Stack,
    corpus::{keys, tokens},
};

type Heads = Arc<Mutex<Vec<(String, BTreeMap<String, String>)>>>;

/// A host that serves a key of its own and an empty list, knows nobody, and notes what it is asked.
async fn noting_host() -> (u16, Heads) {
    async fn note(State(heads): State<Heads>, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let head = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        heads.lock().unwrap().push((path.clone(), head));
        match path.as_str() {
            "/iam/public-key" => Json(json!({"public_key": keys::Signer::trusted().public_pem()})).into_response(),
            "/auth/blacklist" => Json(json!({"cursor": "c", "revoked": []})).into_response(),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Heads::default();
    let app = Router::new().fallback(note).with_state(Arc::clone(&heads));
    tokio::spawn(async move { drop(axum::serve(listener, app).await) });
    (port, heads)
}

/// Another cluster with one host.
fn add_cluster(bootstrap: &mut Value, name: &str, port: u16) {
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
    let (port, heads) = noting_host().await;
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
        let head = heads.iter().find(|(asked, _)| asked == path).map(|(_, head)| head["host"].clone());
        assert_eq!(head.as_deref(), Some(host), "{path}");
    }
    assert!(!heads.iter().any(|(path, _)| path == "/auth/verify"), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callout_carries_the_requests_trace() {
    let (port, heads) = noting_host().await;
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
    let (_, head) = heads.iter().find(|(path, _)| path == "/auth/verify").unwrap();
    assert!(head["traceparent"].starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{head:?}");
    assert!(!head["x-request-id"].is_empty(), "Envoy's own");
    for name in ["x-tenant", "tracestate", "cookie"] {
        assert_eq!(head.get(name), None, "{name}");
    }
}
