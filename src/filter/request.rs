//! A request: what is known about it, and the stages that it goes through.
//!
//! | stage | what may follow |
//! |---|---|
//! | (arrival) | `Recall`; a permit where no credential is needed |
//! | `Recall` | `Ask`, `AwaitKey`, `Keep`; a permit for a verdict that is known |
//! | `Ask` | `StandIn`, `Admit`; a wait for the share or the answer |
//! | `Reconsider` | `StandIn`, `Admit`; a wait for the share or the answer |
//! | `Answered` | `Ask`, `AwaitKey`, `StandIn`, `Admit` |
//! | `AwaitKey` | `Ask`, `StandIn`, `Keep`; a wait for a key |
//! | `StandIn` | `AwaitKey`, `Keep`, `Admit` |
//! | `Keep` | `Admit` |
//! | `Admit` | a permit |
//!
//! Each stage may end the request with a denial.
//!
//! | what a request waits for | what it goes on with |
//! |---|---|
//! | [`Wait::Share`] | `Reconsider` |
//! | [`Wait::Answer`] | [`Wait::Answered`], once the answer is there |
//! | [`Wait::Answered`] | `Answered` |
//! | [`Wait::Key`] | `AwaitKey` |
//!
//! Each stage takes the one before by value and returns the next, so that no request is in two stages.
//! [`Filter::advance`](super::Filter) is the one loop that goes through them.

use std::rc::Rc;

use super::parts::Parts;
use super::{answered, asking, fallback, key_wait, verification};
use crate::audit::Origin;
use crate::cache::{Digest, Kind};
use crate::credential::{Credential, Redacted, Scheme};
use crate::decision::{Client, Denial};
use crate::extractor::RequestHead;
use crate::host::{ConnectionId, Cx, StreamId};
use crate::metrics::{Presented, Source, Suspicion};
use crate::policy::{Accepted, Identity, Permit};
use crate::questions::{Answered, Question};
use crate::report::Who;
use crate::rule::Mode;
use crate::throttle::Suspect;
use crate::time::Instant;
use asking::ShareWait;
use fallback::StandIn;
use key_wait::KeyWait;

/// What is known about a request, whatever its stage.
#[derive(Debug)]
pub(super) struct Facts {
    /// The number of its stream.
    pub(super) stream: StreamId,
    /// When it arrived.
    pub(super) arrived: Instant,
    /// Whether it had to wait.
    pub(super) has_waited: bool,
    /// What its denial depends on, once it has had to wait. Until then its head tells that.
    pub(super) client: Client,
    /// The rule that it falls under, and whether denials are enforced.
    pub(super) rule: Option<usize>,
    pub(super) mode: Mode,
    /// What it presents as its credential, and by which scheme.
    pub(super) presented: Presented,
    pub(super) scheme: Option<Scheme>,
    /// Who sent it, once that is verified.
    pub(super) who: Option<Who>,
    /// For the audit, once it has had to wait: its head, and the question about its credential.
    pub(super) origin: Option<Box<Origin>>,
    pub(super) asked: Option<Rc<Question>>,
    /// In shadow mode: the accepted identity, whatever the rule requires.
    pub(super) accepted: Option<Accepted>,
    /// The kind and the digest of its credential; `None`: no verdict on it may be kept.
    pub(super) kind: Kind,
    pub(super) digest: Option<Digest>,
    /// Where its verdict comes from, so far.
    pub(super) source: Source,
    /// The suspicious activity that it reveals.
    pub(super) suspicion: Option<Suspicion>,
    /// The client that its failure counts against, once needed; and whether it was counted.
    pub(super) suspect: Option<Suspect>,
    pub(super) is_counted: bool,
    /// The client's JWT, if it has to be forwarded as `Authorization: Bearer` and didn't arrive like that.
    pub(super) own_jwt: Option<Redacted<Box<[u8]>>>,
    /// Its connection, once it may have to wait.
    pub(super) connection: Option<ConnectionId>,
}

impl Facts {
    /// Their size on the heap, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let audited = self.origin.as_ref().map_or(0, |origin| size_of::<Origin>() + origin.heap_bytes());
        let cors = self.client.origin.as_ref().map_or(0, String::capacity);
        audited + cors + self.own_jwt.as_ref().map_or(0, |jwt| jwt.len())
    }
}

/// How far a request has got. A stage that is entered at arrival may borrow from the request's head.
#[derive(Debug)]
pub(super) enum Stage<'r> {
    /// Its credential is looked up.
    Recall(Credential<'r>, RequestHead<'r>),
    /// The service is to be asked.
    Ask(Rc<Question>),
    /// It waits for its share of the questions, and it is time to look again.
    Reconsider(ShareWait),
    /// The service has answered, or can't.
    Answered(Rc<Answered>),
    /// It has a JWT that fits no known key.
    AwaitKey(Box<KeyWait>),
    /// There is no verdict of the service.
    StandIn(StandIn),
    /// A signature fits: the identity is to be kept, then admitted.
    Keep {
        identity: Box<Identity>,
        /// When the verification began.
        since: Instant,
        /// Whether the signature stands in for the service.
        stands_in: bool,
    },
    /// The identity is known.
    Admit(Rc<Identity>),
}

/// What comes after a stage; a denial is the stage's error.
#[derive(Debug)]
pub(super) enum Next<'r> {
    /// Another stage.
    Stage(Stage<'r>),
    /// The request has to wait.
    Hold(Wait),
    /// It may go on.
    Done(Permit),
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Wait {
    /// Until its question may be put.
    Share(ShareWait),
    /// For the answer about this credential.
    Answer(Digest),
    /// For its turn: the answer has come.
    Answered(Rc<Answered>),
    /// For a key that fits.
    Key(Box<KeyWait>),
}

impl Wait {
    /// Its size on the heap, in bytes, without questions under way and answers, which requests share.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Answer(_) | Self::Answered(_) => 0,
            Self::Share(wait) => wait.question_bytes(),
            Self::Key(wait) => wait.bytes(),
        }
    }
}

impl<'r> Stage<'r> {
    /// Goes through one stage.
    pub(super) fn advance(self, facts: &mut Facts, parts: &mut Parts, cx: &Cx<'_>) -> Result<Next<'r>, Denial> {
        match self {
            Self::Recall(credential, head) => verification::recall(credential, &head, facts, parts, cx),
            Self::Ask(question) => asking::ask(question, facts, parts, cx),
            Self::Reconsider(wait) => asking::reconsider(wait, facts, parts, cx),
            Self::Answered(answered) => answered::settle(&answered, facts, parts, cx),
            Self::AwaitKey(wait) => key_wait::await_key(wait, facts, parts, cx),
            Self::StandIn(reason) => fallback::stand_in(reason, facts, parts, cx),
            Self::Keep { identity, since: _, stands_in: true } => verification::stand_in(*identity, facts, parts, cx),
            Self::Keep { identity, since, stands_in: false } => verification::keep(*identity, since, facts, parts, cx),
            Self::Admit(identity) => verification::admit(identity, facts, parts, cx),
        }
    }
}

impl<'r> From<Stage<'r>> for Next<'r> {
    fn from(stage: Stage<'r>) -> Self {
        Self::Stage(stage)
    }
}
