//! What workers share: data, metrics, and the client whose request is arriving.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::sign;
use crate::host::{Conflict, Cx, Metrics, Peer, SharedData, SharedValue, Signatures, Write};
use crate::metrics::{Counter, Gauge, Histogram};
use crate::public_key::PublicKey;
use crate::secret::Secret;
use crate::time::{Instant, UnixTime};

/// The process: shared data, and whether it can verify signatures.
#[derive(Debug, Default)]
pub struct Process {
    shared: RefCell<HashMap<String, SharedValue>>,
    /// The value of each counter.
    pub counted: RefCell<HashMap<Counter, u64>>,
    /// The value of each gauge.
    pub gauges: RefCell<HashMap<Gauge, i64>>,
    /// What was recorded in each histogram.
    pub recorded: RefCell<HashMap<Histogram, Vec<u64>>>,
    /// The lines of the audit.
    pub audited: RefCell<Vec<String>>,
    /// How many requests have arrived.
    pub requests: Cell<u64>,
    /// The client address of the next request.
    pub address: RefCell<Option<String>>,
    /// The connection of the next request.
    pub connection: Cell<Option<u64>>,
    /// How many signatures were verified.
    pub signatures: Cell<u64>,
    /// How often the shared data were read.
    pub reads: Cell<u64>,
}

impl Process {
    /// The context of an event at this time, while the wall clock is so many seconds ahead.
    pub fn at(&self, now: Instant, ahead: i64) -> Cx<'_> {
        let wall = now.as_nanos().saturating_add_signed(ahead * 1_000_000_000);
        Cx { wall: UnixTime::from_nanos(wall), ..Cx::new(now, self) }
    }

    /// How many requests were counted, however they ended.
    pub fn counted_requests(&self) -> u64 {
        let counted = self.counted.borrow();
        counted.iter().filter(|(counter, _)| matches!(counter, Counter::Request { .. })).map(|(_, times)| times).sum()
    }

    /// The value of a counter.
    pub fn count_of(&self, counter: Counter) -> u64 {
        self.counted.borrow().get(&counter).copied().unwrap_or(0)
    }

    /// The value of a gauge.
    pub fn gauge(&self, gauge: Gauge) -> Option<i64> {
        self.gauges.borrow().get(&gauge).copied()
    }

    /// The shared data whose names contain this text, without empty values.
    pub fn stored(&self, part: &str) -> Vec<(String, Vec<u8>)> {
        let shared = self.shared.borrow();
        let stored = shared.iter().filter(|(key, value)| key.contains(part) && !value.bytes.is_empty());
        stored.map(|(key, value)| (key.clone(), value.bytes.clone())).collect()
    }
}

impl SharedData for Process {
    fn shared_data(&self, key: &str) -> Option<SharedValue> {
        self.reads.set(self.reads.get() + 1);
        self.shared.borrow().get(key).cloned()
    }

    fn set_shared_data(&self, key: &str, value: &[u8], write: Write) -> Result<(), Conflict> {
        let mut shared = self.shared.borrow_mut();
        let version = shared.get(key).map(|value| value.cas);
        if !write.may_replace(version) {
            return Err(Conflict);
        }
        let cas = version.unwrap_or(0) + 1;
        shared.insert(key.to_owned(), SharedValue { bytes: value.to_vec(), cas });
        Ok(())
    }

    fn keyed_hash(&self, bytes: &[u8]) -> u64 {
        Secret::new([7; 16]).hash(bytes)
    }
}

impl Signatures for Process {
    fn verify_signature(&self, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool> {
        self.signatures.set(self.signatures.get() + 1);
        Some(signature == sign(key, message))
    }
}

impl Metrics for Process {
    fn count(&self, counter: Counter) {
        *self.counted.borrow_mut().entry(counter).or_default() += 1;
    }

    fn shift(&self, gauge: Gauge, by: i64) {
        *self.gauges.borrow_mut().entry(gauge).or_default() += by;
    }

    fn set(&self, gauge: Gauge, to: u64) {
        self.gauges.borrow_mut().insert(gauge, i64::try_from(to).unwrap());
    }

    fn record(&self, histogram: Histogram, value: u64) {
        self.recorded.borrow_mut().entry(histogram).or_default().push(value);
    }

    fn audit(&self, line: &str) {
        self.audited.borrow_mut().push(line.to_owned());
    }

    fn callouts_in_flight(&self) -> u64 {
        self.gauge(Gauge::CalloutsInFlight).unwrap_or_default().try_into().unwrap()
    }
}

impl Peer for Process {
    fn client_address(&self) -> Option<String> {
        self.address.borrow().clone()
    }

    fn connection(&self) -> Option<u64> {
        self.connection.get()
    }
}
