//! What reaches the upstream: renamed identity headers, and the forwarded or removed credential.

use serde_json::{Value, json};
use wasm_tests::{Builder, Echo, Stack, corpus::scripted, credentials, plugin};

/// What the upstream sees of a request with an API token and of one with a JWT under this configuration.
async fn seen(config: Value) -> (Echo, Echo, String, String) {
    seen_by(Stack::builder().config(config)).await
}

async fn seen_by(builder: Builder) -> (Echo, Echo, String, String) {
    let stack = builder.start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    let (_, token) = stack.api_token("any").await.unwrap();
    let by_token = stack.get("/orders").api_key(&token).send().await.unwrap();
    let by_jwt = stack.get("/orders").bearer(&jwt).send().await.unwrap();
    assert_eq!((by_token.status, by_jwt.status), (200, 200), "{} {}", by_token.text(), by_jwt.text());
    (by_token.upstream().unwrap(), by_jwt.upstream().unwrap(), token, jwt)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credential_is_forwarded_by_default() {
    let (by_token, by_jwt, token, jwt) = seen(json!({})).await;
    assert_eq!(by_token.header("authorization"), Some(format!("APIKey {token}")));
    assert_eq!(by_jwt.header("authorization"), Some(format!("Bearer {jwt}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credential_can_be_kept_from_the_upstream() {
    let (by_token, by_jwt, ..) = seen(json!({"forward_credential": false})).await;
    assert_eq!((by_token.header("authorization"), by_jwt.header("authorization")), (None, None));
    assert_eq!(by_token.header("x-user-id").as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_can_get_the_verified_jwt_for_any_credential() {
    for format in ["jwt_body", "jwt_header"] {
        let config = json!({"forward_credential": "jwt", "api_token": {"response_format": format}});
        let (by_token, by_jwt, _, jwt) = seen(config).await;
        let converted = by_token.header("authorization").unwrap();
        let claims = credentials::claims_of(converted.strip_prefix("Bearer ").unwrap()).unwrap();
        assert_eq!((&claims["token_type"], &claims["user_id"]), (&json!("api_token"), &json!(1)), "{format}");
        assert_eq!(by_jwt.header("authorization"), Some(format!("Bearer {jwt}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_headers_can_be_renamed_removed_and_added() {
    let names = json!({"X-User-Id": null, "X-Platform-User-ID": "user_id", "X-Is-Admin": null,
        "X-Issuer": "issued_by.user_type", "X-Groups": "user_groups"});
    // Replaces the object: merging would treat the nulls as removals.
    let builder = Stack::builder().envoy(move |bootstrap| {
        plugin(&mut bootstrap["static_resources"]["listeners"][0])["configuration"]["value"]["identity_headers"] =
            names;
    });
    let (by_token, ..) = seen_by(builder).await;
    assert_eq!(by_token.header("x-platform-user-id").as_deref(), Some("1"));
    assert_eq!(by_token.header("x-issuer").as_deref(), Some("system_admin"));
    assert_eq!((by_token.header("x-user-id"), by_token.header("x-is-admin")), (None, None));
    assert!(by_token.header("x-user-email").is_some(), "the other defaults stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_in_response_headers_is_forwarded() {
    let (by_token, ..) = seen(json!({"api_token": {"response_format": "json_header"}})).await;
    assert_eq!(by_token.header("x-user-id").as_deref(), Some("1"));
    assert_eq!(by_token.header("x-is-admin").as_deref(), Some("true"));
}

/// Whoever is in the headers with the usual names is another user.
#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_the_response_headers_are_configurable() {
    let names = json!({"user_id": "X-Platform-User-ID", "client_id": "X-Platform-Client-ID"});
    let config = json!({"api_token": {"response_format": "json_header", "answer_headers": names}});
    let stack = Stack::builder().config(config).start().await.unwrap();
    let platform = json!([["X-Platform-User-ID", "7"], ["X-Platform-Client-ID", "70"]]);
    let usual = json!([["X-User-Id", "8"], ["X-Client-Id", "80"]]);
    let both = [platform.as_array().unwrap().clone(), usual.as_array().unwrap().clone()].concat();
    for (number, headers, status) in [(0, platform, 200), (1, json!(both), 200), (2, usual, 503)] {
        stack.fault(json!({"on": "verify", "kind": "raw", "headers": headers})).await.unwrap();
        let answer = stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap();
        assert_eq!(answer.status, status, "{headers}");
        if status == 200 {
            let echo = answer.upstream().unwrap();
            assert_eq!(["x-user-id", "x-client-id"].map(|name| echo.all(name)), [["7"], ["70"]], "{headers}");
        }
    }
}
