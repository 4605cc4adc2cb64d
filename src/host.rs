//! What the core needs from its host: services that answer at once.
//!
//! The wasm shell implements these traits over Envoy's host calls, tests over a map. Anything that has to be waited for
//! is an [`Action`](crate::filter::Action) instead.

use std::fmt;

use crate::metrics::{Counter, Gauge, Histogram};
use crate::public_key::PublicKey;
use crate::time::{Instant, UnixTime};

/// The host's number of a request's stream.
pub type StreamId = u32;

/// The host's number of a client's connection.
pub type ConnectionId = u64;

/// A value of the host's shared data and the number that a conditional write has to present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedValue {
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// The compare-and-swap number of this version.
    pub cas: u32,
}

/// The condition of a write to shared data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// In any case.
    Always,
    /// Only if the key doesn't exist yet.
    IfAbsent,
    /// Only if the version is still the one that was read.
    IfVersion(u32),
}

impl Write {
    /// Whether it takes place if the key has this version; `None`: the key doesn't exist.
    pub fn may_replace(self, version: Option<u32>) -> bool {
        match self {
            Self::Always => true,
            Self::IfAbsent => version.is_none(),
            Self::IfVersion(read) => version == Some(read),
        }
    }
}

/// Another worker wrote first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shared value was changed by another worker")]
pub struct Conflict;

/// What all workers of this process share.
pub trait SharedData {
    /// Reads a key. `None`: the key doesn't exist.
    fn shared_data(&self, key: &str) -> Option<SharedValue>;

    /// The number of the version of a key's value; 0: the key doesn't exist. A sealed value isn't opened for it.
    fn version(&self, key: &str) -> u32 {
        self.shared_data(key).map_or(0, |value| value.cas)
    }

    /// Writes a key. Keys come from a fixed set: the host never frees one.
    ///
    /// # Errors
    /// [`Conflict`] if the condition of `write` didn't hold; nothing was written then.
    fn set_shared_data(&self, key: &str, value: &[u8], write: Write) -> Result<(), Conflict>;

    /// A hash under a secret of this process, so that no client can tell which values share a hash. All workers,
    /// including later ones, have the same secret.
    fn keyed_hash(&self, bytes: &[u8]) -> u64;
}

/// The host's own cryptography.
pub trait Signatures {
    /// Verifies an RSASSA-PKCS1-v1_5 signature with SHA-256 natively. `None`: the host can't, and the caller uses the
    /// verifier that is compiled in.
    fn verify_signature(&self, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool>;
}

/// Counters, gauges, and the audit.
pub trait Metrics {
    /// Counts one.
    fn count(&self, counter: Counter);

    /// Moves a gauge up or down; `by` is never 0.
    fn shift(&self, gauge: Gauge, by: i64);

    /// Sets a gauge that is the same for all workers.
    fn set(&self, gauge: Gauge, to: u64);

    /// Adds a value to a histogram. A host without histograms needn't.
    fn record(&self, _histogram: Histogram, _value: u64) {}

    /// Writes a line of the audit: JSON, in ASCII (docs/reference.md#access-log-and-audit). By default it goes to the
    /// log at the level info.
    fn audit(&self, line: &str) {
        log::info!("{line}");
    }

    /// How many callouts are under way in all workers, as far as this one can tell.
    fn callouts_in_flight(&self) -> u64;
}

/// The client whose request is arriving. Valid only while it arrives.
pub trait Peer {
    /// The address and port of the request's client, as the host knows it from the connection and from trusted headers:
    /// `192.0.2.1:4711`, `[2001:db8::1]:4711`.
    fn client_address(&self) -> Option<String>;

    /// The number of the request's connection, unique in this process for all time. `None`: the host doesn't tell.
    fn connection(&self) -> Option<ConnectionId>;
}

/// Everything else that the host does. Shared data are separate, since they may be sealed.
pub trait Host: Signatures + Metrics + Peer {}

impl<T: Signatures + Metrics + Peer> Host for T {}

/// The context of an event: its time, and the host.
#[derive(Clone, Copy)]
pub struct Cx<'h> {
    /// The time by the monotonic clock.
    pub now: Instant,
    /// The time by the wall clock.
    pub wall: UnixTime,
    /// The data of all workers.
    pub shared: &'h dyn SharedData,
    /// Everything else.
    pub host: &'h dyn Host,
}

impl<'h> Cx<'h> {
    /// An event on a host in memory, whose clocks show the same number.
    pub fn new<H: SharedData + Host>(now: Instant, host: &'h H) -> Self {
        Self { now, wall: UnixTime::from_nanos(now.as_nanos()), shared: host, host }
    }

    /// How far the wall clock is ahead of the monotonic clock, in nanoseconds. The clocks count from different times,
    /// so only the difference of two such numbers means anything: by so much the wall clock was set in between.
    pub const fn ahead(&self) -> i64 {
        self.wall.as_nanos().cast_signed().wrapping_sub(self.now.as_nanos().cast_signed())
    }
}

impl fmt::Debug for Cx<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cx").field("now", &self.now).field("wall", &self.wall).finish_non_exhaustive()
    }
}
