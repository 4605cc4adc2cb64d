//! What the core asks of the machine it runs on, beyond waiting: services that answer at once.
//!
//! The wasm shell implements [`Host`] over Envoy's host calls, tests over a map. Whatever has to be waited for
//! is an [`Action`](crate::filter::Action) instead.

use crate::metrics::{Counter, Gauge};
use crate::public_key::PublicKey;

/// A value of the host's shared data and the number that a conditional write has to present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedValue {
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// The compare-and-swap number of this version.
    pub cas: u32,
}

/// When a write to shared data is to take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Whatever is there.
    Always,
    /// Only if the key doesn't exist yet.
    IfAbsent,
    /// Only if the version is still the one that was read.
    IfVersion(u32),
}

/// Somebody else wrote first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shared value was changed by another worker")]
pub struct Conflict;

/// Services of the host that answer at once.
pub trait Host {
    /// Reads a key of the data that all workers of this process share. `None`: the key doesn't exist.
    fn shared_data(&self, key: &str) -> Option<SharedValue>;

    /// Writes a key of the shared data. Keys come from a fixed set: the host never frees one.
    ///
    /// # Errors
    /// [`Conflict`] if the condition of `write` didn't hold; nothing was written then.
    fn set_shared_data(&self, key: &str, value: &[u8], write: Write) -> Result<(), Conflict>;

    /// A hash under a secret of this process, so that no client can tell whose hashes agree. All workers, and all that
    /// come after them, have the same.
    fn keyed_hash(&self, bytes: &[u8]) -> u64;

    /// Verifies an RSASSA-PKCS1-v1_5 signature with SHA-256 natively. `None`: the host can't, use the verifier
    /// that is compiled in.
    fn verify_signature(&self, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool>;

    /// Counts one.
    fn count(&self, counter: Counter);

    /// Moves a gauge up or down; `by` is never 0.
    fn shift(&self, gauge: Gauge, by: i64);

    /// Puts a gauge, one that is the same for all workers, where it is.
    fn set(&self, gauge: Gauge, to: u64);

    /// How many callouts are under way in all workers, as far as this one can tell.
    fn callouts_in_flight(&self) -> u64;

    /// The address and port of the request's client, as the host has it from the connection and from what it trusts:
    /// `192.0.2.1:4711`, `[2001:db8::1]:4711`. Only to be asked while a request is arriving.
    fn client_address(&self) -> Option<String>;

    /// The number of the connection that the request came by: no other of this process has or had it. `None`: the host
    /// doesn't tell. Only to be asked while a request is arriving.
    fn connection(&self) -> Option<u64>;
}
