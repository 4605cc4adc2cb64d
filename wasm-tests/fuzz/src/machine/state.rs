//! What is known of requests and callouts.

use std::collections::BTreeSet;
use std::time::Duration;

use authgate::filter::{CallId, StreamId};
use authgate::time::UnixTime;

use super::script::Place;
use super::tokens::Vouched;

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
    /// What it presented, if it is a JWT.
    pub(super) jwt: Option<Vouched>,
    /// Its `Authorization`, if that is one.
    pub(super) authorization: Option<String>,
    /// Whom the service vouched for when it was asked about this very request.
    pub(super) vouched: Option<Vouched>,
    /// Which statuses the service gave.
    pub(super) statuses: BTreeSet<u16>,
    /// How often the service was asked.
    pub(super) calls: u32,
    pub(super) state: State,
    /// When it began to wait for what it waits for.
    pub(super) since: UnixTime,
    /// When it was first found to have waited too long.
    pub(super) overdue: Option<Duration>,
}

/// What a callout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Verify(StreamId),
    /// `is_cut`: the clock has jumped since it began, so that others may take it for dead, or it began because of one
    /// of that kind.
    Key {
        retries: u32,
        is_cut: bool,
    },
}

impl Errand {
    pub(super) const fn stream(self) -> Option<StreamId> {
        match self {
            Self::Verify(stream) => Some(stream),
            Self::Key { .. } => None,
        }
    }
}

/// A callout without an answer yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) worker: usize,
    pub(super) call: CallId,
    pub(super) errand: Errand,
    pub(super) deadline: Duration,
}

/// What the actions of a worker follow from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cause {
    Stream(StreamId),
    /// An answer to the question for the key; how often it may be asked again at once.
    Key {
        again: u32,
        is_cut: bool,
    },
    Other,
}
