//! How much of the common room each connection takes up, so that no client takes up all of it.
//!
//! A client that resets its requests as soon as they are sent leaves their questions behind, and a service that hashes
//! slowly is busy with them. So a connection begins with [`FIRST_QUESTIONS`] at a time, and may have one more for each
//! that is answered with an identity while a request waits for it, up to [`MOST_QUESTIONS`]: enough for a proxy with
//! many clients. A connection that leaves a question behind is back at [`FIRST_QUESTIONS`], and so is one with neither
//! questions nor waiting requests. Requests beyond its share wait, in one queue for all connections.

use crate::host::ConnectionId;
use crate::limits::{MAX_CALLOUT_BYTES, MAX_WAITING, MAX_WAITING_BYTES};
use crate::map::IdMap;

/// How many questions a connection may have under way at first.
pub const FIRST_QUESTIONS: usize = 8;

/// The most questions that it may have under way.
pub const MOST_QUESTIONS: usize = 64;

/// Once this many questions that no request waits for are under way in a worker, each connection may have one question
/// at a time. It is twice what one connection may have under way, so that none can cause this alone.
const MANY_LEFT: usize = 2 * MOST_QUESTIONS;

/// One connection may take up 1/`PART` of the room for waiting requests, and of that for bytes.
const PART: usize = 4;

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

/// The shares of all connections. Requests without a known connection are limited only all together.
#[derive(Debug, Default)]
pub struct Shares {
    by_connection: IdMap<ConnectionId, Share>,
    waiting: usize,
    waiting_bytes: usize,
    /// Questions that no request waits for.
    left: usize,
}

impl Shares {
    /// Whether another request of this size may wait.
    pub fn may_wait(&self, connection: Option<ConnectionId>, bytes: usize) -> bool {
        let Share { waiting, waiting_bytes, .. } = self.of(connection);
        self.waiting < MAX_WAITING
            && self.waiting_bytes + bytes <= MAX_WAITING_BYTES
            && waiting < MAX_WAITING / PART
            && waiting_bytes + bytes <= MAX_WAITING_BYTES / PART
    }

    /// Whether another question of this size may be put.
    pub fn may_ask(&self, connection: Option<ConnectionId>, bytes: usize) -> bool {
        let Share { questions, question_bytes, limit, .. } = self.of(connection);
        let limit = if self.left >= MANY_LEFT { 1 } else { limit };
        connection.is_none() || (questions < limit && question_bytes + bytes <= MAX_CALLOUT_BYTES / PART)
    }

    fn of(&self, connection: Option<ConnectionId>) -> Share {
        connection.and_then(|connection| self.by_connection.get(&connection)).copied().unwrap_or_default()
    }

    /// A request of this size begins to wait.
    pub fn enter(&mut self, connection: Option<ConnectionId>, bytes: usize) {
        self.waiting += 1;
        self.waiting_bytes += bytes;
        self.change(connection, |share| {
            share.waiting += 1;
            share.waiting_bytes += bytes;
        });
    }

    /// A request no longer waits.
    pub fn leave(&mut self, connection: Option<ConnectionId>, bytes: usize) {
        self.waiting -= 1;
        self.waiting_bytes -= bytes;
        self.change(connection, |share| {
            share.waiting -= 1;
            share.waiting_bytes -= bytes;
        });
    }

    /// A question is put for a connection.
    pub fn ask(&mut self, connection: Option<ConnectionId>, bytes: usize) {
        self.change(connection, |share| {
            share.questions += 1;
            share.question_bytes += bytes;
        });
    }

    /// A question of a connection is over. `is_left`: no request waited for it.
    pub fn end(&mut self, connection: Option<ConnectionId>, bytes: usize, is_left: bool) {
        if is_left {
            self.rejoin(connection);
        }
        self.change(connection, |share| {
            share.questions -= 1;
            share.question_bytes -= bytes;
        });
    }

    /// A question was answered with an identity, and a request waited for it.
    pub fn earn(&mut self, connection: Option<ConnectionId>) {
        self.change(connection, |share| share.limit = (share.limit + 1).min(MOST_QUESTIONS));
    }

    /// The last request that waited for a question has left.
    pub fn abandon(&mut self, connection: Option<ConnectionId>) {
        self.left += usize::from(connection.is_some());
        self.change(connection, |share| share.limit = FIRST_QUESTIONS);
    }

    /// A request waits for an abandoned question, or the question is over.
    pub fn rejoin(&mut self, connection: Option<ConnectionId>) {
        self.left -= usize::from(connection.is_some());
    }

    /// Whether nothing is counted.
    #[cfg(test)]
    pub fn are_empty(&self) -> bool {
        self.by_connection.is_empty() && self.waiting == 0 && self.waiting_bytes == 0 && self.left == 0
    }

    fn change(&mut self, connection: Option<ConnectionId>, change: impl FnOnce(&mut Share)) {
        let Some(connection) = connection else { return };
        let Some(share) = self.by_connection.or_default(connection) else { return };
        change(share);
        if share.waiting == 0 && share.questions == 0 {
            self.by_connection.remove(&connection);
        }
    }
}
