//! What the service has refused: for `negative_ttl` an answer to the same question, and longer than that the reason
//! why no older verdict may stand in.

use std::time::Duration;

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
    /// When the answer came.
    pub answered: UnixTime,
    /// When the credential has expired for good, as far as it tells.
    pub expires: UnixTime,
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
        write_time(to, self.answered);
        write_time(to, self.expires);
        to.push(u8::from(self.ends_verdict) | u8::from(self.is_forbidden) << 1);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let key = Digest(reader.bytes()?);
        let (at, answered, expires, [flags]) = (reader.time()?, reader.time()?, reader.time()?, reader.bytes()?);
        let (ends_verdict, is_forbidden) = (flags & 1 != 0, flags & 2 != 0);
        Some(Self { key, at, answered, expires, ends_verdict, is_forbidden })
    }
}

impl Refusal {
    /// Whether there can be an older verdict yet, where one lives so long, or the credential be good for anything. One
    /// from the future is of a clock that was set back since: how old it is can't be told, so it ends every verdict but
    /// is no answer, and gives way to whatever the service says next.
    fn is_alive(&self, life: Duration, now: UnixTime) -> bool {
        now < self.answered.after(life).max(self.expires)
    }

    /// What the credential is denied with.
    pub(super) const fn code(&self) -> Code {
        if self.is_forbidden { Code::ForbiddenByService } else { Code::TokenRejected }
    }
}

/// The refusals that all workers know.
#[derive(Debug)]
pub struct Refusals {
    table: Table<Refusal>,
    negative_ttl: Duration,
}

impl Refusals {
    /// `negative_ttl`: for how long a refusal is the answer.
    pub(super) const fn new(prefix: String, negative_ttl: Duration) -> Self {
        Self { table: Table::new(prefix, ROWS), negative_ttl }
    }

    /// Whether a refusal is the answer to the same question.
    pub(super) fn answers(&self, refusal: &Refusal, now: UnixTime) -> bool {
        !refusal.at.is_to_come(now) && !now.has_passed(self.negative_ttl, refusal.answered)
    }

    /// The refusal of this key. One that outlives all that it has ended does no harm.
    pub(super) fn find(&self, key: &Digest, host: &impl Host) -> Option<Refusal> {
        let mut row = self.table.read(self.row(key, host), host);
        let index = row.iter().position(|refusal| refusal.key == *key)?;
        Some(row.swap_remove(index))
    }

    /// Adds one, unless a later one is known, where a verdict lives so long. A full row loses the one that began first, of those that end no verdict
    /// while there are any.
    pub(super) fn add(&self, refusal: Refusal, life: Duration, now: UnixTime, host: &impl Host) {
        if !refusal.is_alive(life, now) {
            return;
        }
        let added = self.table.update(self.row(&refusal.key, host), host, |row| {
            row.retain(|known| known.is_alive(life, now));
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
        let is_later = |known: &Refusal| known.at >= verified && !known.at.is_to_come(now);
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

    pub(super) fn sweep(&self, row: u32, life: Duration, now: UnixTime, host: &impl Host) {
        let swept = self.table.update(row, host, |row| {
            let before = row.len();
            row.retain(|known| known.is_alive(life, now));
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
