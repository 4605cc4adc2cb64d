//! Istio's and Envoy Gateway's resources, against the schemas of their CustomResourceDefinitions.

use serde_json::{Value, json};

use crate::files::{document, documents, yaml_below};

const SCHEMAS: &str = "wasm-tests/testdata/schemas";

/// A schema, and the kind of resource that it describes.
struct Schema {
    api_version: String,
    kind: String,
    validator: jsonschema::Validator,
}

fn schemas() -> Vec<Schema> {
    let definitions = yaml_below(SCHEMAS).into_iter().flat_map(|file| documents(&file));
    definitions
        .flat_map(|definition| {
            let spec = &definition["spec"];
            let (group, kind) = (spec["group"].as_str().unwrap(), spec["names"]["kind"].as_str().unwrap());
            let versions = spec["versions"].as_array().unwrap().iter().map(|version| {
                let mut schema = version["schema"]["openAPIV3Schema"].clone();
                for (name, kind) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
                    schema["properties"][name] = json!({"type": kind});
                }
                close(&mut schema);
                Schema {
                    api_version: format!("{group}/{}", version["name"].as_str().unwrap()),
                    kind: kind.to_owned(),
                    validator: jsonschema::draft7::new(&schema).unwrap(),
                }
            });
            versions.collect::<Vec<_>>()
        })
        .collect()
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
fn custom_resources_are_valid() {
    let schemas = schemas();
    let mut kinds = Vec::new();
    for file in [yaml_below("envoy/istio"), yaml_below("envoy/envoy-gateway")].concat() {
        for resource in documents(&file) {
            if let Some(errors) = errors(&schemas, &resource) {
                assert_eq!(errors, [""; 0], "{file}");
                kinds.push(resource["kind"].as_str().unwrap().to_owned());
            }
        }
    }
    kinds.sort();
    assert_eq!(kinds, ["DestinationRule", "EnvoyExtensionPolicy", "EnvoyFilter", "ServiceEntry", "WasmPlugin"]);
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
