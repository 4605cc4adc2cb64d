//! The pages that the gateway serves itself: status, metadata of the resource, and a page for a denied browser.

use http::Method;
use serde_json::{Value, json};
use wasm_tests::Stack;

fn config() -> Value {
    json!({
        "auth_service": {"retries": 0},
        "circuit_breaker": {"failures": 1},
        "status_paths": {"health": "/-/auth/health", "readiness": "/-/auth/ready"},
        "responses": {
            "cors_origins": ["https://app.example.com"],
            "sign_in_url": "https://app.example.com/login?from=gateway&again=1",
            "resource_metadata": {"resource": "https://api.example.com/v1", "authorization_servers": ["https://auth.example.com"]},
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn status_paths_show_an_outage_without_a_credential() {
    let mut stack = Stack::builder().config(config()).start().await.unwrap();
    let (_, token) = stack.api_token("any").await.unwrap();
    assert_eq!(stack.get("/orders").api_key(&token).send().await.unwrap().status, 200);
    let jwt = stack.login().await.unwrap().access;
    assert_eq!(stack.get("/orders").bearer(&jwt).send().await.unwrap().status, 200, "the key is there");
    for request in [stack.get("/-/auth/ready"), stack.get("/-/auth/ready?x=1").http2()] {
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"status": "ready"}"#));
        assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    }
    let head = stack.request(Method::HEAD, "/-/auth/health").send().await.unwrap();
    assert_eq!((head.status, head.text().as_str()), (200, ""));
    let healthy = stack.get("/-/auth/health").send().await.unwrap().json().unwrap();
    assert_eq!((&healthy["status"], &healthy["checks"]["breaker"]["state"]), (&json!("healthy"), &json!("closed")));
    let post = stack.post("/-/auth/ready").send().await.unwrap();
    assert_eq!((post.status, post.code().as_deref()), (401, Some("missing_credentials")));

    stack.stop_auth().await;
    let unknown = stack.get("/orders").api_key(&format!("1${}", "a".repeat(128))).send().await.unwrap();
    assert_eq!(unknown.status, 503);
    let health = stack.get("/-/auth/health").send().await.unwrap();
    assert_eq!(health.status, 200, "an outage is no reason to restart Envoy");
    let said = health.json().unwrap();
    assert_eq!(said["status"], "degraded");
    assert_eq!(said["checks"]["auth_service"], json!({"status": "down", "error": "circuit_breaker_open"}));
    assert_eq!(said["checks"]["public_key_cache"]["status"], "cached");
    assert!(said["timestamp"].as_str().unwrap().ends_with('Z'), "{said}");
    assert_eq!(stack.get("/-/auth/ready").send().await.unwrap().status, 200);
    assert_eq!(stack.scars(&jwt).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_a_key_is_not_ready() {
    let stack = Stack::builder().config(config()).without_auth_service().start().await.unwrap();
    let answer = stack.get("/-/auth/ready").send().await.unwrap();
    let body = r#"{"status": "not_ready", "reason": "public_key_not_loaded"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (503, body));
    assert_eq!(stack.get("/-/auth/health").send().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_gets_the_headers_of_the_resource_metadata_without_a_body() {
    let stack = Stack::builder().config(config()).start().await.unwrap();
    let path = "/.well-known/oauth-protected-resource/v1";
    let ask = |method: Method| stack.request(method, path).header("origin", "https://app.example.com");
    for (head, get) in [(ask(Method::HEAD), ask(Method::GET)), (ask(Method::HEAD).http2(), ask(Method::GET).http2())] {
        let (head, get) = (head.send().await.unwrap(), get.send().await.unwrap());
        assert_eq!((head.status, head.text().as_str()), (200, ""));
        assert_eq!((get.status, &get.json().unwrap()["resource"]), (200, &json!("https://api.example.com/v1")));
        for (name, value) in [
            ("content-type", "application/json"),
            ("access-control-allow-origin", "https://app.example.com"),
            ("access-control-allow-credentials", "true"),
            ("vary", "origin"),
        ] {
            assert_eq!(get.header(name).as_deref(), Some(value), "{name}");
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_client_gets_the_address_of_the_resource_metadata() {
    let stack = Stack::builder().config(config()).start().await.unwrap();
    let url = "https://api.example.com/.well-known/oauth-protected-resource/v1";
    let denied = stack.get("/orders").send().await.unwrap();
    let challenge = denied.header("www-authenticate").unwrap();
    assert_eq!(challenge, format!("Bearer realm=\"authgate\", resource_metadata=\"{url}\""));
    let metadata = stack.get("/.well-known/oauth-protected-resource/v1").send().await.unwrap();
    assert_eq!(
        metadata.json().unwrap(),
        json!({"resource": "https://api.example.com/v1", "authorization_servers": ["https://auth.example.com"]})
    );
    let page = stack.get("/orders").header("accept", "text/html,*/*;q=0.8").send().await.unwrap();
    assert_eq!((page.status, page.header("content-type").as_deref()), (401, Some("text/html; charset=utf-8")));
    let link = r#"<a href="https://app.example.com/login?from=gateway&amp;again=1">Sign in</a>"#;
    assert!(page.text().contains(link), "{}", page.text());
    let other = stack.get("/orders").header("accept", "application/json").send().await.unwrap();
    assert_eq!(other.code().as_deref(), Some("missing_credentials"));
}
