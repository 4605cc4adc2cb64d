//! A filter that lets every request pass, and shows what no filter like authgate can take less than. Its configuration
//! is one word:
//!
//! - `public`: reads the headers, asks for the time, sets the filter state of the access log, counts. Almost as many
//!   calls of the host as authgate needs for a request without a credential.
//! - `uncounted`: `public` without counters.
//! - `identity`: the same as `public` for a request with a known credential; also sets five headers.
//! - `silent`: `identity` without filter state and counters.
//! - `verifying`: `identity` for a request with a new JWT, whose signature it has the host verify.
//! - `asking`: `identity` for a request with a new API token, about which it asks the auth service.
//! - `least`: `identity` for any credential, with the least work of its own (`least.rs`).
//! - `callout`: only asks the auth service, and waits for its answer.
#![cfg(target_arch = "wasm32")]

mod host;
mod least;
mod shared;

use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType, MetricType},
};

use least::{NewCredential, Question};

mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(super::Root { work: super::Work::Public, counters: [0; 5] }));
    }}
}

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Public,
    Uncounted,
    Identity,
    Silent,
    Verifying,
    Asking,
    Least,
    Callout,
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
            Some(b"uncounted") => Work::Uncounted,
            Some(b"identity") => Work::Identity,
            Some(b"silent") => Work::Silent,
            Some(b"verifying") => Work::Verifying,
            Some(b"asking") => Work::Asking,
            Some(b"least") => Work::Least,
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
        Some(Box::new(Stream { work: self.work, counters: self.counters, question: None }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    work: Work,
    counters: Counters,
    question: Option<Question>,
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

/// Keys of shared data as long as those that `least` makes, and a value as long as its record.
const REFUSALS: &str = "floor.n.000";
const VERDICT: &str = "floor.v.000";
const LEASE: &str = "floor.l.000";
const RECORD: &[u8] = b"12commonuser@example.comfalse";

/// How many bytes of a JWT are signed.
const SIGNED: usize = 640;

/// As long as an API token.
const CREDENTIAL: &str = concat!(
    "APIKey 1000001$",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
);

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.work == Work::Callout {
            return self.ask(None);
        }
        let encoded = host::request_headers();
        let now = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
        let now = now.unwrap_or_default().as_secs();
        match self.work {
            Work::Public | Work::Callout => self.tell(3, 3),
            Work::Uncounted => self.tell(3, 0),
            Work::Verifying => {
                host::verify_signature(&[0x55; 256], &[b'e'; SIGNED]);
                set_headers();
                self.tell(5, 5);
            }
            Work::Asking => {
                shared::begin(REFUSALS, VERDICT, LEASE);
                return self.ask(Some(CREDENTIAL));
            }
            Work::Identity | Work::Silent => {
                set_headers();
                if self.work == Work::Identity {
                    self.tell(5, 4);
                }
            }
            Work::Least => {
                if let Err(new) = least::recognise(&encoded, now) {
                    return self.take(&new);
                }
                self.tell(5, 4);
            }
        }
        Action::Continue
    }
}

fn set_headers() {
    HEADERS.into_iter().for_each(|(name, value)| host::add_header(name, value));
}

impl Stream {
    /// Finds out whose credential it is.
    fn take(&mut self, new: &NewCredential<'_>) -> Action {
        let Some(jwt) = new.jwt() else {
            self.question = Some(new.begin());
            return self.ask(Some(new.text()));
        };
        self.tell(5, 5);
        if new.verify(jwt).is_some() { Action::Continue } else { self.fail() }
    }

    /// The bench counts on it that every request is let in with an identity.
    fn fail(&self) -> Action {
        self.send_http_response(500, vec![], None);
        Action::Pause
    }

    /// Sets so much filter state, and counts so often.
    fn tell(&self, states: usize, counts: usize) {
        STATES.iter().take(states).for_each(|(name, value)| host::set_filter_state(name, value));
        for counter in self.counters.iter().take(counts) {
            let _ = hostcalls::increment_metric(*counter, 1);
        }
    }

    fn ask(&self, credential: Option<&str>) -> Action {
        let mut headers = vec![(":method", "GET"), (":path", "/auth/verify"), (":authority", "auth_service")];
        headers.extend(credential.map(|credential| ("authorization", credential)));
        match self.dispatch_http_call("auth_service", headers, None, vec![], Duration::from_secs(1)) {
            Ok(_) => Action::Pause,
            Err(_) => Action::Continue,
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _token: u32, _headers: usize, body: usize, _trailers: usize) {
        if let Some(question) = self.question.take() {
            let headers = host::answer_headers();
            let _ = hostcalls::get_current_time();
            let is_good = host::value_of(&headers, b":status") == Some(b"200");
            if !is_good || question.end(&host::answer_body(body)).is_none() {
                self.fail();
                return;
            }
            self.tell(5, 5);
        }
        if self.work == Work::Asking {
            let _ = (host::answer_headers(), hostcalls::get_current_time(), host::answer_body(body));
            shared::end(VERDICT, LEASE, RECORD);
            set_headers();
            self.tell(5, 5);
        }
        self.resume_http_request();
    }
}
