//! The code that uses `proxy_wasm`; beside it only the module's start function does. It carries out what the core
//! decides. By itself it denies a request only where its root context has no configuration.
//!
//! Callouts are dispatched by the root context, never by a stream's. Envoy drops a stream's callouts when its client
//! leaves, and the SDK keeps a record of each for ever. A root's callouts always come back, also when the clients that
//! wait for them have left. See [`raw`] for how a stream's callback reaches the root.

mod envoy;
mod http;
mod injection;
mod raw;
mod root;
mod worker;

#[cfg(feature = "testing")]
pub use envoy::EnvoyHost;
pub use envoy::vacate_at_panic;
pub use root::Root;
