//! The files of `envoy/istio`: the gateway's Deployment has what the EnvoyFilter names.

use serde_json::{Value, json};

use crate::files::{document, wasm_filters};

fn added_listener(envoy_filter: &Value) -> Value {
    let patches = envoy_filter["spec"]["configPatches"].as_array().unwrap().iter();
    let mut added = patches.filter(|patch| patch["applyTo"] == "LISTENER" && patch["patch"]["operation"] == "ADD");
    let listener = added.next().unwrap()["patch"]["value"].clone();
    assert!(added.next().is_none());
    listener
}

/// Labels and buckets are the same everywhere: the alerts and the dashboard rely on them.
#[test]
fn metrics_have_the_labels_and_buckets_of_the_bootstrap() {
    let filter = document("envoy/istio/envoyfilter.yaml");
    let patches = filter["spec"]["configPatches"].as_array().unwrap();
    let bootstrap = patches.iter().find(|patch| patch["applyTo"] == "BOOTSTRAP").unwrap();
    let expected = document("envoy/envoy.yaml")["stats_config"].clone();
    assert!(expected["stats_tags"].is_array() && expected["histogram_bucket_settings"].is_array());
    assert_eq!(bootstrap["patch"]["value"]["stats_config"], expected);
}

#[test]
fn the_gateway_has_the_module_and_the_seal_key_that_the_filter_names() {
    let pod = &document("envoy/istio/gateway-deployment.yaml")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let folder = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert_eq!(container["volumeMounts"][0]["name"], pod["volumes"][0]["name"]);
    wasm_filters(&document("envoy/istio/envoyfilter.yaml"), &mut |plugin| {
        let vm = &plugin["vm_config"];
        assert_eq!(vm["code"]["local"]["filename"], format!("{folder}/plugin.wasm"));
        assert_eq!(vm["environment_variables"], json!({"host_env_keys": [container["env"][0]["name"]]}));
    });
}

/// The numbers are those of Kubernetes' manifests. Clients that use up all connections don't fail the probes.
#[test]
fn probes_name_the_port_and_the_paths_of_the_added_listener() {
    let mut listener = added_listener(&document("envoy/istio/envoyfilter.yaml"));
    assert_eq!(listener["ignore_global_conn_limit"], true);
    let port = listener["address"]["socket_address"]["port_value"].clone();
    let paths = wasm_tests::plugin(&mut listener)["configuration"]["value"]["status_paths"].clone();
    let container = |file: &str| document(file)["spec"]["template"]["spec"]["containers"][0].clone();
    let (ours, plain) =
        (container("envoy/istio/gateway-deployment.yaml"), container("envoy/kubernetes/deployment.yaml"));
    for (probe, page) in [("livenessProbe", "health"), ("readinessProbe", "readiness")] {
        let mut expected = plain[probe].clone();
        expected["httpGet"] = json!({"path": paths[page], "port": port});
        assert_eq!(ours[probe], expected, "{probe}");
    }
}
