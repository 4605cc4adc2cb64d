//! A host that records what its verifier was asked.

use std::cell::RefCell;

use authgate::host::{Conflict, Cx, Metrics, Peer, SharedData, SharedValue, Signatures, Write};
use authgate::internals::world::Process;
use authgate::metrics::{Counter, Gauge};
use authgate::{Instant, PublicKey, UnixTime};

/// One question to the verifier, and its answer.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The key.
    pub key: PublicKey,
    /// The signature.
    pub signature: Vec<u8>,
    /// The message.
    pub message: Vec<u8>,
    /// The verifier's answer.
    pub said: bool,
}

/// The fake host of the crate's own tests, with a record.
#[derive(Debug, Default)]
pub struct Recorder {
    /// The host.
    pub process: Process,
    /// What its verifier was asked.
    pub asked: RefCell<Vec<Asked>>,
    /// Whether it has no verifier, so that the compiled-in one is used.
    pub is_bare: bool,
}

impl Recorder {
    /// The context of an event: `now` by the monotonic clock, `wall` by the wall clock.
    pub fn at(&self, now: Instant, wall: UnixTime) -> Cx<'_> {
        Cx { wall, ..Cx::new(now, self) }
    }
}

impl SharedData for Recorder {
    fn shared_data(&self, key: &str) -> Option<SharedValue> {
        self.process.shared_data(key)
    }

    fn set_shared_data(&self, key: &str, value: &[u8], write: Write) -> Result<(), Conflict> {
        self.process.set_shared_data(key, value, write)
    }

    fn keyed_hash(&self, bytes: &[u8]) -> u64 {
        self.process.keyed_hash(bytes)
    }
}

impl Signatures for Recorder {
    fn verify_signature(&self, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool> {
        if self.is_bare {
            return None;
        }
        let said = self.process.verify_signature(key, signature, message)?;
        let (signature, message) = (signature.to_vec(), message.to_vec());
        self.asked.borrow_mut().push(Asked { key: key.clone(), signature, message, said });
        Some(said)
    }
}

impl Metrics for Recorder {
    fn count(&self, counter: Counter) {
        self.process.count(counter);
    }

    fn shift(&self, gauge: Gauge, by: i64) {
        self.process.shift(gauge, by);
    }

    fn set(&self, gauge: Gauge, to: u64) {
        self.process.set(gauge, to);
    }

    fn callouts_in_flight(&self) -> u64 {
        self.process.callouts_in_flight()
    }
}

impl Peer for Recorder {
    fn client_address(&self) -> Option<String> {
        self.process.client_address()
    }

    fn connection(&self) -> Option<u64> {
        self.process.connection()
    }
}
