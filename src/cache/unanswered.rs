//! Credentials about which the service was asked and gave no verdict, although it answered: they aren't asked about
//! again for a while, by any worker.
//!
//! They have a table of their own, so that they displace no refusal. A row keeps those that were asked about last; the
//! others cost a callout more.

use std::time::Duration;

use super::Digest;
use crate::host::Host;
use crate::table::{Reader, Record, Table, write_time};
use crate::time::UnixTime;

const ROWS: u32 = 1024;
const PER_ROW: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unanswered {
    /// The half of a key.
    key: [u8; 16],
    /// When the answer came.
    at: UnixTime,
}

impl Record for Unanswered {
    const BYTES: usize = 16 + 8;

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.key);
        write_time(to, self.at);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        Some(Self { key: reader.bytes()?, at: reader.time()? })
    }
}

/// The credentials of all workers.
#[derive(Debug)]
pub(super) struct UnansweredKeys {
    table: Table<Unanswered>,
    /// How long a credential isn't asked about again.
    length: Duration,
}

impl UnansweredKeys {
    pub(super) const fn new(prefix: String, length: Duration) -> Self {
        Self { table: Table::new(prefix, ROWS), length }
    }

    /// The service answered a question about this key, and it was no verdict. Returns for how long it isn't asked again.
    pub(super) fn add(&self, key: &Digest, now: UnixTime, host: &impl Host) -> Duration {
        let half = half(key);
        let added = self.table.update(self.table.row(&key.0, host), host, |row| {
            row.retain(|known| known.key != half && !now.has_passed(self.length, known.at));
            row.sort_by_key(|known| known.at);
            row.drain(..(row.len() + 1).saturating_sub(PER_ROW));
            (true, row.push(Unanswered { key: half, at: now }))
        });
        if added.is_err() {
            log::debug!("a credential without a verdict could not be shared");
        }
        self.length
    }

    /// For how long the service isn't asked about this key; `None`: it may be.
    pub(super) fn remaining(&self, key: &Digest, now: UnixTime, host: &impl Host) -> Option<Duration> {
        let row = self.table.read(self.table.row(&key.0, host), host);
        row.iter().find(|known| known.key == half(key)).and_then(|known| now.remaining(self.length, known.at))
    }
}

fn half(key: &Digest) -> [u8; 16] {
    key.0.first_chunk().copied().unwrap_or_default()
}
