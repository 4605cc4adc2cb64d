//! Workers, the shared data between them, and the service, under one clock.

mod answer;
mod process;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::decision::Authorization;
use crate::extractor::{RequestHead, lend};
use crate::filter::{Action, CallId, Filter, Resolution, Step, StreamId};
use crate::introspection::{CalloutError, CalloutRequest, Destination};
use crate::public_key::PublicKey;
use crate::report::Report;
use crate::time::Instant;
pub use answer::Answer;
pub use process::Process;

/// The service's keys, as it serves them.
pub const KEYS: [&str; 3] =
    [include_str!("testdata/key1.pem"), include_str!("testdata/key2.pem"), include_str!("testdata/key3.pem")];

/// The time at which every world begins, in seconds since the epoch.
pub const BEGIN: u64 = 1_800_000_000;

/// The service's key of a number.
pub fn key(number: usize) -> PublicKey {
    static PARSED: LazyLock<[PublicKey; 3]> = LazyLock::new(|| KEYS.map(|pem| PublicKey::from_pem(pem).unwrap()));
    PARSED[number].clone()
}

/// A stand-in for RSA: a signature that fits only its key and message, as long as a real one.
pub fn sign(key: &PublicKey, message: &[u8]) -> Vec<u8> {
    let digest = Sha256::new().chain_update(key.der()).chain_update(message).finalize();
    digest.iter().copied().cycle().take(key.modulus_bytes()).collect()
}

/// The claims of an access token that expires in an hour.
pub fn claims() -> Value {
    json!({
        "exp": BEGIN + 3600, "jti": "j", "user_id": 1, "client_id": 2, "token_type": "access",
        "user_type": "common", "email": "user@example.com", "is_admin": false,
    })
}

/// An access token that the service signed with its key of this number.
pub fn jwt(number: usize) -> String {
    jwt_of(number, &claims())
}

/// Any claims, signed with the service's key of this number.
pub fn jwt_of(number: usize, claims: &Value) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(br#"{"typ":"JWT","alg":"RS256"}"#), encode(claims.to_string().as_bytes()));
    let signature = sign(&key(number), signed.as_bytes());
    format!("{signed}.{}", encode(&signature))
}

/// `Authorization: Bearer …`.
pub fn bearer(token: &str) -> Vec<(String, Vec<u8>)> {
    head(&[("authorization", &format!("Bearer {token}"))])
}

/// `Authorization: APIKey …`, of the right form.
pub fn api_token() -> Vec<(String, Vec<u8>)> {
    api_token_of(7)
}

/// The API token of this number.
pub fn api_token_of(number: usize) -> Vec<(String, Vec<u8>)> {
    head(&[("authorization", &format!("APIKey {number}${}", "a".repeat(128)))])
}

/// A GET of `/` with these headers; pseudo-headers among them replace its own.
pub fn head(headers: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let defaults = [(":method", "GET"), (":path", "/"), (":authority", "gateway.example")];
    let kept = defaults.iter().filter(|(name, _)| !headers.iter().any(|(other, _)| other == name));
    kept.chain(headers).map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With these headers set, sorted.
    Forwarded(Vec<(String, String)>),
    /// By the filter itself, with this status and body.
    Served(u16, String),
    /// With this status, code, and `retry-after`.
    Denied(u16, &'static str, Option<String>),
}

impl Ending {
    /// The code of a denial; empty for a request that went on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forwarded(_) | Self::Served(..) => "",
            Self::Denied(_, code, _) => code,
        }
    }

    fn of(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Forward(forward) => {
                let mut set: Vec<_> =
                    forward.set.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                set.sort();
                Self::Forwarded(set)
            }
            Resolution::Serve(page) => Self::Served(page.status, page.body),
            Resolution::Deny(response) => {
                let retry = response.headers.iter().find(|(name, _)| *name == "retry-after");
                Self::Denied(response.status, response.code.name(), retry.map(|(_, value)| value.clone()))
            }
        }
    }
}

impl Pending {
    /// The number that its answer has to name.
    pub const fn call(&self) -> CallId {
        self.call
    }

    /// Which worker sent it.
    pub const fn worker(&self) -> usize {
        self.worker
    }

    /// Whether it asks for the revocation list.
    pub fn is_poll(&self) -> bool {
        self.request.path.starts_with("/auth/blacklist")
    }
}

/// A callout that the service has yet to answer.
#[derive(Debug, Clone)]
pub struct Pending {
    worker: usize,
    call: CallId,
    /// The request.
    pub request: CalloutRequest,
}

/// Everything.
pub struct World {
    /// The monotonic clock.
    pub now: Instant,
    /// How many seconds the wall clock is ahead of it.
    ahead: i64,
    /// The workers' process.
    pub process: Process,
    /// One filter for each worker.
    pub workers: Vec<Filter>,
    /// Which key the service signs with and serves.
    pub serves: usize,
    /// What `/iam/public-key` answers instead of the key.
    pub key_fault: Option<Answer>,
    /// What `/auth/verify` answers.
    pub verify: Answer,
    /// Whether the host that is asked about credentials is gone: nothing can be sent to it.
    pub is_host_gone: bool,
    /// What `/auth/blacklist` answers.
    pub feed: Answer,
    /// Callouts without an answer yet.
    pub pending: Vec<Pending>,
    /// How often the key was asked for.
    pub key_fetches: usize,
    /// How often a credential was asked about.
    pub verifications: usize,
    /// How often the revocation list was asked for.
    pub polls: usize,
    endings: BTreeMap<StreamId, Ending>,
    /// How `Authorization` of requests that went on was changed.
    pub authorizations: BTreeMap<StreamId, Authorization>,
    /// The report of each request for the access log.
    pub reports: BTreeMap<StreamId, Report>,
    next_stream: StreamId,
}

impl World {
    /// One worker with the smallest configuration, overridden by these fields.
    pub fn new(overrides: Value) -> Self {
        Self::with_workers(1, overrides)
    }

    /// Like [`Self::new`], with several workers.
    pub fn with_workers(count: usize, overrides: Value) -> Self {
        let config = Self::config(&overrides);
        let mut confirmed = claims();
        confirmed["token_type"] = json!("api_token");
        Self {
            now: Instant::from_secs(BEGIN),
            ahead: 0,
            process: Process::default(),
            workers: (0..count).map(|_| Filter::new(config.clone())).collect(),
            serves: 0,
            key_fault: None,
            is_host_gone: false,
            verify: Answer::json(&confirmed),
            feed: Answer::json(&json!({"cursor": "c", "revoked": []})),
            pending: Vec::new(),
            key_fetches: 0,
            verifications: 0,
            polls: 0,
            endings: BTreeMap::new(),
            authorizations: BTreeMap::new(),
            reports: BTreeMap::new(),
            next_stream: 1,
        }
    }

    fn config(overrides: &Value) -> Config {
        let mut config = json!({"auth_service": {"cluster": "auth"}});
        config.as_object_mut().unwrap().append(&mut overrides.as_object().unwrap().clone());
        Config::from_bytes(config.to_string().as_bytes()).unwrap()
    }

    /// A worker gets another configuration: the smallest, overridden by these fields. Its pending callouts are dropped.
    pub fn update(&mut self, worker: usize, overrides: &Value) {
        self.workers[worker] = Filter::new(Self::config(overrides));
        self.pending.retain(|pending| pending.worker != worker);
    }

    /// A request arrives at the first worker.
    pub fn send(&mut self, headers: &[(String, Vec<u8>)]) -> StreamId {
        self.send_to(0, headers)
    }

    /// A request arrives at a worker.
    pub fn send_to(&mut self, worker: usize, headers: &[(String, Vec<u8>)]) -> StreamId {
        let stream = self.next_stream;
        self.next_stream += 1;
        self.send_as(worker, stream, headers);
        stream
    }

    /// A request arrives at a worker, under a number that another stream may have had.
    pub fn send_as(&mut self, worker: usize, stream: StreamId, headers: &[(String, Vec<u8>)]) {
        self.endings.remove(&stream);
        let head = RequestHead { headers: &lend(headers), has_body: false };
        self.process.requests.set(self.process.requests.get() + 1);
        let reception = self.workers[worker].on_request(stream, &head, &self.process.at(self.now, self.ahead));
        self.reports.insert(stream, reception.report);
        if let Step::Resolve(resolution) = reception.step {
            self.record(stream, resolution);
        }
        self.collect(worker);
    }

    /// A request arrives, and all callouts are answered.
    pub fn ask(&mut self, headers: &[(String, Vec<u8>)]) -> Ending {
        self.ask_at(0, headers)
    }

    /// Like [`Self::ask`], at another worker.
    pub fn ask_at(&mut self, worker: usize, headers: &[(String, Vec<u8>)]) -> Ending {
        let stream = self.send_to(worker, headers);
        self.settle();
        self.ending(stream).expect("the request is still waiting")
    }

    /// How a request ended; `None`: it waits, or its client left.
    pub fn ending(&self, stream: StreamId) -> Option<Ending> {
        self.endings.get(&stream).cloned()
    }

    /// The service answers the oldest callout.
    pub fn answer_next(&mut self) {
        let pending = self.pending.remove(0);
        let answer = if pending.is_poll() {
            self.feed.clone()
        } else if pending.request.authorization().is_none() {
            let key = || Answer::json(&json!({"public_key": KEYS[self.serves]}));
            self.key_fault.clone().unwrap_or_else(key)
        } else {
            self.verify.clone()
        };
        self.answer(&pending, &answer);
    }

    /// A callout is answered like this.
    pub fn answer(&mut self, pending: &Pending, answer: &Answer) {
        self.pending.retain(|other| (other.worker, other.call) != (pending.worker, pending.call));
        self.workers[pending.worker].on_answer(pending.call, answer.response(), &self.process.at(self.now, self.ahead));
        self.collect(pending.worker);
    }

    /// A callout for the key that was set aside is answered at last, with the key of this number.
    pub fn answer_key_late(&mut self, worker: usize, call: CallId, number: usize) {
        let answer = Answer::json(&json!({"public_key": KEYS[number]}));
        self.workers[worker].on_answer(call, answer.response(), &self.process.at(self.now, self.ahead));
        self.collect(worker);
    }

    /// All callouts are answered, including those that the answers lead to.
    pub fn settle(&mut self) {
        while !self.pending.is_empty() {
            self.answer_next();
        }
    }

    /// Time passes, and the workers' ticks with it. Callouts stay unanswered.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            let period = self.workers.iter().map(Filter::tick_period).min().unwrap();
            let next = self.now.after(period).min(end);
            self.now = next;
            self.tick();
            if self.now == end {
                return;
            }
        }
    }

    /// Time passes, and the service answers each callout within 20 ms.
    pub fn live(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.now < end {
            self.pass(Duration::from_millis(20));
            self.settle();
        }
    }

    /// Every worker ticks now.
    pub fn tick(&mut self) {
        (0..self.workers.len()).for_each(|worker| self.tick_one(worker));
    }

    /// A worker ticks now.
    pub fn tick_one(&mut self, worker: usize) {
        self.workers[worker].on_tick(&self.process.at(self.now, self.ahead));
        self.collect(worker);
    }

    /// The client of a request leaves, or its response is complete.
    pub fn end(&mut self, worker: usize, stream: StreamId) {
        self.workers[worker].on_end(stream, &self.process);
    }

    /// The wall clock is set forward or back, in seconds.
    pub const fn step(&mut self, seconds: i64) {
        self.ahead += seconds;
    }

    /// A worker dies, and another takes its place. Its pending callouts are dropped.
    pub fn restart(&mut self, worker: usize) {
        self.workers[worker] = Filter::new(self.workers[worker].config().clone());
        self.pending.retain(|pending| pending.worker != worker);
    }

    fn collect(&mut self, worker: usize) {
        while let Some(action) = self.workers[worker].next_action() {
            match action {
                Action::Callout { call, request } if self.is_host_gone && request.to == Destination::AuthService => {
                    let not_sent = Err(CalloutError::NotSent);
                    self.workers[worker].on_answer(call, not_sent, &self.process.at(self.now, self.ahead));
                }
                Action::Callout { call, request } => {
                    let pending = Pending { worker, call, request };
                    let counter = if pending.is_poll() {
                        &mut self.polls
                    } else if pending.request.authorization().is_none() {
                        &mut self.key_fetches
                    } else {
                        &mut self.verifications
                    };
                    *counter += 1;
                    self.pending.push(pending);
                }
                Action::Resolve { stream, resolution, report } => {
                    self.reports.insert(stream, report);
                    self.record(stream, resolution);
                }
            }
        }
    }

    fn record(&mut self, stream: StreamId, resolution: Resolution) {
        if let Resolution::Forward(forward) = &resolution {
            self.authorizations.insert(stream, forward.authorization.clone());
        }
        let before = self.endings.insert(stream, Ending::of(resolution));
        assert_eq!(before, None, "stream {stream} ended twice");
    }
}
