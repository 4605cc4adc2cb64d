//! A JWT that the service has refused, then an outage, then a configuration that asks the service otherwise.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{Stack, plugin};

fn publish(folder: &std::path::Path, listener: &Value, version: &str) {
    let part = folder.join("part");
    let mut listener = listener.clone();
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    fs::write(&part, json!({"version_info": version, "resources": [listener]}).to_string()).unwrap();
    fs::rename(part, folder.join("lds.json")).unwrap();
}

async fn start(config: Value) -> (Stack, tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let taken = Arc::new(Mutex::new(Value::Null));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let builder = Stack::builder().concurrency(2).drain_time(1).config(config).envoy({
        let taken = Arc::clone(&taken);
        move |bootstrap| {
            let mut listener = bootstrap["static_resources"]["listeners"][0].take();
            listener["address"]["socket_address"]["port_value"] = json!(port);
            bootstrap["static_resources"]["listeners"] = json!([]);
            bootstrap["node"] = json!({"id": "gateway", "cluster": "gateway"});
            let file = path.join("lds.json");
            bootstrap["dynamic_resources"] = json!({"lds_config": {"path_config_source": {"path": file}}});
            publish(&path, &listener, "1");
            *taken.lock().unwrap() = listener;
        }
    });
    let stack = builder.start().await.unwrap();
    let listener = taken.lock().unwrap().clone();
    (stack, folder, listener)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jwt_that_the_service_refused_stays_out_after_an_update_that_asks_otherwise() {
    let (mut stack, folder, mut listener) = start(json!({
        "auth_service": {"timeout": "20s", "retries": 0},
        "rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}],
    }))
    .await;
    let unknown = stack.login().await.unwrap().access;
    let revoked = stack.login().await.unwrap().access;
    let logout = stack.service_request(Method::POST, "/auth/jwt/logout").unwrap();
    assert_eq!(logout.bearer(&revoked).send().await.unwrap().status, 204);
    let refused = stack.get("/remote").bearer(&revoked).send().await.unwrap();
    assert_eq!(refused.code().as_deref(), Some("token_rejected"));
    stack.stop_auth().await;
    let refused = stack.get("/remote").bearer(&revoked).send().await.unwrap();
    assert_ne!(refused.status, 200);

    let config = &mut plugin(&mut listener)["configuration"]["value"];
    config["api_token"] = json!({"header_types": ["jwt", "apikey"]});
    config["identity_headers"] = json!({"X-Update": "user_id"});
    publish(folder.path(), &listener, "2");
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
