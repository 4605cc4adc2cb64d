//! A real Prometheus beside a running gateway, with the shipped rules: it finds data for every query of the dashboard
//! and the rules.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wasm_tests::{Request, Stack, corpus::scripted, credentials, prometheus::Prometheus, workspace};

use crate::feed;

/// The queries of a dashboard's panels.
fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(workspace().join("envoy/grafana/authgate.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let fill =
        |query: &str| query.replace("$__rate_interval", "5m").replace("$filter", "authgate").replace("$instance", ".+");
    targets.map(|target| fill(target["expr"].as_str().unwrap())).collect()
}

/// The expressions of a file of rules.
fn rules(file: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join("envoy/prometheus").join(file)).unwrap();
    let rules: Value = serde_norway::from_str(&text).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect()
}

/// The series that an expression reads: `name{labels}`, without ranges and functions.
fn selectors(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_name = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    let mut rest = expression;
    while let Some(start) = ["auth_", "envoy_", "filter:"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let tail = &rest[start..];
        let name = tail.find(|character| !is_name(character)).unwrap_or(tail.len());
        let end = if tail[name..].starts_with('{') { name + tail[name..].find('}').unwrap() + 1 } else { name };
        found.insert(tail[..end].to_owned());
        rest = &tail[end..];
    }
    // These are a label's value and a label's name.
    found.retain(|selector| !["auth_service", "envoy_cluster_name"].contains(&selector.as_str()));
    found
}

/// Sends requests that create every series that the rules read.
async fn traffic(stack: &mut Stack) {
    let (_, token) = stack.api_token("any").await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    let ask = async |request: Request| request.send().await.unwrap().status;
    // This comes first, because it voids cached verdicts.
    feed::is_read(stack).await;
    // One entry is valid, the other can't be read.
    let revoked = json!([{"jti": "x", "exp": credentials::claims()["exp"]}, {"jti": 1}]);
    let entry = json!({"cursor": "1", "revoked": revoked, "users": [], "purge": []});
    let partial = json!({"on": "blacklist", "kind": "raw", "headers": [["content-type", "application/json"]], "times": 1, "body": entry.to_string()});
    stack.fault(partial).await.unwrap();
    until(stack, "auth_blacklist_polls_total", &[("outcome", "partial")]).await;
    // Allowed by the service, from the cache and by a signature; denied.
    for _ in 0..2 {
        assert_eq!(ask(stack.get("/orders").api_key(&token)).await, 200);
        assert_eq!(ask(stack.get("/orders").bearer(&jwt)).await, 200);
        assert_eq!(ask(stack.get("/orders").api_key(&scripted::token(1000))).await, 401);
        assert_eq!(ask(stack.get("/orders")).await, 401);
    }
    assert_eq!(ask(stack.get("/trial")).await, 200);
    let mut technical = credentials::claims();
    technical["token_type"] = json!("technical");
    let technical = stack.mint_claims(&technical).await.unwrap();
    assert_eq!(ask(stack.get("/orders").bearer(&technical)).await, 200);
    // The service is down: stale verdicts and signatures replace it, and the list ages.
    stack.stop_auth().await;
    for (metric, label) in [
        ("auth_validation_requests_total", ("source", "stale")),
        ("auth_validation_requests_total", ("source", "fallback")),
        ("auth_validation_requests_total", ("outcome", "error")),
        ("auth_blacklist_checks_total", ("result", "stale")),
        ("auth_public_key_refresh_total", ("outcome", "failure")),
        ("auth_blacklist_polls_total", ("outcome", "failure")),
    ] {
        let deadline = Instant::now() + Duration::from_secs(60);
        while stack.metric(metric, &[label]).await.unwrap() == 0 {
            assert!(Instant::now() < deadline, "no {metric} {label:?}");
            ask(stack.get("/orders").api_key(&token)).await;
            ask(stack.get("/orders").bearer(&jwt)).await;
            ask(stack.get("/remote").bearer(&jwt)).await;
            ask(stack.get("/orders").api_key(&scripted::token(1001))).await;
        }
    }
    // This comes last, because it locks out the address.
    for (metric, label) in [
        ("auth_throttle_lockouts_total", ("kind", "address")),
        ("auth_suspicious_activity_total", ("kind", "repeated_failures")),
    ] {
        while stack.metric(metric, &[label]).await.unwrap() == 0 {
            ask(stack.get("/orders").bearer("malformed")).await;
        }
    }
}

async fn until(stack: &Stack, metric: &str, labels: &[(&str, &str)]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while stack.metric(metric, labels).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "no {metric} {labels:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The filter's metrics that Envoy shows.
async fn shown(stack: &Stack) -> BTreeSet<String> {
    let metrics = stack.metrics().await.unwrap();
    let page = metrics.page();
    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    names.filter(|name| name.starts_with("auth_")).map(str::to_owned).collect()
}

/// The metrics that the reference lists.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(workspace().join("docs/reference.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Metrics\n")).unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `auth_")?.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split(", "));
    names.map(|name| format!("auth_{}", name.trim_matches('`').trim_start_matches("auth_"))).collect()
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let wanted =
        |query: &String| selectors(query).into_iter().map(|selector| selector.split('{').next().unwrap().to_owned());
    let on_it: BTreeSet<_> = dashboard().iter().flat_map(wanted).collect();
    let missing = |name: &String| !on_it.contains(name) && !on_it.contains(&format!("{name}_bucket"));
    let missing: Vec<_> = documented().into_iter().filter(missing).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_dashboard_and_rules_has_data() {
    let config = json!({
        "auth_service": {"retries": 0},
        "circuit_breaker": {"failures": 2, "open_for": "1s"},
        "cache": {"ttl": "2s", "max_entries": 1, "negative_ttl": "60s"},
        "jwt": {"public_key": {"ttl": "2s"}, "token_types": ["access", "api_token", "technical"]},
        "failed_auth_throttle": {"attempts": 20},
        "rules": [
            {"match": {"prefix": "/remote"}, "verification": "remote"},
            {"match": {"prefix": "/trial"}, "mode": "shadow"},
        ],
    });
    let mut stack = Stack::builder()
        .config(config)
        .config(feed::config())
        .envoy(|bootstrap| bootstrap["stats_flush_interval"] = json!("1s"))
        .start()
        .await
        .unwrap();
    let prometheus = Prometheus::start(stack.admin_address(), &workspace().join("envoy/prometheus")).await.unwrap();
    traffic(&mut stack).await;

    let expressions = [rules("recording-rules.yaml"), rules("alerts.yaml"), dashboard()].concat();
    let mut wanted: BTreeSet<_> = expressions.iter().flat_map(|expression| selectors(expression)).collect();
    // Queries without a comparison also have data as a whole.
    wanted.extend(dashboard());
    wanted.extend(rules("recording-rules.yaml"));
    assert!(wanted.len() > 50, "{wanted:?}");
    // Time for two samples of each series, and two evaluations of the rules that the alerts use.
    let deadline = Instant::now() + Duration::from_secs(60);
    for query in wanted {
        while prometheus.query(&query).await.unwrap().is_empty() {
            assert!(Instant::now() < deadline, "no data for {query}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    assert_eq!(shown(&stack).await, documented());
    let buckets = prometheus.query("count by (le) (auth_validation_duration_ms_bucket)").await.unwrap();
    let bounds: BTreeSet<_> = buckets.iter().map(|bucket| bucket["metric"]["le"].as_str().unwrap()).collect();
    assert_eq!(bounds, ["1", "5", "10", "50", "100", "500", "1000", "5000", "+Inf"].into());
    let alerts = prometheus.alerts().await.unwrap();
    assert!(alerts.iter().any(|name| name == "AuthServiceDown"), "{alerts:?}");
    assert!(!alerts.iter().any(|name| name == "AuthgateMissing"), "{alerts:?}");
}
