//! What the connection manager around the filter does to a request first.

use serde_json::Value;

use super::output;

/// A connection manager with these settings, and the filter with this rule.
fn manager(settings: &str, rule: &str) -> String {
    format!(
        "{settings}http_filters:\n- name: x\n  typed_config:\n    '@type': \
         type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n    config:\n      name: authgate\n      \
         configuration:\n        '@type': type.googleapis.com/google.protobuf.Struct\n        value: {{auth_service: \
         {{cluster: c}}, rules: [{rule}]}}\n"
    )
}

#[test]
fn the_host_is_the_one_that_the_connection_manager_leaves() {
    let rule = "{match: {hosts: [a.example, '[2001:db8::1]']}, public: true}";
    let both = "strip_any_host_port: true\nstrip_trailing_host_dot: true\n";
    for (settings, host, code) in [
        ("", "a.example", "public"),
        ("", "a.example:80", "ambiguous_host"),
        ("", "a.example.", "ambiguous_host"),
        (both, "a.example:80", "public"),
        (both, "a.example.", "public"),
        (both, "a.example.:80", "public"),
        (both, "[2001:db8::1]:80", "public"),
        (both, "[2001:db8::1]", "public"),
        (both, "b.example:80", "missing_credentials"),
        (both, "a.example:abc", "ambiguous_host"),
        (both, "a.example:", "ambiguous_host"),
        ("strip_any_host_port: true\n", "a.example.:80", "ambiguous_host"),
        ("strip_trailing_host_dot: true\n", "a.example.", "public"),
        ("strip_trailing_host_dot: true\n", "a.example.:80", "ambiguous_host"),
    ] {
        for host in [["--host".to_owned(), host.to_owned()], ["--header".to_owned(), format!("Host: {host}")]] {
            let options: Vec<_> = host.iter().map(String::as_str).chain(["--format", "json"]).collect();
            let told: Value = serde_json::from_str(&output(&manager(settings, rule), &options).1).unwrap();
            let ended = told["decision"]["deny"]["code"].as_str().or(told["decision"]["outcome"].as_str());
            assert_eq!(ended, Some(code), "{settings:?} {host:?}");
        }
    }
}

#[test]
fn a_connection_manager_that_changes_the_path_is_told() {
    let rule = "{match: {prefix: /public}, public: true}";
    let ask = |settings: &str, options: &[&str]| output(&manager(settings, rule), options).1;
    for (settings, named) in [
        ("normalize_path: true\n", "normalize_path"),
        ("mergeSlashes: true\n", "merge_slashes"),
        ("path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD\n", "path_with_escaped_slashes_action"),
        ("path_with_escaped_slashes_action: REJECT_REQUEST\n", "path_with_escaped_slashes_action"),
        ("normalize_path: true\nmerge_slashes: true\n", "normalize_path, merge_slashes"),
    ] {
        let text = ask(settings, &["--path", "/x/../public/a"]);
        let note = format!(
            "note          the connection manager may change or refuse the path before the filter sees it ({named}), and \
             explain reads it as given: give the path as Envoy forwards it\n"
        );
        assert!(text.contains(&note), "{text}");
        let told: Value = serde_json::from_str(&ask(settings, &["--format", "json"])).unwrap();
        assert!(told["note"].as_str().unwrap().contains(named), "{told}");
    }
    for settings in [
        "",
        "normalize_path: false\nmerge_slashes: false\npath_with_escaped_slashes_action: KEEP_UNCHANGED\n",
        "path_with_escaped_slashes_action: IMPLEMENTATION_SPECIFIC_DEFAULT\n",
        "path_with_escaped_slashes_action: 1\n",
    ] {
        let told: Value = serde_json::from_str(&ask(settings, &["--format", "json"])).unwrap();
        assert_eq!(told.get("note"), None, "{told}");
        assert!(!ask(settings, &[]).contains("note "), "{told}");
    }
}
