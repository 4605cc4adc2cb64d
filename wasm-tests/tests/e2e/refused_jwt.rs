//! A JWT that the service has refused, then an outage, then a configuration that asks the service differently.

use std::time::Duration;

use http::Method;
use serde_json::json;
use wasm_tests::{Discovery, Stack, plugin};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_jwt_is_still_denied_after_a_configuration_update() {
    let builder = Stack::builder().concurrency(2).drain_time(1).config(json!({
        "auth_service": {"timeout": "20s", "retries": 0},
        "rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}],
    }));
    let (mut stack, mut discovery) = Discovery::start(builder).await.unwrap();
    let unknown = stack.login().await.unwrap().access;
    let revoked = stack.login().await.unwrap().access;
    let logout = stack.service_request(Method::POST, "/auth/jwt/logout").unwrap();
    assert_eq!(logout.bearer(&revoked).send().await.unwrap().status, 204);
    let refused = stack.get("/remote").bearer(&revoked).send().await.unwrap();
    assert_eq!(refused.code().as_deref(), Some("token_rejected"));
    stack.stop_auth().await;
    let refused = stack.get("/remote").bearer(&revoked).send().await.unwrap();
    assert_ne!(refused.status, 200);

    let config = &mut plugin(&mut discovery.listener)["configuration"]["value"];
    config["api_token"] = json!({"header_types": ["jwt", "apikey"]});
    config["identity_headers"] = json!({"X-Update": "user_id"});
    discovery.publish("2").unwrap();
    loop {
        let other = stack.get("/remote").bearer(&unknown).send().await.unwrap();
        if other.status == 200 && other.upstream().unwrap().header("x-update").is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for _ in 0..10 {
        let answer = stack.get("/remote").bearer(&revoked).send().await.unwrap();
        assert_ne!(answer.status, 200, "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
