//! Istio's and Envoy Gateway's resources, against the schemas of their CustomResourceDefinitions, or against the fields
//! that this project knows.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::files::{document, documents, yaml_below};

const SCHEMAS: &str = "wasm-tests/testdata/schemas";

/// The kinds that are checked against nothing here: Kubernetes' own, kustomize's, and the one of `envoy_gateway.rs`.
const UNCHECKED: [&str; 8] = [
    "Deployment",
    "EnvoyProxy",
    "HorizontalPodAutoscaler",
    "Kustomization",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "ServiceAccount",
];

/// A schema, and the kind of resource that it describes.
struct Schema {
    api_version: String,
    kind: String,
    validator: jsonschema::Validator,
}

impl Schema {
    /// Closes the schema of a whole resource.
    fn new(api_version: String, kind: &str, mut schema: Value) -> Self {
        for (name, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
            schema["properties"][name] = json!({"type": kind});
        }
        close(&mut schema);
        Self { api_version, kind: kind.to_owned(), validator: jsonschema::draft7::new(&schema).unwrap() }
    }
}

fn schemas() -> Vec<Schema> {
    let definitions = yaml_below(SCHEMAS).into_iter().flat_map(|file| documents(&file));
    definitions
        .flat_map(|definition| {
            let spec = &definition["spec"];
            let (group, kind) = (spec["group"].as_str().unwrap(), spec["names"]["kind"].as_str().unwrap());
            let versions = spec["versions"].as_array().unwrap().iter().map(|version| {
                let api_version = format!("{group}/{}", version["name"].as_str().unwrap());
                Schema::new(api_version, kind, version["schema"]["openAPIV3Schema"].clone())
            });
            versions.collect::<Vec<_>>()
        })
        .chain(fields_in_use())
        .collect()
}

/// The kinds whose CustomResourceDefinitions aren't here: only the fields that the shipped resources use, each with its
/// place and type in the API reference of Envoy Gateway and of the Gateway API.
fn fields_in_use() -> [Schema; 3] {
    let fields = |properties: Value| json!({"type": "object", "properties": properties});
    let list = |properties: Value| json!({"type": "array", "items": fields(properties), "minItems": 1});
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer", "minimum": 0}));
    let duration = json!({"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"});
    let targets = list(json!({"group": text, "kind": text, "name": text}));
    let checks = fields(json!({
        "active": fields(json!({
            "type": {"enum": ["HTTP"]}, "http": fields(json!({"path": text})),
            "timeout": duration, "interval": duration, "unhealthyThreshold": number, "healthyThreshold": number,
        })),
        "passive": fields(json!({
            "consecutiveGatewayErrors": number, "consecutive5XxErrors": number,
            "interval": duration, "baseEjectionTime": duration, "maxEjectionPercent": number,
        })),
    }));
    let breaker = ["maxConnections", "maxPendingRequests", "maxParallelRequests", "maxParallelRetries"];
    let breaker = breaker.map(|name| (name.to_owned(), number.clone()));
    let client_timeouts =
        json!({"http": fields(json!({"streamIdleTimeout": duration, "requestReceivedTimeout": duration}))});
    let backend_timeouts = json!({"tcp": fields(json!({"connectTimeout": duration}))});
    let rule = json!({
        "matches": list(json!({"path": fields(json!({"type": {"enum": ["PathPrefix"]}, "value": text}))})),
        "backendRefs": list(json!({"name": text, "port": number})),
    });
    [
        (
            "gateway.envoyproxy.io/v1alpha1",
            "ClientTrafficPolicy",
            json!({
                "targetRefs": targets, "timeout": fields(client_timeouts),
            }),
        ),
        (
            "gateway.envoyproxy.io/v1alpha1",
            "BackendTrafficPolicy",
            json!({
                "targetRefs": targets, "timeout": fields(backend_timeouts), "healthCheck": checks,
                "circuitBreaker": fields(Value::Object(breaker.into_iter().collect())),
            }),
        ),
        (
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            json!({
                "parentRefs": list(json!({"name": text})), "rules": list(rule),
            }),
        ),
    ]
    .map(|(api_version, kind, spec)| Schema::new(api_version.to_owned(), kind, fields(json!({"spec": fields(spec)}))))
}

/// Forbids fields that the schema doesn't name. Kubernetes drops them silently, so misspelt ones go unnoticed.
fn close(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    let keeps_all = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if fields.contains_key("properties") && !keeps_all {
        fields.entry("additionalProperties").or_insert(json!(false));
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(close);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(name) {
            close(inner);
        }
    }
}

fn errors(schemas: &[Schema], resource: &Value) -> Option<Vec<String>> {
    let fits = |schema: &&Schema| resource["apiVersion"] == schema.api_version && resource["kind"] == schema.kind;
    let schema = schemas.iter().find(fits)?;
    let told = |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path);
    Some(schema.validator.iter_errors(resource).map(told).collect())
}

#[test]
fn resources_are_valid_and_only_known_kinds_are_unchecked() {
    let schemas = schemas();
    let (mut checked, mut unchecked) = (BTreeSet::new(), BTreeSet::new());
    for file in yaml_below("envoy") {
        for resource in documents(&file) {
            let Some(kind) = resource["kind"].as_str() else { continue };
            match errors(&schemas, &resource) {
                Some(errors) => {
                    assert_eq!(errors, [""; 0], "{file}");
                    checked.insert(kind.to_owned());
                }
                None => {
                    unchecked.insert(kind.to_owned());
                }
            }
        }
    }
    assert_eq!(unchecked, UNCHECKED.map(str::to_owned).into(), "a kind without a schema");
    assert_eq!(checked, schemas.into_iter().map(|schema| schema.kind).collect(), "a schema without a resource");
}

/// Envoy Gateway's settings are those of the bootstrap.
#[test]
fn the_policies_set_the_limits_of_the_bootstrap() {
    let policies = documents("envoy/envoy-gateway/traffic-policies.yaml");
    let of = |kind: &str| policies.iter().find(|policy| policy["kind"] == kind).unwrap();
    let mut bootstrap = document("envoy/envoy.yaml");
    let cluster = bootstrap["static_resources"]["clusters"][1].clone();
    let manager = wasm_tests::connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
    let timeouts = &of("ClientTrafficPolicy")["spec"]["timeout"]["http"];
    assert_eq!(timeouts["streamIdleTimeout"], "30s");
    assert_eq!(timeouts["streamIdleTimeout"], manager["stream_idle_timeout"]);
    assert!(timeouts["requestReceivedTimeout"].is_string());
    assert_eq!(timeouts["requestReceivedTimeout"], manager["request_headers_timeout"]);
    let spec = &of("BackendTrafficPolicy")["spec"];
    assert_eq!(spec["healthCheck"]["active"]["http"], cluster["health_checks"][0]["http_health_check"]);
    let (passive, outliers) = (&spec["healthCheck"]["passive"], &cluster["outlier_detection"]);
    for (ours, envoys) in [
        ("consecutiveGatewayErrors", "consecutive_gateway_failure"),
        // A number of errors, and a share of hosts: 0 turns the check off in both.
        ("consecutive5XxErrors", "enforcing_consecutive_5xx"),
        ("interval", "interval"),
        ("baseEjectionTime", "base_ejection_time"),
        ("maxEjectionPercent", "max_ejection_percent"),
    ] {
        assert!(!outliers[envoys].is_null(), "{envoys}");
        assert_eq!(passive[ours], outliers[envoys], "{ours}");
    }
    let limits = &cluster["circuit_breakers"]["thresholds"][0];
    for (ours, envoys) in [
        ("maxConnections", "max_connections"),
        ("maxPendingRequests", "max_pending_requests"),
        ("maxParallelRequests", "max_requests"),
        ("maxParallelRetries", "max_retries"),
    ] {
        assert!(limits[envoys].is_number(), "{envoys}");
        assert_eq!(spec["circuitBreaker"][ours], limits[envoys], "{ours}");
    }
}

#[test]
fn a_misspelt_field_and_a_wrong_value_are_found() {
    let schemas = schemas();
    let wasm_plugin = document("envoy/istio/wasmplugin.yaml");
    for (path, value) in [
        ("/spec/failStrategie", json!("FAIL_CLOSE")),
        ("/spec/failStrategy", json!("FAIL_LATER")),
        ("/spec/vmConfig/env/0/valueOf", json!("HOST")),
        ("/spec/url", json!(1)),
    ] {
        let mut wrong = wasm_plugin.clone();
        let (parent, name) = path.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap()[name] = value;
        assert_eq!(errors(&schemas, &wrong).unwrap().len(), 1, "{path}");
    }
    let policy = documents("envoy/envoy-gateway/traffic-policies.yaml").remove(0);
    for (parent, name) in [("/spec/timeout/http", "idleTimeout"), ("/spec/timeout", "streamIdleTimeout")] {
        let mut wrong = policy.clone();
        wrong.pointer_mut(parent).unwrap()[name] = json!("30s");
        assert_eq!(errors(&schemas, &wrong).unwrap().len(), 1, "{parent}/{name}");
    }
    let mut free = wasm_plugin;
    free["spec"]["pluginConfig"]["anything"] = json!(1);
    assert_eq!(errors(&schemas, &free).unwrap(), [""; 0]);
}

/// The filter's callouts go to the cluster that is generated from the resources beside it.
#[test]
fn the_filter_names_the_generated_cluster() {
    let host = document("envoy/istio/service-entry.yaml")["spec"]["hosts"][0].as_str().unwrap().to_owned();
    for file in ["envoy/istio/wasmplugin.yaml", "envoy/istio/envoyfilter.yaml"] {
        for config in crate::files::plugin_configs(&document(file)) {
            assert_eq!(config["auth_service"]["cluster"], format!("outbound|443||{host}"), "{file}");
        }
    }
    let rule = document("envoy/istio/destination-rule.yaml");
    assert_eq!(rule["spec"]["host"], *host);
    assert_eq!(rule["spec"]["trafficPolicy"]["tls"]["sni"], *host);
    assert_eq!(rule["spec"]["trafficPolicy"]["tls"]["subjectAltNames"], json!([host]));

    let route = document("envoy/envoy-gateway/http-route.yaml");
    let text = |name: &str| route["metadata"][name].as_str().unwrap().to_owned();
    let cluster = format!("httproute/{}/{}/rule/0", text("namespace"), text("name"));
    let policy = &crate::files::plugin_configs(&document("envoy/envoy-gateway/policy.yaml"))[0];
    assert_eq!(policy["auth_service"]["cluster"], cluster);
}
