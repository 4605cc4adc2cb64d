//! Warnings about what surrounds a configuration.

use super::brief;
use super::warnings::{assert_warns, rules};

const BOOTSTRAP: &str = include_str!("../../../../envoy/envoy.yaml");
const ENVOY_FILTER: &str = include_str!("../../../../envoy/istio/envoyfilter.yaml");

/// The shipped bootstrap with a change.
#[track_caller]
fn bootstrap(old: &str, new: &str) -> String {
    assert!(BOOTSTRAP.contains(old), "{old}");
    BOOTSTRAP.replace(old, new)
}

#[test]
fn warns_of_host_rules_without_stripping_the_port() {
    let rule = "- match: {path: /health}";
    let with = |hosts: &str| format!("- match: {{path: /health, hosts: [{hosts}]}}");
    let off = bootstrap("strip_any_host_port: true", "strip_any_host_port: false");
    let name = "host-without-strip";
    let field = "rules[0].match.hosts[0]";
    assert_warns(name, field, &off.replace(rule, &with("a.com")), &off.replace(rule, &with("'a.com:*'")));
    assert_warns(name, field, &off.replace(rule, &with("a.com")), &bootstrap(rule, &with("a.com")));
    assert_warns(name, field, &off.replace(rule, &with("a.com")), &rules("{match: {hosts: [a.com]}}"));
}

#[test]
fn warns_of_the_failure_policy() {
    let name = "failure-policy";
    for policy in ["failure_policy: FAIL_CLOSED", "failure_policy: FAIL_OPEN", "fail_open: true"] {
        let bad = bootstrap("failure_policy: FAIL_RELOAD", policy);
        assert_warns(name, "failure_policy", &bad, BOOTSTRAP);
    }
    let plugin =
        |more: &str| format!("kind: WasmPlugin\nspec:\n  pluginConfig: {{auth_service: {{cluster: c}}}}\n{more}");
    assert_warns(name, "failStrategy", &plugin(""), &plugin("  failStrategy: FAIL_RELOAD\n"));
    let policy = |open: &str| {
        format!(
            "kind: EnvoyExtensionPolicy\nspec:\n  wasm: [{{config: {{auth_service: {{cluster: c}}}}, failOpen: {open}}}]\n"
        )
    };
    assert_warns(name, "failOpen", &policy("true"), &policy("false"));
}

#[test]
fn warns_of_a_missing_idle_timeout() {
    let field = "stream_idle_timeout";
    for (old, new) in [
        ("                stream_idle_timeout: 30s\n", ""),
        ("stream_idle_timeout: 30s", "stream_idle_timeout: 0s"),
        ("stream_idle_timeout: 30s", "stream_idle_timeout: 2s"),
        (
            "timeout: 1s\n                              retries: 1",
            "timeout: 20s\n                              retries: 1",
        ),
    ] {
        assert_warns("idle-timeout", field, &bootstrap(old, new), BOOTSTRAP);
    }
}

#[test]
fn warns_of_an_idle_timeout_below_any_wait_of_a_request() {
    let last = "public_key: {ttl: 1h, min_refetch_interval: 5s, grace: 5s}";
    let pem = include_str!("../../../public_key/testdata/rsa_2048.pem").replace('\n', "\\n");
    let pinned = format!("public_key: {{pem: [\"{pem}\"]}}");
    let remote = format!("{last}\n                              verification: remote");
    let in_jwts = format!("{last}\n                            api_token: {{response_format: jwt_body}}");
    for (settings, longest) in [
        // A fetch of the key that began before, the pause after it, and one more fetch.
        (last, 15),
        // At most this long, however long a fetch may take.
        ("public_key: {min_refetch_interval: 30s}", 20),
        // A question: its share, another worker's question, and its own.
        (&pinned, 11),
        // A question, and a key for the answer, or for the JWT while the service is down.
        (&in_jwts, 26),
        (&remote, 26),
    ] {
        let with = |seconds: u32| {
            bootstrap(last, settings).replace("stream_idle_timeout: 30s", &format!("stream_idle_timeout: {seconds}s"))
        };
        assert_warns("idle-timeout", "stream_idle_timeout", &with(longest - 1), &with(longest));
    }
}

#[test]
fn warns_of_a_throttle_on_a_shared_address() {
    let with = bootstrap("# failed_auth_throttle:", "failed_auth_throttle:");
    let off = |text: &str| text.replace("use_remote_address: true", "use_remote_address: false");
    assert_warns("throttle-address", "use_remote_address", &off(&with), &with);
    assert_warns("throttle-address", "use_remote_address", &off(&with), &off(BOOTSTRAP));
}

#[test]
fn warns_of_the_vm_id() {
    let name = "vm-id";
    assert_warns(name, "vm_config.vm_id", &bootstrap("vm_id: authgate", "vm_id: ''"), BOOTSTRAP);
    let other = |id: &str| {
        let other = format!(
            "                  - name: other\n                    typed_config:\n                      '@type': \
             type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n                      config: {{name: other, \
             vm_config: {{vm_id: {id}, code: {{local: {{filename: other.wasm}}}}}}}}\n"
        );
        let router = "                  - name: envoy.filters.http.router\n";
        bootstrap(router, &format!("{other}{router}"))
    };
    assert_warns(name, "vm_config.vm_id", &other("authgate"), &other("other"));
    let plugin = |environment: &str| {
        format!(
            "kind: WasmPlugin\nspec:\n  failStrategy: FAIL_RELOAD\n  pluginConfig: {{auth_service: {{cluster: c}}}}\n  \
             vmConfig: {{env: [{environment}]}}\n"
        )
    };
    assert_warns(name, "vm_config", &plugin(""), &plugin("{name: AUTHGATE_SEAL_KEY, valueFrom: HOST}"));
}

#[test]
fn warns_of_missing_stats_tags() {
    let tag = "    - {tag_name: source, regex: \"(\\\\.source=([^.]+))\"}\n";
    assert_warns("stats-tags", "stats_config.stats_tags", &bootstrap(tag, ""), BOOTSTRAP);
}

#[test]
fn warns_of_an_unknown_cluster() {
    let bad = bootstrap("cluster: auth_service\n", "cluster: auth\n");
    assert_warns("unknown-cluster", "auth_service.cluster", &bad, BOOTSTRAP);
    let dynamic = format!("dynamic_resources: {{cds_config: {{}}}}\n{bad}");
    assert_warns("unknown-cluster", "auth_service.cluster", &bad, &dynamic);
}

#[test]
fn warns_of_a_route_that_disables_the_filter() {
    let name = "filter-disabled-on-route";
    let route = "- match: {prefix: \"/\"}\n";
    let over = |filter: &str| {
        let over = format!(
            "                          typed_per_filter_config: {{{filter}: {{'@type': \
             type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}}}}\n"
        );
        bootstrap(route, &format!("{route}{over}"))
    };
    assert_warns(name, "typed_per_filter_config", &over("authgate"), &over("other"));
    let off = bootstrap("- name: authgate\n", "- name: authgate\n                    disabled: true\n");
    assert_warns(name, "disabled", &off, BOOTSTRAP);
}

/// The shipped EnvoyFilter with a change.
#[track_caller]
fn envoy_filter(old: &str, new: &str) -> String {
    assert!(ENVOY_FILTER.contains(old), "{old}");
    ENVOY_FILTER.replacen(old, new, 1)
}

#[test]
fn warns_of_an_envoy_filter_that_disables_the_filter() {
    let name = "filter-disabled-on-route";
    let off = envoy_filter("          name: authgate\n", "          name: authgate\n          disabled: true\n");
    assert_warns(name, "disabled", &off, ENVOY_FILTER);
    let merged = |filter: &str| {
        let patch = format!(
            "    - applyTo: HTTP_FILTER\n      patch: {{operation: MERGE, value: {{name: {filter}, disabled: true}}}}\n"
        );
        format!("{ENVOY_FILTER}{patch}")
    };
    assert_warns(name, "disabled", &merged("authgate"), &merged("other"));
    let matched = |filter: &str| {
        let filter = format!("{{filter: {{subFilter: {{name: {filter}}}}}}}");
        let patch = format!(
            "    - applyTo: HTTP_FILTER\n      match: {{listener: {{filterChain: {filter}}}}}\n      patch: {{operation: \
             MERGE, value: {{disabled: true}}}}\n"
        );
        format!("{ENVOY_FILTER}{patch}")
    };
    assert_warns(name, "disabled", &matched("authgate"), &matched("other"));
    let removed =
        |filter: &str| matched(filter).replace("operation: MERGE, value: {disabled: true}", "operation: REMOVE");
    assert_warns(name, "operation", &removed("authgate"), &removed("other"));
}

#[test]
fn warns_of_an_envoy_filter_with_a_route_that_disables_the_filter() {
    let name = "filter-disabled-on-route";
    for (to, before, after) in [
        ("HTTP_ROUTE", "", ""),
        ("VIRTUAL_HOST", "", ""),
        ("ROUTE_CONFIGURATION", "", ""),
        ("ROUTE_CONFIGURATION", "virtual_hosts: [{routes: [{", "}]}]"),
    ] {
        let patch = |filter: &str, disabled: bool| {
            format!(
                "    - applyTo: {to}\n      patch:\n        operation: MERGE\n        value: \
                 {{{before}typed_per_filter_config: {{{filter}: {{'@type': \
                 type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: {disabled}}}}}{after}}}\n"
            )
        };
        let (bad, good) = (patch("authgate", true), patch("authgate", false));
        let field = "typed_per_filter_config";
        assert_warns(name, field, &format!("{ENVOY_FILTER}{bad}"), &format!("{ENVOY_FILTER}{good}"));
        assert_warns(name, field, &format!("{ENVOY_FILTER}{bad}"), &format!("{ENVOY_FILTER}{}", patch("other", true)));
        // In a resource of its own.
        let beside = |patch: &str| format!("{ENVOY_FILTER}---\nkind: EnvoyFilter\nspec:\n  configPatches:\n{patch}");
        assert_warns(name, field, &beside(&bad), &beside(&good));
    }
}

#[test]
fn warns_of_a_route_configuration_of_its_own_that_disables_the_filter() {
    let beside = |filter: &str| {
        let over = "{'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}";
        format!("{BOOTSTRAP}---\nname: routes\nvirtual_hosts: [{{typed_per_filter_config: {{{filter}: {over}}}}}]\n")
    };
    let name = "filter-disabled-on-route";
    assert_warns(name, "typed_per_filter_config", &beside("authgate"), &beside("other"));
}

#[test]
fn a_route_that_disables_filters_of_one_name_is_one_finding() {
    let route = "                            - match: {prefix: \"/\"}\n";
    let over = "typed_per_filter_config: {authgate: {'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig, \
                disabled: true}}";
    let status = "name: authgate-status\n                        typed_config";
    let text = envoy_filter(route, &format!("{route}                              {over}\n"))
        .replace(status, &status.replace("-status", ""));
    let found = brief(&text);
    assert_eq!(found.iter().filter(|(_, name, _)| name == "filter-disabled-on-route").count(), 1, "{found:?}");
}

#[test]
fn warns_of_a_vm_id_that_another_document_has() {
    let other = |id: &str| {
        format!(
            "{BOOTSTRAP}---\nname: other\ntyped_config:\n  '@type': \
             type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n  config: {{name: other, vm_config: \
             {{vm_id: {id}, code: {{local: {{filename: other.wasm}}}}}}}}\n"
        )
    };
    assert_warns("vm-id", "vm_config.vm_id", &other("authgate"), &other("other"));
    let same_code = format!("{BOOTSTRAP}---\n{BOOTSTRAP}");
    assert_warns("vm-id", "vm_config.vm_id", &other("authgate"), &same_code);
}

#[test]
fn warns_of_each_unknown_cluster() {
    for (field, settings) in [
        ("jwt.public_key.cluster", "jwt: {required_claims: [jti], public_key: {cluster: CLUSTER}}"),
        (
            "revocation.cluster",
            "jwt: {required_claims: [jti]}\n                            revocation: {path: /list, cluster: CLUSTER}",
        ),
    ] {
        let jwt = "jwt:\n                              # A refresh token is never accepted as an access token.\n  \
                   \x20                           token_types: [access, api_token]\n                              \
                   public_key: {ttl: 1h, min_refetch_interval: 5s, grace: 5s}";
        let with = |cluster: &str| bootstrap(jwt, &settings.replace("CLUSTER", cluster));
        assert_warns("unknown-cluster", field, &with("keys"), &with("auth_service"));
        assert_eq!(brief(&with("keys")).len(), 1);
    }
}
