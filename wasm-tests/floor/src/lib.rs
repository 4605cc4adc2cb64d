//! A filter that lets every request pass, and shows what no filter like authgate can take less than. Its configuration
//! is one word:
//!
//! - `public`: reads the headers, asks for the time, sets the filter state of the access log. These are the calls of the
//!   host that authgate needs for a request without a credential.
//! - `identity`: the same as `public` for a request with a known credential; also sets five headers.
//! - `silent`: `identity` without filter state.
//! - `verifying`: `identity` for a request with a new JWT, whose signature and claims it decodes from base64, and whose
//!   signature it has the host verify. It also asks for the client's address, and looks into shared data for the addresses
//!   that this user came from.
//! - `asking`: `identity` for a request with a new API token, about which it asks the auth service. It also asks for the
//!   client's address and connection.
//! - `alone`: `asking` without shared data.
//! - `least`: `identity` for any credential, with the least work of its own (`least.rs`).
//! - `callout`: only asks the auth service, and waits for its answer.
#![cfg(target_arch = "wasm32")]

mod host;
mod least;
mod shared;

use std::{
    hint::black_box,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use proxy_wasm::{
    hostcalls,
    traits::{Context, HttpContext, RootContext},
    types::{Action, ContextType},
};

use least::{NewCredential, Question};

mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(super::Root { work: super::Work::Public }));
    }}
}

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Public,
    Identity,
    Silent,
    Verifying,
    Asking,
    Alone,
    Least,
    Callout,
}

struct Root {
    work: Work,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.work = match self.get_plugin_configuration().as_deref() {
            Some(b"public") => Work::Public,
            Some(b"identity") => Work::Identity,
            Some(b"silent") => Work::Silent,
            Some(b"verifying") => Work::Verifying,
            Some(b"asking") => Work::Asking,
            Some(b"alone") => Work::Alone,
            Some(b"least") => Work::Least,
            Some(b"callout") => Work::Callout,
            _ => return false,
        };
        hostcalls::set_shared_data(ADDRESSES, Some(&[7; 329]), None).is_ok()
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { work: self.work, question: None }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    work: Work,
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

/// A key of shared data with one record as long as authgate's of the addresses that a user came from.
const ADDRESSES: &str = "floor.a.000";
const RECORD: &[u8] = b"12commonuser@example.comfalse";

/// How many bytes of a JWT are signed; most of them are its claims.
const SIGNED: usize = 640;
/// As long as the claims and the signature in a JWT.
const CLAIMS: [u8; 602] = [b'A'; 602];
const SIGNATURE: [u8; 342] = {
    let mut text = [b'V'; 342];
    // The last letter has four bits that stand for nothing.
    text[341] = b'Q';
    text
};

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
            Work::Public | Work::Callout => tell(3),
            Work::Verifying => {
                let decode = |text: &[u8]| BASE64_URL_SAFE_NO_PAD.decode(black_box(text)).unwrap_or_default();
                black_box(decode(&CLAIMS));
                host::verify_signature(&decode(&SIGNATURE), &[b'e'; SIGNED]);
                look_at_addresses();
                set_headers();
                tell(5);
            }
            Work::Asking | Work::Alone => {
                if self.work == Work::Asking {
                    shared::begin(REFUSALS, VERDICT, LEASE);
                }
                look_at_client();
                return self.ask(Some(CREDENTIAL));
            }
            Work::Silent => set_headers(),
            Work::Identity => {
                set_headers();
                tell(5);
            }
            Work::Least => {
                if let Err(new) = least::recognise(&encoded, now) {
                    return self.take(&new);
                }
                tell(5);
            }
        }
        Action::Continue
    }
}

fn set_headers() {
    HEADERS.into_iter().for_each(|(name, value)| host::add_header(name, value.as_bytes()));
}

/// Sets so much filter state.
fn tell(states: usize) {
    STATES.iter().take(states).for_each(|(name, value)| host::set_filter_state(name, value));
}

fn look_at_client() {
    for path in [vec!["source", "address"], vec!["connection", "id"]] {
        let _ = hostcalls::get_property(path);
    }
}

fn look_at_addresses() {
    let _ = (hostcalls::get_property(vec!["source", "address"]), hostcalls::get_shared_data(ADDRESSES));
}

impl Stream {
    /// Finds out whose credential it is.
    fn take(&mut self, new: &NewCredential<'_>) -> Action {
        let Some(jwt) = new.jwt() else {
            self.question = Some(new.begin());
            look_at_client();
            return self.ask(Some(new.text()));
        };
        look_at_addresses();
        tell(5);
        if new.verify(jwt).is_some() { Action::Continue } else { self.fail() }
    }

    /// The bench counts on it that every request is let in with an identity.
    fn fail(&self) -> Action {
        self.send_http_response(500, vec![], None);
        Action::Pause
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
            tell(5);
        }
        if matches!(self.work, Work::Asking | Work::Alone) {
            let _ = (host::answer_headers(), hostcalls::get_current_time(), host::answer_body(body));
            if self.work == Work::Asking {
                shared::end(VERDICT, LEASE, RECORD);
            }
            set_headers();
            tell(5);
        }
        self.resume_http_request();
    }
}
