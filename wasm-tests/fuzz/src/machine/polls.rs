//! The polls of the revocation list: when one must and may begin, and what it asks for.

use std::time::Duration;

use authgate::{Instant, UnixTime};

use super::credentials::Answer;
use super::script::Reply;
use super::world::Machine;

/// A poll without an answer yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Poll {
    /// When it began.
    began: Instant,
    /// The same by the wall clock.
    asked: UnixTime,
    retries: u32,
    /// The number of entries that the workers already have; `None`: it asks for the whole list.
    pub(super) since: Option<usize>,
}

/// The last poll.
#[derive(Debug, Clone, Copy)]
struct Last {
    began: Instant,
    /// By how many seconds the wall clock had been set forward then.
    set_by: i64,
    has_ended: bool,
    /// Whether its worker has given it back.
    is_free: bool,
}

/// What the workers know about the polls.
#[derive(Debug, Default)]
pub(super) struct Polls {
    last: Option<Last>,
    /// The number of entries that the next poll continues from; `None`: it asks for the whole list.
    cursor: Option<usize>,
    /// Whether any poll has brought a list.
    has_list: bool,
}

impl Polls {
    /// The worker of a poll has ended in good order. If no other poll has overtaken it, the next may begin at once.
    pub(super) fn give_back(&mut self, poll: &Poll) {
        if let Some(last) = self.last.as_mut().filter(|last| last.began == poll.began) {
            last.is_free = true;
        }
    }
}

impl Machine {
    /// Whether the wall clock was set back since this poll began. A second less may be a clock that was slowed down.
    const fn is_set_back_since(&self, poll: &Last) -> bool {
        self.set_by < poll.set_by - 1
    }

    /// Whether a poll must begin at the next tick: three quarters of the interval after the last one began, without a
    /// list 5 s after it at most, or at once if the wall clock was set. One without an end counts as dead after its
    /// lease.
    pub(super) fn is_poll_due(&self) -> bool {
        let Some(interval) = self.setup.poll_interval() else { return false };
        let Some(last) = &self.polls.last else { return true };
        if last.is_free {
            return true;
        }
        let longest = if self.polls.has_list { interval } else { Duration::from_secs(5) };
        let gap = if last.has_ended { longest.min(interval * 3 / 4) } else { self.setup.lease() };
        self.now.since(last.began) >= gap || (last.has_ended && self.set_by.abs_diff(last.set_by) > 1)
    }

    /// Checks that a poll is due, and that it continues where the last one ended. After the wall clock was set back, it
    /// asks for the whole list.
    pub(super) fn poll_begins(&mut self, since: Option<usize>) -> Poll {
        assert!(self.is_poll_due(), "polled again after {:?}", self.polls.last);
        if self.polls.last.is_some_and(|last| self.is_set_back_since(&last)) {
            self.polls.cursor = None;
        }
        assert_eq!(since, self.polls.cursor, "the entries that a poll asks for");
        self.polls.last = Some(Last { began: self.now, set_by: self.set_by, has_ended: false, is_free: false });
        Poll { began: self.now, asked: self.wall(), retries: self.setup.retries(), since }
    }

    /// The answer to a poll, and the poll if its worker must ask again.
    pub(super) fn answer_poll(&mut self, poll: Poll, reply: &Reply) -> (Answer, Option<Poll>) {
        let (answer, is_list) = self.feed.answer(reply, poll.since);
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        if status == 400 && poll.since.is_some() {
            return (answer, Some(Poll { since: None, ..poll }));
        }
        if is_list {
            let (now, earlier) = (self.moment(), poll.asked.min(self.wall()));
            self.feed.told(now, poll.since.unwrap_or(0), earlier, self.shortest_memory);
        } else if let Some(retries) = poll.retries.checked_sub(1) {
            return (answer, Some(Poll { retries, ..poll }));
        }
        let now = self.moment();
        self.feed.poll_ends(now, poll.since, matches!(reply, Reply::Good { .. } | Reply::Status(200)));
        // One that another has overtaken changes no more.
        if let Some(last) = self.polls.last.as_mut().filter(|last| last.began == poll.began) {
            last.has_ended = true;
            if is_list {
                self.polls.cursor = Some(self.feed.len());
                self.polls.has_list = true;
            }
        }
        (answer, None)
    }
}
