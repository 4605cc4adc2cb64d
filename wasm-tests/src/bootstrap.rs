//! Envoy's bootstrap as a value.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::workspace;

/// The first HTTP filter of the first listener, which is authgate.
const FILTERS: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

/// The port of a service that a stack doesn't start: it is reserved, and nothing listens there.
pub(crate) const NOBODY: u16 = 1;

/// The connection manager of a listener, as [`crate::Builder::envoy`] hands listeners over inside the bootstrap.
///
/// # Panics
/// When the listener isn't built like that of `envoy/envoy.yaml`.
pub fn connection_manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

/// The wasm plugin's settings in a listener whose first HTTP filter is authgate.
///
/// # Panics
/// As [`connection_manager`].
pub fn plugin(listener: &mut Value) -> &mut Value {
    &mut connection_manager(listener)["http_filters"][0]["typed_config"]["config"]
}

/// The auth service's cluster, reduced to one host at this port, without health checks and outlier detection, so that
/// only the filter judges it. For services of a test's own.
///
/// # Panics
/// When the bootstrap isn't built like `envoy/envoy.yaml`.
pub fn auth_service_alone(bootstrap: &mut Value, port: u16) -> &mut Value {
    let cluster = &mut bootstrap["static_resources"]["clusters"][1];
    let endpoints = &mut cluster["load_assignment"]["endpoints"];
    let mut first = endpoints[0].take();
    first["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] = port.into();
    *endpoints = json!([first]);
    cluster["health_checks"] = json!([]);
    cluster["outlier_detection"] = Value::Null;
    cluster
}

/// Makes Envoy speak HTTP/2 instead of HTTP/1.1 to the hosts of a cluster.
///
/// # Panics
/// When the cluster isn't one of `envoy/envoy.yaml`.
pub fn speak_http2(cluster: &mut Value) {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster["typed_extension_protocol_options"][options]["explicit_http_config"] =
        json!({"http2_protocol_options": {}});
}

/// A bootstrap of Envoy, read from YAML, patched as a JSON value and written as JSON.
#[derive(Clone, Debug)]
pub struct Bootstrap(Value);

impl From<Value> for Bootstrap {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl Bootstrap {
    /// The bootstrap that the project ships, `envoy/envoy.yaml`.
    ///
    /// # Errors
    /// When the file cannot be read or isn't YAML.
    pub fn shipped() -> Result<Self> {
        Self::read(&workspace().join("envoy/envoy.yaml"))
    }

    /// Reads a bootstrap from a YAML file.
    ///
    /// # Errors
    /// When the file cannot be read, isn't YAML, or isn't a bootstrap.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let value: Value = serde_norway::from_str(&text).with_context(|| format!("parsing {}", path.display()))?;
        ensure!(
            value.get("static_resources").is_some(),
            "{} has no static_resources: it is no bootstrap of Envoy",
            path.display()
        );
        Ok(Self(value))
    }

    /// The whole bootstrap.
    pub fn value(&mut self) -> &mut Value {
        &mut self.0
    }

    /// Points every wasm filter at the module in this file.
    pub fn set_module(&mut self, module: &Path) {
        set_files(&mut self.0, &|file| {
            file.extension().is_some_and(|extension| extension == "wasm").then(|| module.to_owned())
        });
    }

    /// Takes all certificates and keys, `*.crt` and `*.key`, from this folder.
    pub fn set_certificates(&mut self, folder: &Path) {
        set_files(&mut self.0, &|file| {
            let is_one = file.extension().is_some_and(|extension| extension == "crt" || extension == "key");
            file.file_name().filter(|_| is_one).map(|name| folder.join(name))
        });
    }

    /// Sets the port of the admin interface; 0 lets the system pick one.
    ///
    /// # Errors
    /// When the bootstrap has no admin address.
    pub fn set_admin_port(&mut self, port: u16) -> Result<()> {
        self.set("/admin/address/socket_address/port_value", port.into())
    }

    /// Puts the first listener on this port of localhost; 0 lets the system pick one.
    ///
    /// # Errors
    /// When the bootstrap has no such listener.
    pub fn set_listener_port(&mut self, port: u16) -> Result<()> {
        self.set("/static_resources/listeners/0/address/socket_address", on_localhost(port))
    }

    /// Puts the first endpoint of a cluster on this port of localhost.
    ///
    /// # Errors
    /// When there is no cluster of that name, or it has no endpoint.
    pub fn set_cluster_port(&mut self, cluster: &str, port: u16) -> Result<()> {
        self.set_endpoint_port(cluster, 0, port)
    }

    /// Puts the endpoint that a cluster fails over to, the first of its second priority, on this port of localhost.
    ///
    /// # Errors
    /// When there is no cluster of that name, or it has no such endpoint.
    pub fn set_second_port(&mut self, cluster: &str, port: u16) -> Result<()> {
        self.set_endpoint_port(cluster, 1, port)
    }

    fn set_endpoint_port(&mut self, cluster: &str, locality: usize, port: u16) -> Result<()> {
        let clusters = self.at("/static_resources/clusters")?;
        let index = clusters
            .as_array()
            .and_then(|all| all.iter().position(|one| one["name"] == cluster))
            .with_context(|| format!("the bootstrap has no cluster {cluster}"))?;
        let endpoint = format!("load_assignment/endpoints/{locality}/lb_endpoints/0/endpoint");
        self.set(&format!("/static_resources/clusters/{index}/{endpoint}/address/socket_address"), on_localhost(port))
    }

    /// Sets environment variables that the VMs of wasm filters see. They no longer come from Envoy's environment, as
    /// Envoy refuses a variable that comes from both.
    pub fn set_environment(&mut self, variables: &[(String, String)]) {
        for (name, value) in variables {
            for_each_vm(&mut self.0, &mut |vm| {
                let environment = &mut vm["environment_variables"];
                if let Some(names) = environment.get_mut("host_env_keys").and_then(Value::as_array_mut) {
                    names.retain(|other| other != name);
                }
                environment["key_values"][name] = value.as_str().into();
            });
        }
    }

    /// The configuration of the filter, as authgate gets it.
    ///
    /// # Errors
    /// When the first HTTP filter isn't a wasm filter with a `Struct` as its configuration.
    pub fn filter_config(&mut self) -> Result<&mut Value> {
        self.at(&format!("{FILTERS}/0/typed_config/config/configuration/value"))
    }

    /// Hands the filter its configuration as JSON in a `StringValue`, not as a `Struct`.
    ///
    /// # Errors
    /// As [`Bootstrap::filter_config`].
    pub fn config_as_text(&mut self) -> Result<()> {
        let text = self.filter_config()?.to_string();
        let wrapped = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
        self.set(&format!("{FILTERS}/0/typed_config/config/configuration"), wrapped)
    }

    /// Takes the filter out, so that Envoy forwards every request as it is.
    ///
    /// # Errors
    /// When the bootstrap has no list of HTTP filters.
    pub fn remove_filter(&mut self) -> Result<()> {
        let filters = self.at(FILTERS)?.as_array_mut().context("http_filters is no list")?;
        filters.retain(|filter| filter["name"] != "authgate");
        Ok(())
    }

    /// Removes what this version of Envoy doesn't know yet, and the hosts where nothing listens that callouts would meet
    /// without it (docs/deploying.md#versions-of-envoy).
    #[must_use]
    pub(crate) fn fit(mut self, version: (u32, u32)) -> Self {
        const OPTIONS: &str =
            "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        const ADDRESS: &str = "/lb_endpoints/0/endpoint/address/socket_address/port_value";
        if version < (1, 37) {
            let clusters = self.0.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut);
            for cluster in clusters.into_iter().flatten() {
                let Some(options) = cluster.pointer_mut(OPTIONS).and_then(Value::as_object_mut) else { continue };
                if options.remove("retry_policy").is_none() {
                    continue;
                }
                let endpoints = cluster.pointer_mut("/load_assignment/endpoints").and_then(Value::as_array_mut);
                if let Some(endpoints) = endpoints.filter(|endpoints| endpoints.len() > 1) {
                    endpoints.retain(|endpoint| endpoint.pointer(ADDRESS) != Some(&NOBODY.into()));
                }
            }
        }
        self
    }

    /// Writes the bootstrap as JSON; Envoy reads it when the name ends in `.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_vec_pretty(&self.0)?).with_context(|| format!("writing {}", path.display()))
    }

    fn at(&mut self, pointer: &str) -> Result<&mut Value> {
        self.0.pointer_mut(pointer).with_context(|| format!("the bootstrap has no {pointer}"))
    }

    fn set(&mut self, pointer: &str, value: Value) -> Result<()> {
        *self.at(pointer)? = value;
        Ok(())
    }
}

fn on_localhost(port: u16) -> Value {
    json!({"address": "127.0.0.1", "port_value": port})
}

/// The module that the stack loads: this one of `target/`, else `AUTHGATE_WASM`, else `target/authgate.wasm`.
///
/// # Errors
/// When the file isn't there, with the command that makes it.
pub(crate) fn module(name: Option<&str>) -> Result<PathBuf> {
    let built = |name: &str| workspace().join("target").join(name);
    let path = match name {
        Some(name) => built(name),
        None => std::env::var_os("AUTHGATE_WASM").map_or_else(|| built("authgate.wasm"), PathBuf::from),
    };
    path.canonicalize().with_context(|| format!("no module at {}: `make test-module` makes it", path.display()))
}

/// Replaces each `filename` for which `other` gives another path.
fn set_files(value: &mut Value, other: &impl Fn(&Path) -> Option<PathBuf>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().filter(|_| name == "filename").and_then(|file| other(Path::new(file))) {
                    Some(file) => *field = file.to_string_lossy().into(),
                    None => set_files(field, other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| set_files(item, other)),
        _ => {}
    }
}

/// Calls `change` with the `vm_config` of every wasm filter.
fn for_each_vm(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, field)| match name.as_str() {
            "vm_config" => change(field),
            _ => for_each_vm(field, change),
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| for_each_vm(item, change)),
        _ => {}
    }
}

/// Merges `patch` into `target` as RFC 7396 says: objects field by field, null removes, all else
/// replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(into) = target {
        for (name, field) in fields {
            if field.is_null() {
                into.remove(name);
            } else {
                merge(into.entry(name).or_insert(Value::Null), field);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_replaces_lists_and_null_removes() {
        let mut value = json!({"a": {"b": 1, "c": [1, 2]}, "d": 4});
        merge(&mut value, &json!({"a": {"c": [3], "e": {"f": null, "g": 5}}, "d": null}));
        assert_eq!(value, json!({"a": {"b": 1, "c": [3], "e": {"g": 5}}}));
    }

    #[test]
    fn the_shipped_bootstrap_can_be_patched_wherever_the_stack_needs_it() -> Result<()> {
        let mut bootstrap = Bootstrap::shipped()?;
        bootstrap.set_module(Path::new("/m/x.wasm"));
        bootstrap.set_admin_port(0)?;
        bootstrap.set_listener_port(0)?;
        bootstrap.set_cluster_port("upstream", 1)?;
        bootstrap.set_cluster_port("auth_service", 2)?;
        bootstrap.set_second_port("auth_service", 3)?;
        bootstrap.set_environment(&[("NAME".to_owned(), "value".to_owned())]);
        assert_eq!(bootstrap.filter_config()?["auth_service"]["cluster"], "auth_service");
        let text = bootstrap.value().to_string();
        assert!(text.contains("/m/x.wasm"));
        assert!(text.contains(r#""environment_variables":{"key_values":{"NAME":"value"}}"#));
        assert!(!text.contains("target/authgate.wasm"));
        for port in [10000, 9901, 9001, 9000, 9002] {
            assert!(!text.contains(&format!("\"port_value\":{port}")), "{port} is still there");
        }
        bootstrap.remove_filter()?;
        assert!(!bootstrap.value().to_string().contains(".wasm"));
        Ok(())
    }

    #[test]
    fn an_old_envoy_gets_what_it_knows() -> Result<()> {
        let has_policy = |mut bootstrap: Bootstrap| bootstrap.value().to_string().contains("retry_policy");
        assert!(has_policy(Bootstrap::shipped()?.fit((1, 37))));
        assert!(!has_policy(Bootstrap::shipped()?.fit((1, 36))));
        let hosts = |version| -> Result<usize> {
            let mut bootstrap = Bootstrap::shipped()?;
            bootstrap.set_second_port("auth_service", NOBODY)?;
            Ok(bootstrap.fit(version).value().to_string().matches("lb_endpoints").count())
        };
        assert_eq!((hosts((1, 37))?, hosts((1, 36))?), (3, 2));
        Ok(())
    }

    #[test]
    fn an_unknown_cluster_is_named() -> Result<()> {
        let mistake = Bootstrap::shipped()?.set_cluster_port("nowhere", 1);
        assert!(mistake.is_err_and(|error| error.to_string().contains("nowhere")));
        Ok(())
    }
}
