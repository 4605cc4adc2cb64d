//! Bootstraps of Envoy, and every configuration of the filter.

use authgate::config::Config;
use serde_json::{Value, json};
use wasm_tests::{connection_manager, workspace};

use crate::files::{document, documents, plugin_configs, wasm_filters, yaml_below};

/// The bootstraps, `envoy/envoy.yaml` too.
fn bootstraps() -> Vec<(String, Value)> {
    let files = yaml_below("envoy").into_iter().filter(|file| {
        let text = std::fs::read_to_string(workspace().join(file)).unwrap();
        text.lines().any(|line| line.starts_with("static_resources:"))
    });
    files.map(|file| (file.clone(), document(&file))).collect()
}

#[test]
fn the_filter_takes_every_configuration() {
    let mut found = 0;
    for file in yaml_below("envoy") {
        for config in documents(&file).iter().flat_map(plugin_configs) {
            let parsed = Config::from_bytes(config.to_string().as_bytes());
            assert!(parsed.is_ok(), "{file}: {}", parsed.unwrap_err());
            found += 1;
        }
    }
    // Two bootstraps, two ways with Istio, Envoy Gateway.
    assert!(found >= 5, "{found}");
}

#[test]
fn every_filter_comes_back_after_a_trap_and_has_a_vm_id() {
    for file in yaml_below("envoy") {
        for value in documents(&file) {
            wasm_filters(&value, &mut |plugin| {
                assert_eq!(plugin["failure_policy"], "FAIL_RELOAD", "{file}");
                assert_eq!(plugin["vm_config"]["vm_id"], "authgate", "{file}");
                assert_eq!(plugin["name"], "authgate", "{file}");
            });
        }
    }
}

#[test]
fn every_listener_ends_streams_that_nobody_answers() {
    for (file, mut bootstrap) in bootstraps() {
        assert_eq!(bootstrap["admin"]["address"]["socket_address"]["address"], "127.0.0.1", "{file}");
        for listener in bootstrap["static_resources"]["listeners"].as_array_mut().unwrap() {
            assert_eq!(connection_manager(listener)["stream_idle_timeout"], "30s", "{file}");
        }
    }
}

/// What is explained in `envoy/envoy.yaml` alone holds in the others too. They differ in what each of them says.
#[test]
fn the_others_are_like_the_first() {
    let first = comparable(document("envoy/envoy.yaml"));
    for (file, bootstrap) in bootstraps() {
        assert_eq!(comparable(bootstrap), first, "{file}");
    }
}

/// A bootstrap without what is a deployment's own: addresses, TLS, listeners and clusters beside the first ones.
fn comparable(mut bootstrap: Value) -> Value {
    let resources = &mut bootstrap["static_resources"];
    let listener = &mut resources["listeners"][0];
    take(listener, &["address"]);
    take(&mut listener["filter_chains"][0], &["transport_socket"]);
    let manager = connection_manager(listener);
    let plugin = &mut manager["http_filters"][0]["typed_config"]["config"];
    take(&mut plugin["vm_config"], &["code", "environment_variables"]);
    take(&mut plugin["configuration"]["value"]["auth_service"], &["scheme", "authority"]);
    let listener = resources["listeners"][0].take();
    resources["listeners"] = json!([listener]);
    resources["clusters"].as_array_mut().unwrap().truncate(2);
    for cluster in resources["clusters"].as_array_mut().unwrap() {
        take(cluster, &["load_assignment", "transport_socket"]);
        if let Some(check) = cluster.pointer_mut("/health_checks/0/http_health_check") {
            take(check, &["host", "codec_client_type"]);
        }
        let options = &mut cluster["typed_extension_protocol_options"];
        if options.is_object() {
            take(&mut options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"], &["explicit_http_config"]);
        }
    }
    bootstrap
}

fn take(value: &mut Value, names: &[&str]) {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
}
