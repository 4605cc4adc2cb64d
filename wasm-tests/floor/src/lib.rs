//! A filter that lets every request pass, and calls the host almost as often as authgate does. Its configuration is one
//! word, which says for which requests:
//!
//! - `public`: reads the headers, asks for the time, sets the filter state of the access log, counts.
//! - `identity`: the same for a request with a known credential; also sets five headers.
//! - `verified`: the same for a JWT that is new; also has the host verify a signature.
//! - `callout`: only asks the auth service, and waits for its answer.
#![cfg(target_arch = "wasm32")]

use std::{ptr, time::Duration};

use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, MetricType},
};

mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(super::Root { work: super::Work::Public, counters: [0; 5] }));
    }}
}

#[derive(Clone, Copy)]
enum Work {
    Public,
    Identity,
    Verified,
    Callout,
}

impl Work {
    const fn has_identity(self) -> bool {
        matches!(self, Self::Identity | Self::Verified)
    }
}

/// The host's numbers of the counters.
type Counters = [u32; 5];

struct Root {
    work: Work,
    counters: Counters,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.work = match self.get_plugin_configuration().as_deref() {
            Some(b"public") => Work::Public,
            Some(b"identity") => Work::Identity,
            Some(b"verified") => Work::Verified,
            Some(b"callout") => Work::Callout,
            _ => return false,
        };
        for (number, counter) in self.counters.iter_mut().enumerate() {
            let Ok(defined) = hostcalls::define_metric(MetricType::Counter, &format!("floor.requests_{number}")) else {
                return false;
            };
            *counter = defined;
        }
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { work: self.work, counters: self.counters }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    work: Work,
    counters: Counters,
}

/// As long as the headers that authgate sets for the same JWT.
const HEADERS: [(&str, &str); 5] = [
    ("x-user-id", "1"),
    ("x-client-id", "2"),
    ("x-user-type", "common"),
    ("x-user-email", "user@example.com"),
    ("x-is-admin", "false"),
];

/// The filter state that authgate sets for each request; the last two only with an identity.
const STATES: [(&str, &str); 5] = [
    ("floor.outcome", "allow"),
    ("floor.source", "cache"),
    ("floor.rule", "default"),
    ("floor.user_id", "1"),
    ("floor.client_id", "2"),
];

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if matches!(self.work, Work::Callout) {
            return self.ask();
        }
        read_headers();
        let _ = hostcalls::get_current_time();
        if matches!(self.work, Work::Verified) {
            verify_signature();
        }
        let has_identity = self.work.has_identity();
        if has_identity {
            for (name, value) in HEADERS {
                set_header(name, value);
            }
        }
        let states = if has_identity { &STATES[..] } else { &STATES[..3] };
        for (name, value) in states {
            set_filter_state(name, value);
        }
        let count = match self.work {
            Work::Verified => 5,
            Work::Identity => 4,
            Work::Public | Work::Callout => 3,
        };
        for counter in self.counters.iter().take(count) {
            let _ = hostcalls::increment_metric(*counter, 1);
        }
        Action::Continue
    }
}

impl Stream {
    fn ask(&self) -> Action {
        let headers = vec![(":method", "GET"), (":path", "/auth/verify"), (":authority", "auth_service")];
        match self.dispatch_http_call("auth_service", headers, None, vec![], Duration::from_secs(1)) {
            Ok(_) => Action::Pause,
            Err(_) => Action::Continue,
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _token: u32, _headers: usize, _body: usize, _trailers: usize) {
        self.resume_http_request();
    }
}

/// The number of the request's headers among the host's maps.
const REQUEST_HEADERS: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    // The SDK's wrappers copy what they are given, and what the host returns.
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
}

/// Has the host write all headers into this module's memory.
fn read_headers() {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: both pointers are to variables that live until the host returns.
    let status = unsafe { proxy_get_header_map_pairs(REQUEST_HEADERS, &raw mut data, &raw mut size) };
    if status == 0 && !data.is_null() {
        // SAFETY: the host got the memory from the SDK's `proxy_on_memory_allocate`, as a boxed slice of this size.
        drop(unsafe { Vec::from_raw_parts(data, size, size) });
    }
}

/// Has the host verify an RS256 signature of 2048 bits. It is invalid, which takes as long as a valid one.
fn verify_signature() {
    // A SubjectPublicKeyInfo is its beginning, the modulus, and the exponent 65537.
    const BEGINNING: [u8; 33] = [
        0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05,
        0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
    ];
    let mut arguments = Vec::with_capacity(1400);
    field(&mut arguments, 1, &[b"sha256"]);
    field(&mut arguments, 2, &[&BEGINNING, &[0xfb; 256], &[0x02, 0x03, 0x01, 0x00, 0x01]]);
    field(&mut arguments, 3, &[&[0x55; 256]]);
    field(&mut arguments, 4, &[&[b'a'; 600]]);
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

fn set_header(name: &str, value: &str) {
    // SAFETY: each pointer comes with the length of what it points to; the host keeps none.
    let _ = unsafe {
        proxy_replace_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
}

fn set_filter_state(name: &str, value: &str) {
    // SAFETY: each pointer comes with the length of what it points to; the host keeps none.
    let _ = unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}
