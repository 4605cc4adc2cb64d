//! The only users of `proxy_wasm`: they carry out what the core decides, and decide nothing.
//!
//! Callouts are dispatched by the root context, never by a stream's. Envoy drops a stream's callouts when its client
//! leaves, and the SDK keeps a record of each for ever; a root's callouts always come back, and whoever waits for
//! one may leave. See [`worker`] for how a stream's callback gets there.

mod envoy;
mod http;
mod injection;
mod raw;
mod root;
mod worker;

pub use envoy::{EnvoyHost, vacate_at_panic};
pub use root::Root;
