//! What the SDK doesn't offer: headers without a copy of each and without a panic at a name that isn't UTF-8, the
//! host's local reply with all its arguments, the monotonic clock, and a way from a stream into its root context. This
//! is the only file with `unsafe`.

#![allow(unsafe_code, reason = "the declarations, and the calls below")]

use std::ptr;

use proxy_wasm::types::MapType;

use crate::decision::{Page, Response};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// The host's function, as in ABI 0.2.1. The SDK's wrappers pass either an HTTP status or a gRPC status, and no
    /// details; and they panic if the host refuses.
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// The host's function; the module allocates what it returns. The SDK's wrapper copies each name and value.
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// The host's function. The SDK's wrapper copies the name, and panics if the host refuses.
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    /// The host's function, as in WASI. The standard library's `Instant` hides the number, which all workers share.
    fn clock_time_get(clock: u32, precision: u64, nanos: *mut u64) -> u32;
}

/// The number of the monotonic clock in WASI.
const MONOTONIC: u32 = 1;

/// The host's monotonic clock, in nanoseconds. `None`: the host has none.
pub(super) fn monotonic_nanos() -> Option<u64> {
    let mut nanos = 0;
    // SAFETY: the pointer is to a variable that lives until the host returns.
    let status = unsafe { clock_time_get(MONOTONIC, 0, &raw mut nanos) };
    (status == 0).then_some(nanos)
}

/// Sets filter state of the stream that is the host's effective context: the host puts `wasm.` before its name. False:
/// the host refuses.
pub(super) fn set_filter_state(name: &str, value: &str) -> bool {
    // SAFETY: each pointer comes with the length of what it points to, which lives until the host returns; the host
    // keeps no pointer.
    unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) == 0 }
}

/// A header map of the host's effective context, as the ABI encodes it. `None`: the host refuses.
pub(super) fn header_map(map: MapType) -> Option<Vec<u8>> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: both pointers are to variables that live until the host returns.
    let status = unsafe { proxy_get_header_map_pairs(map as u32, &raw mut data, &raw mut size) };
    if status != 0 {
        return None;
    }
    if data.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: the host got the memory from the SDK's `proxy_on_memory_allocate`, as a boxed slice of this size that
    // nothing else owns, and has filled it.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// The names and values in what [`header_map`] returns. `None`: it is something else, or a name isn't UTF-8.
pub(super) fn headers(map: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    if map.is_empty() {
        return Some(Vec::new());
    }
    let (count, rest) = number(map)?;
    let (mut lengths, mut texts) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut headers = Vec::with_capacity(count);
    while !lengths.is_empty() {
        let (name_bytes, rest) = number(lengths)?;
        let (value_bytes, rest) = number(rest)?;
        lengths = rest;
        let (name, rest) = texts.split_at_checked(name_bytes)?;
        // A NUL follows each text.
        let (value, rest) = rest.get(1..)?.split_at_checked(value_bytes)?;
        texts = rest.get(1..)?;
        headers.push((text(name)?, value));
    }
    Some(headers)
}

/// Names are short and usually ASCII, for which this takes a fraction of the time of `from_utf8`.
fn text(name: &[u8]) -> Option<&str> {
    if name.is_ascii() {
        // SAFETY: ASCII is UTF-8.
        Some(unsafe { str::from_utf8_unchecked(name) })
    } else {
        str::from_utf8(name).ok()
    }
}

/// The number at the beginning, and the rest.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Ends the stream that is the host's effective context with this response. False: the host refuses.
pub(super) fn send_local_response(response: &Response) -> bool {
    let details = response.response_code_details();
    send(response.status, &details, &response.headers, &response.body, response.grpc as i32)
}

/// Ends the stream that is the host's effective context with this page. False: the host refuses.
pub(super) fn send_page(page: &Page) -> bool {
    /// The host derives it from the HTTP status if the client speaks gRPC.
    const NO_GRPC_STATUS: i32 = -1;
    send(page.status, page.details, &page.headers, &page.body, NO_GRPC_STATUS)
}

fn send(status: u16, details: &str, headers: &[(&'static str, String)], body: &str, grpc: i32) -> bool {
    let headers = serialize(headers);
    // SAFETY: each pointer comes with the length of what it points to, which lives until the host returns; the host
    // keeps no pointer.
    let status = unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc,
        )
    };
    status == 0
}

/// Headers as the ABI encodes them: their number, the lengths of each name and value, then these, each followed by a
/// NUL.
fn serialize(headers: &[(&'static str, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut number = |number: usize| bytes.extend_from_slice(&u32::try_from(number).unwrap_or_default().to_le_bytes());
    number(headers.len());
    for (name, value) in headers {
        number(name.len());
        number(value.len());
    }
    for text in headers.iter().flat_map(|(name, value)| [*name, value.as_str()]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

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
