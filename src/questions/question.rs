//! What the service is asked, and the result.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::Open;
use crate::cache::{Digest, Kind};
use crate::claims::OwnClaims;
use crate::code::Code;
use crate::credential::{Credential, Form, Redacted};
use crate::limits::MAP_ENTRY_BYTES;
use crate::policy::Identity;
use crate::throttle::Suspect;
use crate::time::Instant;

/// A question to the service, shared by all requests that wait for its answer.
#[derive(Debug)]
pub struct Question {
    /// Identifies the credential in the caches.
    pub digest: Digest,
    /// What kind of credential it is.
    pub kind: Kind,
    /// The credential itself.
    pub credential: Credential<'static>,
    /// The claims that the credential itself makes.
    pub own: OwnClaims,
    /// The headers copied from the request that asks first.
    pub forwarded: Vec<(String, String)>,
    bytes: usize,
    /// Its bytes, counted once it is put.
    counted: OnceCell<CountedBytes>,
}

impl Question {
    /// A question about a credential.
    pub fn new(
        digest: Digest,
        kind: Kind,
        credential: Credential<'static>,
        own: OwnClaims,
        forwarded: Vec<(String, String)>,
    ) -> Rc<Self> {
        let pair = |(name, value): &(String, String)| size_of::<(String, String)>() + name.len() + value.len();
        let copied: usize = forwarded.iter().map(pair).sum();
        let texts = credential.token.len() + own.jti.as_ref().map_or(0, |jti| jti.len()) + copied;
        let bytes = size_of::<Self>() + size_of::<(Digest, Open)>() + MAP_ENTRY_BYTES + texts;
        Rc::new(Self { digest, kind, credential, own, forwarded, bytes, counted: OnceCell::new() })
    }

    /// Its size, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The JWT that it is about.
    pub fn jwt(&self) -> Option<&[u8]> {
        (self.credential.form == Form::Jwt).then_some(&*self.credential.token)
    }

    /// Counts its bytes in `all` from now on, until it is dropped.
    pub(super) fn count_in(&self, all: &ByteCount) {
        self.counted.get_or_init(|| all.add(self.bytes));
    }
}

/// A question and its result.
#[derive(Debug)]
pub struct Answered {
    /// The question.
    pub question: Rc<Question>,
    /// When the callout was sent that brought this. If another worker asked: when the verification of the identity
    /// began, or, if there is no identity, when this worker began to wait.
    pub sent: Instant,
    /// The answer.
    pub conclusion: Conclusion,
    /// Whether the event that brought it is still under way.
    is_news: Cell<bool>,
    /// The suspects that the failure was counted against: one for each address, however many of its requests wait.
    counted: RefCell<Vec<Suspect>>,
}

impl Answered {
    /// - `counted`: the suspect that it was already counted against, if it is a failure.
    pub fn new(question: Rc<Question>, sent: Instant, conclusion: Conclusion, counted: Option<Suspect>) -> Self {
        let counted = RefCell::new(counted.into_iter().collect());
        Self { question, sent, conclusion, is_news: Cell::new(false), counted }
    }

    /// It has come in this event.
    pub fn mark_as_news(&self) {
        self.is_news.set(true);
    }

    /// The event that has brought it is over.
    pub fn end_news(&self) {
        self.is_news.set(false);
    }

    /// Whether the event that has brought it is still under way.
    pub const fn is_news(&self) -> bool {
        self.is_news.get()
    }

    /// Whether this failure was already counted against the suspect's address. Marks it as counted.
    pub fn is_counted_for(&self, suspect: Suspect) -> bool {
        let mut counted = self.counted.borrow_mut();
        let is_counted = counted.iter().any(|known| known.is_of_one_address(&suspect));
        if !is_counted {
            counted.push(suspect);
        }
        is_counted
    }
}

/// The result of a question.
#[derive(Debug)]
pub enum Conclusion {
    /// Whose credential it is.
    Identity(Rc<Identity>),
    /// A JWT that fits no known key.
    Jwt {
        /// The token.
        token: Redacted<Rc<[u8]>>,
        /// Its bytes.
        _counted: CountedBytes,
    },
    /// The service refuses the credential.
    Refused(Code),
    /// There is no verdict.
    Unavailable(Unavailable),
}

impl Conclusion {
    /// Whether the throttle counts it as a failure.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Refused(Code::TokenRejected))
    }
}

/// Why there is no verdict of the service. A client can cause all but `Down` by its credential alone, so only `Down` is
/// a reason to accept a JWT by its signature alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The service is down, or the breaker is open.
    Down {
        /// How long the breaker stays open; `None`: it is still closed.
        retry_after: Option<Duration>,
    },
    /// The service answers, but gives no verdict on this credential.
    NoVerdict {
        /// How long it isn't asked again.
        retry_after: Duration,
    },
    /// There is no room for another question.
    Overload,
}

/// How many bytes are held.
#[derive(Debug, Clone, Default)]
pub struct ByteCount(Rc<Cell<usize>>);

impl ByteCount {
    /// The count.
    pub fn get(&self) -> usize {
        self.0.get()
    }

    /// Counts these bytes too, until the result is dropped.
    pub fn add(&self, bytes: usize) -> CountedBytes {
        self.0.set(self.0.get() + bytes);
        CountedBytes { all: self.clone(), bytes }
    }
}

/// Bytes that are counted for as long as this lives.
#[derive(Debug)]
pub struct CountedBytes {
    all: ByteCount,
    bytes: usize,
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.all.0.set(self.all.get() - self.bytes);
    }
}

/// The state of a question that another worker asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// It is asking.
    Asking,
    /// It got no answer, and neither would this worker.
    Failed,
    /// It is no longer asking, and has shared no verdict.
    Over,
    /// Other workers have asked one after the other for too long.
    Stuck,
}
