//! When to ask for the feed: one worker of the process at a time.
//!
//! Workers share one record: how the last poll stands, when it began, and what the last one that succeeded brought.
//! Beginning a poll means winning the record by compare-and-swap. A poll whose worker died is free again after its
//! lease.
//!
//! ```text
//!        begin (won the swap)               succeed, fail
//! Due ────────────────────────► InFlight ─────────────────► Ended ──► Due again ¾ of an interval after it began
//!  ▲                               │
//!  └───── the lease is over ◄──────┘
//! ```
//!
//! An entry of an answer that can't be read may be about anybody, so that every cached verdict is void for it. But a
//! service that says such a thing in every answer must not leave the cache without use: all verdicts are voided once
//! in [`BETWEEN_VOIDS`] at the most. What comes meanwhile is owed, and voids them when that time is over, so that no
//! such entry is lost: it only takes effect that much later.

use std::time::Duration;

use super::feed::Changes;
use crate::host::{Host, SharedValue, Write};
use crate::table::{Reader, write_time, write_u64};
use crate::time::UnixTime;

/// Workers read the clock a moment before they read the record: one that is this much behind it has not stepped back.
const SIMULTANEOUS: Duration = Duration::from_millis(100);

/// The least time between two occasions on which unreadable entries void all verdicts.
pub const BETWEEN_VOIDS: Duration = Duration::from_secs(60);

/// A poll that the caller has to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// When it began, which is its name.
    pub began: UnixTime,
    /// The cursor to go on from; `None`: everything.
    pub since: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Due,
    InFlight,
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct PollRecord {
    state: State,
    /// When the last poll began.
    began: UnixTime,
    /// When the last poll began of which anything was applied; the epoch: none has been.
    applied: UnixTime,
    /// When the last poll began of which everything was applied; the epoch: none has been.
    succeeded: UnixTime,
    size: u64,
    /// When unreadable entries voided all verdicts; the epoch: never.
    voided: UnixTime,
    /// Whether further ones have come since, for which they are still to be voided.
    is_owed: bool,
    /// Empty: there is none.
    cursor: String,
}

impl PollRecord {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![match self.state {
            State::Due => 0,
            State::InFlight => 1,
            State::Ended => 2,
        }];
        for time in [self.began, self.applied, self.succeeded, self.voided] {
            write_time(&mut bytes, time);
        }
        write_u64(&mut bytes, self.size);
        bytes.push(u8::from(self.is_owed));
        bytes.extend_from_slice(self.cursor.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let state = match reader.bytes()? {
            [0] => State::Due,
            [1] => State::InFlight,
            [2] => State::Ended,
            _ => return None,
        };
        let (began, applied, succeeded, voided) = (reader.time()?, reader.time()?, reader.time()?, reader.time()?);
        let (size, [is_owed]) = (reader.u64()?, reader.bytes()?);
        let cursor = String::from_utf8(reader.0.to_vec()).ok()?;
        Some(Self { state, began, applied, succeeded, size, voided, is_owed: is_owed != 0, cursor })
    }
}

impl PollRecord {
    /// After a poll.
    fn ended(self, is_unreadable: bool, voided: Option<UnixTime>) -> Self {
        Self {
            state: State::Ended,
            voided: voided.unwrap_or(self.voided),
            is_owed: voided.is_none() && (self.is_owed || is_unreadable),
            ..self
        }
    }
}

/// A worker's view of the polls.
#[derive(Debug)]
pub struct Poller {
    name: String,
    poll_interval: Duration,
    lease: Duration,
}

impl Poller {
    /// Polls under the key `name`. `lease` is the longest that a poll can take before another worker takes it for dead.
    pub const fn new(name: String, poll_interval: Duration, lease: Duration) -> Self {
        Self { name, poll_interval, lease }
    }

    /// How long until a poll may begin; zero: now. With a tick every quarter of the interval, or oftener, a poll begins
    /// at least once an interval.
    pub fn due_in(&self, now: UnixTime, host: &impl Host) -> Duration {
        self.wait(&self.read(host).0, now)
    }

    /// Tries to become the one worker that polls. `Some`: the caller asks now, and calls [`Self::succeed`] or
    /// [`Self::fail`] in the end.
    pub fn begin(&self, now: UnixTime, host: &impl Host) -> Option<Poll> {
        let (before, version) = self.read(host);
        if !self.wait(&before, now).is_zero() {
            return None;
        }
        // While the clock was fast, what is still needed may have been swept: it comes again, however often that fails.
        let goes_on = !before.cursor.is_empty() && !has_stepped_back(before.began, now);
        let since = goes_on.then(|| before.cursor.clone());
        let cursor = since.clone().unwrap_or_default();
        let record = PollRecord { state: State::InFlight, began: now, cursor, ..before };
        let write = version.map_or(Write::IfAbsent, Write::IfVersion);
        host.set_shared_data(&self.name, &record.encode(), write).ok()?;
        Some(Poll { began: now, since })
    }

    /// The poll that began at `began` was applied, from whose cursor the next one goes on. `size` is what
    /// [`Self::size`] says from now on, and `voided` when all verdicts were voided for unreadable entries, if they were.
    /// A poll that another one has overtaken changes nothing here.
    pub fn succeed(&self, began: UnixTime, changes: &Changes, size: usize, voided: Option<UnixTime>, host: &impl Host) {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let is_whole = changes.unreadable.is_none();
        self.end(began, host, |before| PollRecord {
            applied: began,
            succeeded: if is_whole { began } else { before.succeeded },
            size,
            cursor: changes.cursor.clone(),
            ..before.ended(!is_whole, voided)
        });
    }

    /// Whether all verdicts have to be voided at the end of a poll, for unreadable entries of its answer or of earlier
    /// ones.
    pub fn voids(&self, is_unreadable: bool, now: UnixTime, host: &impl Host) -> bool {
        let record = self.read(host).0;
        (is_unreadable || record.is_owed) && now.has_passed(BETWEEN_VOIDS, record.voided)
    }

    /// The poll that began at `began` brought nothing, or nothing but unreadable entries.
    pub fn fail(&self, began: UnixTime, is_unreadable: bool, voided: Option<UnixTime>, host: &impl Host) {
        self.end(began, host, |before| before.ended(is_unreadable, voided));
    }

    /// Whether any poll was applied: whether there is a list.
    pub fn has_list(&self, host: &impl Host) -> bool {
        self.read(host).0.applied != UnixTime::default()
    }

    /// Whether there is no list yet, and the poll that may bring it hasn't ended.
    pub fn awaits_first(&self, host: &impl Host) -> bool {
        let record = self.read(host).0;
        record.applied == UnixTime::default() && record.state != State::Ended
    }

    /// Whether the list may lack what was revoked lately: no poll that began within the last two intervals was applied
    /// with all its entries.
    pub fn is_stale(&self, now: UnixTime, host: &impl Host) -> bool {
        now.has_passed(self.poll_interval * 2, self.read(host).0.succeeded)
    }

    /// How long the list was after the last poll that succeeded.
    pub fn size(&self, host: &impl Host) -> usize {
        usize::try_from(self.read(host).0.size).unwrap_or(usize::MAX)
    }

    /// Records how a poll ended, unless another one has begun since.
    fn end(&self, began: UnixTime, host: &impl Host, outcome: impl FnOnce(PollRecord) -> PollRecord) {
        let (before, version) = self.read(host);
        let written = match version {
            Some(version) if before.state == State::InFlight && before.began == began => {
                host.set_shared_data(&self.name, &outcome(before).encode(), Write::IfVersion(version)).is_ok()
            }
            _ => false,
        };
        if !written {
            log::debug!("another worker took the poll over");
        }
    }

    fn wait(&self, record: &PollRecord, now: UnixTime) -> Duration {
        let gap = match record.state {
            State::Due => Duration::ZERO,
            State::InFlight => self.lease,
            State::Ended => self.poll_interval * 3 / 4,
        };
        if has_stepped_back(record.began, now) {
            return Duration::ZERO;
        }
        gap.saturating_sub(now.since(record.began).unwrap_or_default())
    }

    fn read(&self, host: &impl Host) -> (PollRecord, Option<u32>) {
        match host.shared_data(&self.name) {
            None => (PollRecord::default(), None),
            Some(SharedValue { bytes, cas }) => (PollRecord::decode(&bytes).unwrap_or_default(), Some(cas)),
        }
    }
}

/// Whether the clock has been set back since a poll began, so that it can't tell how long ago that was.
fn has_stepped_back(began: UnixTime, now: UnixTime) -> bool {
    began.since(now).is_some_and(|ahead| ahead > SIMULTANEOUS)
}

#[cfg(test)]
mod tests;
