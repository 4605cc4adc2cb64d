//! The only code that uses `proxy_wasm`, besides the module's start function. It carries out what the core decides. By
//! itself it denies only requests whose headers it can't read, or whose root context has no configuration.
//!
//! Callouts are dispatched by the root context, never by a stream's. Envoy drops a stream's callouts when its client
//! leaves, and the SDK keeps a record of each forever. A root's callouts always come back, even if the clients that
//! wait for them have left. See [`raw`] for how a stream's callback reaches the root.

mod counts;
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
