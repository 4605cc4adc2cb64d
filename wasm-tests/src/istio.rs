//! What Istio makes of an `EnvoyFilter`, as far as the shipped one needs it.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::connection_manager;

/// Applies the patches of an `EnvoyFilter` to a bootstrap whose first listener is the gateway's. A listener that is added
/// comes behind it, where no other patch applies to it, as with Istio.
///
/// # Errors
/// At a kind of patch, or an operation, that the shipped manifest doesn't use.
pub fn apply(envoy_filter: &Value, bootstrap: &mut Value) -> Result<()> {
    let patches = envoy_filter["spec"]["configPatches"].as_array().context("an EnvoyFilter without configPatches")?;
    for patch in patches {
        let (operation, value) = (&patch["patch"]["operation"], &patch["patch"]["value"]);
        match (patch["applyTo"].as_str(), operation.as_str()) {
            (Some("BOOTSTRAP"), Some("MERGE")) => merge_messages(bootstrap, value),
            (Some("NETWORK_FILTER"), Some("MERGE")) => {
                merge_messages(connection_manager(gateway(bootstrap)?), &value["typed_config"]);
            }
            (Some("HTTP_FILTER"), Some("INSERT_FIRST")) => {
                let filters = &mut connection_manager(gateway(bootstrap)?)["http_filters"];
                filters.as_array_mut().context("no list of HTTP filters")?.insert(0, value.clone());
            }
            (Some("LISTENER"), Some("ADD")) => {
                let listeners = bootstrap.pointer_mut("/static_resources/listeners").and_then(Value::as_array_mut);
                listeners.context("no list of listeners")?.push(value.clone());
            }
            (kind, operation) => bail!("a patch that isn't known here: {kind:?} {operation:?}"),
        }
    }
    Ok(())
}

fn gateway(bootstrap: &mut Value) -> Result<&mut Value> {
    let listener = bootstrap.pointer_mut("/static_resources/listeners/0").context("no listener")?;
    ensure!(listener["filter_chains"].is_array(), "a listener without filter chains");
    Ok(listener)
}

/// Merges as protobuf does: messages field by field, lists by appending, all else replaces. [`merge`](crate::merge), which
/// is for JSON, replaces lists and removes by null.
fn merge_messages(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, field) in patch {
                merge_messages(target.entry(name).or_insert(Value::Null), field);
            }
        }
        (Value::Array(target), Value::Array(patch)) => target.extend(patch.iter().cloned()),
        (target, patch) => *target = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merging_appends_to_lists_and_replaces_scalars() {
        let mut value = json!({"a": {"b": 1, "c": [1]}, "d": 4});
        merge_messages(&mut value, &json!({"a": {"b": 2, "c": [2]}, "e": {"f": 5}}));
        assert_eq!(value, json!({"a": {"b": 2, "c": [1, 2]}, "d": 4, "e": {"f": 5}}));
    }

    #[test]
    fn an_unknown_patch_is_an_error() {
        let filter = json!({"spec": {"configPatches": [{"applyTo": "CLUSTER", "patch": {"operation": "REMOVE"}}]}});
        assert!(apply(&filter, &mut json!({})).is_err());
    }
}
