//! `authgate check --strict`, as in an operator's CI, on every configuration that the project ships.

use wasm_tests::workspace;

use crate::files::{documents, plugin_configs, yaml_below};

#[test]
fn every_shipped_configuration_passes_the_strict_check() {
    let holds_a_filter = |file: &String| documents(file).iter().any(|document| !plugin_configs(document).is_empty());
    let around: Vec<_> = yaml_below("envoy").into_iter().filter(holds_a_filter).collect();
    let alone = yaml_below("examples/configurations");
    assert!(around.len() >= 6 && alone.len() >= 6, "{around:?} {alone:?}");
    for file in [around, alone].concat() {
        let path = workspace().join(&file);
        let mut printed = Vec::new();
        let status = authgate::cli::run(["authgate", "check", "--strict", path.to_str().unwrap()], &mut printed, false);
        assert_eq!(status, 0, "{file}: {}", String::from_utf8_lossy(&printed));
    }
}
