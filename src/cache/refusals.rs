//! Credentials that the service has refused. For `negative_ttl`, a refusal answers further requests with the same
//! credential. After that, it keeps older verdicts from standing in, for as long as any may be left.

use std::time::Duration;

use super::Digest;
use crate::code::Code;
use crate::config::MAX_CLOCK_SKEW;
use crate::host::{Cx, SharedData};
use crate::order;
use crate::table::{Bytes, Record, Table, write_time, write_u64};
use crate::time::{Instant, UnixTime};

/// How many rows the table has.
pub(crate) const ROWS: u32 = 4096;

/// How many refusals a row holds.
const PER_ROW: usize = 4;

/// A 401 or 403 of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which credential.
    pub digest: Digest,
    /// When the verification that ended with it began.
    pub at: Instant,
    /// When the answer came.
    pub answered: Instant,
    /// When the credential has certainly expired by the wall clock; the epoch if it has no `exp` of its own.
    pub expires: UnixTime,
    /// Whether it ended a verdict; for a JWT that could stand in by its own signature, whether that signature is valid.
    /// Refusals of tokens that were never valid don't displace such a refusal.
    pub ends_verdict: bool,
    /// Whether it was 403, rather than 401.
    pub is_forbidden: bool,
}

impl Record for Refusal {
    const BYTES: usize = 32 + 3 * 8 + 1;

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.digest.0);
        write_time(to, self.at);
        write_time(to, self.answered);
        write_u64(to, self.expires.as_nanos());
        to.push(u8::from(self.ends_verdict) | u8::from(self.is_forbidden) << 1);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let digest = Digest(reader.bytes()?);
        let (at, answered) = (reader.time()?, reader.time()?);
        let (expires, [flags]) = (UnixTime::from_nanos(reader.u64()?), reader.bytes()?);
        let (ends_verdict, is_forbidden) = (flags & 1 != 0, flags & 2 != 0);
        Some(Self { digest, at, answered, expires, ends_verdict, is_forbidden })
    }
}

impl Refusal {
    /// A refusal with this code, which has come just now.
    ///
    /// - `expires`: the credential's own `exp`.
    /// - `began`: when the verification began.
    pub(super) fn new(
        digest: Digest,
        code: Code,
        expires: Option<UnixTime>,
        began: Instant,
        ends_verdict: bool,
        now: Instant,
    ) -> Self {
        Self {
            digest,
            at: began,
            answered: now,
            expires: expires.map_or(UnixTime::default(), |expires| expires.after(MAX_CLOCK_SKEW)),
            ends_verdict,
            is_forbidden: code == Code::ForbiddenByService,
        }
    }

    /// Whether it is still needed: an older verdict may be left, given that verdicts live for `life`, or the credential
    /// hasn't expired.
    fn is_alive(&self, life: Duration, cx: &Cx<'_>) -> bool {
        // The answer may be later than `now`: this worker may have stood still since it read the clock.
        cx.now < self.answered.after(life) || cx.wall < self.expires
    }

    /// The code of the denial.
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
    /// - `negative_ttl`: how long a refusal answers further requests.
    pub(super) const fn new(prefix: String, negative_ttl: Duration) -> Self {
        Self { table: Table::new(prefix, ROWS), negative_ttl }
    }

    /// Whether a refusal still answers requests with its credential.
    pub(super) fn answers(&self, refusal: &Refusal, now: Instant) -> bool {
        !now.has_passed(self.negative_ttl, refusal.answered)
    }

    /// The refusal of this credential. One that is no longer needed does no harm.
    pub(super) fn find(&self, digest: &Digest, shared: &dyn SharedData) -> Option<Refusal> {
        let mut row = self.table.read(self.row(digest, shared), shared);
        let index = row.iter().position(|refusal| refusal.digest == *digest)?;
        Some(row.swap_remove(index))
    }

    /// Adds a refusal, unless a later one is known. `life` is how long verdicts live. A full row loses a refusal that
    /// is no longer needed; if there is none, the oldest that ended no verdict, or the oldest of all.
    pub(super) fn add(&self, refusal: Refusal, life: Duration, cx: &Cx<'_>) {
        // A credential with an `exp` was asked about before that. If it has expired since, the clock may be fast.
        if !refusal.is_alive(life, cx) && refusal.expires == UnixTime::default() {
            return;
        }
        let added = self.table.update(self.row(&refusal.digest, cx.shared), cx.shared, |row| {
            if row.iter().any(|known| known.digest == refusal.digest && known.at > refusal.at) {
                return (false, ());
            }
            let mut refusal = refusal.clone();
            refusal.ends_verdict |= row.iter().any(|known| known.digest == refusal.digest && known.ends_verdict);
            row.retain(|known| known.digest != refusal.digest);
            row.push(refusal);
            // While there is room, a refusal stays until a sweep, in case the clock is fast.
            order::sort_by_key(row, |known| (known.is_alive(life, cx), known.ends_verdict, known.at));
            row.drain(..row.len().saturating_sub(PER_ROW));
            (true, ())
        });
        if added.is_err() {
            log::warn!("a refusal of the auth service could not be shared");
        }
    }

    /// Removes the refusal of a credential that is valid by a verification that began at `verified`.
    ///
    /// # Errors
    /// The code of the denial: it was refused in a verification that began then or later.
    pub(super) fn withdraw(&self, digest: &Digest, verified: Instant, cx: &Cx<'_>) -> Result<(), Code> {
        let row = self.row(digest, cx.shared);
        let is_later = |known: &Refusal| known.at >= verified;
        let known = self.table.read(row, cx.shared).into_iter().find(|known| known.digest == *digest);
        match known {
            // The usual case.
            None => return Ok(()),
            Some(refusal) if is_later(&refusal) => return Err(refusal.code()),
            Some(_) => {}
        }
        let later = self.table.update(row, cx.shared, |row| {
            let later = row.iter().find(|known| known.digest == *digest && is_later(known)).map(Refusal::code);
            if later.is_none() {
                row.retain(|known| known.digest != *digest);
            }
            (later.is_none(), later)
        });
        match later {
            Ok(Some(code)) => Err(code),
            // Busy: an older refusal that stays does no harm.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    pub(super) fn sweep(&self, row: u32, life: Duration, cx: &Cx<'_>) {
        let swept = self.table.update(row, cx.shared, |row| {
            let before = row.len();
            row.retain(|known| known.is_alive(life, cx));
            (row.len() != before, ())
        });
        if swept.is_err() {
            log::debug!("a row of refusals could not be swept: it is too busy");
        }
    }

    fn row(&self, digest: &Digest, shared: &dyn SharedData) -> u32 {
        self.table.row(&digest.0, shared)
    }
}
