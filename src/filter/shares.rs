//! What each connection takes up of the room for all: so that no client fills it for the others.
//!
//! A client that resets its requests as soon as they are sent leaves their questions behind, and a service that hashes
//! slowly is busy with them. So a connection begins with [`FIRST_QUESTIONS`] at a time, and may have one more with each
//! that is answered with an identity while somebody waits for it, up to [`MOST_QUESTIONS`]: enough for a proxy with many
//! clients. With the first question that is left behind it begins anew. What is beyond waits ([`Wait::Share`]), in one
//! queue for all.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::flights::Question;
use super::outage::Lack;
use super::{
    AT_ONCE, Filter, MAX_CALLOUT_BYTES, MAX_WAITING, MAX_WAITING_BYTES, Progress, StreamId, Ticket, Wait, Waiting,
};
use crate::cache::leases::Asked;
use crate::decision::{Code, Denial};
use crate::host::Host;
use crate::throttle::{Subject, Throttled};
use crate::time::UnixTime;

/// How many questions a connection may have under way at first.
pub const FIRST_QUESTIONS: usize = 8;

/// How many it may have at the most.
pub const MOST_QUESTIONS: usize = 64;

/// From so many questions on that nobody waits for, in one worker, each connection may have one. No connection can bring
/// that about alone.
const MANY_LEFT: usize = 2 * MOST_QUESTIONS;

/// The part of the room for waiting requests, and for bytes, that one connection may take up.
const PART: usize = 4;

/// How many requests that wait for their share are looked at in one tick.
const LOOKS: usize = 256;

/// A connection of a client, by the host's number.
pub type ConnectionId = u64;

/// What one connection takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    waiting: usize,
    waiting_bytes: usize,
    questions: usize,
    question_bytes: usize,
    /// How many questions it may have.
    limit: usize,
}

impl Default for Share {
    fn default() -> Self {
        Self { waiting: 0, waiting_bytes: 0, questions: 0, question_bytes: 0, limit: FIRST_QUESTIONS }
    }
}

/// The shares of all connections. Requests whose connection the host doesn't tell are bounded together alone.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_connection: BTreeMap<ConnectionId, Share>,
    waiting_bytes: usize,
    /// Questions that nobody waits for.
    left: usize,
    /// Requests that wait for their share.
    queue: VecDeque<StreamId>,
}

impl Shares {
    pub(super) fn tick_period(&self) -> Option<Duration> {
        (!self.queue.is_empty()).then_some(Duration::from_millis(5))
    }

    /// Whether another request with so many bytes may wait.
    pub(super) fn may_wait(&self, connection: Option<ConnectionId>, bytes: usize) -> bool {
        let Share { waiting, waiting_bytes, .. } = self.of(connection);
        self.waiting_bytes + bytes <= MAX_WAITING_BYTES
            && waiting < MAX_WAITING / PART
            && waiting_bytes + bytes <= MAX_WAITING_BYTES / PART
    }

    /// Whether another question with so many bytes may be put.
    fn may_ask(&self, connection: Option<ConnectionId>, bytes: usize) -> bool {
        let Share { questions, question_bytes, limit, .. } = self.of(connection);
        let limit = if self.left >= MANY_LEFT { 1 } else { limit };
        connection.is_none() || (questions < limit && question_bytes + bytes <= MAX_CALLOUT_BYTES / PART)
    }

    fn of(&self, connection: Option<ConnectionId>) -> Share {
        connection.and_then(|connection| self.by_connection.get(&connection)).copied().unwrap_or_default()
    }

    /// A request begins to wait.
    pub(super) fn enter(&mut self, stream: StreamId, waiting: &Waiting) {
        let bytes = waiting.bytes();
        self.waiting_bytes += bytes;
        self.change(waiting.ticket.connection, |share| {
            share.waiting += 1;
            share.waiting_bytes += bytes;
        });
        if matches!(waiting.wait, Wait::Share(_)) {
            self.queue.push_back(stream);
        }
    }

    /// A request no longer waits.
    pub(super) fn leave(&mut self, stream: StreamId, waiting: &Waiting) {
        let bytes = waiting.bytes();
        self.waiting_bytes -= bytes;
        self.change(waiting.ticket.connection, |share| {
            share.waiting -= 1;
            share.waiting_bytes -= bytes;
        });
        if !matches!(waiting.wait, Wait::Share(_)) {
            return;
        }
        if self.queue.front() == Some(&stream) {
            self.queue.pop_front();
        } else if let Some(index) = self.queue.iter().rposition(|queued| *queued == stream) {
            self.queue.remove(index);
        }
    }

    /// A question is put for a connection.
    pub(super) fn ask(&mut self, connection: Option<ConnectionId>, bytes: usize) {
        self.change(connection, |share| {
            share.questions += 1;
            share.question_bytes += bytes;
        });
    }

    /// A question of a connection is over. `is_left`: nobody waited for it.
    pub(super) fn end(&mut self, connection: Option<ConnectionId>, bytes: usize, is_left: bool) {
        if is_left {
            self.rejoin(connection);
        }
        self.change(connection, |share| {
            share.questions -= 1;
            share.question_bytes -= bytes;
        });
    }

    /// A question was answered with an identity, and somebody waited for it.
    pub(super) fn earn(&mut self, connection: Option<ConnectionId>) {
        self.change(connection, |share| share.limit = (share.limit + 1).min(MOST_QUESTIONS));
    }

    /// Nobody waits for a question any more.
    pub(super) fn abandon(&mut self, connection: Option<ConnectionId>) {
        self.left += usize::from(connection.is_some());
        self.change(connection, |share| share.limit = FIRST_QUESTIONS);
    }

    /// Somebody waits for it again.
    pub(super) fn rejoin(&mut self, connection: Option<ConnectionId>) {
        self.left -= usize::from(connection.is_some());
    }

    #[cfg(test)]
    pub(super) fn are_empty(&self) -> bool {
        (self.by_connection.len(), self.waiting_bytes, self.left, self.queue.len()) == (0, 0, 0, 0)
    }

    fn change(&mut self, connection: Option<ConnectionId>, change: impl FnOnce(&mut Share)) {
        let Some(connection) = connection else { return };
        let share = self.by_connection.entry(connection).or_default();
        change(share);
        if share.waiting == 0 && share.questions == 0 {
            self.by_connection.remove(&connection);
        }
    }
}

/// Bytes that are counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    all: Rc<Cell<usize>>,
    bytes: usize,
}

impl Held {
    pub(super) fn new(all: &Rc<Cell<usize>>, bytes: usize) -> Self {
        all.set(all.get() + bytes);
        Self { all: Rc::clone(all), bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.bytes);
    }
}

/// A request that waits until its question may be put.
#[derive(Debug)]
pub(super) struct ShareWait {
    question: Rc<Question>,
    since: UnixTime,
}

impl ShareWait {
    pub(super) fn bytes(&self) -> usize {
        self.question.bytes()
    }
}

impl Filter {
    /// Whether a question may be put now; where it may not yet, its request waits.
    ///
    /// # Errors
    /// A request that may not even wait is denied.
    pub(super) fn take_share(
        &mut self,
        question: &Rc<Question>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Option<Progress>, Denial> {
        if !self.shares.may_ask(ticket.connection, question.bytes()) {
            return self.wait_for_share(question, ticket, now, host).map(Some);
        }
        let (Some(throttle), Some(subject)) = (&self.throttle, &ticket.subject) else { return Ok(None) };
        // Where another worker asks already, its question counts.
        if !self.cache.is_off() && matches!(self.cache.leases.asked(&question.key, now, host), Asked::Somebody { .. }) {
            return Ok(None);
        }
        match throttle.begin(subject, now, host) {
            Ok(guess) => {
                ticket.guess = guess;
                Ok(None)
            }
            // What was good lately is no guess.
            Err(_) if self.cache.stale(&question.key, question.kind, now, host).is_some() => Ok(None),
            Err(Throttled::Busy) => self.wait_for_share(question, ticket, now, host).map(Some),
            Err(Throttled::Locked(remaining)) => Err(too_many_failures(remaining)),
        }
    }

    fn wait_for_share(
        &mut self,
        question: &Rc<Question>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        if !self.shares.may_wait(ticket.connection, size_of::<Waiting>() + question.bytes()) {
            return self.without_service(ticket, question, Lack::Room, now, host);
        }
        Ok(Progress::Waits(Wait::Share(ShareWait { question: Rc::clone(question), since: now })))
    }

    /// Looks again at requests that wait for their share: at [`LOOKS`] of them at the most, of which [`AT_ONCE`] go on.
    pub(super) fn settle_shares(&mut self, now: UnixTime, host: &impl Host) {
        let mut settled = 0;
        // Those whose guesses under way are as many as may be: what the first of them found holds for the others.
        let mut busy: Vec<Subject> = Vec::new();
        for _ in 0..self.shares.queue.len().min(LOOKS) {
            let Some(stream) = self.shares.queue.front().copied() else { return };
            let (mut ticket, wait) = match self.take_waiting(stream) {
                Some(Waiting { ticket, wait: Wait::Share(wait) }) => (ticket, wait),
                other => {
                    self.shares.queue.pop_front();
                    if let Some(other) = other {
                        self.hold(stream, other);
                    }
                    continue;
                }
            };
            let is_busy =
                ticket.subject.is_some_and(|subject| busy.iter().any(|known| known.is_of_one_address(&subject)));
            let has_share = self.shares.may_ask(ticket.connection, wait.question.bytes());
            let progress = self.look_at_share(stream, wait, (has_share, is_busy), &mut ticket, now, host);
            let still_waits = matches!(progress, Ok(Progress::Waits(Wait::Share(_))));
            if still_waits && has_share && !is_busy {
                busy.extend(ticket.subject);
            }
            settled += usize::from(!still_waits);
            if let Some(resolution) = self.proceed(stream, ticket, progress, now, host) {
                self.resolve(stream, resolution);
            }
            if settled >= AT_ONCE {
                return;
            }
        }
    }

    fn look_at_share(
        &mut self,
        stream: StreamId,
        wait: ShareWait,
        (has_share, is_busy): (bool, bool),
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        let ShareWait { question, mut since } = wait;
        if since.is_to_come(now) {
            // The clock was set back: the wait begins anew.
            since = now;
        }
        let is_late = now.has_passed(self.config.auth_service.longest_callout(), since);
        if !is_late && (!has_share || is_busy) {
            return Ok(Progress::Waits(Wait::Share(ShareWait { question, since })));
        }
        // Somebody else may have asked meanwhile.
        if let Some((_, permit)) = self.known(&question.key, question.kind, ticket, now, host)? {
            return Ok(Progress::Done(permit));
        }
        if !has_share {
            return self.without_service(ticket, &question, Lack::Room, now, host);
        }
        if is_busy {
            return Err(too_many_failures(Duration::from_secs(1)));
        }
        match self.ask(stream, question, ticket, now, host)? {
            Progress::Waits(Wait::Share(_)) if is_late => Err(too_many_failures(Duration::from_secs(1))),
            Progress::Waits(Wait::Share(wait)) => Ok(Progress::Waits(Wait::Share(ShareWait { since, ..wait }))),
            progress => Ok(progress),
        }
    }
}

pub(super) const fn too_many_failures(retry_after: Duration) -> Denial {
    Denial { code: Code::TooManyFailures, retry_after: Some(retry_after) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::filter::world::{World, api_token_of};

    #[test]
    fn a_queue_that_names_what_waits_for_something_else_keeps_nobody_waiting() {
        let mut world = World::new(json!({}));
        world.tick();
        world.settle();
        let stream = world.send(&api_token_of(1));
        world.workers[0].shares.queue.extend([stream, 999_999]);
        world.tick();
        assert_eq!((world.workers[0].waiting(), world.workers[0].shares.queue.len()), (1, 0));
        world.settle();
        assert_eq!(world.outcome(stream).unwrap().code(), "");
    }
}
