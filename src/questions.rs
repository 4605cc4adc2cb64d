//! The questions to the service that have no answer yet: one for all requests that wait for the same answer
//! ("single-flight"), and for all workers as far as the [leases] in shared data allow.
//!
//! ```text
//!              won the lease, and the breaker admits it     answered: every waiting request goes on
//! open ───────────────────────────────────► asked here ─────────────────────────────► (gone)
//!   │ another worker holds the lease            ▲   outage: again, at most `retries` times
//!   └──────────────────────────► asked elsewhere┘ that worker got no answer
//!                                     │ its verdict is in the shared data: every waiting request goes on
//!                                     └─────────────────────────────────────────────► (gone)
//! ```
//!
//! A callout belongs to the worker, not to a request, and goes on when a client leaves.

pub mod leases;
#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
mod longest_wait;
mod question;
pub mod shares;
mod unanswered;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::breaker::{self, Admission, Breaker, Snapshot};
use crate::cache::Digest;
use crate::config::Config;
use crate::host::{ConnectionId, Cx, StreamId};
use crate::introspection::Scope;
use crate::limits::{MAX_CALLOUT_BYTES, MAX_CALLOUTS};
use crate::map::Map;
use crate::metrics::Gauge;
use crate::throttle::Guess;
use crate::time::Instant;
use leases::{LeaseState, Leases};
pub use question::{Answered, ByteCount, Conclusion, Elsewhere, Question, Unavailable};
use shares::Shares;
use unanswered::Unanswered;

/// The least time before the service is asked again about a credential that it gave no verdict on, however short
/// `negative_ttl` is.
const LEAST_UNANSWERED: Duration = Duration::from_secs(1);

/// The least time between a failed refresh and the next, across all workers.
const REFRESH_AGAIN: Duration = Duration::from_secs(1);

/// How many questions that other workers ask are looked at in one tick, and how many requests that wait for their
/// share.
pub const LOOKS: usize = 256;

/// The client that began a question, and that it counts against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker {
    /// `None`: no request waits for it, or the host doesn't tell.
    pub connection: Option<ConnectionId>,
    /// Its guess, if the throttle counts the question.
    pub guess: Option<Guess>,
}

/// A question that is to be begun.
#[derive(Debug)]
pub struct Asking {
    /// What is asked.
    pub question: Rc<Question>,
    /// Who asks.
    pub asker: Asker,
    /// The requests that wait for it.
    pub waiters: Vec<StreamId>,
    /// Whether to ask even if another worker is asking.
    pub is_alone: bool,
    /// The state of the breaker in this event.
    pub breaker: Snapshot,
}

/// A question without an answer yet.
#[derive(Debug)]
pub struct Open {
    /// What is asked.
    pub question: Rc<Question>,
    /// Who began it.
    pub asker: Asker,
    /// The requests that wait for it.
    pub waiters: Vec<StreamId>,
    /// When it began.
    pub began: Instant,
    /// When its last callout was sent.
    pub sent: Instant,
    retries: u32,
    is_elsewhere: bool,
    /// Whether other workers know of it.
    has_lease: bool,
}

impl Open {
    /// Retry only while a request waits.
    const fn wants_retry(&self) -> bool {
        self.retries > 0 && !self.waiters.is_empty()
    }
}

/// A callout that puts a question.
#[derive(Debug)]
pub struct Call {
    /// The question.
    pub digest: Digest,
    /// How the breaker admitted the callout.
    admitted: breaker::Ticket,
}

/// The questions of one worker.
#[derive(Debug)]
pub struct Questions {
    // In boxes, as the map keeps the room of entries that are removed.
    open: Map<Digest, Box<Open>>,
    /// Those that other workers ask, in the order in which they are looked at.
    elsewhere: VecDeque<Digest>,
    bytes: ByteCount,
    leases: Leases,
    breaker: Breaker,
    unanswered: Unanswered,
    /// The credentials whose answers have broken since the last tick.
    broken: Vec<Digest>,
    retries: u32,
    cluster: String,
    /// Whether workers share verdicts, through the cache.
    shares_verdicts: bool,
    /// How long this worker waits while other workers ask one after the other: the lease of one that died, and the
    /// callouts of the next.
    longest_elsewhere: Duration,
}

impl Questions {
    /// No questions yet. All names in the shared data begin with `prefix`.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub fn new(config: &Config, prefix: &str) -> Self {
        let service = &config.auth_service;
        let breaker = config.circuit_breaker;
        let longest = service.longest_callout();
        let unanswered = config.cache.negative_ttl.max(LEAST_UNANSWERED);
        Self {
            open: Map::default(),
            elsewhere: VecDeque::new(),
            bytes: ByteCount::default(),
            leases: Leases::new(format!("{prefix}l."), longest),
            breaker: Breaker::new(format!("{prefix}breaker"), breaker.failures, breaker.open_for, longest),
            unanswered: Unanswered::new(format!("{prefix}u."), unanswered),
            broken: Vec::new(),
            retries: service.retries,
            cluster: service.cluster.clone(),
            shares_verdicts: !config.cache.is_off(),
            longest_elsewhere: service.timeout * (service.retries + 1) + longest,
        }
    }

    /// How soon to look at other workers' questions.
    pub fn tick_period(&self) -> Option<Duration> {
        (!self.elsewhere.is_empty()).then_some(Duration::from_millis(10))
    }

    /// The bytes of all questions.
    pub const fn bytes(&self) -> &ByteCount {
        &self.bytes
    }

    /// The breaker of all workers.
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// How long the service isn't asked about the credential, because it recently gave no verdict on it.
    pub fn unanswered_for(&self, digest: &Digest, cx: &Cx<'_>) -> Option<Duration> {
        self.unanswered.remaining(digest, cx)
    }

    /// The service answered a question about the credential, but not with a verdict. Returns how long it isn't asked
    /// again.
    pub fn remember_unanswered(&self, digest: &Digest, cx: &Cx<'_>) -> Duration {
        self.unanswered.add(digest, cx)
    }

    /// Like [`Self::remember_unanswered`], for an answer that broke off. Over HTTP/2, an answer that Envoy can't accept
    /// may end its connection, and with it all other answers on it. If several break at once, any of their credentials
    /// may be the cause, so none is refused for longer than [`LEAST_UNANSWERED`].
    pub fn remember_broken(&mut self, digest: &Digest, cx: &Cx<'_>) -> Duration {
        if self.broken.is_empty() {
            self.unanswered.add(digest, cx);
        } else {
            for known in self.broken.iter().take(1).chain([digest]) {
                self.unanswered.add_for(known, LEAST_UNANSWERED, cx);
            }
        }
        self.broken.push(*digest);
        // Another answer may still break.
        LEAST_UNANSWERED
    }

    /// A tick: answers that break from now on are unrelated to those that broke before.
    pub fn forget_broken(&mut self) {
        self.broken.clear();
    }

    /// Lets a request wait with others for an answer, if the question is open.
    pub fn join(&mut self, digest: &Digest, stream: StreamId, shares: &mut Shares) -> bool {
        let Some(open) = self.open.get_mut(digest) else { return false };
        if open.waiters.is_empty() {
            shares.rejoin(open.asker.connection);
        }
        open.waiters.push(stream);
        true
    }

    /// The client of a request that waits for an answer has left.
    pub fn leave(&mut self, digest: &Digest, stream: StreamId, shares: &mut Shares) {
        let Some(open) = self.open.get_mut(digest) else { return };
        let Some(index) = open.waiters.iter().position(|waiter| *waiter == stream) else { return };
        open.waiters.swap_remove(index);
        if open.waiters.is_empty() {
            shares.abandon(open.asker.connection);
        }
    }

    /// Whether another worker is asking about the credential.
    pub fn is_asked_elsewhere(&self, digest: &Digest, cx: &Cx<'_>) -> bool {
        self.shares_verdicts && matches!(self.leases.look_up(digest, cx), LeaseState::Held { .. })
    }

    /// Whether a verdict may be refreshed now: no worker is asking, and the question recently neither failed nor went
    /// unanswered.
    pub fn may_refresh(&self, digest: &Digest, cx: &Cx<'_>) -> bool {
        self.open.get(digest).is_none()
            && self.unanswered.remaining(digest, cx).is_none()
            && match self.leases.look_up(digest, cx) {
                LeaseState::Held { .. } => false,
                LeaseState::Failed { at, .. } => cx.now.has_passed(REFRESH_AGAIN, at),
                LeaseState::Free => true,
            }
    }

    /// Begins a question here, or waits for the verdict of another worker that is asking. `Some`: the caller sends it.
    ///
    /// # Errors
    /// The service can't be asked.
    pub fn open(&mut self, asking: Asking, shares: &mut Shares, cx: &Cx<'_>) -> Result<Option<Call>, Unavailable> {
        let Asking { question, asker, waiters, is_alone, breaker } = asking;
        if self.open.len() >= MAX_CALLOUTS || self.bytes.get() + question.bytes() > MAX_CALLOUT_BYTES {
            return Err(Unavailable::Overload);
        }
        let digest = question.digest;
        // Another worker's verdict comes through the cache.
        let has_lease = !is_alone && self.shares_verdicts && !breaker.rejects();
        let open = Open {
            question,
            asker,
            waiters,
            began: cx.now,
            sent: cx.now,
            retries: self.retries,
            is_elsewhere: false,
            has_lease,
        };
        if has_lease && !self.leases.take(&digest, cx) {
            self.insert(Open { is_elsewhere: true, ..open }, shares);
            return Ok(None);
        }
        let (admitted, retries) = match self.breaker.admit_by(&breaker, cx) {
            Admission::Closed(ticket) => (ticket, open.retries),
            // A probe isn't retried: one failure is enough.
            Admission::Probe(ticket) => {
                self.report_breaker(cx);
                (ticket, 0)
            }
            Admission::Open { retry_after } => {
                if has_lease {
                    self.leases.end(&digest, cx.now, cx.shared);
                }
                return Err(Unavailable::Down { retry_after: Some(retry_after) });
            }
        };
        self.insert(Open { retries, ..open }, shares);
        Ok(Some(Call { digest, admitted }))
    }

    /// The open question about a credential.
    pub fn get(&self, digest: &Digest) -> Option<&Open> {
        self.open.get(digest).map(Box::as_ref)
    }

    /// A callout came back without a verdict. True: the caller sends it again.
    pub fn take_retry(&mut self, call: &Call, scope: Scope, cx: &Cx<'_>) -> bool {
        let Some(open) = self.open.get_mut(&call.digest) else { return false };
        let is_worthwhile =
            scope != Scope::Gateway && open.wants_retry() && self.breaker.peek(cx).state == breaker::State::Closed;
        if is_worthwhile {
            open.retries -= 1;
            open.sent = cx.now;
        }
        is_worthwhile
    }

    /// A question that this worker asked has ended. `is_down`: the service didn't answer.
    pub fn close(&mut self, digest: &Digest, is_down: bool, shares: &mut Shares, cx: &Cx<'_>) -> Option<Open> {
        let open = self.remove(digest, shares)?;
        if open.has_lease && is_down {
            self.leases.fail(digest, open.began, open.retries == 0, cx);
        } else if open.has_lease {
            self.leases.end(digest, open.began, cx.shared);
        }
        Some(open)
    }

    /// The guesses under way.
    pub fn guesses(&self) -> impl Iterator<Item = Guess> {
        self.open.iter().filter_map(|(_, open)| open.asker.guess)
    }

    /// A callout will not end, as this worker ends first.
    pub fn give_back(&mut self, call: &Call, shares: &mut Shares, cx: &Cx<'_>) {
        self.breaker.give_back(call.admitted, cx);
        self.close(&call.digest, false, shares, cx);
    }

    /// Takes the next question that another worker asks off the queue. [`Self::keep_elsewhere`] puts it back.
    pub fn next_elsewhere(&mut self) -> Option<Digest> {
        self.elsewhere.pop_front()
    }

    /// How many questions other workers ask.
    pub fn count_elsewhere(&self) -> usize {
        self.elsewhere.len()
    }

    /// Goes on waiting for another worker.
    pub fn keep_elsewhere(&mut self, digest: Digest) {
        self.elsewhere.push_back(digest);
    }

    /// The state of a question that another worker asks and whose verdict isn't in the cache.
    pub fn look_elsewhere(&self, digest: &Digest, began: Instant, cx: &Cx<'_>) -> Elsewhere {
        match self.leases.look_up(digest, cx) {
            LeaseState::Held { failed_at, .. } if failed_at > began => Elsewhere::Failed,
            LeaseState::Held { since, .. } if since > began && cx.now.has_passed(self.longest_elsewhere, began) => {
                Elsewhere::Stuck
            }
            LeaseState::Held { .. } => Elsewhere::Asking,
            // A question for which no request waited was not retried.
            LeaseState::Failed { at, was_retried: true } if at >= began => Elsewhere::Failed,
            LeaseState::Failed { .. } | LeaseState::Free => Elsewhere::Over,
        }
    }

    /// Takes out a question that another worker asked.
    pub fn take_elsewhere(&mut self, digest: &Digest, shares: &mut Shares) -> Option<Open> {
        self.remove(digest, shares)
    }

    /// Tells the breaker how a callout ended: with a verdict, or with an outage of this scope. Only failures of the
    /// service count: any answer shows that it is up.
    pub fn report(&self, call: &Call, outage: Option<Scope>, cx: &Cx<'_>) {
        let changed = match outage {
            Some(Scope::Service) => self.breaker.fail(call.admitted, cx),
            Some(Scope::Credential) | None => self.breaker.succeed(call.admitted, cx),
            Some(Scope::Gateway) => None,
        };
        if let Some(state) = changed {
            log::warn!("auth service (cluster {}): the circuit breaker is {}", self.cluster, state.name());
            cx.host.set(Gauge::BreakerState, state.number().into());
        }
    }

    /// Sets the gauge of the breaker's state.
    pub fn report_breaker(&self, cx: &Cx<'_>) {
        cx.host.set(Gauge::BreakerState, self.breaker.peek(cx).state.number().into());
    }

    /// Whether nothing is asked, and nothing counted.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.bytes.get() == 0
    }

    fn insert(&mut self, open: Open, shares: &mut Shares) {
        let digest = open.question.digest;
        open.question.count_in(&self.bytes);
        shares.ask(open.asker.connection, open.question.bytes());
        if open.is_elsewhere {
            self.elsewhere.push_back(digest);
        }
        self.open.insert(digest, Box::new(open));
    }

    fn remove(&mut self, digest: &Digest, shares: &mut Shares) -> Option<Open> {
        let open = self.open.remove(digest)?;
        shares.end(open.asker.connection, open.question.bytes(), open.waiters.is_empty());
        Some(*open)
    }
}
