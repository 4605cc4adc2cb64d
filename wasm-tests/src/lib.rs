//! The test harness of authgate: the built module in a real Envoy, between the real auth service
//! and an upstream that echoes what reached it.
//!
//! A test reads like its scenario:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let stack = wasm_tests::Stack::builder().concurrency(2).start().await?;
//! let jwt = stack.login().await?.access;
//! let answer = stack.get("/orders").bearer(&jwt).send().await?;
//! assert_eq!(answer.status, 200);
//! # Ok(())
//! # }
//! ```
//!
//! Every part listens on a port of its own that the system picked, and stops when the [`Stack`] is
//! dropped. Envoy's log and bootstrap stay on disk when the test failed.
//!
//! - [`Stack`] owns the parts; [`Builder`] says how they start.
//! - [`Request`] and [`Response`] are the client's side, through the gateway; [`Connection`] is for many requests, and
//!   [`Frames`] for requests that are reset.
//! - [`Echo`] is what the upstream saw of a request.
//! - [`Bootstrap`] is `envoy/envoy.yaml`, read and patched as a value; with [`Discovery`] it changes while Envoy serves.
//! - [`istio`] applies an `EnvoyFilter` to a bootstrap as Istio does.
//! - [`upgrades`] has an upstream that accepts WebSockets.
//! - [`certificates`] makes what TLS needs, [`prometheus`] runs Prometheus.
//! - [`credentials`] makes tokens, good and bad.
//! - [`demo`] holds the rows of `make demo`, which are an end-to-end test too.

pub mod bench;
mod bootstrap;
pub mod certificates;
mod client;
pub mod corpus;
pub mod credentials;
pub mod demo;
mod discovery;
mod envoy;
mod folder;
pub mod frames;
pub mod istio;
mod load;
mod metrics;
mod process;
pub mod prometheus;
mod service;
mod stack;
pub mod upgrades;
mod upstream;

use std::path::{Path, PathBuf};

pub use bootstrap::{Bootstrap, auth_service_alone, connection_manager, merge, plugin, speak_http2};
pub use client::{IDENTITY_HEADERS, Protocol, Request, Response};
pub use credentials::Tokens;
pub use discovery::Discovery;
pub use envoy::LogLevel;
pub use frames::Frames;
pub use load::Connection;
pub use metrics::Metrics;
pub use stack::{Builder, Ports, Stack};
pub use upstream::{Echo, serve_upstream};

/// The folder of the workspace, from which `envoy/` and `target/` are found.
///
/// It is known at compile time: the harness runs where it was built.
#[must_use]
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}
