//! When to ask for the feed: one worker of the process at a time.
//!
//! A poll is a [`Turn`]. It is due again ¾ of an interval after the last one began. Until there is a list, no revoked
//! JWT is refused, so after a failure the next poll is due in [`WITHOUT_A_LIST`].
//!
//! An unreadable entry of an answer may be about anybody, so it voids every cached verdict. But a service that sends
//! such entries in every answer must not make the cache useless: all verdicts are voided at most once in
//! [`BETWEEN_VOIDS`]. Unreadable entries that come in between are owed, and void all verdicts when that time is over:
//! none is lost, it only takes effect later.

use std::time::Duration;

use super::feed::Changes;
use crate::host::{Cx, SharedData};
use crate::table::{Bytes, write_time, write_u64};
use crate::time::{Instant, STEP};
use crate::turn::{LastTurn, Payload, Turn};

/// The least time between two occasions on which unreadable entries void all verdicts.
pub const BETWEEN_VOIDS: Duration = Duration::from_secs(60);

/// The longest time between two polls while there is no list.
const WITHOUT_A_LIST: Duration = Duration::from_secs(5);

/// A poll that the caller has to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPoll {
    /// When it began; this identifies it.
    pub began: Instant,
    /// The cursor to continue from; `None`: it asks for everything.
    pub since: Option<String>,
}

/// What the workers know about the polls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Known {
    /// How far the wall clock was ahead of the monotonic clock when the last poll began.
    ahead: i64,
    /// When the last poll of which anything was applied began; the default: there was none.
    applied: Instant,
    /// When the last poll of which everything was applied began; the default: there was none.
    succeeded: Instant,
    size: u64,
    /// When unreadable entries voided all verdicts; the default: never.
    voided: Instant,
    /// Whether unreadable entries have come since, for which all verdicts are still to be voided.
    is_owed: bool,
    /// Whether any poll has ended.
    has_ended: bool,
    /// The last cursor; empty: there is none.
    cursor: String,
}

impl Payload for Known {
    fn encode(&self, to: &mut Vec<u8>) {
        for time in [self.applied, self.succeeded, self.voided] {
            write_time(to, time);
        }
        write_u64(to, self.ahead.cast_unsigned());
        write_u64(to, self.size);
        to.push(u8::from(self.is_owed) | u8::from(self.has_ended) << 1);
        to.extend_from_slice(self.cursor.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let (applied, succeeded, voided) = (reader.time()?, reader.time()?, reader.time()?);
        let (ahead, size, [flags]) = (reader.u64()?.cast_signed(), reader.u64()?, reader.bytes()?);
        let cursor = String::from_utf8(reader.0.to_vec()).ok()?;
        let (is_owed, has_ended) = (flags & 1 != 0, flags & 2 != 0);
        Some(Self { ahead, applied, succeeded, size, voided, is_owed, has_ended, cursor })
    }
}

impl Known {
    /// Whether any poll was applied.
    fn has_list(&self) -> bool {
        self.applied != Instant::default()
    }

    /// Whether the wall clock was set back since the last poll began.
    const fn is_set_back(&self, cx: &Cx<'_>) -> bool {
        cx.ahead().saturating_add(STEP) < self.ahead
    }

    /// Whether it was set forward.
    const fn is_set_forward(&self, cx: &Cx<'_>) -> bool {
        self.ahead.saturating_add(STEP) < cx.ahead()
    }

    /// What is known after a poll.
    fn ended(self, is_unreadable: bool, voided: Option<Instant>) -> Self {
        Self {
            voided: voided.unwrap_or(self.voided),
            is_owed: voided.is_none() && (self.is_owed || is_unreadable),
            has_ended: true,
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
        let (last, known) = self.turn.read(cx.shared);
        self.wait(last, &known, cx)
    }

    /// Tries to become the one worker that polls. `Some`: the caller asks now, and at the end calls [`Self::succeed`]
    /// or [`Self::fail`].
    pub fn begin_poll(&self, cx: &Cx<'_>) -> Option<NewPoll> {
        let mut since = None;
        let may_begin = |last: LastTurn, known: Known| {
            if !self.wait(last, &known, cx).is_zero() {
                return None;
            }
            // While the wall clock was fast, records that are still needed may have been swept: asking for everything
            // brings them back, even if several polls fail first.
            let cursor = if known.is_set_back(cx) { String::new() } else { known.cursor };
            since = (!cursor.is_empty()).then(|| cursor.clone());
            Some(Known { ahead: cx.ahead(), cursor, ..known })
        };
        self.turn.begin(may_begin, cx).then_some(NewPoll { began: cx.now, since })
    }

    /// Ends the poll that began at `began` and was applied. The next one continues from its cursor. `size` is what
    /// [`Self::size`] returns from now on, and `voided` when all verdicts were voided for unreadable entries, if they
    /// were. A poll that another one has overtaken changes nothing.
    pub fn succeed(
        &self,
        began: Instant,
        changes: &Changes,
        size: usize,
        voided: Option<Instant>,
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
    pub fn fail(&self, began: Instant, is_unreadable: bool, voided: Option<Instant>, shared: &dyn SharedData) {
        self.turn.end(began, false, |known| known.ended(is_unreadable, voided), shared);
    }

    /// The poll that began at `began` will not end, as its worker ends first.
    pub fn give_back(&self, began: Instant, shared: &dyn SharedData) {
        self.turn.give_back(began, shared);
    }

    /// Whether there is a list.
    pub fn has_list(&self, shared: &dyn SharedData) -> bool {
        self.known(shared).has_list()
    }

    /// Whether the last poll failed.
    pub fn has_failed(&self, shared: &dyn SharedData) -> bool {
        matches!(self.turn.read(shared).0, LastTurn::Failed { .. })
    }

    /// Whether no poll has ended yet.
    pub fn awaits_first(&self, shared: &dyn SharedData) -> bool {
        !self.known(shared).has_ended
    }

    /// Whether the list may lack recent revocations: no poll that began within the last two intervals was applied with
    /// all its entries.
    pub fn is_stale(&self, cx: &Cx<'_>) -> bool {
        cx.now.has_passed(self.poll_interval * 2, self.known(cx.shared).succeeded)
    }

    /// How long ago the last poll that was applied with all its entries began. `None`: there was none.
    pub fn age(&self, cx: &Cx<'_>) -> Option<Duration> {
        let succeeded = self.known(cx.shared).succeeded;
        (succeeded != Instant::default()).then(|| cx.now.since(succeeded))
    }

    /// A sweep has left so many entries on the list. If a poll ends meanwhile, the older count may stay until the next
    /// change; another path's feed of the same list keeps its own.
    pub fn set_size(&self, size: usize, shared: &dyn SharedData) {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let noted = self.turn.note(|known| (known.size != size).then_some(Known { size, ..known }), shared);
        if noted.is_err() {
            log::debug!("the size of the revocation list was not recorded");
        }
    }

    /// The size of the list after the last poll that was applied, or the last sweep.
    pub fn size(&self, shared: &dyn SharedData) -> usize {
        usize::try_from(self.known(shared).size).unwrap_or(usize::MAX)
    }

    fn known(&self, shared: &dyn SharedData) -> Known {
        self.turn.read(shared).1
    }

    fn wait(&self, last: LastTurn, known: &Known, cx: &Cx<'_>) -> Duration {
        let (began, gap) = match last {
            LastTurn::Free => return Duration::ZERO,
            LastTurn::UnderWay { since } => (since, self.lease),
            // When it is set forward too, so that the record tells that it was fast, should it be set back before a
            // poll is due.
            LastTurn::Succeeded { .. } | LastTurn::Failed { .. }
                if known.is_set_back(cx) || known.is_set_forward(cx) =>
            {
                return Duration::ZERO;
            }
            LastTurn::Succeeded { since } | LastTurn::Failed { since } => {
                let gap = self.poll_interval * 3 / 4;
                (since, if known.has_list() { gap } else { gap.min(WITHOUT_A_LIST) })
            }
        };
        gap.saturating_sub(cx.now.since(began))
    }
}

#[cfg(test)]
mod tests;
