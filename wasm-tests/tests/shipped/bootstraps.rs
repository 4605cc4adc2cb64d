//! Envoy's bootstraps, and every configuration of the filter.

use authgate::config::Config;
use serde_json::{Value, json};
use wasm_tests::{connection_manager, workspace};

use crate::files::{document, documents, plugin_configs, wasm_filters, yaml_below};

/// All bootstraps, including `envoy/envoy.yaml`.
fn bootstraps() -> Vec<(String, Value)> {
    let files = yaml_below("envoy").into_iter().filter(|file| {
        let text = std::fs::read_to_string(workspace().join(file)).unwrap();
        text.lines().any(|line| line.starts_with("static_resources:"))
    });
    files.map(|file| (file.clone(), document(&file))).collect()
}

#[test]
fn the_filter_accepts_every_configuration() {
    let mut found = 0;
    for file in yaml_below("envoy") {
        for config in documents(&file).iter().flat_map(plugin_configs) {
            let parsed = Config::from_bytes(config.to_string().as_bytes());
            assert!(parsed.is_ok(), "{file}: {}", parsed.unwrap_err());
            found += 1;
        }
    }
    // Three bootstraps and two Istio resources, a filter for probes in one of each, and Envoy Gateway.
    assert!(found >= 8, "{found}");
}

#[test]
fn every_filter_reloads_after_a_trap_and_has_a_vm_id() {
    for file in yaml_below("envoy") {
        for value in documents(&file) {
            wasm_filters(&value, &mut |plugin| {
                assert_eq!(plugin["failure_policy"], "FAIL_RELOAD", "{file}");
                assert_eq!(plugin["vm_config"]["vm_id"], "authgate", "{file}");
                let is_status = plugin["configuration"]["value"]["status_paths"].is_object();
                assert_eq!(plugin["name"], if is_status { "authgate-status" } else { "authgate" }, "{file}");
            });
        }
    }
}

/// Both need the same VM configuration and the same cluster and paths; otherwise they share no data.
#[test]
fn a_filter_for_probes_shares_data_with_the_filter_that_it_reports_on() {
    let mut found = 0;
    for file in yaml_below("envoy") {
        let mut plugins = Vec::new();
        documents(&file).iter().for_each(|value| wasm_filters(value, &mut |plugin| plugins.push(plugin.clone())));
        let is_status = |plugin: &&Value| plugin["name"] == "authgate-status";
        let Some(status) = plugins.iter().find(is_status) else { continue };
        let gateway = plugins.iter().find(|plugin| !is_status(plugin)).unwrap();
        assert_eq!(status["vm_config"], gateway["vm_config"], "{file}");
        let (ours, theirs) = (&status["configuration"]["value"], &gateway["configuration"]["value"]);
        for field in ["/auth_service", "/jwt/public_key", "/revocation", "/circuit_breaker"] {
            assert_eq!(ours.pointer(field), theirs.pointer(field), "{file}: {field}");
        }
        assert_eq!(ours["rules"], json!([{"match": {"prefix": "/"}, "deny": true}]), "{file}");
        found += 1;
    }
    assert_eq!(found, 2, "Kubernetes and Istio");
}

/// Otherwise clients that use up all connections fail the probes, and the gateway is restarted.
#[test]
fn only_the_gateways_listener_counts_connections() {
    for (file, bootstrap) in bootstraps() {
        for listener in bootstrap["static_resources"]["listeners"].as_array().unwrap() {
            let is_gateway = listener["name"] == "gateway";
            assert_eq!(listener["ignore_global_conn_limit"] == true, !is_gateway, "{file}: {}", listener["name"]);
        }
    }
}

#[test]
fn every_listener_has_an_idle_timeout() {
    for (file, mut bootstrap) in bootstraps() {
        assert_eq!(bootstrap["admin"]["address"]["socket_address"]["address"], "127.0.0.1", "{file}");
        for listener in bootstrap["static_resources"]["listeners"].as_array_mut().unwrap() {
            assert_eq!(connection_manager(listener)["stream_idle_timeout"], "30s", "{file}");
        }
    }
}

/// Explanations in `envoy/envoy.yaml` apply to the others too, which explain only their differences.
#[test]
fn bootstraps_differ_only_where_they_have_to() {
    let first = comparable(document("envoy/envoy.yaml"));
    for (file, bootstrap) in bootstraps() {
        assert_eq!(comparable(bootstrap), first, "{file}");
    }
}

/// A bootstrap without what is specific to a deployment: addresses, TLS, further listeners and clusters.
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
