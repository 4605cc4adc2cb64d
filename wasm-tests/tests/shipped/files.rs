//! Reads the shipped files.

use std::{fs, path::PathBuf};

use serde::Deserialize as _;
use serde_json::Value;
use wasm_tests::workspace;

/// The documents of a YAML file of the workspace. A repeated key is an error, because YAML parsers differ in which
/// value they take.
pub fn documents(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_norway::Deserializer::from_str(&text)
        .map(|document| serde_norway::Value::deserialize(document).unwrap_or_else(|error| panic!("{path}: {error}")))
        .filter(|document| !document.is_null())
        .map(|document| serde_json::to_value(document).unwrap_or_else(|error| panic!("{path}: {error}")))
        .collect()
}

/// The only document of a YAML file.
pub fn document(path: &str) -> Value {
    let mut all = documents(path);
    assert_eq!(all.len(), 1, "{path}");
    all.remove(0)
}

/// All YAML files below a folder of the workspace, by their paths in the workspace, in order.
pub fn yaml_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(workspace().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Every configuration of the filter in a value: of wasm filters in Envoy's bootstraps and patches, and of resources
/// that contain one directly.
pub fn plugin_configs(value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    match value["kind"].as_str() {
        Some("WasmPlugin") => found.push(value["spec"]["pluginConfig"].clone()),
        Some("EnvoyExtensionPolicy") => {
            found.extend(value["spec"]["wasm"].as_array().unwrap().iter().map(|plugin| plugin["config"].clone()));
        }
        _ => wasm_filters(value, &mut |plugin| found.push(plugin["configuration"]["value"].clone())),
    }
    found
}

/// Calls `take` with the `config` of every wasm filter.
pub fn wasm_filters(value: &Value, take: &mut impl FnMut(&Value)) {
    if value["@type"].as_str().is_some_and(|name| name.ends_with("http.wasm.v3.Wasm")) {
        take(&value["config"]);
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|field| wasm_filters(field, take)),
        Value::Array(items) => items.iter().for_each(|item| wasm_filters(item, take)),
        _ => {}
    }
}
