//! Where the configurations of the filter are in a file: the file itself, or what Envoy, Istio and Envoy Gateway wrap
//! around them.

use crate::cli::tree::{self, Node, SyntaxError, Value};
use crate::config::table::{CONFIGURATION, is_near};

/// What a configuration is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// Nothing.
    Plain,
    /// Envoy's own configuration, perhaps in an EnvoyFilter.
    Envoy,
    /// Istio's WasmPlugin.
    WasmPlugin,
    /// Envoy Gateway's EnvoyExtensionPolicy.
    EnvoyExtensionPolicy,
}

/// What to say of a file in which nothing is found.
pub const NOTHING: &str = "no configuration of authgate found: expected fields such as auth_service at the top of a document, \
                           or in a Wasm filter of Envoy, a WasmPlugin or an EnvoyExtensionPolicy";

/// One filter in a file.
#[derive(Debug)]
pub struct Plugin<'t> {
    /// What it is wrapped in.
    pub wrapping: Wrapping,
    /// The object that holds it: Envoy's `PluginConfig`, or the resource's part of it.
    pub holder: &'t Node,
    /// The document that it stands in.
    pub document: &'t Node,
    /// The connection manager around it.
    pub manager: Option<&'t Node>,
    /// Its entry in `http_filters`, or what an EnvoyFilter adds to them.
    pub filter: Option<&'t Node>,
    /// The bytes that the filter gets.
    pub bytes: String,
    /// The configuration, as a tree; null where it isn't there or can't be read.
    pub tree: Node,
}

impl Plugin<'_> {
    /// Its name in the output.
    pub fn name(&self) -> &str {
        self.holder.text_of("name")
    }

    /// Whether the file shows that this is the filter.
    fn is_authgate(&self) -> bool {
        const NAME: &str = "authgate";
        let holds = |node: Option<&Node>| node.and_then(Node::text).is_some_and(|text| text.contains(NAME));
        let code = self.holder.at(&["vm_config", "code"]).or_else(|| self.holder.get("code"));
        let code = code.map(Node::to_json).unwrap_or_default();
        self.tree.get("auth_service").is_some()
            || holds(self.holder.get("name"))
            || holds(self.holder.get("root_id"))
            || holds(self.holder.get("url"))
            || code.contains(NAME)
    }
}

/// The filters in the documents of a file; of several Wasm plugins, those that are authgate.
pub fn find(documents: &[Node]) -> Vec<Plugin<'_>> {
    let mut plugins = Vec::new();
    for document in documents {
        let found = plugins.len();
        Search { document, plugins: &mut plugins }.search(document, None, None);
        if plugins.len() == found && is_plain(document) {
            let (bytes, tree) = (document.to_json(), document.clone());
            plugins.push(Plugin {
                wrapping: Wrapping::Plain,
                holder: document,
                document,
                manager: None,
                filter: None,
                bytes,
                tree,
            });
        }
    }
    if plugins.iter().any(Plugin::is_authgate) {
        plugins.retain(Plugin::is_authgate);
    }
    plugins
}

/// All Wasm plugins of a document, authgate or not.
pub fn all_in(document: &Node) -> Vec<Plugin<'_>> {
    let mut plugins = Vec::new();
    Search { document, plugins: &mut plugins }.search(document, None, None);
    plugins
}

/// Whether a document is a configuration of the filter: it has one of its fields, or a misspelled `auth_service`, or is
/// empty.
fn is_plain(document: &Node) -> bool {
    let is_field = |name: &str| CONFIGURATION.iter().any(|field| field.name == name) || is_near(name, "auth_service");
    let members = document.members();
    let is_resource = document.get("kind").is_some() || document.get("static_resources").is_some();
    let is_empty = matches!(document.value, Value::Map(_)) && members.is_empty();
    !is_resource && (is_empty || members.iter().any(|(name, _)| is_field(name)))
}

/// The texts in these documents' ConfigMaps that may hold configurations, as trees.
///
/// # Errors
/// The first text that can't be read.
pub fn embedded(documents: &[Node]) -> Result<Vec<Node>, SyntaxError> {
    let maps = documents.iter().filter(|document| document.text_of("kind") == "ConfigMap");
    let mut found = Vec::new();
    for (_, node) in maps.filter_map(|map| map.get("data")).flat_map(Node::members) {
        if let Value::Text(text, line) = &node.value
            && ["auth_service", "static_resources"].iter().any(|name| text.contains(name))
        {
            found.extend(tree::parse(text, *line)?);
        }
    }
    Ok(found)
}

struct Search<'t, 'p> {
    document: &'t Node,
    plugins: &'p mut Vec<Plugin<'t>>,
}

impl<'t> Search<'t, '_> {
    fn search(&mut self, node: &'t Node, manager: Option<&'t Node>, filter: Option<&'t Node>) {
        match node.text_of("kind") {
            "WasmPlugin" => return self.wasm_plugin(node),
            "EnvoyExtensionPolicy" => return self.extension_policy(node),
            _ => {}
        }
        if let ("HTTP_FILTER" | "EXTENSION_CONFIG", Some(value)) = patch(node) {
            return self.search(value, None, Some(value));
        }
        if let Some(holder) = plugin_config(node) {
            return self.push(Wrapping::Envoy, holder, holder.get("configuration"), manager, filter);
        }
        let manager = if node.get("http_filters").is_some() { Some(node) } else { manager };
        for (name, member) in node.members() {
            if matches!(name.as_str(), "http_filters" | "httpFilters") {
                for entry in member.entries() {
                    self.search(entry, manager, Some(entry));
                }
            } else {
                self.search(member, manager, filter);
            }
        }
        for entry in node.entries() {
            self.search(entry, manager, filter);
        }
    }

    fn wasm_plugin(&mut self, node: &'t Node) {
        if let Some(spec) = node.get("spec") {
            let configuration = spec.members().iter().find(|(name, _)| name == "pluginConfig").map(|(_, node)| node);
            self.push(Wrapping::WasmPlugin, spec, configuration, None, None);
        }
    }

    fn extension_policy(&mut self, node: &'t Node) {
        for entry in node.at(&["spec", "wasm"]).map(Node::entries).unwrap_or_default() {
            self.push(Wrapping::EnvoyExtensionPolicy, entry, entry.get("config"), None, None);
        }
    }

    fn push(
        &mut self,
        wrapping: Wrapping,
        holder: &'t Node,
        configuration: Option<&'t Node>,
        manager: Option<&'t Node>,
        filter: Option<&'t Node>,
    ) {
        let (bytes, tree) = contents(configuration, holder.line);
        self.plugins.push(Plugin { wrapping, holder, document: self.document, manager, filter, bytes, tree });
    }
}

/// What a patch of an EnvoyFilter applies to, and its value.
pub fn patch(node: &Node) -> (&str, Option<&Node>) {
    (node.text_of("apply_to"), node.at(&["patch", "value"]))
}

/// Envoy's `PluginConfig` in the `typed_config` of a Wasm filter, also as a `TypedStruct`.
fn plugin_config(node: &Node) -> Option<&Node> {
    const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
    if node.text_of("@type").ends_with(WASM) {
        node.get("config")
    } else if node.text_of("type_url").ends_with(WASM) {
        node.at(&["value", "config"])
    } else {
        None
    }
}

/// The bytes that the filter gets from an `Any` or a resource's field, and their tree.
fn contents(configuration: Option<&Node>, line: usize) -> (String, Node) {
    let Some(node) = configuration else { return (String::new(), null(line)) };
    let is_any = node.get("@type").is_some();
    let value = if is_any { node.get("value") } else { Some(node) };
    match value {
        Some(Node { value: Value::Text(text, first), .. }) => {
            let tree = tree::parse(text, *first).ok().and_then(|documents| documents.into_iter().next());
            (text.clone(), tree.unwrap_or_else(|| null(*first)))
        }
        Some(value) => (value.to_json(), value.clone()),
        None => (String::new(), null(node.line)),
    }
}

fn null(line: usize) -> Node {
    tree::null(line)
}
