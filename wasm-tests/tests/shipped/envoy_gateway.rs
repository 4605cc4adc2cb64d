//! Envoy Gateway's proxies have what the filter, its access log and its metrics need.

use serde_json::{Value, json};
use wasm_tests::connection_manager;

use crate::files::document;

fn proxy() -> Value {
    document("envoy/envoy-gateway/envoy-proxy.yaml")["spec"].take()
}

#[test]
fn the_proxies_write_the_access_log_of_the_bootstrap() {
    let mut bootstrap = document("envoy/envoy.yaml");
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    let fields = connection_manager(listener)["access_log"][0]["typed_config"]["log_format"]["json_format"].take();
    assert_eq!(
        proxy()["telemetry"]["accessLog"],
        json!({
            "settings": [{
                "format": {"type": "JSON", "json": fields},
                "sinks": [{"type": "File", "file": {"path": "/dev/stdout"}}],
            }],
        })
    );
}

#[test]
fn the_proxies_log_the_audit() {
    assert_eq!(proxy()["logging"]["level"]["wasm"], "info");
}

#[test]
fn the_proxies_have_the_labels_of_the_bootstrap() {
    let bootstrap = &proxy()["bootstrap"];
    assert_eq!(bootstrap["type"], "Merge");
    let added: Value = serde_norway::from_str(bootstrap["value"].as_str().unwrap()).unwrap();
    assert_eq!(added, json!({"stats_config": document("envoy/envoy.yaml")["stats_config"]}));
}

#[test]
fn the_proxies_have_the_environment_variables_that_the_filter_reads() {
    let policy = document("envoy/envoy-gateway/policy.yaml");
    let env = &proxy()["provider"]["kubernetes"]["envoyDeployment"]["container"]["env"];
    let names: Vec<_> = env.as_array().unwrap().iter().map(|variable| variable["name"].clone()).collect();
    assert_eq!(policy["spec"]["wasm"][0]["env"]["hostKeys"], json!(names));
}
