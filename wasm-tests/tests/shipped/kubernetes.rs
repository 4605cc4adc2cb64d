//! The resources of `envoy/kubernetes`: each finds what it names.

use serde_json::{Value, json};

use crate::files::document;

fn resource(name: &str) -> Value {
    document(&format!("envoy/kubernetes/{name}.yaml"))
}

#[test]
fn every_file_is_listed_and_every_generated_name_is_used() {
    let list = resource("kustomization");
    for file in crate::files::yaml_below("envoy/kubernetes") {
        let name = file.rsplit('/').next().unwrap();
        let listed = |part: &str| list[part].as_array().unwrap().contains(&json!(name));
        let is_bootstrap = list["configMapGenerator"][0]["files"] == json!([name]);
        assert!(name == "kustomization.yaml" || listed("resources") || is_bootstrap, "{name}");
    }
    let pod = &resource("deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(pod["volumes"][0]["configMap"]["name"], list["configMapGenerator"][0]["name"]);
    assert_eq!(pod["volumes"][0]["name"], container["volumeMounts"][0]["name"]);
    let key = &container["env"][0]["valueFrom"]["secretKeyRef"];
    assert_eq!(key["name"], list["secretGenerator"][0]["name"]);
    assert_eq!(list["secretGenerator"][0]["files"], json!([format!("{}=seal-key", key["key"].as_str().unwrap())]));
    assert_eq!(container["env"][0]["name"], "AUTHGATE_SEAL_KEY");
    assert_eq!(container["image"], list["images"][0]["name"]);
    assert_eq!(pod["serviceAccountName"], resource("service-account")["metadata"]["name"]);
}

#[test]
fn all_files_select_the_same_pods() {
    let deployment = resource("deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&resource("service")["spec"]["selector"], labels);
    assert_eq!(&resource("pod-disruption-budget")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&resource("network-policy")["spec"]["podSelector"]["matchLabels"], labels);
    let target = &resource("horizontal-pod-autoscaler")["spec"]["scaleTargetRef"];
    assert_eq!((&target["kind"], &target["name"]), (&deployment["kind"], &deployment["metadata"]["name"]));
}

#[test]
fn a_rollout_and_a_drain_leave_enough_pods() {
    let deployment = resource("deployment");
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({"maxSurge": 1, "maxUnavailable": 0}));
    let scaler = resource("horizontal-pod-autoscaler");
    assert_eq!(scaler["spec"]["minReplicas"], 3);
    assert_eq!(resource("pod-disruption-budget")["spec"]["minAvailable"], 2);
    assert!(deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"].is_object());
}

/// The probes have the integration guide's numbers, and the ports and paths of the filter's status.
#[test]
fn probes_and_policies_name_ports_and_paths_that_envoy_serves() {
    let bootstrap = resource("envoy");
    let port = |listener: usize| {
        bootstrap["static_resources"]["listeners"][listener]["address"]["socket_address"]["port_value"].clone()
    };
    let deployment = resource("deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let ports = ["http", "status", "metrics"].iter().enumerate();
    let ports: Vec<_> = ports.map(|(at, name)| json!({"name": name, "containerPort": port(at)})).collect();
    assert_eq!(container["ports"], json!(ports));
    let mut status = bootstrap["static_resources"]["listeners"][1].clone();
    let plugin = wasm_tests::plugin(&mut status);
    let paths = &plugin["configuration"]["value"]["status_paths"];
    assert_eq!(container["startupProbe"]["httpGet"], json!({"path": paths["health"], "port": "status"}));
    for (probe, page, numbers) in
        [("livenessProbe", "health", [30, 10, 5, 3]), ("readinessProbe", "readiness", [10, 5, 3, 2])]
    {
        let probe = &container[probe];
        let named = ["initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold"];
        assert_eq!(named.map(|name| probe[name].clone()), numbers.map(|number| json!(number)), "{probe}");
        assert_eq!(probe["httpGet"], json!({"path": paths[page], "port": "status"}));
    }
    let scrape = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(scrape["prometheus.io/port"], port(2).to_string());
    // Only clients and Prometheus are let in. The status is for the node, which needs no rule.
    let ingress = resource("network-policy")["spec"]["ingress"].clone();
    assert_eq!(ingress[0], json!({"ports": [{"protocol": "TCP", "port": port(0)}]}));
    assert_eq!(ingress[1]["ports"], json!([{"protocol": "TCP", "port": port(2)}]));
    assert_eq!(ingress.as_array().unwrap().len(), 2);
    // Envoy has time to drain before it ends.
    let drain = container["args"].as_array().unwrap();
    let at = drain.iter().position(|argument| argument == "--drain-time-s").unwrap();
    assert_eq!(drain[at + 1], "15");
}
