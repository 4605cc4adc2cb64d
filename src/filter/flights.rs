//! Single-flight: one question to the service for all who wait for the same answer, and for all workers as far as
//! the leases in shared data allow.
//!
//! ```text
//!            a lease, and the breaker lets it      answer: stored, every waiter's turn comes
//! ask ─────────────────────────────────► Calling ─────────────────────────────────────────► (gone)
//!  │ another worker is asking              ▲   outage: again, then what may stand in
//!  └───────────────────────► Elsewhere ────┘ that worker came to nothing
//!                               │ its verdict is in the shared data: every waiter's turn comes
//!                               └─────────────────────────────────────────────────────────► (gone)
//! ```
//!
//! Nobody leads: the callout is the worker's, and goes on when a client leaves.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::key_wait::KeyWait;
use super::outage::Lack;
use super::shares::{ConnectionId, Held};
use super::{
    AT_ONCE, Call, ENTRY_BYTES, Filter, MAX_CALLOUT_BYTES, MAX_CALLOUTS, MAX_WAITING, Progress, StreamId, Ticket, Wait,
    Waiting,
};
use crate::breaker::{self, Admission};
use crate::cache::leases::Asked;
use crate::cache::{Digest, Kind, Lookup};
use crate::claims::{Claims, OwnClaims};
use crate::decision::{Code, Denial};
use crate::host::Host;
use crate::introspection::{self, CalloutError, CalloutRequest, CalloutResponse, Outage, Scope, Verdict};
use crate::jwt::UntrustedJwt;
use crate::metrics::{CacheEvent, Counter, Source};
use crate::policy::Identity;
use crate::public_key::store::Reason;
use crate::throttle::{Guess, Subject};
use crate::time::{UnixTime, WORKERS_APART};

/// How many questions that other workers ask are looked at in one tick.
const LOOKS: usize = 256;

/// The least time between a refresh that came to nothing and the next, over all workers.
const REFRESH_AGAIN: Duration = Duration::from_secs(1);

/// The service has just turned out to be down.
const DOWN: Lack = Lack::Service { retry_after: None };

/// What the service is asked: one for all who wait for its answer.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) key: Digest,
    pub(super) kind: Kind,
    request: CalloutRequest,
    /// What the credential says of itself.
    pub(super) own: OwnClaims,
    bytes: usize,
    /// Its bytes, counted once it is put.
    held: OnceCell<Held>,
}

impl Question {
    /// A question about a credential.
    pub(super) fn new(key: Digest, kind: Kind, request: CalloutRequest, own: OwnClaims) -> Rc<Self> {
        let texts = request.path.capacity()
            + request.authorization.as_ref().map_or(0, String::capacity)
            + own.jti.as_ref().map_or(0, |jti| jti.len());
        let bytes = size_of::<Self>() + size_of::<(Digest, Flight)>() + ENTRY_BYTES + texts;
        Rc::new(Self { key, kind, request, own, bytes, held: OnceCell::new() })
    }

    /// What it takes up.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The JWT that it is about.
    pub(super) fn jwt(&self) -> Option<&str> {
        let authorization = self.request.authorization.as_deref().filter(|_| self.kind == Kind::RemoteJwt)?;
        authorization.split_once(' ').map(|(_, token)| token)
    }
}

/// A question that has no answer yet, and who waits for it.
#[derive(Debug)]
struct Flight {
    question: Rc<Question>,
    asker: Asker,
    streams: Vec<StreamId>,
    began: UnixTime,
    /// When its last callout was sent.
    asked: UnixTime,
    retries: u32,
    is_elsewhere: bool,
    /// Whether other workers know of it.
    has_lease: bool,
}

impl Flight {
    /// Nobody is worth a second callout who has left, nor a verdict that is still good.
    fn wants_retry(&self) -> bool {
        self.retries > 0 && !self.streams.is_empty()
    }
}

/// Who began a question, and answers for it.
#[derive(Debug, Clone, Copy, Default)]
struct Asker {
    /// `None`: nobody waits for it, or the host doesn't tell.
    connection: Option<ConnectionId>,
    guess: Option<Guess>,
}

/// A question and what came of it.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) question: Rc<Question>,
    /// When the callout was sent that brought this.
    asked: UnixTime,
    finding: Finding,
    /// Whose failure it was counted as already: once for each address, however many of its requests wait.
    counted: RefCell<Vec<Subject>>,
}

impl Finished {
    /// Whether the failure that this is was counted for the subject's address before; from now on it was.
    fn is_counted_for(&self, subject: Subject) -> bool {
        let mut counted = self.counted.borrow_mut();
        let is_counted = counted.iter().any(|known| known.is_of_one_address(&subject));
        if !is_counted {
            counted.push(subject);
        }
        is_counted
    }
}

#[derive(Debug)]
enum Finding {
    Identity(Rc<Identity>),
    /// The answer is a JWT that fits no key which is known yet.
    Jwt {
        token: Rc<[u8]>,
        _held: Held,
    },
    Refused(Code),
    /// There is no verdict.
    Outage(Lack),
}

/// What an answer of the service says.
enum Answer {
    Identity(Identity),
    /// A JWT that fits no key which is known yet.
    Jwt(Vec<u8>),
    Refused(Code),
}

/// The questions under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_key: BTreeMap<Digest, Flight>,
    /// Those that other workers ask, in the order in which they are looked at.
    elsewhere: VecDeque<Digest>,
    bytes: Rc<Cell<usize>>,
}

impl Flights {
    pub(super) fn tick_period(&self) -> Option<Duration> {
        (!self.elsewhere.is_empty()).then_some(Duration::from_millis(10))
    }

    #[cfg(test)]
    pub(super) fn are_empty(&self) -> bool {
        self.by_key.is_empty() && self.bytes.get() == 0
    }
}

impl Finding {
    /// Whether the throttle counts it.
    const fn is_failure(&self) -> bool {
        matches!(self, Self::Refused(Code::TokenRejected))
    }
}

impl Filter {
    /// A request waits for the service's verdict, with others if they ask about the same credential.
    pub(super) fn ask(
        &mut self,
        stream: StreamId,
        question: Rc<Question>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        if let Some(retry_after) = self.cache.unanswered_for(&question.key, now, host) {
            host.count(Counter::Cache(CacheEvent::Negative));
            ticket.source = Source::Cache;
            return self.without_service(ticket, &question, Lack::Answer { retry_after }, now, host);
        }
        if self.waiting.len() >= MAX_WAITING || !self.shares.may_wait(ticket.connection, size_of::<Waiting>()) {
            return self.without_service(ticket, &question, Lack::Room, now, host);
        }
        // A probe goes on in the background: who has something that may stand in needn't wait for it.
        let breaker = self.breaker.peek(now, host);
        if breaker.state != breaker::State::Closed
            && let Some(progress) = self.stand_in(ticket, now, host)
        {
            if breaker.is_probe_due {
                self.refresh(question, now, host);
            }
            return progress;
        }
        if self.join_question(&question.key, stream) {
            host.count(Counter::Cache(CacheEvent::Coalesced));
            return Ok(Progress::Waits(Wait::Answer(question.key)));
        }
        if let Some(waits) = self.take_share(&question, ticket, now, host)? {
            return Ok(waits);
        }
        let asker = Asker { connection: ticket.connection, guess: ticket.guess.take() };
        match self.begin(&question, asker, vec![stream], false, now, host) {
            Ok(()) => Ok(Progress::Waits(Wait::Answer(question.key))),
            Err(lack) => {
                self.settle_guess(asker, false, now, host);
                self.without_service(ticket, &question, lack, now, host)
            }
        }
    }

    /// Waits with others for an answer, if somebody asks.
    fn join_question(&mut self, key: &Digest, stream: StreamId) -> bool {
        let Some(flight) = self.flights.by_key.get_mut(key) else { return false };
        if flight.streams.is_empty() {
            self.shares.rejoin(flight.asker.connection);
        }
        flight.streams.push(stream);
        true
    }

    /// The client of a request that waits for an answer has left.
    pub(super) fn leave_question(&mut self, key: &Digest, stream: StreamId) {
        let Some(flight) = self.flights.by_key.get_mut(key) else { return };
        let Some(index) = flight.streams.iter().position(|waiting| *waiting == stream) else { return };
        flight.streams.swap_remove(index);
        if flight.streams.is_empty() {
            self.shares.abandon(flight.asker.connection);
        }
    }

    fn insert_flight(&mut self, flight: Flight) {
        let (key, bytes) = (flight.question.key, flight.question.bytes);
        flight.question.held.get_or_init(|| Held::new(&self.flights.bytes, bytes));
        self.shares.ask(flight.asker.connection, flight.question.bytes());
        if flight.is_elsewhere {
            self.flights.elsewhere.push_back(key);
        }
        self.flights.by_key.insert(key, flight);
    }

    fn remove_flight(&mut self, key: &Digest) -> Option<Flight> {
        let flight = self.flights.by_key.remove(key)?;
        self.shares.end(flight.asker.connection, flight.question.bytes(), flight.streams.is_empty());
        Some(flight)
    }

    /// The question is answered, or won't be. Returns whose failure was counted with it.
    fn settle_guess(&self, asker: Asker, is_failure: bool, now: UnixTime, host: &impl Host) -> Option<Subject> {
        let (throttle, guess) = (self.throttle.as_ref()?, asker.guess?);
        throttle.end(guess, is_failure, now, host);
        is_failure.then(|| guess.subject())
    }

    /// Asks again about a credential whose verdict ends soon. Nobody waits for it.
    pub(super) fn refresh(&mut self, question: Rc<Question>, now: UnixTime, host: &impl Host) {
        let is_asked = self.flights.by_key.contains_key(&question.key)
            || self.cache.unanswered_for(&question.key, now, host).is_some()
            || match self.cache.leases.asked(&question.key, now, host) {
                Asked::Somebody { .. } => true,
                Asked::InVain { at, .. } => !now.has_passed(REFRESH_AGAIN, at),
                Asked::Nobody => false,
            };
        // Half the room is left to those who wait.
        if !is_asked && self.calls.len() < MAX_CALLOUTS / 2 {
            // Should the service be down, whatever is known stays.
            let _ = self.begin(&question, Asker::default(), Vec::new(), false, now, host);
        }
    }

    /// Sends a question, or finds that another worker has. `Err`: the service can't be asked.
    fn begin(
        &mut self,
        question: &Rc<Question>,
        asker: Asker,
        streams: Vec<StreamId>,
        is_alone: bool,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<(), Lack> {
        let is_full = self.flights.by_key.len() >= MAX_CALLOUTS
            || self.flights.bytes.get() + question.bytes > MAX_CALLOUT_BYTES
            || self.calls.len() >= MAX_CALLOUTS;
        if is_full {
            return Err(Lack::Room);
        }
        let key = question.key;
        let retries = self.config.auth_service.retries;
        // A verdict of another worker comes by way of the cache.
        let has_lease = !is_alone && !self.cache.is_off() && self.breaker.rejects(now, host).is_none();
        let question = Rc::clone(question);
        let flight =
            Flight { question, asker, streams, began: now, asked: now, retries, is_elsewhere: false, has_lease };
        if has_lease && !self.cache.leases.begin(&key, now, host) {
            self.insert_flight(Flight { is_elsewhere: true, ..flight });
            return Ok(());
        }
        let (admitted, retries) = match self.breaker.admit(now, host) {
            Admission::Closed(ticket) => (ticket, retries),
            // A probe is one callout: its failure says enough.
            Admission::Probe(ticket) => {
                self.report_breaker(now, host);
                (ticket, 0)
            }
            Admission::Open { retry_after } => {
                if has_lease {
                    self.cache.leases.end(&key, now, host);
                }
                return Err(Lack::Service { retry_after: Some(retry_after) });
            }
        };
        let request = flight.question.request.clone();
        self.insert_flight(Flight { retries, ..flight });
        self.call(request, Call::Verify { key, admitted }, host);
        Ok(())
    }

    /// The service has answered the question about `key`, or can't.
    pub(super) fn on_verify_answer(
        &mut self,
        key: &Digest,
        admitted: breaker::Ticket,
        answer: Result<CalloutResponse, CalloutError>,
        now: UnixTime,
        host: &impl Host,
    ) {
        let answer = self.judge(answer, now, host);
        self.report_outcome(answer.as_ref().err().map(Outage::scope), admitted, now, host);
        let Some(flight) = self.flights.by_key.get_mut(key) else {
            return;
        };
        let finding = match answer {
            Ok(Answer::Identity(identity)) => {
                let (kind, asked) = (flight.question.kind, flight.asked);
                let identity = identity.by_service(&flight.question.own);
                let kept = self.cache.store(key, kind, identity, asked, now, host);
                kept.map_or_else(Finding::Refused, Finding::Identity)
            }
            Ok(Answer::Jwt(token)) => {
                let held = Held::new(&self.flights.bytes, token.len());
                Finding::Jwt { token: token.into(), _held: held }
            }
            Ok(Answer::Refused(code)) => {
                let question = &flight.question;
                let expires = question.own.exp.map(UnixTime::from_secs);
                self.cache.refuse(key, code, expires, (flight.asked, now), host);
                Finding::Refused(code)
            }
            Err(outage)
                if outage.scope() != Scope::Gateway
                    && flight.wants_retry()
                    && self.breaker.peek(now, host).state == breaker::State::Closed =>
            {
                log::debug!("auth service (cluster {}), trying again: {outage}", self.config.auth_service.cluster);
                flight.retries -= 1;
                flight.asked = now;
                let request = flight.question.request.clone();
                self.call(request, Call::Verify { key: *key, admitted }, host);
                return;
            }
            Err(outage) => {
                self.log_outage(&outage, now);
                Finding::Outage(match outage.scope() {
                    Scope::Service => DOWN,
                    Scope::Credential => Lack::Answer { retry_after: self.cache.remember_unanswered(key, now, host) },
                    Scope::Gateway => Lack::Room,
                })
            }
        };
        self.finish(key, finding, now, host);
        self.settle_turns(now, host);
    }

    /// Reads an answer of the service, and verifies the JWT that it may be.
    fn judge(
        &self,
        answer: Result<CalloutResponse, CalloutError>,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Answer, Outage> {
        let token = match introspection::read(answer, self.config.api_token.response_format) {
            // Envoy says no more of what it refuses at once; while others are under way there are hosts, and no room. The
            // cluster's limits are those of all workers.
            Err(Outage::Callout(CalloutError::NotSent)) if host.callouts_in_flight() > 0 => {
                return Err(CalloutError::Overflow.into());
            }
            Err(outage) => return Err(outage),
            Ok(Verdict::Identity(confirmed)) => return Ok(Answer::Identity(confirmed.into())),
            Ok(Verdict::Rejected) => return Ok(Answer::Refused(Code::TokenRejected)),
            Ok(Verdict::Forbidden) => return Ok(Answer::Refused(Code::ForbiddenByService)),
            Ok(Verdict::Jwt(token)) => token,
        };
        let jwt = UntrustedJwt::parse(&token).map_err(|error| Outage::Jwt(error.to_string()))?;
        let time = jwt.claims().check_time(now, self.config.jwt.clock_skew);
        time.map_err(|error| Outage::Jwt(error.to_string()))?;
        Ok(match self.verify(jwt, now, host) {
            Ok(identity) => Answer::Identity(identity),
            Err(_) => Answer::Jwt(token),
        })
    }

    /// Ends a question that this worker has asked, and lets everybody's turn come.
    fn finish(&mut self, key: &Digest, finding: Finding, now: UnixTime, host: &impl Host) {
        let Some(flight) = self.remove_flight(key) else {
            return;
        };
        let Flight { question, asker, streams, began, asked, retries, has_lease, .. } = flight;
        let counted = self.settle_guess(asker, finding.is_failure(), now, host).into_iter().collect();
        if matches!(finding, Finding::Identity(_)) && !streams.is_empty() {
            self.shares.earn(asker.connection);
        }
        if has_lease {
            match finding {
                Finding::Outage(Lack::Service { .. }) => self.cache.leases.fail(key, began, now, retries == 0, host),
                _ => self.cache.leases.end(key, began, host),
            }
        }
        if streams.is_empty() && matches!(finding, Finding::Jwt { .. }) {
            // Nobody waits for the key; but who asks again will need it.
            self.fetch_key(Reason::SignatureFailed, now, host);
        }
        self.take_turns(key, streams, Finished { question, asked, finding, counted: RefCell::new(counted) });
    }

    fn take_turns(&mut self, key: &Digest, streams: Vec<StreamId>, finished: Finished) {
        let finished = Rc::new(finished);
        for stream in streams {
            match self.waiting.get_mut(&stream) {
                Some(Waiting { wait, .. }) if matches!(&*wait, Wait::Answer(asked) if asked == key) => {
                    *wait = Wait::Turn(Rc::clone(&finished));
                    self.turns.push_back(stream);
                }
                _ => {}
            }
        }
    }

    /// Looks after the questions that other workers ask.
    pub(super) fn settle_elsewhere(&mut self, now: UnixTime, host: &impl Host) {
        let service = &self.config.auth_service;
        let longest = service.timeout * (service.retries + 1) + service.longest_callout();
        for _ in 0..self.flights.elsewhere.len().min(LOOKS) {
            let Some(key) = self.flights.elsewhere.pop_front() else { return };
            let Some(flight) = self.flights.by_key.get(&key) else { continue };
            let (kind, began, mut is_alone) = (flight.question.kind, flight.began, false);
            let mut asked = began;
            let finding = match self.cache.look_up(&key, kind, now, host) {
                Lookup::Fresh(entry) => {
                    asked = entry.verified;
                    Some(Finding::Identity(Rc::clone(&entry.identity)))
                }
                Lookup::Refused(code) => Some(Finding::Refused(code)),
                Lookup::Miss => match self.cache.leases.asked(&key, now, host) {
                    Asked::Somebody { failed_at, .. } if failed_at > began => Some(Finding::Outage(DOWN)),
                    // Others ask one after the other: it takes no part in that for longer than one of them may have been
                    // dead and another takes to answer.
                    Asked::Somebody { at, .. } if at > began && now.has_passed(longest, began) => {
                        is_alone = true;
                        None
                    }
                    Asked::Somebody { .. } => {
                        self.flights.elsewhere.push_back(key);
                        continue;
                    }
                    // Where nobody waited there, it was not asked again.
                    Asked::InVain { at, was_retried: true } if at >= began => Some(Finding::Outage(DOWN)),
                    // It came to nothing that can be shared, or to no verdict.
                    Asked::InVain { .. } | Asked::Nobody => {
                        let unanswered = self.cache.unanswered_for(&key, now, host);
                        unanswered.map(|retry_after| Finding::Outage(Lack::Answer { retry_after }))
                    }
                },
            };
            let Some(Flight { question, asker, streams, .. }) = self.remove_flight(&key) else { continue };
            let finding = match finding {
                None if streams.is_empty() => {
                    self.settle_guess(asker, false, now, host);
                    continue;
                }
                None => match self.begin(&question, asker, streams.clone(), is_alone, now, host) {
                    Ok(()) => continue,
                    Err(lack) => Finding::Outage(lack),
                },
                Some(finding) => finding,
            };
            let counted = self.settle_guess(asker, finding.is_failure(), now, host).into_iter().collect();
            self.take_turns(&key, streams, Finished { question, asked, finding, counted: RefCell::new(counted) });
        }
    }

    /// Ends the wait of requests whose answer is there, of [`AT_ONCE`] at the most.
    pub(super) fn settle_turns(&mut self, now: UnixTime, host: &impl Host) {
        let mut settled = 0;
        while settled < AT_ONCE {
            let Some(stream) = self.turns.pop_front() else { return };
            let (mut ticket, finished) = match self.take_waiting(stream) {
                Some(Waiting { ticket, wait: Wait::Turn(finished) }) => (ticket, finished),
                // Its client left, and the host gave its number to another.
                Some(other) => {
                    self.hold(stream, other);
                    continue;
                }
                None => continue,
            };
            settled += 1;
            let progress = self.settle(stream, &finished, &mut ticket, now, host);
            if let Some(resolution) = self.proceed(stream, ticket, progress, now, host) {
                self.resolve(stream, resolution);
            }
        }
    }

    fn settle(
        &mut self,
        stream: StreamId,
        finished: &Rc<Finished>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        match &finished.finding {
            Finding::Identity(identity) => match self.ask_again(stream, identity.claims(), finished, ticket, now, host)
            {
                Some(progress) => progress,
                None => self.admit(Rc::clone(identity), ticket, now, host).map(Progress::Done),
            },
            Finding::Jwt { token, .. } => {
                let answer = Some((stream, Rc::clone(finished)));
                let wait = KeyWait { token: Rc::clone(token), answer, since: now, tried: KeyWait::UNTRIED };
                self.wait_for_key(Box::new(wait), ticket, now, host)
            }
            Finding::Refused(code) => {
                ticket.subject = ticket.subject.filter(|subject| !finished.is_counted_for(*subject));
                Err((*code).into())
            }
            Finding::Outage(lack) => self.without_service(ticket, &finished.question, *lack, now, host),
        }
    }

    /// The identity in a JWT that the service has answered with, now that a key fits.
    pub(super) fn settle_service_jwt(
        &mut self,
        stream: StreamId,
        identity: Identity,
        finished: &Finished,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        let identity = identity.by_service(&finished.question.own);
        match self.ask_again(stream, identity.claims(), finished, ticket, now, host) {
            Some(progress) => progress,
            None => self.let_in(identity, ticket, finished.asked, now, host),
        }
    }

    /// Asks again where the answer was purged, or the credential refused, while the request waited for its turn or for
    /// a key.
    fn ask_again(
        &mut self,
        stream: StreamId,
        claims: &Claims,
        finished: &Finished,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Option<Result<Progress, Denial>> {
        let key = finished.question.key;
        let is_void = self.is_purged(claims, finished.asked, now, host)
            || self.cache.is_refused_since(&key, ticket.kind, finished.asked, now, host);
        is_void.then(|| self.ask(stream, Rc::clone(&finished.question), ticket, now, host))
    }

    /// Whether the service was asked about these claims before it said that older verdicts are to be forgotten.
    fn is_purged(&self, claims: &Claims, began: UnixTime, now: UnixTime, host: &impl Host) -> bool {
        self.feed.as_ref().is_some_and(|feed| {
            let by = |asked| feed.list.is_purged(claims, asked, host);
            // A purge of a time to come, by a clock that was set back since, would be asked about for ever.
            by(began) && !by(now.after(WORKERS_APART))
        })
    }
}
