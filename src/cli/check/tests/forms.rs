//! Where configurations are found.

use super::super::{Report, check_file};
use super::{File, brief, found, printed};

const BOOTSTRAP: &str = include_str!("../../../../envoy/envoy.yaml");

#[test]
fn the_shipped_configurations_have_no_findings() {
    assert_eq!(printed(BOOTSTRAP, &["--strict"], false), (0, "1 configuration: 0 errors, 0 warnings\n".to_owned()));
    let example = include_str!("../../../../examples/axum-service/config.json");
    assert_eq!(printed(example, &["--strict"], false), (0, "1 configuration: 0 errors, 0 warnings\n".to_owned()));
}

#[test]
fn findings_in_a_struct_have_the_lines_of_the_file() {
    let text = BOOTSTRAP.replace("ttl: 300s", "ttl: 300x");
    let line = 1 + text.lines().position(|line| line.contains("300x")).unwrap();
    assert_eq!(brief(&text), [(line as u64, "error".to_owned(), "cache.ttl".to_owned())]);
}

/// A minimal bootstrap with a filter of this configuration.
fn filter(configuration: &str) -> String {
    format!(
        "name: x\ntyped_config:\n  '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n  config:\n    \
         name: authgate\n    failure_policy: FAIL_RELOAD\n    vm_config: {{vm_id: a}}\n    configuration:\n{configuration}"
    )
}

#[test]
fn findings_in_a_json_string_have_the_lines_of_the_file() {
    let block = "      '@type': type.googleapis.com/google.protobuf.StringValue\n      value: |\n        {\"auth_service\": \
                 {\"cluster\": \"c\"},\n         \"cache\": {\"ttl\": \"x\"}}\n";
    assert_eq!(brief(&filter(block)), [(12, "error".to_owned(), "cache.ttl".to_owned())]);
    let yaml =
        "      '@type': type.googleapis.com/google.protobuf.StringValue\n      value: |\n        auth_service: {}\n";
    let (status, problems) = found(&filter(yaml));
    assert_eq!((status, problems[0]["field"].as_str()), (1, Some("configuration")), "{problems:?}");
    let good = "      {'@type': type.googleapis.com/google.protobuf.StringValue, value: '{\"auth_service\": {\"cluster\": \"c\"}}'}\n";
    assert_eq!(brief(&filter(good)), []);
}

#[test]
fn a_filter_without_a_configuration_lacks_the_required_fields() {
    let (status, problems) = found(&filter("      {}\n"));
    assert_eq!((status, problems.len(), problems[0]["line"].as_u64()), (1, 1, Some(8)), "{problems:?}");
}

#[test]
fn typed_structs_and_camel_case_are_read() {
    let text = "typedConfig:\n  '@type': type.googleapis.com/xds.type.v3.TypedStruct\n  type_url: \
                type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n  value:\n    config:\n      failurePolicy: \
                FAIL_RELOAD\n      vmConfig: {vmId: a}\n      configuration:\n        '@type': \
                type.googleapis.com/google.protobuf.Struct\n        value: {auth_service: {cluster: c, x: 1}}\n";
    assert_eq!(brief(text), [(10, "error".to_owned(), "auth_service.x".to_owned())]);
}

#[test]
fn several_filters_and_documents_are_checked() {
    let bad = |name: &str| {
        filter(&format!(
            "      '@type': type.googleapis.com/google.protobuf.Struct\n      value: {{auth_service: {{cluster: c}}, {name}: 1}}\n"
        ))
    };
    let text = format!("---\n{}---\n{}---\nkind: Service\n", bad("a"), bad("b"));
    let fields: Vec<_> = brief(&text).into_iter().map(|(_, _, field)| field).collect();
    assert_eq!(fields, ["a", "b"]);
}

#[test]
fn other_wasm_plugins_are_not_checked() {
    let other = filter("      '@type': type.googleapis.com/google.protobuf.Struct\n      value: {x: 1}\n")
        .replace("name: authgate", "name: other");
    let own = filter(
        "      '@type': type.googleapis.com/google.protobuf.Struct\n      value: {auth_service: {cluster: c}}\n",
    );
    assert_eq!(brief(&format!("{other}---\n{own}")), []);
}

#[test]
fn kubernetes_resources_are_read() {
    let plugin = "kind: WasmPlugin\nspec:\n  url: oci://x/authgate\n  failStrategy: FAIL_RELOAD\n  vmConfig: {env: [{name: \
                  AUTHGATE_SEAL_KEY, valueFrom: HOST}]}\n  pluginConfig:\n    auth_service: {cluster: c}\n    cache: {ttl: 5}\n";
    assert_eq!(brief(plugin), [(8, "error".to_owned(), "cache.ttl".to_owned())]);
    let policy = "kind: EnvoyExtensionPolicy\nspec:\n  wasm:\n    - name: authgate\n      env: {hostKeys: \
                  [AUTHGATE_SEAL_KEY]}\n      config:\n        auth_service: {cluster: c}\n        cache: {ttl: 5}\n";
    assert_eq!(brief(policy), [(8, "error".to_owned(), "cache.ttl".to_owned())]);
    let inner = filter(
        "      '@type': type.googleapis.com/google.protobuf.Struct\n      value: {auth_service: {cluster: c, x: 1}}\n",
    );
    let indented: String = inner.lines().map(|line| format!("          {line}\n")).collect();
    let envoy_filter = format!(
        "kind: EnvoyFilter\nspec:\n  configPatches:\n    - applyTo: HTTP_FILTER\n      patch:\n        operation: INSERT_BEFORE\n        value:\n{indented}"
    );
    assert_eq!(brief(&envoy_filter), [(17, "error".to_owned(), "auth_service.x".to_owned())]);
    let map = "kind: ConfigMap\ndata:\n  config.yaml: |\n    auth_service:\n      cluster: c\n    cache: {ttl: 5}\n";
    assert_eq!(brief(map), [(6, "error".to_owned(), "cache.ttl".to_owned())]);
}

#[test]
fn a_file_without_a_configuration_is_told_where_one_would_be() {
    for text in ["authgate: {auth_service: {cluster: c}}\n", "- auth_service: {cluster: c}\n", "kind: Service\n"] {
        let file = File::new(text);
        let problem = check_file(&file.0, &mut Report::default()).unwrap_err();
        let expected = "no configuration of authgate found: expected fields such as auth_service at the top of a document, \
                           or in a Wasm filter of Envoy, a WasmPlugin or an EnvoyExtensionPolicy";
        assert!(problem.ends_with(expected), "{problem}");
    }
}
