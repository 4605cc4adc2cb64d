//! The places that every deployment has to change are marked.

use std::fs;

use super::files::yaml_below;
use wasm_tests::workspace;

/// Whether a line has a value that fits no deployment but the one in the documentation.
fn must_change(file: &str, line: &str) -> bool {
    let names_host = line.replace("@example.com", "").contains("example.com");
    // In Kubernetes' own manifests the overlay sets the namespace.
    let is_of_mesh = file.contains("/istio/") || file.contains("/envoy-gateway/");
    names_host || is_of_mesh && (line.trim_start().starts_with("namespace:") || line.contains("/default/"))
}

#[test]
fn each_value_that_a_deployment_has_to_change_is_marked() {
    // The alerts have one mark at the top for the addresses of all runbooks, and tests.yaml repeats these.
    let files = yaml_below("envoy").into_iter().filter(|file| !file.contains("/prometheus/"));
    let (mut marked, mut bare) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(workspace().join(&file)).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
            if must_change(&file, line) {
                marked += 1;
                if !line.contains("# CHANGE") {
                    bare.push(format!("{file}:{}: {line}", number + 1));
                }
            }
        }
    }
    assert!(bare.is_empty(), "not marked CHANGE:\n{}", bare.join("\n"));
    assert!(marked > 20, "{marked}");
}
