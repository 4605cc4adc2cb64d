//! The secret of a process: the key of the hashes that pick rows and slots of the shared data, and that stand there for
//! addresses and tokens' numbers.
//!
//! Rows are small, and a full row drops its least useful record. If clients knew which credentials, addresses or token
//! numbers share a row, they could choose those that displace a refusal or their own failures.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

#[cfg(any(target_arch = "wasm32", test))]
use crate::host::{SharedData, SharedValue, Write};

/// Where a process's secret is, unless it is derived from the seal key. Any plugin of the same `vm_id` can read it.
#[cfg(any(target_arch = "wasm32", test))]
const NAME: &str = "authgate.secret";

const BYTES: usize = 16;

/// A key of SipHash-1-3.
#[derive(Clone)]
pub struct Secret(SipHasher13);

impl Secret {
    /// The secret with this key.
    pub fn new(key: [u8; BYTES]) -> Self {
        Self(SipHasher13::new_with_key(&key))
    }

    /// The secret of the process; `fresh`, if there is none yet. The first worker makes it for all.
    #[cfg(any(target_arch = "wasm32", test))]
    pub fn of_process(fresh: [u8; BYTES], shared: &dyn SharedData) -> Self {
        let read = || {
            let SharedValue { bytes, cas } = shared.shared_data(NAME)?;
            Some((<[u8; BYTES]>::try_from(bytes).ok(), cas))
        };
        let write = match read() {
            Some((Some(key), _)) => return Self::new(key),
            Some((None, cas)) => Write::IfVersion(cas),
            None => Write::IfAbsent,
        };
        if shared.set_shared_data(NAME, &fresh, write).is_ok() {
            return Self::new(fresh);
        }
        // Another worker was faster.
        Self::new(read().and_then(|(key, _)| key).unwrap_or(fresh))
    }

    /// A hash that can't be computed without the secret.
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.0;
        hasher.write(bytes);
        hasher.finish()
    }
}

impl std::fmt::Debug for Secret {
    /// Without the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Secret").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::world::Process;
    use crate::testing::overtaking;

    const SUBJECT: &[u8] = b"a subject";

    #[test]
    fn every_worker_uses_the_first_workers_secret() {
        let host = Process::default();
        let first = Secret::of_process([1; BYTES], &host);
        let second = Secret::of_process([2; BYTES], &host);
        assert_eq!(first.hash(SUBJECT), Secret::new([1; BYTES]).hash(SUBJECT));
        assert_eq!(second.hash(SUBJECT), first.hash(SUBJECT));
        assert_ne!(Secret::new([2; BYTES]).hash(SUBJECT), first.hash(SUBJECT));
    }

    #[test]
    fn an_overtaken_worker_uses_the_others_secret() {
        let host = Process::default();
        let faster = || assert!(host.set_shared_data(NAME, &[1; BYTES], Write::IfAbsent).is_ok());
        let late = Secret::of_process([2; BYTES], &overtaking(&host, [faster]));
        assert_eq!(late.hash(SUBJECT), Secret::new([1; BYTES]).hash(SUBJECT));
    }

    #[test]
    fn an_unreadable_secret_is_replaced() {
        let host = Process::default();
        host.set_shared_data(NAME, b"short", Write::Always).unwrap();
        let first = Secret::of_process([1; BYTES], &host);
        assert_eq!(first.hash(SUBJECT), Secret::of_process([2; BYTES], &host).hash(SUBJECT));
    }

    #[test]
    fn debug_output_hides_the_secret() {
        assert_eq!(format!("{:?}", Secret::new([0xab; BYTES])), "Secret { .. }");
    }
}
