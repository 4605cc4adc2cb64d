//! Prometheus' rules: their test cases, and the pages that alerts link to.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use wasm_tests::{prometheus::test_rules, workspace};

use crate::files::document;

#[test]
fn every_case_of_the_rules_passes() {
    test_rules(&workspace().join("envoy/prometheus/tests.yaml")).unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn every_alert_has_a_runbook_and_cases() {
    let (alerts, tests) = (document("envoy/prometheus/alerts.yaml"), document("envoy/prometheus/tests.yaml"));
    let cases: Vec<_> = tests["tests"].as_array().unwrap().iter().map(|test| &test["alert_rule_test"][0]).collect();
    let mut pages = BTreeSet::new();
    for rule in alerts["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        let url = rule["annotations"]["runbook_url"].as_str().unwrap();
        let page = PathBuf::from("docs/runbooks").join(Path::new(url).file_name().unwrap());
        assert!(url.ends_with(page.to_str().unwrap()) && workspace().join(&page).is_file(), "{name}: {url}");
        pages.insert(page.file_name().unwrap().to_owned());
        let fires = |case: &&Value| case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
        let its: Vec<_> = cases.iter().copied().filter(|case| case["alertname"] == name).collect();
        assert!(its.iter().any(fires) && its.iter().any(|case| !fires(case)), "{name} lacks a case");
    }
    let files = fs::read_dir(workspace().join("docs/runbooks")).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(pages, files);
}

/// The scrape configuration for Kubernetes, a comment in prometheus.yaml, scrapes the port that has the metrics.
#[test]
fn in_kubernetes_the_metrics_port_is_scraped() {
    let text = fs::read_to_string(workspace().join("envoy/prometheus/prometheus.yaml")).unwrap();
    let lines = text.lines().skip_while(|line| !line.contains("# kubernetes_sd_configs:"));
    let lines: Vec<_> = lines.map_while(|line| line.trim_start().strip_prefix("# ")).collect();
    let proposed: Value = serde_norway::from_str(&lines.join("\n")).unwrap();
    let kept = |label: &str| {
        let rules = proposed["relabel_configs"].as_array().unwrap().iter();
        let mut rules = rules.filter(|rule| rule["source_labels"] == json!([format!("__meta_kubernetes_pod_{label}")]));
        rules.next().unwrap()["regex"].clone()
    };
    let template = &document("envoy/kubernetes/deployment.yaml")["spec"]["template"];
    assert_eq!(kept("label_app_kubernetes_io_name"), template["metadata"]["labels"]["app.kubernetes.io/name"]);
    let ports = template["spec"]["containers"][0]["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == kept("container_port_name")).unwrap();
    assert_eq!(
        port["containerPort"].to_string(),
        template["metadata"]["annotations"]["prometheus.io/port"].as_str().unwrap()
    );
}
