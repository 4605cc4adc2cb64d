//! What the shipped files make Envoy log about each request.

use serde_json::{Value, json};

use crate::files::{documents, wasm_filters, yaml_below};

/// The fields that an access log must have, by name: they tell who was denied, and why.
const NEEDED: [(&str, &str); 8] = [
    ("outcome", "%FILTER_STATE(wasm.authgate.outcome:PLAIN)%"),
    ("reason", "%FILTER_STATE(wasm.authgate.reason:PLAIN)%"),
    ("source", "%FILTER_STATE(wasm.authgate.source:PLAIN)%"),
    ("rule", "%FILTER_STATE(wasm.authgate.rule:PLAIN)%"),
    ("user_id", "%FILTER_STATE(wasm.authgate.user_id:PLAIN)%"),
    ("client_id", "%FILTER_STATE(wasm.authgate.client_id:PLAIN)%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
];

/// Other values that it may have. None can contain a client's credential, as a path's query can.
const HARMLESS: [&str; 4] = ["%START_TIME%", "%RESPONSE_CODE%", "%REQ(:METHOD)%", "%REQ_WITHOUT_QUERY(:PATH)%"];

/// Calls `take` with every connection manager, whole or as a patch.
fn managers(value: &Value, take: &mut impl FnMut(&Value)) {
    if value["@type"].as_str().is_some_and(|name| name.ends_with("v3.HttpConnectionManager")) {
        take(value);
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|field| managers(field, take)),
        Value::Array(items) => items.iter().for_each(|item| managers(item, take)),
        _ => {}
    }
}

/// Whether the manager serves clients. The listeners for probes and for Prometheus keep no log. Istio's patch has its
/// filter elsewhere.
fn is_for_clients(manager: &Value) -> bool {
    let mut names = Vec::new();
    wasm_filters(manager, &mut |plugin| names.push(plugin["name"].clone()));
    names.contains(&json!("authgate")) || manager.get("http_filters").is_none()
}

/// Every text in a value.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        _ => {}
    }
}

/// The access logs in the connection managers of all files.
fn logs() -> Vec<(String, Value, bool)> {
    let mut found = Vec::new();
    for file in yaml_below("envoy") {
        for document in documents(&file) {
            managers(&document, &mut |manager| {
                found.push((file.clone(), manager["access_log"].clone(), is_for_clients(manager)));
            });
        }
    }
    found
}

#[test]
fn every_request_has_a_line_of_json_with_its_outcome() {
    let mut files = Vec::new();
    for (file, log, _) in logs().into_iter().filter(|(.., for_clients)| *for_clients) {
        let format = &log[0]["typed_config"]["log_format"]["json_format"];
        for (name, operator) in NEEDED {
            assert_eq!(format[name], operator, "{file}: {name}");
        }
        files.push(file);
    }
    let expected = ["envoy-tls.yaml", "envoy.yaml", "istio/envoyfilter.yaml", "kubernetes/envoy.yaml"];
    assert_eq!(files, expected.map(|file| format!("envoy/{file}")));
}

#[test]
fn no_header_that_can_hold_a_credential_is_in_an_access_log() {
    let known = NEEDED.map(|(_, operator)| operator);
    for (file, log, _) in logs() {
        for logger in log.as_array().into_iter().flatten() {
            let mut written = Vec::new();
            texts(&logger["typed_config"]["log_format"]["json_format"], &mut written);
            assert!(!written.is_empty(), "{file}: Envoy's default format writes the whole path: {logger}");
            for text in written {
                assert!(known.contains(&text.as_str()) || HARMLESS.contains(&text.as_str()), "{file}: {text}");
            }
        }
    }
}
