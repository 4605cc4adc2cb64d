//! When to ask for the feed: one worker of the process at a time.
//!
//! A poll is a [`Turn`]. It is due again ¾ of an interval after the last one began.
//!
//! An unreadable entry of an answer may be about anybody, so it voids every cached verdict. But a service that sends
//! such entries in every answer must not make the cache useless: all verdicts are voided at most once in
//! [`BETWEEN_VOIDS`]. Unreadable entries that come in between are owed, and void all verdicts when that time is over:
//! none is lost, it only takes effect later.

use std::time::Duration;

use super::feed::Changes;
use crate::host::{Cx, SharedData};
use crate::table::{Bytes, write_time, write_u64};
use crate::time::UnixTime;
use crate::turn::{LastTurn, Payload, Turn};

/// Workers read the clock just before the record: a clock that is up to this much behind it has not been set back.
const SIMULTANEOUS: Duration = Duration::from_millis(100);

/// The least time between two occasions on which unreadable entries void all verdicts.
pub const BETWEEN_VOIDS: Duration = Duration::from_secs(60);

/// A poll that the caller has to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPoll {
    /// When it began; this identifies it.
    pub began: UnixTime,
    /// The cursor to continue from; `None`: it asks for everything.
    pub since: Option<String>,
}

/// What the workers know about the polls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Known {
    /// When the last poll of which anything was applied began; the epoch: there was none.
    applied: UnixTime,
    /// When the last poll of which everything was applied began; the epoch: there was none.
    succeeded: UnixTime,
    size: u64,
    /// When unreadable entries voided all verdicts; the epoch: never.
    voided: UnixTime,
    /// Whether unreadable entries have come since, for which all verdicts are still to be voided.
    is_owed: bool,
    /// The last cursor; empty: there is none.
    cursor: String,
}

impl Payload for Known {
    fn encode(&self, to: &mut Vec<u8>) {
        for time in [self.applied, self.succeeded, self.voided] {
            write_time(to, time);
        }
        write_u64(to, self.size);
        to.push(u8::from(self.is_owed));
        to.extend_from_slice(self.cursor.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let (applied, succeeded, voided) = (reader.time()?, reader.time()?, reader.time()?);
        let (size, [is_owed]) = (reader.u64()?, reader.bytes()?);
        let cursor = String::from_utf8(reader.0.to_vec()).ok()?;
        Some(Self { applied, succeeded, size, voided, is_owed: is_owed != 0, cursor })
    }
}

impl Known {
    /// What is known after a poll.
    fn ended(self, is_unreadable: bool, voided: Option<UnixTime>) -> Self {
        Self {
            voided: voided.unwrap_or(self.voided),
            is_owed: voided.is_none() && (self.is_owed || is_unreadable),
            ..self
        }
    }
}

/// A worker's view of the polls.
#[derive(Debug)]
pub struct Poller {
    turn: Turn<Known>,
    poll_interval: Duration,
    lease: Duration,
}

impl Poller {
    /// Polls under the key `name`. `lease` is the longest that a poll can take before another worker may begin one.
    pub const fn new(name: String, poll_interval: Duration, lease: Duration) -> Self {
        Self { turn: Turn::new(name, lease), poll_interval, lease }
    }

    /// How long until a poll may begin; zero: now. With a tick at least every quarter of the interval, a poll begins at
    /// least once an interval.
    #[cfg(test)]
    pub fn due_in(&self, cx: &Cx<'_>) -> Duration {
        self.wait(self.turn.read(cx.shared).0, cx.now)
    }

    /// Tries to become the one worker that polls. `Some`: the caller asks now, and at the end calls [`Self::succeed`]
    /// or [`Self::fail`].
    pub fn begin_poll(&self, cx: &Cx<'_>) -> Option<NewPoll> {
        let mut since = None;
        let may_begin = |last: LastTurn, known: Known| {
            if !self.wait(last, cx.now).is_zero() {
                return None;
            }
            // While the clock was fast, records that are still needed may have been swept: asking for everything brings
            // them back, even if several polls fail first.
            let has_stepped = last.since().is_some_and(|began| has_stepped_back(began, cx.now));
            let cursor = if has_stepped { String::new() } else { known.cursor };
            since = (!cursor.is_empty()).then(|| cursor.clone());
            Some(Known { cursor, ..known })
        };
        self.turn.begin(may_begin, cx).then_some(NewPoll { began: cx.now, since })
    }

    /// Ends the poll that began at `began` and was applied. The next one continues from its cursor. `size` is what
    /// [`Self::size`] returns from now on, and `voided` when all verdicts were voided for unreadable entries, if they
    /// were. A poll that another one has overtaken changes nothing.
    pub fn succeed(
        &self,
        began: UnixTime,
        changes: &Changes,
        size: usize,
        voided: Option<UnixTime>,
        shared: &dyn SharedData,
    ) {
        let is_whole = changes.unreadable.is_none();
        let applied = |known: Known| Known {
            applied: began,
            succeeded: if is_whole { began } else { known.succeeded },
            size: u64::try_from(size).unwrap_or(u64::MAX),
            cursor: changes.cursor.clone(),
            ..known.ended(!is_whole, voided)
        };
        self.turn.end(began, true, applied, shared);
    }

    /// Whether all verdicts have to be voided at the end of a poll, for unreadable entries of its answer or of earlier
    /// ones.
    pub fn voids(&self, is_unreadable: bool, cx: &Cx<'_>) -> bool {
        let known = self.known(cx.shared);
        (is_unreadable || known.is_owed) && cx.now.has_passed(BETWEEN_VOIDS, known.voided)
    }

    /// Ends the poll that began at `began` and brought nothing but, perhaps, unreadable entries.
    pub fn fail(&self, began: UnixTime, is_unreadable: bool, voided: Option<UnixTime>, shared: &dyn SharedData) {
        self.turn.end(began, false, |known| known.ended(is_unreadable, voided), shared);
    }

    /// Whether there is a list: whether any poll was applied.
    pub fn has_list(&self, shared: &dyn SharedData) -> bool {
        self.known(shared).applied != UnixTime::default()
    }

    /// Whether the last poll failed.
    pub fn has_failed(&self, shared: &dyn SharedData) -> bool {
        matches!(self.turn.read(shared).0, LastTurn::Failed { .. })
    }

    /// Whether there is no list yet, and the poll that may bring it hasn't ended.
    pub fn awaits_first(&self, shared: &dyn SharedData) -> bool {
        let (last, known) = self.turn.read(shared);
        known.applied == UnixTime::default() && matches!(last, LastTurn::Free | LastTurn::UnderWay { .. })
    }

    /// Whether the list may lack recent revocations: no poll that began within the last two intervals was applied with
    /// all its entries.
    pub fn is_stale(&self, cx: &Cx<'_>) -> bool {
        cx.now.has_passed(self.poll_interval * 2, self.known(cx.shared).succeeded)
    }

    /// How long ago the last poll that was applied with all its entries began. `None`: there was none.
    pub fn age(&self, cx: &Cx<'_>) -> Option<Duration> {
        let succeeded = self.known(cx.shared).succeeded;
        (succeeded != UnixTime::default()).then(|| cx.now.since(succeeded).unwrap_or_default())
    }

    /// The size of the list after the last poll that was applied.
    pub fn size(&self, shared: &dyn SharedData) -> usize {
        usize::try_from(self.known(shared).size).unwrap_or(usize::MAX)
    }

    fn known(&self, shared: &dyn SharedData) -> Known {
        self.turn.read(shared).1
    }

    fn wait(&self, last: LastTurn, now: UnixTime) -> Duration {
        let (began, gap) = match last {
            LastTurn::Free => return Duration::ZERO,
            LastTurn::UnderWay { since } => (since, self.lease),
            LastTurn::Succeeded { since } | LastTurn::Failed { since } => (since, self.poll_interval * 3 / 4),
        };
        if has_stepped_back(began, now) {
            return Duration::ZERO;
        }
        gap.saturating_sub(now.since(began).unwrap_or_default())
    }
}

/// Whether the clock has been set back since a poll began, so that it can't tell how long ago that was.
fn has_stepped_back(began: UnixTime, now: UnixTime) -> bool {
    began.since(now).is_some_and(|ahead| ahead > SIMULTANEOUS)
}

#[cfg(test)]
mod tests;
