//! A service over HTTP/2 whose answer about one credential has a head that is too large for Envoy.

use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
};
use serde_json::json;
use tokio::net::TcpListener;
use wasm_tests::{Stack, auth_service_alone, corpus::scripted, corpus::tokens, speak_http2};

/// Answers about tokens below 1000 with a head that is too large, and about others with an identity.
async fn service(headers: usize, length: usize) -> u16 {
    let answer = move |request: axum::extract::Request| async move {
        let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
        let number =
            authorization.strip_prefix("APIKey ").and_then(|rest| rest.split('$').next()?.parse::<usize>().ok());
        let mut claims = tokens::base();
        claims["token_type"] = json!("api_token");
        let mut response = Response::builder().status(StatusCode::OK);
        if number.is_some_and(|number| number < 1000) {
            for number in 0..headers {
                response = response.header(format!("x-user-{number}"), "x".repeat(length));
            }
        }
        response.body(Body::from(claims.to_string())).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(answer);
    tokio::spawn(async move { drop(axum::serve(listener, app).await) });
    port
}

/// Sends five questions of the attacker, each with a retry. Returns the status that another client then gets.
async fn attack(headers: usize, length: usize) -> u16 {
    let port = service(headers, length).await;
    let config = json!({"auth_service": {"timeout": "20s"}, "circuit_breaker": {"failures": 3}});
    let builder = Stack::builder().without_auth_service().config(config).envoy(move |bootstrap| {
        speak_http2(auth_service_alone(bootstrap, port));
    });
    let stack = builder.start().await.unwrap();
    for number in 0..5 {
        let answer = stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("auth_service_unavailable"), "{number}");
    }
    assert_eq!(stack.get("/public/page").send().await.unwrap().status, 200, "{}", stack.envoy_log());
    stack.get("/orders").api_key(&scripted::token(1001)).send().await.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_70_kib_neither_crashes_envoy_nor_opens_the_breaker() {
    assert_eq!(attack(1, 70 * 1024).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_headers_neither_crash_envoy_nor_open_the_breaker() {
    assert_eq!(attack(200, 10).await, 200);
}
