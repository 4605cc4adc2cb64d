//! A stream's way into its root context, within one host callback.

#![allow(unsafe_code, reason = "the one declaration below; its signature is the SDK's")]

unsafe extern "C" {
    /// The SDK's entry point for a root context's `on_queue_ready`, which the host would call for a shared queue.
    /// The module registers none, so the callback is free to be the root's "carry out what is pending".
    ///
    /// Called from a stream's callback, it makes the root the SDK's active context, so that callouts that are
    /// dispatched inside are the root's when their answers come. The SDK keeps roots and streams in different
    /// cells, so entering one from the other is sound.
    safe fn proxy_on_queue_ready(root_id: u32, queue_id: u32);
}

/// Runs the root's `on_queue_ready`.
pub(super) fn enter_root(root_id: u32) {
    proxy_on_queue_ready(root_id, 0);
}
