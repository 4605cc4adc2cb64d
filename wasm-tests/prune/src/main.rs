//! Removes the exports that the filter doesn't use from the module: `prune FROM TO`.
//!
//! The SDK exports every callback, and Envoy calls each one that a module exports: for the response's head, each piece of
//! its body, its trailers and its end. Code that only those exports reach is removed with them.

use anyhow::{Context as _, Result, bail};
use walrus::Module;

/// The callbacks that do nothing here.
const UNUSED: [&str; 16] = [
    // The module does its work in `proxy_on_delete`, when it drops a context.
    "proxy_on_done",
    "proxy_on_downstream_connection_close",
    "proxy_on_downstream_data",
    "proxy_on_foreign_function",
    "proxy_on_grpc_close",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_log",
    "proxy_on_new_connection",
    // The shell calls it from within the module (src/shell/raw.rs).
    "proxy_on_queue_ready",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_upstream_connection_close",
    "proxy_on_upstream_data",
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &arguments[..] else { bail!("usage: prune FROM TO") };
    let mut module = Module::from_file(from).with_context(|| format!("{from} can't be read"))?;
    for name in UNUSED {
        module.exports.remove(name).with_context(|| format!("{from} doesn't export {name}"))?;
    }
    walrus::passes::gc::run(&mut module);
    module.emit_wasm_file(to).with_context(|| format!("{to} can't be written"))
}
