//! Warnings about what Envoy, Istio and Envoy Gateway wrap around a configuration.

use std::time::Duration;

use super::find::{self, Plugin, Wrapping, all_in};
use super::rules;
use super::warnings::{Warning, Warnings};
use crate::cli::tree::{self, Node};
use crate::config::Config;
use crate::filter::Filter;

/// The shipped bootstrap, which has all that the metrics need.
const BOOTSTRAP: &str = include_str!("../../../envoy/envoy.yaml");

/// Checks what surrounds a filter.
///
/// - `documents`: all of its file.
/// - `config`: `None` if it has errors.
pub fn check(plugin: &Plugin<'_>, documents: &[Node], config: Option<&Config>, warnings: &mut Warnings<'_>) {
    check_failure_policy(plugin, warnings);
    check_vm_id(plugin, documents, warnings);
    check_disabled(plugin, documents, warnings);
    check_stats_tags(plugin, warnings);
    check_clusters(plugin, warnings);
    if let Some(config) = config {
        check_manager(plugin, config, warnings);
    }
}

fn check_failure_policy(plugin: &Plugin<'_>, warnings: &mut Warnings<'_>) {
    let holder = plugin.holder;
    let (field, policy) = match plugin.wrapping {
        Wrapping::Plain => return,
        Wrapping::Envoy => ("failure_policy", holder.text_of("failure_policy")),
        Wrapping::WasmPlugin => ("failStrategy", holder.text_of("fail_strategy")),
        Wrapping::EnvoyExtensionPolicy => {
            if holder.is_on("fail_open") {
                let line = holder.line_of("failOpen");
                let problem = "after a trap requests pass without authentication: set it to false";
                warnings.add_at(Warning::FailurePolicy, line, "failOpen", problem);
            }
            return;
        }
    };
    let is_open = policy == "FAIL_OPEN" || holder.is_on("fail_open");
    if policy != "FAIL_RELOAD" {
        let after = if is_open { "requests pass without authentication" } else { "the filter stays down" };
        let line = holder.get(field).map_or(holder.line, |node| node.line);
        warnings.add_at(Warning::FailurePolicy, line, field, format!("after a trap {after}: set FAIL_RELOAD"));
    }
}

fn check_vm_id(plugin: &Plugin<'_>, documents: &[Node], warnings: &mut Warnings<'_>) {
    const KEY: &str = "AUTHGATE_SEAL_KEY";
    let holder = plugin.holder;
    match plugin.wrapping {
        Wrapping::Plain => {}
        Wrapping::Envoy => {
            let id = holder.at(&["vm_config", "vm_id"]).and_then(Node::text).unwrap_or_default();
            let line =
                holder.at(&["vm_config", "vm_id"]).or_else(|| holder.get("vm_config")).map_or(holder.line, |n| n.line);
            if id.is_empty() {
                let problem = "without its own vm_id the filter shares its data with every plugin that has none";
                return warnings.add_at(Warning::VmId, line, "vm_config.vm_id", problem);
            }
            let mut others = documents.iter().flat_map(all_in);
            let is_other = |other: &Plugin<'_>| {
                let code = |plugin: &Plugin<'_>| plugin.holder.at(&["vm_config", "code"]).map(Node::to_json);
                other.holder.at(&["vm_config", "vm_id"]).and_then(Node::text) == Some(id) && code(other) != code(plugin)
            };
            if let Some(other) = others.find(is_other) {
                let problem = format!(
                    "the plugin {:?} in line {} has other code and the same vm_id: it can read and change shared data",
                    other.name(),
                    other.holder.line
                );
                warnings.add_at(Warning::VmId, line, "vm_config.vm_id", problem);
            }
        }
        Wrapping::WasmPlugin | Wrapping::EnvoyExtensionPolicy => {
            let environment = if plugin.wrapping == Wrapping::WasmPlugin { "vm_config" } else { "env" };
            let has_key = holder.get(environment).is_some_and(|node| node.to_json().contains(KEY));
            if !has_key {
                let problem =
                    format!("this resource can't set a vm_id: set {KEY}, or other plugins can read shared data");
                warnings.add_at(Warning::VmId, holder.line, environment, problem);
            }
        }
    }
}

fn check_disabled(plugin: &Plugin<'_>, documents: &[Node], warnings: &mut Warnings<'_>) {
    let Some(filter) = plugin.filter else { return };
    let mut warn = |line, field: &str| {
        let unless = if field == "disabled" { ", unless a route switches it on" } else { "" };
        let problem = format!(
            "the filter is off here{unless}: requests are not authenticated, and clients' identity headers reach the upstream"
        );
        warnings.add_at(Warning::FilterDisabledOnRoute, line, field, problem);
    };
    if filter.is_on("disabled") {
        warn(filter.line_of("disabled"), "disabled");
    }
    let name = filter.text_of("name");
    // An EnvoyFilter may change what another one adds, and a route configuration may be a document of its own.
    let is_about = |document: &&Node| {
        std::ptr::eq(*document, plugin.document)
            || document.text_of("kind") == "EnvoyFilter"
            || document.get("virtual_hosts").is_some()
    };
    let mut rest: Vec<_> = documents.iter().filter(is_about).collect();
    while let Some(node) = rest.pop() {
        let overrides = node.get("typed_per_filter_config").map(Node::members).unwrap_or_default();
        for (_, over) in overrides.iter().filter(|(known, over)| known == name && is_off(over)) {
            warn(over.line, "typed_per_filter_config");
        }
        if let Some(changed) = changed_filter(node, name)
            && !std::ptr::eq(changed, filter)
            && changed.is_on("disabled")
        {
            warn(changed.line_of("disabled"), "disabled");
        }
        if find::patch(node).0 == "HTTP_FILTER"
            && node.at(&["patch", "operation"]).and_then(Node::text) == Some("REMOVE")
            && node.at(&MATCHED).and_then(Node::text) == Some(name)
        {
            warn(node.line, "operation");
        }
        rest.extend(node.members().iter().map(|(_, member)| member));
        rest.extend(node.entries());
    }
}

/// Whether a `FilterConfig`, perhaps as a `TypedStruct`, switches a filter off.
fn is_off(over: &Node) -> bool {
    over.is_on("disabled") || over.get("value").is_some_and(|value| value.is_on("disabled"))
}

/// The name of the filter that a patch of an EnvoyFilter is for.
const MATCHED: [&str; 6] = ["match", "listener", "filter_chain", "filter", "sub_filter", "name"];

/// What a patch of an EnvoyFilter says about the filter of this name.
fn changed_filter<'t>(patch: &'t Node, name: &str) -> Option<&'t Node> {
    let ("HTTP_FILTER", Some(value)) = find::patch(patch) else { return None };
    // A patch that merges needn't repeat the name.
    let named = value.get("name").or_else(|| patch.at(&MATCHED));
    (named.and_then(Node::text) == Some(name)).then_some(value)
}

fn check_stats_tags(plugin: &Plugin<'_>, warnings: &mut Warnings<'_>) {
    if plugin.document.get("static_resources").is_none() {
        return;
    }
    let known = tags(plugin.document);
    let needed = tree::parse(BOOTSTRAP, 1).unwrap_or_default();
    let needed: Vec<_> = needed.iter().flat_map(|bootstrap| tags(bootstrap)).collect();
    let missing: Vec<_> = needed.iter().filter(|tag| !known.contains(tag)).map(|tag| (*tag).to_owned()).collect();
    if !missing.is_empty() {
        let line = plugin.document.get("stats_config").map_or(plugin.document.line, |node| node.line);
        let problem =
            format!("without {} the metrics lack these labels: docs/reference.md#metrics", missing.join(", "));
        warnings.add_at(Warning::StatsTags, line, "stats_config.stats_tags", problem);
    }
}

/// The names of a bootstrap's tags.
fn tags(bootstrap: &Node) -> Vec<&str> {
    let tags = bootstrap.at(&["stats_config", "stats_tags"]).map(Node::entries).unwrap_or_default();
    tags.iter().map(|tag| tag.text_of("tag_name")).collect()
}

fn check_clusters(plugin: &Plugin<'_>, warnings: &mut Warnings<'_>) {
    let Some(resources) = plugin.document.get("static_resources") else { return };
    if plugin.document.get("dynamic_resources").is_some() {
        return;
    }
    let clusters = resources.get("clusters").map(Node::entries).unwrap_or_default();
    for path in [&["auth_service", "cluster"][..], &["jwt", "public_key", "cluster"], &["revocation", "cluster"]] {
        if let Some(name) = plugin.tree.at(path).and_then(Node::text)
            && !clusters.iter().any(|cluster| cluster.text_of("name") == name)
        {
            warnings.add(Warning::UnknownCluster, &path.join("."), format!("the bootstrap has no cluster {name:?}"));
        }
    }
}

fn check_manager(plugin: &Plugin<'_>, config: &Config, warnings: &mut Warnings<'_>) {
    let Some(manager) = plugin.manager else { return };
    let line_of = |name| manager.get(name).map_or(manager.line, |node| node.line);
    let name = "stream_idle_timeout";
    let longest = Filter::new(config.clone()).longest_wait();
    match manager.get(name).and_then(Node::text).and_then(duration) {
        None => {
            let state = if manager.get(name).is_some() { "it is off or not a duration, so" } else { "without it" };
            let problem = format!("{state} a request held in a VM that trapped hangs for minutes: set 30s");
            warnings.add_at(Warning::IdleTimeout, line_of(name), name, problem);
        }
        Some(timeout) if timeout < longest => {
            let problem = format!(
                "a request may wait up to {} s for its verdict, but this ends it earlier",
                longest.as_secs_f64()
            );
            warnings.add_at(Warning::IdleTimeout, line_of(name), name, problem);
        }
        Some(_) => {}
    }
    if config.failed_auth_throttle.is_some() && !manager.is_on("use_remote_address") {
        let problem = "without use_remote_address: true clients choose the address that failed_auth_throttle locks out";
        warnings.add_at(Warning::ThrottleAddress, line_of("use_remote_address"), "use_remote_address", problem);
    }
    if let Some(field) = rules::host_without_any_port(&plugin.tree)
        && !manager.is_on("strip_any_host_port")
    {
        let problem = "without strip_any_host_port: true a request with a port in its host is refused; or write `:*`";
        warnings.add(Warning::HostWithoutStrip, &field, problem);
    }
}

/// Parses protobuf's JSON form of a duration. `None` for 0 too, which turns a limit off.
fn duration(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}
