//! The shipped manifests in real Envoy: Istio's `EnvoyFilter`, and the bootstrap of the containers.

use std::{fs, net::TcpListener};

use serde_json::{Value, json};
use wasm_tests::{Bootstrap, Ports, Stack, connection_manager, istio, plugin, workspace};

/// What every way to deploy has to do: a good token passes with its identity, none is refused, a public path is open, and
/// the metrics have their labels.
async fn serves(stack: &Stack) {
    let jwt = stack.login().await.unwrap().access;
    let passed = stack.get("/orders").bearer(&jwt).header("x-user-id", "0").send().await.unwrap();
    assert_eq!(passed.status, 200, "{passed:?}");
    assert_eq!(passed.identity().unwrap()["x-user-email"], "admin@example.com");
    let (_, token) = stack.api_token("any").await.unwrap();
    assert_eq!(stack.get("/orders").api_key(&token).send().await.unwrap().status, 200);
    let denied = stack.get("/orders").send().await.unwrap();
    assert_eq!((denied.status, denied.code().as_deref()), (401, Some("missing_credentials")));
    assert_eq!(stack.get("/public/page").host("any:8080").send().await.unwrap().status, 200);
    let labels = [("filter", "authgate"), ("outcome", "deny"), ("reason", "missing_credentials")];
    assert_eq!(stack.metric("auth_validation_requests_total", &labels).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn istios_envoy_filter_puts_authgate_into_a_gateway() {
    const CLUSTER: &str = "outbound|443||auth.example.com";
    let text = fs::read_to_string(workspace().join("envoy/istio/envoyfilter.yaml")).unwrap();
    let filter: Value = serde_norway::from_str(&text).unwrap();
    let stack = Stack::builder()
        .without_filter()
        .envoy(move |bootstrap| {
            // As Istio's own gateway is: it has none of what the manifest brings.
            bootstrap.as_object_mut().unwrap().remove("stats_config");
            let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
            for name in ["stream_idle_timeout", "request_headers_timeout", "strip_any_host_port"] {
                manager.as_object_mut().unwrap().remove(name).unwrap();
            }
            manager["normalize_path"] = json!(true);
            let cluster = &mut bootstrap["static_resources"]["clusters"][1];
            cluster["name"] = json!(CLUSTER);
            cluster["load_assignment"]["cluster_name"] = json!(CLUSTER);
            istio::apply(&filter, bootstrap).unwrap();
            // Argon2 on a busy machine.
            let plugin = plugin(&mut bootstrap["static_resources"]["listeners"][0]);
            plugin["configuration"]["value"]["auth_service"]["timeout"] = json!("5s");
            let mut patched = Bootstrap::from(bootstrap.take());
            patched.set_module(&workspace().join("target/authgate.wasm"));
            *bootstrap = patched.value().take();
        })
        .start()
        .await
        .unwrap();
    serves(&stack).await;
    let config = stack.admin("/config_dump").await.unwrap().text();
    for expected in
        ["\"failure_policy\": \"FAIL_RELOAD\"", "\"vm_id\": \"authgate\"", "\"stream_idle_timeout\": \"30s\""]
    {
        assert!(config.contains(expected), "{expected} isn't in the configuration");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bootstrap_of_the_containers_serves_and_shows_its_status_alone() {
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let stack = Stack::builder()
        .bootstrap("envoy/kubernetes/envoy.yaml")
        .ports(Ports { admin, ..Ports::default() })
        .environment("AUTHGATE_SEAL_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
        .envoy(move |bootstrap| {
            let resources = &mut bootstrap["static_resources"];
            let endpoint = "/clusters/2/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
            resources.pointer_mut(endpoint).unwrap()["port_value"] = json!(admin);
            resources["listeners"][1]["address"]["socket_address"] = json!({"address": "127.0.0.1", "port_value": 0});
            // Envoy refuses a variable that comes from its own environment and from here.
            let manager = connection_manager(&mut resources["listeners"][0]);
            manager["http_filters"][0]["typed_config"]["config"]["vm_config"]["environment_variables"]
                .as_object_mut()
                .unwrap()
                .remove("host_env_keys");
        })
        .start()
        .await
        .unwrap();
    serves(&stack).await;
    let get = async |path: &str| stack.get_at("status", path).await.unwrap().send().await.unwrap();
    assert_eq!(get("/live").await.status, 200);
    assert_eq!(get("/ready").await.text().trim(), "LIVE");
    assert!(get("/stats/prometheus").await.text().contains("auth_validation_requests_total{"));
    for path in ["/config_dump", "/quitquitquit", "/stats", "/ready/../config_dump", "/"] {
        assert_eq!(get(path).await.status, 404, "{path}");
    }
    assert!(!stack.envoy_log().contains("not sealed"), "{}", stack.envoy_log());
}
