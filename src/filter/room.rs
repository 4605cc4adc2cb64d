//! The requests that wait, in a bounded room, and the queues in which they are looked at again.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::asking::ShareWait;
use super::key_wait::KeyWait;
use super::request::{Facts, Wait};
use crate::host::{ConnectionId, StreamId};
use crate::limits::{AT_ONCE, MAP_ENTRY_BYTES, MAX_WAITING_FOR_KEY};
use crate::map::IdMap;
use crate::order;
use crate::questions::Answered;
use crate::questions::shares::Shares;
use crate::time::Instant;
use crate::turn::LastTurn;

/// How often a round begins without any news: a request may have waited too long.
const ROUND: Duration = Duration::from_secs(1);

/// A held request.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) facts: Facts,
    pub(super) wait: Wait,
}

impl Held {
    /// Its estimated size, in bytes.
    fn bytes(&self) -> usize {
        size_of::<(StreamId, Self)>() + MAP_ENTRY_BYTES + self.facts.heap_bytes() + self.wait.heap_bytes()
    }
}

/// What a request that waits for a key depends on. If any of it changes, a new round begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyNews {
    /// The newest key.
    pub(super) fetched_at: Option<Instant>,
    /// How the last fetch stands.
    pub(super) last_fetch: LastTurn,
    /// Whether the first revocation list is still to come.
    pub(super) awaits_list: bool,
}

/// Whether one more request may wait: the shares count what the room holds. `bytes`: the size of its [`Wait`] on the
/// heap.
pub(super) fn may_hold(connection: Option<ConnectionId>, bytes: usize, shares: &Shares) -> bool {
    shares.may_wait(connection, size_of::<Held>() + bytes)
}

/// All requests that wait.
#[derive(Debug, Default)]
pub(super) struct Room {
    // In boxes, as the map keeps the room of entries that are removed.
    held: IdMap<StreamId, Box<Held>>,
    /// Requests whose answers have come, in the order of their turns.
    answered: VecDeque<StreamId>,
    /// Requests that wait for their share, in order.
    for_share: VecDeque<StreamId>,
    /// How many wait for a key.
    for_key: usize,
    /// A round is one look at each request that waits for a key. These are still to be looked at, in order.
    round: VecDeque<StreamId>,
    /// When the last round began, and what was known then.
    begun: Option<(Instant, KeyNews)>,
}

impl Room {
    /// How many requests wait.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether one more request may wait for a key.
    pub(super) fn may_hold_for_key(&self, connection: Option<ConnectionId>, bytes: usize, shares: &Shares) -> bool {
        self.for_key < MAX_WAITING_FOR_KEY && may_hold(connection, bytes, shares)
    }

    /// How soon to look at it again; `None`: only after an event.
    pub(super) fn tick_period(&self) -> Option<Duration> {
        let answered = (!self.answered.is_empty()).then_some(Duration::from_millis(1));
        let round = (!self.round.is_empty()).then_some(Duration::from_millis(1));
        let for_key = (self.for_key > 0).then_some(Duration::from_millis(20));
        let for_share = (!self.for_share.is_empty()).then_some(Duration::from_millis(5));
        [answered, round, for_key, for_share].into_iter().flatten().min()
    }

    /// A request begins to wait.
    pub(super) fn hold(&mut self, held: Held, shares: &mut Shares) {
        let stream = held.facts.stream;
        match &held.wait {
            Wait::Key(_) => self.for_key += 1,
            Wait::Share(_) => self.for_share.push_back(stream),
            Wait::Answer(_) | Wait::Answered(_) => {}
        }
        shares.enter(held.facts.connection, held.bytes());
        self.held.insert(stream, Box::new(held));
    }

    /// A request no longer waits. `None`: it didn't wait.
    pub(super) fn take(&mut self, stream: StreamId, shares: &mut Shares) -> Option<Held> {
        let held = self.held.remove(&stream)?;
        shares.leave(held.facts.connection, held.bytes());
        match &held.wait {
            Wait::Key(_) => self.for_key -= 1,
            Wait::Share(_) if self.for_share.front() == Some(&stream) => {
                self.for_share.pop_front();
            }
            Wait::Share(_) => self.for_share.retain(|queued| *queued != stream),
            Wait::Answer(_) | Wait::Answered(_) => {}
        }
        Some(*held)
    }

    /// A question is answered: queues those of its `waiters` that still wait for it.
    pub(super) fn answer(&mut self, waiters: &[StreamId], answered: &Rc<Answered>) {
        for stream in waiters {
            let Some(held) = self.held.get_mut(stream) else { continue };
            if matches!(&held.wait, Wait::Answer(digest) if *digest == answered.question.digest) {
                held.wait = Wait::Answered(Rc::clone(answered));
                self.answered.push_back(*stream);
            }
        }
    }

    /// The next request whose turn it is. Skips queued requests that have left, and later requests with their numbers.
    pub(super) fn next_answered(&mut self, shares: &mut Shares) -> Option<(Facts, Rc<Answered>)> {
        while let Some(stream) = self.answered.pop_front() {
            if let Some(Wait::Answered(answered)) = self.wait(stream) {
                let answered = Rc::clone(answered);
                return self.take(stream, shares).map(|held| (held.facts, answered));
            }
        }
        None
    }

    /// How many requests wait for their share.
    pub(super) fn count_for_share(&self) -> usize {
        self.for_share.len()
    }

    /// The first request that waits for its share.
    pub(super) fn next_for_share(&mut self, shares: &mut Shares) -> Option<(Facts, ShareWait)> {
        loop {
            let stream = self.for_share.front().copied()?;
            if self.waits_for_share(stream) {
                let Held { facts, wait: Wait::Share(wait) } = self.take(stream, shares)? else { return None };
                return Some((facts, wait));
            }
            self.for_share.pop_front();
        }
    }

    /// Whether a request waits for its share.
    pub(super) fn waits_for_share(&self, stream: StreamId) -> bool {
        matches!(self.wait(stream), Some(Wait::Share(_)))
    }

    fn wait(&self, stream: StreamId) -> Option<&Wait> {
        self.held.get(&stream).map(|held| &held.wait)
    }

    /// Whether any request waits for a key.
    pub(super) const fn waits_for_key(&self) -> bool {
        self.for_key > 0
    }

    /// The next requests of the round, at most [`AT_ONCE`]. With news, or after [`ROUND`], a new round begins first.
    pub(super) fn next_for_key(&mut self, news: KeyNews, now: Instant) -> Vec<StreamId> {
        if self.begun.is_none_or(|(at, before)| now.has_passed(ROUND, at) || before != news) {
            let waiting = self.held.iter().filter(|(_, held)| matches!(held.wait, Wait::Key(_)));
            let mut round: Vec<StreamId> = waiting.map(|(stream, _)| *stream).collect();
            order::sort(&mut round);
            self.round = round.into();
            self.begun = Some((now, news));
        }
        let chunk = self.round.len().min(AT_ONCE);
        self.round.drain(..chunk).collect()
    }

    /// No request still waits for a key: the round is over.
    pub(super) fn end_round(&mut self) {
        self.round.clear();
    }

    /// Takes out a request of the round, if it still waits for a key.
    pub(super) fn take_for_key(&mut self, stream: StreamId, shares: &mut Shares) -> Option<(Facts, Box<KeyWait>)> {
        if !matches!(self.wait(stream), Some(Wait::Key(_))) {
            return None;
        }
        let Held { facts, wait: Wait::Key(wait) } = self.take(stream, shares)? else { return None };
        Some((facts, wait))
    }
}
