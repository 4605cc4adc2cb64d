//! What the service has refused: for `negative_ttl` an answer to the same question, and longer than that the reason
//! why no older verdict may stand in.

use super::Digest;
use crate::decision::Code;
use crate::host::Host;
use crate::table::{Reader, Record, Table, write_time};
use crate::time::UnixTime;

/// How many rows the table has.
pub(crate) const ROWS: u32 = 4096;

/// How many refusals a row holds.
const PER_ROW: usize = 4;

/// An explicit 401 or 403 of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose.
    pub key: Digest,
    /// When the verification began that ended so.
    pub at: UnixTime,
    /// Until when it is the answer; not later than `at` where `negative_ttl` is 0.
    pub negative_until: UnixTime,
    /// Until when there can be an older verdict.
    pub until: UnixTime,
    /// Whether one was there: a token that nobody ever accepted displaces none of these.
    pub ends_verdict: bool,
    /// Whether it was 403, rather than 401.
    pub is_forbidden: bool,
}

impl Record for Refusal {
    const BYTES: usize = 32 + 3 * 8 + 1;

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.key.0);
        write_time(to, self.at);
        write_time(to, self.negative_until);
        write_time(to, self.until);
        to.push(u8::from(self.ends_verdict) | u8::from(self.is_forbidden) << 1);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let key = Digest(reader.bytes()?);
        let (at, negative_until, until, [flags]) = (reader.time()?, reader.time()?, reader.time()?, reader.bytes()?);
        let (ends_verdict, is_forbidden) = (flags & 1 != 0, flags & 2 != 0);
        Some(Self { key, at, negative_until, until, ends_verdict, is_forbidden })
    }
}

impl Refusal {
    /// Whether there can be an older verdict yet. One from the future is of a clock that was set back since: how old
    /// it is can't be told, so it ends every verdict but is no answer, and gives way to whatever the service says next.
    fn is_alive(&self, now: UnixTime) -> bool {
        now < self.until
    }

    /// What the credential is denied with.
    pub(super) const fn code(&self) -> Code {
        if self.is_forbidden { Code::ForbiddenByService } else { Code::TokenRejected }
    }

    /// Whether it is the answer to the same question.
    pub(super) fn is_answer(&self, now: UnixTime) -> bool {
        !self.at.is_to_come(now) && now < self.negative_until
    }
}

/// The refusals that all workers know.
#[derive(Debug)]
pub struct Refusals {
    table: Table<Refusal>,
}

impl Refusals {
    pub(super) const fn new(prefix: String) -> Self {
        Self { table: Table::new(prefix, ROWS) }
    }

    pub(super) fn find(&self, key: &Digest, now: UnixTime, host: &impl Host) -> Option<Refusal> {
        let mut row = self.table.read(self.row(key, host), host);
        let index = row.iter().position(|refusal| refusal.key == *key && refusal.is_alive(now))?;
        Some(row.swap_remove(index))
    }

    /// Adds one, unless a later one is known. A full row loses the one that began first, of those that end no verdict
    /// while there are any.
    pub(super) fn add(&self, refusal: Refusal, now: UnixTime, host: &impl Host) {
        let added = self.table.update(self.row(&refusal.key, host), host, |row| {
            row.retain(|known| known.is_alive(now));
            if row.iter().any(|known| known.key == refusal.key && known.at > refusal.at && !known.at.is_to_come(now)) {
                return (false, ());
            }
            let mut refusal = refusal.clone();
            refusal.ends_verdict |= row.iter().any(|known| known.key == refusal.key && known.ends_verdict);
            row.retain(|known| known.key != refusal.key);
            row.push(refusal);
            row.sort_by_key(|known| (known.ends_verdict, known.at));
            row.drain(..row.len().saturating_sub(PER_ROW));
            (true, ())
        });
        if added.is_err() {
            log::warn!("a refusal of the auth service could not be shared");
        }
    }

    /// A verification that began at `verified` let the key in.
    ///
    /// # Errors
    /// What it is denied with: it was refused in a verification that began then or later.
    pub(super) fn withdraw(
        &self,
        key: &Digest,
        verified: UnixTime,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<(), Code> {
        let row = self.row(key, host);
        let is_later = |known: &Refusal| known.is_alive(now) && known.at >= verified && !known.at.is_to_come(now);
        let known = self.table.read(row, host).into_iter().find(|known| known.key == *key);
        match known {
            // Nearly always.
            None => return Ok(()),
            Some(refusal) if is_later(&refusal) => return Err(refusal.code()),
            Some(_) => {}
        }
        let withdrawn = self.table.update(row, host, |row| {
            if let Some(refusal) = row.iter().find(|known| known.key == *key && is_later(known)) {
                return (false, Err(refusal.code()));
            }
            row.retain(|known| known.key != *key);
            (true, Ok(()))
        });
        // An older refusal that stays where it is does no harm.
        withdrawn.unwrap_or(Ok(()))
    }

    pub(super) fn sweep(&self, row: u32, now: UnixTime, host: &impl Host) {
        let swept = self.table.update(row, host, |row| {
            let before = row.len();
            row.retain(|known| known.is_alive(now));
            (row.len() != before, ())
        });
        if swept.is_err() {
            log::debug!("a row of refusals was too busy to be swept");
        }
    }

    fn row(&self, key: &Digest, host: &impl Host) -> u32 {
        self.table.row(&key.0, host)
    }
}
