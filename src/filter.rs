//! The decision machine: no network, no clock, no Envoy.
//!
//! One [`Filter`] serves all requests of one worker. Events go in with the time; verdicts and callouts come out.
//! Every event may produce [`Action`]s, which the shell takes one by one from [`Filter::next_action`] and carries
//! out, until there are none.
//!
//! ```text
//! on_request ──┬─► Step::Resolve   forward with a permit: public rule, identity of a JWT or of the cache; or deny
//!              └─► Step::Wait ─┬─ Wait::Share    until its client may ask one more ──► Answer, or Resolve(Deny)
//!                              ├─ Wait::Answer   the credential is with the service, for all who wait with it
//!                              │      │ 200 with claims ──► cache, policy ──► Resolve
//!                              │      │ 401, 403 ─────────► Resolve(Deny)
//!                              │      │ outage ───────────► once more, then what may stand in, or Deny 503
//!                              │      ▼ 200 with a JWT
//!                              └─ Wait::Key      the signature fits no key that is known yet
//!                                     │ a key came: it fits ─────────► cache, policy ──► Resolve
//!                                     │ the service was searched since ► Resolve(Deny 401)
//!                                     └ none to be had in time ──────► Resolve(Deny 503)
//! on_end: whatever the stream waited for is forgotten.
//! ```
//!
//! A waiting stream is an entry of one map, taken out by the verdict, so that a second verdict has nothing to apply
//! to. A callout is an entry of another, taken out by its answer, so that a second answer, or one that nobody asked
//! for, falls on the floor. Callouts belong to the worker, not to a stream: they come to their end whoever leaves.

mod flights;
mod key_wait;
mod log_limit;
mod outage;
mod shares;
mod upkeep;
mod verification;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::breaker::{self, Breaker};
use crate::cache::{self, Digest, Kind, VerificationCache};
use crate::claims::TimeError;
use crate::config::Config;
use crate::decision::{self, Client, Code, Denial, Forward, Response};
use crate::extractor::{self, RequestHead};
use crate::host::Host;
use crate::introspection::{CalloutError, CalloutRequest, CalloutResponse, MAX_BODY};
use crate::metrics::{Counter, Gauge, Outcome, Source};
use crate::policy::Permit;
use crate::public_key::store::KeyStore;
use crate::revocation::feed::MAX_FEED_BODY;
use crate::throttle::{Guess, Subject, Throttle};
use crate::time::UnixTime;
use flights::{Finished, Flights};
pub use key_wait::MAX_WAITING_FOR_KEY;
use key_wait::{KeyRoom, KeyWait};
use log_limit::LogLimits;
pub use shares::{ConnectionId, FIRST_QUESTIONS, MOST_QUESTIONS};
use shares::{ShareWait, Shares};
use upkeep::{Feed, Sweep};

/// The most callouts that are under way at once, in one worker: those too whose client has left.
pub const MAX_CALLOUTS: usize = 4096;

/// The most bytes of questions that are under way, or whose answers have yet to reach those who wait, in one worker.
pub const MAX_CALLOUT_BYTES: usize = 16 * 1024 * 1024;

/// The most requests that wait at once, in one worker.
pub const MAX_WAITING: usize = 16_384;

/// The most bytes that they hold beside their questions: their tokens that wait for a key, and what is known of them.
pub const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// What an entry of a map, and its like in the host's shell, takes beside its key and value: an estimate.
const ENTRY_BYTES: usize = 64;

/// The most requests that are ended in one go. Envoy sends the responses one inside the other, and some 300 of them
/// exhaust the VM's stack; verifying their signatures would keep the worker's other clients waiting, too.
const AT_ONCE: usize = 32;

/// A request, by the number that the host gave its stream.
pub type StreamId = u32;

/// A callout, by a number that is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u64);

/// What the filter makes of a request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reception<'r> {
    /// Headers to remove from the request at once, whatever becomes of it.
    pub strip: Vec<&'r str>,
    /// What the request's `Connection` becomes at once; `None`: it stays as it is.
    pub connection: Option<Vec<u8>>,
    /// What to do with the request.
    pub step: Step,
}

/// The one thing that happens to a request now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is a verdict already.
    Resolve(Resolution),
    /// It is held until an [`Action::Resolve`] names it.
    Wait,
}

/// How a request ends, as far as the filter is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It goes on, changed like this.
    Forward(Forward),
    /// It ends with this response.
    Deny(Response),
}

/// Something for the shell to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this request to the service, and hand its outcome to [`Filter::on_answer`], a failure to send it too.
    Callout {
        /// To be handed back with the answer.
        call: CallId,
        /// What to send.
        request: CalloutRequest,
    },
    /// End the wait of this stream.
    Resolve {
        /// The stream; it has not been named in an earlier `Resolve`.
        stream: StreamId,
        /// How it ends.
        resolution: Resolution,
    },
}

/// A held request.
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    wait: Wait,
}

impl Waiting {
    /// What it takes up, as nearly as it can be told: but for a question that is put, and the answer, which it shares.
    fn bytes(&self) -> usize {
        let own = match &self.wait {
            Wait::Answer(_) | Wait::Turn(_) => 0,
            Wait::Share(wait) => wait.bytes(),
            Wait::Key(wait) => wait.bytes(),
        };
        size_of::<(StreamId, Self)>()
            + ENTRY_BYTES
            + self.ticket.client.origin.as_ref().map_or(0, String::capacity)
            + own
    }
}

/// What has to be known of a request to end it.
#[derive(Debug)]
struct Ticket {
    client: Client,
    rule: Option<usize>,
    source: Source,
    kind: Kind,
    /// The credential, where its verdict may be kept.
    key: Option<Digest>,
    /// Whose failure it counts as.
    subject: Option<Subject>,
    /// Its question, counted as one that may turn out to be a failure, until it is put.
    guess: Option<Guess>,
    /// The connection that it came by, where it has to wait.
    connection: Option<ConnectionId>,
}

#[derive(Debug)]
enum Wait {
    /// Until its question may be put.
    Share(ShareWait),
    /// For the answer about this credential.
    Answer(Digest),
    /// For its turn: the answer is there.
    Turn(Rc<Finished>),
    /// For a key that fits.
    Key(Box<KeyWait>),
}

/// How far a request got.
enum Progress {
    /// It may go on.
    Done(Permit),
    /// It has to wait.
    Waits(Wait),
}

/// A callout that is under way.
#[derive(Debug)]
enum Call {
    Verify { key: Digest, admitted: breaker::Ticket },
    PublicKey { began: UnixTime, retries: u32, question: u32 },
    Feed { began: UnixTime, retries: u32, since: Option<String> },
}

/// The state of one worker.
#[derive(Debug)]
pub struct Filter {
    config: Config,
    keys: KeyStore,
    cache: VerificationCache,
    breaker: Breaker,
    feed: Option<Feed>,
    throttle: Option<Throttle>,
    waiting: BTreeMap<StreamId, Waiting>,
    key_room: KeyRoom,
    shares: Shares,
    flights: Flights,
    /// Whose answers are there, in the order of their turns.
    turns: VecDeque<StreamId>,
    calls: BTreeMap<CallId, Call>,
    sweep: Sweep,
    log_limits: LogLimits,
    next_call: u64,
    actions: VecDeque<Action>,
}

impl Filter {
    /// A worker that knows nothing yet but what others have written into the shared data.
    pub fn new(config: Config) -> Self {
        let prefix = cache::prefix(&config);
        let (breaker, service) = (config.circuit_breaker, &config.auth_service);
        Self {
            keys: KeyStore::new(&config),
            cache: VerificationCache::new(&config, &prefix),
            breaker: Breaker::new(
                format!("{prefix}breaker"),
                breaker.failures,
                breaker.open_for,
                service.longest_callout(),
            ),
            feed: config.revocation.as_ref().map(|settings| Feed::new(settings, &config, &prefix)),
            throttle: config.failed_auth_throttle.map(|throttle| {
                let longest = service.longest_callout();
                Throttle::new(&format!("{prefix}t."), throttle.attempts, throttle.window, throttle.lockout, longest)
            }),
            waiting: BTreeMap::new(),
            key_room: KeyRoom::default(),
            shares: Shares::default(),
            flights: Flights::default(),
            turns: VecDeque::new(),
            calls: BTreeMap::new(),
            sweep: Sweep::new(format!("{prefix}sweep")),
            log_limits: LogLimits::default(),
            next_call: 0,
            actions: VecDeque::new(),
            config,
        }
    }

    /// The configuration that it works by.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A request has arrived on `stream`.
    pub fn on_request<'r>(
        &mut self,
        stream: StreamId,
        head: &RequestHead<'r>,
        now: UnixTime,
        host: &impl Host,
    ) -> Reception<'r> {
        let strip = extractor::headers_to_strip(head, &self.config.stripped_headers);
        let connection = extractor::connection(head, &self.config.stripped_headers);
        let mut ticket = Ticket {
            client: Client::of(head, &self.config),
            rule: None,
            source: Source::None,
            kind: Kind::Other,
            key: None,
            subject: None,
            guess: None,
            connection: None,
        };
        let progress = self.decide(stream, head, &mut ticket, now, host);
        let step = self.proceed(stream, ticket, progress, now, host).map_or(Step::Wait, Step::Resolve);
        Reception { strip, connection, step }
    }

    /// The service has answered `call`, or can't.
    pub fn on_answer(
        &mut self,
        call: CallId,
        answer: Result<CalloutResponse, CalloutError>,
        now: UnixTime,
        host: &impl Host,
    ) {
        let call = self.calls.remove(&call);
        if call.is_some() {
            host.shift(Gauge::CalloutsInFlight, -1);
        }
        match call {
            None => log::warn!("an answer came to a callout that is not under way"),
            Some(Call::PublicKey { began, retries, question }) => {
                self.on_key_answer(began, (retries, question), answer, now, host);
            }
            Some(Call::Verify { key, admitted }) => self.on_verify_answer(&key, admitted, answer, now, host),
            Some(Call::Feed { began, retries, since }) => self.on_feed_answer(began, retries, since, answer, now, host),
        }
    }

    /// How much of the answer to `call` is read, in bytes; a longer one is handed over without its body.
    pub fn body_limit(&self, call: CallId) -> usize {
        if matches!(self.calls.get(&call), Some(Call::Feed { .. })) { MAX_FEED_BODY } else { MAX_BODY }
    }

    /// Time has passed: to be called every [`Self::tick_period`].
    pub fn on_tick(&mut self, now: UnixTime, host: &impl Host) {
        self.keep_key(now, host);
        self.poll_feed(now, host);
        self.sweep(now, host);
        self.report_breaker(now, host);
        self.settle_elsewhere(now, host);
        self.settle_turns(now, host);
        self.settle_key_waits(now, host);
        self.settle_shares(now, host);
    }

    /// The stream has ended, whether its client left or its response is complete.
    pub fn on_end(&mut self, stream: StreamId, host: &impl Host) {
        // Its verdict may be there and not carried out yet.
        self.actions.retain(|action| !matches!(action, Action::Resolve { stream: ended, .. } if *ended == stream));
        if let Some(Waiting { ticket, wait }) = self.take_waiting(stream) {
            if let Wait::Answer(key) = wait {
                self.leave_question(&key, stream);
            }
            host.count(Counter::Request { outcome: Outcome::Cancelled, source: ticket.source, reason: None });
        }
    }

    /// The worker ends: the gauges forget what it has kept.
    pub fn on_retirement(&mut self, host: &impl Host) {
        self.cache.retire(host);
    }

    /// Whether [`Self::next_action`] has one.
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// The next thing to carry out.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How soon [`Self::on_tick`] wants to be called: soon while requests wait for their turn, or for what another
    /// worker may bring.
    pub fn tick_period(&self) -> Duration {
        let turn = (!self.turns.is_empty()).then_some(Duration::from_millis(1));
        let idle = self.feed.as_ref().map_or(Duration::from_secs(1), Feed::tick_period);
        let wishes = [
            turn,
            self.key_room.tick_period(),
            self.shares.tick_period(),
            self.flights.tick_period(),
            self.sweep.tick_period(),
        ];
        wishes.into_iter().flatten().min().unwrap_or(idle).min(idle)
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many callouts are under way.
    pub fn callouts_in_flight(&self) -> usize {
        self.calls.len()
    }

    #[cfg(test)]
    fn holds_nothing(&self) -> bool {
        self.shares.are_empty() && self.flights.are_empty()
    }

    fn call(&mut self, request: CalloutRequest, call: Call, host: &impl Host) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.calls.insert(id, call);
        self.actions.push_back(Action::Callout { call: id, request });
        host.shift(Gauge::CalloutsInFlight, 1);
    }

    /// Holds the request, or ends it: every request comes through here, and is counted when it ends.
    fn proceed(
        &mut self,
        stream: StreamId,
        ticket: Ticket,
        progress: Result<Progress, Denial>,
        now: UnixTime,
        host: &impl Host,
    ) -> Option<Resolution> {
        let permit = match progress {
            Ok(Progress::Waits(wait)) => {
                self.hold(stream, Waiting { ticket, wait });
                return None;
            }
            Ok(Progress::Done(permit)) => Ok(permit),
            Err(denial) => Err(denial),
        };
        let Ticket { client, source, subject, .. } = ticket;
        let verdict = permit.and_then(|permit| {
            let outcome = if permit.identity().is_some() { Outcome::Allow } else { Outcome::Public };
            Ok((outcome, decision::forward(&permit, &self.config)?))
        });
        Some(match verdict {
            Ok((outcome, forward)) => {
                host.count(Counter::Request { outcome, source, reason: None });
                Resolution::Forward(forward)
            }
            Err(denial) => {
                let denial = self.throttled(denial, subject.as_ref(), now, host);
                let outcome = if denial.code.status() < 500 { Outcome::Deny } else { Outcome::Error };
                host.count(Counter::Request { outcome, source, reason: Some(denial.code) });
                Resolution::Deny(denial.response(&client, &self.config.realm))
            }
        })
    }

    fn hold(&mut self, stream: StreamId, waiting: Waiting) {
        if matches!(waiting.wait, Wait::Key(_)) {
            self.key_room.enter();
        }
        self.shares.enter(stream, &waiting);
        self.waiting.insert(stream, waiting);
    }

    fn take_waiting(&mut self, stream: StreamId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&stream)?;
        if matches!(waiting.wait, Wait::Key(_)) {
            self.key_room.leave();
        }
        self.shares.leave(stream, &waiting);
        Some(waiting)
    }

    fn resolve(&mut self, stream: StreamId, resolution: Resolution) {
        self.actions.push_back(Action::Resolve { stream, resolution });
    }
}

const fn time_code(error: TimeError) -> Code {
    match error {
        TimeError::Expired => Code::TokenExpired,
        TimeError::NotYetValid => Code::TokenNotYetValid,
    }
}

#[cfg(any(test, feature = "testing"))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "for tests alone")]
pub mod world;

#[cfg(test)]
mod tests;
