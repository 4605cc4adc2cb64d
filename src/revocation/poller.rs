//! When to ask for the feed: one worker of the process at a time.
//!
//! Workers share one record: how the last poll stands, when it began, and what the last one that succeeded brought.
//! Beginning a poll means winning the record by compare-and-swap. A poll whose worker died is free again after its
//! lease.
//!
//! ```text
//!        begin (won the swap)               succeed, fail
//! Due ────────────────────────► InFlight ─────────────────► Ended ──► Due again ¾ of an interval after it began
//!  ▲                               │ │
//!  ├──── the lease is over ◄───────┘ │
//!  └──── the cursor was refused ◄────┘
//! ```

use std::time::Duration;

use super::feed::{Changes, EntryDigest};
use crate::host::{Host, SharedValue, Write};
use crate::table::{Reader, write_time, write_u64};
use crate::time::UnixTime;

/// Workers read the clock a moment before they read the record: one that is this much behind it has not stepped back.
const SIMULTANEOUS: Duration = Duration::from_millis(100);

/// How many unreadable entries of the last answer are remembered one by one; more are remembered together.
const MAX_UNREADABLE: usize = 64;

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
    /// When the last poll that succeeded began; the epoch: none has.
    succeeded: UnixTime,
    size: u64,
    /// The unreadable entries of the last answer that was applied; [`MAX_UNREADABLE`] at the most.
    unreadable: Vec<EntryDigest>,
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
        write_time(&mut bytes, self.began);
        write_time(&mut bytes, self.succeeded);
        write_u64(&mut bytes, self.size);
        write_u64(&mut bytes, self.unreadable.len().try_into().unwrap_or(u64::MAX));
        self.unreadable.iter().for_each(|digest| write_u64(&mut bytes, *digest));
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
        let (began, succeeded, size) = (reader.time()?, reader.time()?, reader.u64()?);
        let count = usize::try_from(reader.u64()?).ok().filter(|count| *count <= MAX_UNREADABLE)?;
        let unreadable = (0..count).map(|_| reader.u64()).collect::<Option<_>>()?;
        let cursor = String::from_utf8(reader.0.to_vec()).ok()?;
        Some(Self { state, began, succeeded, size, unreadable, cursor })
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

    /// The poll that began at `began` was applied, whose answer had this cursor, from which the next one goes on, and
    /// these unreadable entries. `size` is what [`Self::size`] says from now on. A poll that another one has overtaken
    /// changes nothing here.
    pub fn succeed(&self, began: UnixTime, changes: &Changes, size: usize, host: &impl Host) {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        self.end(began, host, |_| PollRecord {
            state: State::Ended,
            began,
            succeeded: began,
            size,
            unreadable: remembered(&changes.unreadable),
            cursor: changes.cursor.clone(),
        });
    }

    /// Whether an answer has unreadable entries that the last one that was applied didn't have, or more of one kind.
    pub fn has_new(&self, unreadable: &[EntryDigest], host: &impl Host) -> bool {
        let mut before = self.read(host).0.unreadable;
        !remembered(unreadable).iter().all(|digest| {
            let known = before.iter().position(|earlier| earlier == digest);
            known.map(|index| before.swap_remove(index)).is_some()
        })
    }

    /// The poll that began at `began` brought nothing. With `forget_cursor` the next one asks for everything, at once
    /// if it was the cursor's fault: if there was one.
    pub fn fail(&self, began: UnixTime, forget_cursor: bool, host: &impl Host) {
        self.end(began, host, |before| {
            if forget_cursor && !before.cursor.is_empty() {
                PollRecord { state: State::Due, cursor: String::new(), ..before }
            } else {
                PollRecord { state: State::Ended, ..before }
            }
        });
    }

    /// Whether any poll has succeeded: whether there is a list.
    pub fn has_list(&self, host: &impl Host) -> bool {
        self.read(host).0.succeeded != UnixTime::default()
    }

    /// Whether there is no list yet, and the poll that may bring it hasn't ended.
    pub fn awaits_first(&self, host: &impl Host) -> bool {
        let record = self.read(host).0;
        record.succeeded == UnixTime::default() && record.state != State::Ended
    }

    /// Whether the list may lack what was revoked lately: no poll that began within the last two intervals has
    /// succeeded.
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

/// What is remembered of unreadable entries: of too many, one number for all, whatever their order.
fn remembered(unreadable: &[EntryDigest]) -> Vec<EntryDigest> {
    if unreadable.len() <= MAX_UNREADABLE {
        return unreadable.to_vec();
    }
    vec![unreadable.iter().fold(0, |all, digest| all.wrapping_add(*digest))]
}

/// Whether the clock has been set back since a poll began, so that it can't tell how long ago that was.
fn has_stepped_back(began: UnixTime, now: UnixTime) -> bool {
    began.since(now).is_some_and(|ahead| ahead > SIMULTANEOUS)
}

#[cfg(test)]
mod tests;
