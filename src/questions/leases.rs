//! Which credentials some worker is asking the service about, so that no other worker asks about them too.
//!
//! A lease ends with the answer. If its worker has died, it ends after the longest time that a callout and its retries
//! can take. If a row is full, two workers may both get a lease, which costs one more callout and does no harm.

use std::time::Duration;

use crate::cache::Digest;
use crate::host::{Cx, SharedData};
use crate::table::{Bytes, Record, Table, write_time};
use crate::time::Instant;

const ROWS: u32 = 1024;
const PER_ROW: usize = 8;

/// The state of the question about a credential in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// No worker is asking.
    Free,
    /// A worker is asking.
    Held {
        /// Since when.
        since: Instant,
        /// When the question before it failed after all its retries; the epoch: there was no such failure.
        failed_at: Instant,
    },
    /// The last question got no answer: the service was down.
    Failed {
        /// When.
        at: Instant,
        /// Whether that was after all its retries, which it has while a request waits.
        was_retried: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Lease {
    /// The first half of the credential's digest. If those of two credentials ever agree, the second waits for the
    /// first.
    digest: [u8; 16],
    /// When the callout began, or when it failed.
    at: Instant,
    failed: bool,
    was_retried: bool,
    /// As in [`LeaseState::Held`].
    failed_at: Instant,
}

impl Record for Lease {
    const BYTES: usize = 16 + 8 + 1 + 8;

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.digest);
        write_time(to, self.at);
        to.push(u8::from(self.failed) | u8::from(self.was_retried) << 1);
        write_time(to, self.failed_at);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let (digest, at, [state]) = (reader.bytes()?, reader.time()?, reader.bytes()?);
        Some(Self { digest, at, failed: state & 1 != 0, was_retried: state & 2 != 0, failed_at: reader.time()? })
    }
}

/// The leases of all workers.
#[derive(Debug)]
pub struct Leases {
    table: Table<Lease>,
    length: Duration,
}

impl Leases {
    pub(super) const fn new(prefix: String, length: Duration) -> Self {
        Self { table: Table::new(prefix, ROWS), length }
    }

    /// Tries to become the one that asks. False: another worker is asking.
    pub fn take(&self, digest: &Digest, cx: &Cx<'_>) -> bool {
        let (row, half) = self.place(digest, cx.shared);
        let begun = self.table.update(row, cx.shared, |leases| {
            leases.retain(|lease| !cx.now.has_passed(self.length, lease.at));
            if leases.iter().any(|lease| lease.digest == half && !lease.failed) {
                return (false, false);
            }
            let failed = leases.iter().find(|lease| lease.digest == half && lease.was_retried).map(|lease| lease.at);
            leases.retain(|lease| lease.digest != half);
            if leases.len() >= PER_ROW && !remove_failed(leases) {
                return (false, true);
            }
            leases.push(Lease {
                digest: half,
                at: cx.now,
                failed: false,
                was_retried: false,
                failed_at: failed.unwrap_or_default(),
            });
            (true, true)
        });
        begun.unwrap_or(true)
    }

    /// The question that began at `began` was answered, or will not be asked.
    pub fn end(&self, digest: &Digest, began: Instant, shared: &dyn SharedData) {
        self.change(digest, began, shared, |_| None);
    }

    /// The question that began at `began` got no answer. `was_retried`: all its retries were used.
    pub fn fail(&self, digest: &Digest, began: Instant, was_retried: bool, cx: &Cx<'_>) {
        self.change(digest, began, cx.shared, |lease| Some(Lease { at: cx.now, failed: true, was_retried, ..lease }));
    }

    /// The state of the question about a credential.
    pub fn look_up(&self, digest: &Digest, cx: &Cx<'_>) -> LeaseState {
        let (row, half) = self.place(digest, cx.shared);
        let leases = self.table.read(row, cx.shared);
        match leases.iter().find(|lease| lease.digest == half && !cx.now.has_passed(self.length, lease.at)) {
            None => LeaseState::Free,
            Some(lease) if lease.failed => LeaseState::Failed { at: lease.at, was_retried: lease.was_retried },
            Some(lease) => LeaseState::Held { since: lease.at, failed_at: lease.failed_at },
        }
    }

    fn change(
        &self,
        digest: &Digest,
        began: Instant,
        shared: &dyn SharedData,
        change: impl Fn(Lease) -> Option<Lease>,
    ) {
        let (row, half) = self.place(digest, shared);
        let changed = self.table.update(row, shared, |leases| {
            // Leave a lease that another worker took after this one was over.
            let index = leases.iter().position(|lease| lease.digest == half && lease.at == began && !lease.failed);
            let Some(index) = index else { return (false, ()) };
            let lease = leases.swap_remove(index);
            leases.extend(change(lease));
            (true, ())
        });
        if changed.is_err() {
            log::debug!("a lease could not be ended and will expire");
        }
    }

    fn place(&self, digest: &Digest, shared: &dyn SharedData) -> (u32, [u8; 16]) {
        (self.table.row(&digest.0, shared), digest.half())
    }
}

fn remove_failed(leases: &mut Vec<Lease>) -> bool {
    let failed = leases.iter().position(|lease| lease.failed);
    failed.is_some_and(|index| {
        leases.swap_remove(index);
        true
    })
}
