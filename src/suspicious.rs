//! Suspicious activity (docs/reference.md#suspicious-activity): it is counted and audited, and locks nobody out.
//!
//! - A **user** whose credentials are good, from more than 5 client addresses within 10 minutes. Only new verdicts are
//!   looked at, not those of the cache.
//! - An **address** from which 20 credentials are refused within 60 s.
//!
//! Each is reported once, when the limit is crossed. For the same time after that, nothing is noted about that user or
//! address.
//!
//! Workers share the records, in rows of a fixed size: however many users and addresses there are, they take 2 MB at
//! the most. In a full row the record that is furthest from its limit is dropped. Which records share a row is secret.

use std::time::Duration;

use crate::host::Cx;
use crate::metrics::Suspicion;
use crate::table::{self, Bytes, Table, write_time, write_u64};
use crate::throttle::Hash;
use crate::time::Instant;

/// The most notes within a time that are not suspicious yet.
#[derive(Debug, Clone, Copy)]
struct Limit {
    most: usize,
    within: Duration,
}

/// Addresses of one user.
const ADDRESSES: Limit = Limit { most: 5, within: Duration::from_secs(600) };

/// Refused credentials of one address.
const REFUSALS: Limit = Limit { most: SLOTS, within: Duration::from_secs(60) };

/// How many notes a record has room for: the most of any limit.
const SLOTS: usize = 19;

/// An address isn't noted again within this time, so that the record of a busy user isn't written all the time.
const NOTED_LATELY: Duration = Duration::from_secs(1);

const USER_ROWS: u32 = 512;
const ADDRESS_ROWS: u32 = 256;
const RECORDS_PER_ROW: usize = 8;

/// What is noted about users and addresses, as one worker sees it.
#[derive(Debug)]
pub struct Watch {
    users: Table<Notes>,
    addresses: Table<Notes>,
}

impl Watch {
    /// `prefix`: how the keys of the shared data begin; nothing else may use such keys.
    pub fn new(prefix: &str) -> Self {
        Self {
            users: Table::new(format!("{prefix}user."), USER_ROWS),
            addresses: Table::new(format!("{prefix}address."), ADDRESS_ROWS),
        }
    }

    /// A credential of this user was found good, and came from this address.
    pub fn good(&self, user_id: i64, address: &Hash, cx: &Cx<'_>) -> Option<Suspicion> {
        let mut subject = Hash::default();
        subject.iter_mut().zip(user_id.to_le_bytes()).for_each(|(to, byte)| *to = byte);
        let address = address.first_chunk().copied().map(u64::from_le_bytes);
        note(&self.users, subject, address, ADDRESSES, cx).then_some(Suspicion::ManyAddresses)
    }

    /// A credential from this address was refused.
    pub fn refused(&self, address: &Hash, cx: &Cx<'_>) -> Option<Suspicion> {
        note(&self.addresses, *address, None, REFUSALS, cx).then_some(Suspicion::RepeatedFailures)
    }
}

/// Adds a note. True: that crosses the limit.
fn note(table: &Table<Notes>, subject: Hash, what: Option<u64>, limit: Limit, cx: &Cx<'_>) -> bool {
    let noted = table.update(table.row(&subject, cx.shared), cx.shared, |row| {
        let known = row.iter().position(|record| record.subject == subject);
        let mut record = known.map_or_else(|| Notes::new(subject), |index| row.swap_remove(index));
        let (has_changed, is_crossed) = record.add(what, limit, cx.now);
        if row.len() >= RECORDS_PER_ROW {
            let weights = row.iter().map(|record| record.weight(limit, cx.now)).enumerate();
            if let Some((index, _)) = weights.min_by_key(|(_, weight)| *weight) {
                row.swap_remove(index);
            }
        }
        row.push(record);
        (has_changed, is_crossed)
    });
    noted.unwrap_or_else(|busy| {
        log::debug!("suspicious activity was not recorded: {busy}");
        false
    })
}

/// What was noted about one user or address, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Notes {
    subject: Hash,
    /// When the limit was crossed last; the epoch: never.
    told: Instant,
    /// In any order. An expired note is room for another.
    notes: [(u64, Instant); SLOTS],
}

impl Notes {
    fn new(subject: Hash) -> Self {
        Self { subject, told: Instant::default(), notes: [(0, Instant::default()); SLOTS] }
    }

    /// Adds a note of `what`, which counts once however often it is noted; each note of `None` counts. Returns whether
    /// anything has changed, and whether the limit is crossed.
    fn add(&mut self, what: Option<u64>, limit: Limit, now: Instant) -> (bool, bool) {
        if !now.has_passed(limit.within, self.told) {
            return (false, false);
        }
        let known = what.and_then(|what| self.notes.iter().position(|(known, _)| *known == what));
        let free = || self.notes.iter().take(limit.most).position(|(_, at)| now.has_passed(limit.within, *at));
        match known.or_else(free).and_then(|index| self.notes.get_mut(index)) {
            Some((known, at)) if Some(*known) == what && !now.has_passed(NOTED_LATELY, *at) => (false, false),
            Some(note) => {
                *note = (what.unwrap_or_default(), now);
                (true, false)
            }
            None => {
                *self = Self { told: now, ..Self::new(self.subject) };
                (true, true)
            }
        }
    }

    /// How close it is to its limit, then how new: a reported one stays the longest, or it would be reported again.
    fn weight(&self, limit: Limit, now: Instant) -> (bool, usize, Instant) {
        let current = || self.notes.iter().map(|(_, at)| *at).filter(|at| !now.has_passed(limit.within, *at));
        (!now.has_passed(limit.within, self.told), current().count(), current().max().unwrap_or_default())
    }
}

impl table::Record for Notes {
    const BYTES: usize = 16 + 8 + SLOTS * (8 + 8);

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.subject);
        write_time(to, self.told);
        for (what, at) in self.notes {
            write_u64(to, what);
            write_time(to, at);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let subject = reader.bytes()?;
        let mut record = Self { told: reader.time()?, ..Self::new(subject) };
        for note in &mut record.notes {
            *note = (reader.u64()?, reader.time()?);
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests;
