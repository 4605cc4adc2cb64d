//! A filter that lets every request pass, and calls the host as a filter that authenticates has to. Its configuration is
//! one word that says for which requests:
//!
//! - `public`: reads the headers, sets one filter state, counts once.
//! - `identity`: the same, and sets five headers.
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
        proxy_wasm::set_root_context(|_| Box::new(super::Root { work: super::Work::Public, counter: 0 }));
    }}
}

#[derive(Clone, Copy)]
enum Work {
    Public,
    Identity,
    Callout,
}

struct Root {
    work: Work,
    /// The host's number of the counter.
    counter: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.work = match self.get_plugin_configuration().as_deref() {
            Some(b"public") => Work::Public,
            Some(b"identity") => Work::Identity,
            Some(b"callout") => Work::Callout,
            _ => return false,
        };
        let counter = hostcalls::define_metric(MetricType::Counter, "floor.requests");
        counter.map(|counter| self.counter = counter).is_ok()
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { work: self.work, counter: self.counter }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    work: Work,
    counter: u32,
}

/// As long as those that authgate sets of the same JWT.
const HEADERS: [(&str, &str); 5] = [
    ("x-user-id", "1"),
    ("x-client-id", "2"),
    ("x-user-type", "common"),
    ("x-user-email", "user@example.com"),
    ("x-is-admin", "false"),
];

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if matches!(self.work, Work::Callout) {
            return self.ask();
        }
        read_headers();
        if matches!(self.work, Work::Identity) {
            for (name, value) in HEADERS {
                set_header(name, value);
            }
        }
        set_filter_state("floor.outcome", "allow");
        let _ = hostcalls::increment_metric(self.counter, 1);
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
