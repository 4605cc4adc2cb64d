//! The host of the filter: shared data, metrics, signatures and the client's address.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use authgate::PublicKey;
use authgate::host::{Conflict, ConnectionId, Metrics, Peer, SharedData, SharedValue, Signatures, Write};
use authgate::metrics::{Counter, Gauge};

use crate::Client;

/// What all workers share.
#[derive(Debug, Default)]
pub(crate) struct Process {
    data: Mutex<HashMap<String, SharedValue>>,
    counters: Mutex<HashMap<Counter, u64>>,
    gauges: Mutex<HashMap<Gauge, i64>>,
    /// Randomly keyed, so that no client can predict which hashes agree.
    hasher: RandomState,
}

impl Process {
    /// The metrics in the text format of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let (counters, gauges) = (lock(&self.counters), lock(&self.gauges));
        let counters = counters.iter().map(|(counter, value)| line(counter, value));
        let mut lines: Vec<_> = counters.chain(gauges.iter().map(|(gauge, value)| line(gauge, value))).collect();
        lines.sort();
        lines.concat()
    }
}

/// A line for a metric that is named as for Envoy: `name.label=value`.
fn line(metric: &dyn Display, value: &dyn Display) -> String {
    let metric = metric.to_string();
    let mut parts = metric.split('.');
    let name = parts.next().unwrap_or_default();
    let labels = parts.filter_map(|part| part.split_once('='));
    let labels: Vec<_> = labels.map(|(label, value)| format!("{label}={value:?}")).collect();
    format!("{name}{{{}}} {value}\n", labels.join(","))
}

/// Ignores poisoning: no panic leaves a half-written value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host of one worker.
#[derive(Debug)]
pub(crate) struct Host {
    process: Arc<Process>,
    /// The client whose request is arriving.
    pub(crate) client: Cell<Option<Client>>,
}

impl Host {
    pub(crate) fn new(process: Arc<Process>) -> Self {
        Self { process, client: Cell::new(None) }
    }
}

impl SharedData for Host {
    fn shared_data(&self, key: &str) -> Option<SharedValue> {
        lock(&self.process.data).get(key).cloned()
    }

    fn set_shared_data(&self, key: &str, value: &[u8], write: Write) -> Result<(), Conflict> {
        let mut data = lock(&self.process.data);
        let version = data.get(key).map(|known| known.cas);
        if !write.may_replace(version) {
            return Err(Conflict);
        }
        let cas = version.unwrap_or_default().wrapping_add(1);
        data.insert(key.to_owned(), SharedValue { bytes: value.to_vec(), cas });
        Ok(())
    }

    fn keyed_hash(&self, bytes: &[u8]) -> u64 {
        self.process.hasher.hash_one(bytes)
    }
}

impl Signatures for Host {
    /// Leaves it to the verifier that is compiled in.
    fn verify_signature(&self, _key: &PublicKey, _signature: &[u8], _message: &[u8]) -> Option<bool> {
        None
    }
}

impl Metrics for Host {
    fn count(&self, counter: Counter) {
        *lock(&self.process.counters).entry(counter).or_default() += 1;
    }

    fn shift(&self, gauge: Gauge, by: i64) {
        *lock(&self.process.gauges).entry(gauge).or_default() += by;
    }

    fn set(&self, gauge: Gauge, to: u64) {
        lock(&self.process.gauges).insert(gauge, to.cast_signed());
    }

    fn callouts_in_flight(&self) -> u64 {
        let gauges = lock(&self.process.gauges);
        gauges.get(&Gauge::CalloutsInFlight).copied().unwrap_or_default().unsigned_abs()
    }
}

impl Peer for Host {
    fn client_address(&self) -> Option<String> {
        Some(self.client.get()?.address.to_string())
    }

    fn connection(&self) -> Option<ConnectionId> {
        Some(self.client.get()?.connection)
    }
}
