//! What is known of requests, callouts and verdicts.

use std::time::Duration;

use authgate::host::StreamId;
use authgate::{CallId, Instant};

use super::credentials::Vouched;
use super::polls::Poll;
use super::script::Place;

/// A point of the script.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Counts events, so that no two moments are equal.
    pub(super) step: u64,
    /// The monotonic clock.
    pub(super) at: Instant,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Resolved,
    /// Its client left first.
    Gone,
    /// Its worker died first.
    Lost,
}

/// One request.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) worker: usize,
    pub(super) place: Place,
    pub(super) is_preflight: bool,
    pub(super) is_grpc: bool,
    /// The number of its credential, if it presented a known one.
    pub(super) credential: Option<usize>,
    /// Whether it has nothing that could be a credential.
    pub(super) is_bare: bool,
    /// Its `Authorization`, if that is one.
    pub(super) authorization: Option<String>,
    pub(super) address: Option<&'static str>,
    pub(super) state: State,
    pub(super) arrived: Moment,
    /// The step at which the service refused its credential while it waited.
    pub(super) refused: Option<u64>,
    /// The step at which it was resolved.
    pub(super) ended: Option<u64>,
}

impl Stream {
    /// Whether its credential is checked.
    pub(super) fn is_looked_at(&self) -> bool {
        self.place != Place::Public && self.place.closed_for().is_none() && !self.is_preflight
    }
}

/// A question about a credential, and its retries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) credential: usize,
    pub(super) began: Moment,
    /// When its last callout was sent.
    pub(super) asked: Moment,
    /// The number of its callouts so far.
    pub(super) attempt: u32,
    pub(super) is_probe: bool,
    /// The request that it was asked for, if known.
    pub(super) asker: Option<usize>,
    /// Whether the service has vouched for the credential before.
    pub(super) is_good: bool,
    /// The breaker's epoch.
    pub(super) epoch: u64,
}

/// What a callout is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand {
    Verify(Question),
    Key {
        /// When the first of its callouts was sent.
        began: Instant,
        retries: u32,
        /// The number of this question in the fetch, starting at 1.
        question: u32,
    },
    Feed(Poll),
}

/// A callout without an answer yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) worker: usize,
    pub(super) call: CallId,
    pub(super) errand: Errand,
    pub(super) deadline: Instant,
}

impl Pending {
    /// Its question about a credential.
    pub(super) const fn question(&self) -> Option<&Question> {
        match &self.errand {
            Errand::Verify(question) => Some(question),
            _ => None,
        }
    }
}

/// The cause of a worker's actions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause {
    Request(StreamId),
    /// An answer. Its errand may be repeated at once.
    Answer(Errand),
    Tick,
}

/// A 200 that was delivered.
#[derive(Debug)]
pub(super) struct Vouching {
    pub(super) credential: usize,
    pub(super) worker: usize,
    pub(super) what: Vouched,
    /// When its callout was sent, from which its age counts.
    pub(super) asked: Moment,
    pub(super) delivered: Moment,
    /// Whether its worker keeps verdicts.
    pub(super) is_kept: bool,
    /// Whether a sweep may have dropped it.
    pub(super) is_forgotten: bool,
}

/// A 401 or 403 that was delivered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) credential: usize,
    pub(super) worker: usize,
    pub(super) is_401: bool,
    /// When its callout was sent. It ends older verdicts.
    pub(super) asked: Moment,
    pub(super) delivered: Moment,
    /// Whether a sweep may have dropped it.
    pub(super) is_forgotten: bool,
}

impl Refusal {
    /// Whether it is older than the answer to a callout that was sent at `asked`. Of two callouts that were sent at the
    /// same time, the refusal counts, unless it had come before.
    pub(super) fn is_before(&self, asked: &Moment) -> bool {
        self.asked.at < asked.at || self.delivered.step < asked.step
    }
}

/// Whether `period` has passed since `begin`.
pub(super) fn has_passed(now: Instant, period: Duration, begin: Instant) -> bool {
    now.since(begin) >= period
}
