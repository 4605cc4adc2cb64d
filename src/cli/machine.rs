//! The filter with one worker. It decides on a request, and its callouts are answered at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::config::Config;
use crate::extractor::RequestHead;
use crate::filter::{Action, Filter, Resolution, Step};
use crate::host::{Conflict, ConnectionId, Cx, Metrics, Peer, SharedData, SharedValue, Signatures, Write};
use crate::introspection::{CalloutError, CalloutRequest, CalloutResponse};
use crate::metrics::{Counter, Gauge};
use crate::public_key::PublicKey;
use crate::time::{Instant, UnixTime};

/// Longer than any request waits.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The result of a callout.
pub type Answer = Result<CalloutResponse, CalloutError>;

/// The decision on a request.
#[derive(Debug)]
pub struct Decided {
    /// The names of headers that are stripped from it.
    pub strip: Vec<String>,
    /// The headers that change at once, with their new values; `None` removes the header.
    pub changes: Vec<(String, Option<Vec<u8>>)>,
    /// How it ends.
    pub resolution: Resolution,
}

/// A worker whose shared data is empty at the start.
#[derive(Debug)]
pub struct Machine {
    filter: Filter,
    host: Host,
    now: Instant,
}

impl Machine {
    /// A worker that has just started.
    pub fn new(config: Config, now: UnixTime) -> Self {
        Self { filter: Filter::new(config), host: Host::default(), now: Instant::from_nanos(now.as_nanos()) }
    }

    /// How the last request was counted: the names of counters, with their labels.
    pub fn counted(&self) -> Vec<String> {
        self.host.counted.borrow().clone()
    }

    /// Decides on a request, and advances the clock as needed. `None`: the request never ended, which is a bug.
    ///
    /// - `answer`: answers a callout; also gets the limit on the answer's body, in bytes.
    pub fn decide(
        &mut self,
        head: &RequestHead<'_>,
        answer: &mut dyn FnMut(&CalloutRequest, usize) -> Answer,
    ) -> Option<Decided> {
        const STREAM: u32 = 1;
        let Self { filter, host, now } = self;
        let end = now.after(LONGEST_WAIT);
        host.counted.borrow_mut().clear();
        filter.on_tick(&Cx::new(*now, host));
        // Fetches the key and the revocation list before the request.
        while let Some(Action::Callout { call, request }) = filter.next_action() {
            let answer = answer(&request, filter.body_limit(call));
            filter.on_answer(call, answer, &Cx::new(*now, host));
        }
        let reception = filter.on_request(STREAM, head, &Cx::new(*now, host));
        let strip: Vec<String> = reception.strip.iter().map(|name| (*name).to_owned()).collect();
        let changes = reception.changes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        if let Step::Resolve(resolution) = reception.step {
            return Some(Decided { strip, changes, resolution });
        }
        while *now < end {
            while let Some(action) = filter.next_action() {
                match action {
                    Action::Callout { call, request } => {
                        let answer = answer(&request, filter.body_limit(call));
                        filter.on_answer(call, answer, &Cx::new(*now, host));
                    }
                    Action::Resolve { resolution, .. } => return Some(Decided { strip, changes, resolution }),
                }
            }
            *now = now.after(filter.tick_period());
            filter.on_tick(&Cx::new(*now, host));
        }
        None
    }
}

/// A host in memory.
#[derive(Debug, Default)]
struct Host {
    data: RefCell<HashMap<String, SharedValue>>,
    counted: RefCell<Vec<String>>,
    hasher: RandomState,
}

impl SharedData for Host {
    fn shared_data(&self, key: &str) -> Option<SharedValue> {
        self.data.borrow().get(key).cloned()
    }

    fn set_shared_data(&self, key: &str, value: &[u8], write: Write) -> Result<(), Conflict> {
        let mut data = self.data.borrow_mut();
        let version = data.get(key).map(|known| known.cas);
        if !write.may_replace(version) {
            return Err(Conflict);
        }
        let cas = version.unwrap_or_default().wrapping_add(1);
        data.insert(key.to_owned(), SharedValue { bytes: value.to_vec(), cas });
        Ok(())
    }

    fn keyed_hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }
}

impl Signatures for Host {
    fn verify_signature(&self, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool> {
        NoHost.verify_signature(key, signature, message)
    }
}

/// Leaves signatures to the verifier that is compiled in.
#[derive(Debug)]
pub struct NoHost;

impl Signatures for NoHost {
    fn verify_signature(&self, _: &PublicKey, _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

impl Metrics for Host {
    fn count(&self, counter: Counter) {
        self.counted.borrow_mut().push(counter.to_string());
    }

    fn shift(&self, _: Gauge, _: i64) {}

    fn set(&self, _: Gauge, _: u64) {}

    fn callouts_in_flight(&self) -> u64 {
        0
    }
}

impl Peer for Host {
    /// An address for documentation (RFC 5737).
    fn client_address(&self) -> Option<String> {
        Some("192.0.2.1:4711".to_owned())
    }

    fn connection(&self) -> Option<ConnectionId> {
        Some(1)
    }
}
