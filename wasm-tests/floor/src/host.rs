//! Calls of the host that neither copy what they are given nor decode what the host returns, as the SDK's do.

use std::ptr;

use proxy_wasm::hostcalls;

/// The number of the request's headers among the host's maps.
const REQUEST_HEADERS: u32 = 0;
/// The number of the answer's headers.
const ANSWER_HEADERS: u32 = 6;
/// The number of the answer's body among the host's buffers.
const ANSWER_BODY: u32 = 4;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, most: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
}

/// The request's headers, as the host encodes them.
pub(crate) fn request_headers() -> Vec<u8> {
    headers(REQUEST_HEADERS)
}

/// The headers of the auth service's answer.
pub(crate) fn answer_headers() -> Vec<u8> {
    headers(ANSWER_HEADERS)
}

fn headers(map: u32) -> Vec<u8> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: both pointers are to variables that live until the host returns.
    let status = unsafe { proxy_get_header_map_pairs(map, &raw mut data, &raw mut size) };
    given(status, data, size)
}

/// The body of the auth service's answer.
pub(crate) fn answer_body(most: usize) -> Vec<u8> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: both pointers are to variables that live until the host returns.
    let status = unsafe { proxy_get_buffer_bytes(ANSWER_BODY, 0, most, &raw mut data, &raw mut size) };
    given(status, data, size)
}

fn given(status: u32, data: *mut u8, size: usize) -> Vec<u8> {
    if status != 0 || data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host got the memory from the SDK's `proxy_on_memory_allocate`, as a boxed slice of this size.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// The value of a header among those that the host has encoded: how many there are, the sizes of each name and value,
/// then each name and value with a zero byte behind it.
pub(crate) fn value_of<'a>(encoded: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let number = |at: usize| Some(u32::from_le_bytes(encoded.get(at..at + 4)?.try_into().ok()?) as usize);
    let count = number(0)?;
    let mut at = 4 + 8 * count;
    for index in 0..count {
        let (name_size, value_size) = (number(4 + 8 * index)?, number(8 + 8 * index)?);
        let value_at = at + name_size + 1;
        if encoded.get(at..at + name_size)? == wanted {
            return encoded.get(value_at..value_at + value_size);
        }
        at = value_at + value_size + 1;
    }
    None
}

/// Has the host verify an RS256 signature of 2048 bits with a key that it doesn't fit, which takes as long as with one
/// that it fits.
pub(crate) fn verify_signature(signature: &[u8], text: &[u8]) {
    // A SubjectPublicKeyInfo is its beginning, the modulus, and the exponent 65537.
    const BEGINNING: [u8; 33] = [
        0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05,
        0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
    ];
    let mut arguments = Vec::with_capacity(600 + text.len());
    field(&mut arguments, 1, &[b"sha256"]);
    field(&mut arguments, 2, &[&BEGINNING, &[0xfb; 256], &[0x02, 0x03, 0x01, 0x00, 0x01]]);
    field(&mut arguments, 3, &[signature]);
    field(&mut arguments, 4, &[text]);
    let _ = hostcalls::call_foreign_function("verify_signature", Some(&arguments));
}

/// Appends a field of bytes in protobuf's encoding.
fn field(message: &mut Vec<u8>, number: u8, parts: &[&[u8]]) {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    message.push(number << 3 | 2);
    if size >= 0x80 {
        message.push((size & 0x7f | 0x80) as u8);
        message.push((size >> 7) as u8);
    } else {
        message.push(size as u8);
    }
    for part in parts {
        message.extend_from_slice(part);
    }
}

pub(crate) fn add_header(name: &str, value: &[u8]) {
    // SAFETY: each pointer comes with the length of what it points to; the host keeps none.
    let _ =
        unsafe { proxy_add_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

pub(crate) fn set_filter_state(name: &str, value: &str) {
    // SAFETY: each pointer comes with the length of what it points to; the host keeps none.
    let _ = unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}
