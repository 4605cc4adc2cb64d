//! The throttle of failed authentications, and a connection's share: which requests must or may wait or be refused.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use authgate::internals::FIRST_QUESTIONS;
use authgate::{Code, Instant};

use super::setup::Setup;
use super::state::{Moment, Question, State, Stream, has_passed};
use super::world::Machine;

/// Whether the throttle counts this code.
pub(super) fn is_guess(code: Code) -> bool {
    matches!(
        code,
        Code::MalformedCredentials
            | Code::UnsupportedScheme
            | Code::TokenMalformed
            | Code::SignatureInvalid
            | Code::TokenRejected
    )
}

/// The failures that all workers know of.
#[derive(Debug)]
pub(super) struct Throttle {
    attempts: usize,
    lockout: Duration,
    addresses: HashMap<&'static str, Failures>,
    /// By the API token's number.
    numbers: HashMap<usize, Failures>,
    /// Whether it is uncertain whose failures were counted, and when.
    pub(super) is_vague: bool,
    /// Whether more failures may have been counted here than by the workers.
    may_be_too_many: bool,
    /// The addresses for which a refusal was counted, with the step of its delivery.
    counted: BTreeSet<(u64, &'static str)>,
}

/// The failures in a window, or those that led to a lockout.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: usize,
    since: Instant,
}

impl Throttle {
    /// `None` without a throttle.
    pub(super) fn new(setup: Setup) -> Option<Self> {
        let (addresses, numbers) = (HashMap::new(), HashMap::new());
        let lockout = setup.lockout();
        let (is_vague, may_be_too_many, counted) = (false, false, BTreeSet::new());
        setup.attempts().map(|attempts| Self {
            attempts,
            lockout,
            addresses,
            numbers,
            is_vague,
            may_be_too_many,
            counted,
        })
    }

    /// From now on it is uncertain whose failures were counted.
    pub(super) const fn blur(&mut self) {
        (self.is_vague, self.may_be_too_many) = (true, true);
    }

    /// Counts a failed authentication.
    pub(super) fn fail(&mut self, address: Option<&'static str>, number: Option<usize>, now: Instant) {
        let Some(address) = address else { return };
        let (attempts, lockout) = (self.attempts, self.lockout);
        count(&mut self.addresses, address, attempts, lockout, now);
        if let Some(number) = number {
            count(&mut self.numbers, number, attempts, lockout, now);
        }
    }

    fn current<S: Eq + Hash>(&self, subjects: &HashMap<S, Failures>, subject: &S, now: Instant) -> usize {
        let failures = subjects.get(subject);
        failures.map_or(0, |failures| failures.current(self.attempts, self.lockout, now))
    }

    /// Whether this address must be told that it failed too often.
    fn is_locked(&self, address: &'static str, number: Option<usize>, now: Instant) -> bool {
        let is_number_locked = number.is_some_and(|number| self.current(&self.numbers, &number, now) >= self.attempts);
        let has_failed = self.addresses.get(address).is_some_and(|it| !has_passed(now, self.lockout, it.since));
        self.current(&self.addresses, &address, now) >= self.attempts || (is_number_locked && has_failed)
    }
}

fn count<S: Eq + Hash>(
    subjects: &mut HashMap<S, Failures>,
    subject: S,
    attempts: usize,
    lockout: Duration,
    now: Instant,
) {
    let failures = subjects.entry(subject).or_insert(Failures { count: 0, since: now });
    match failures.current(attempts, lockout, now) {
        0 => *failures = Failures { count: 1, since: now },
        count if count >= attempts => {}
        count => {
            failures.count = count + 1;
            if failures.count >= attempts {
                failures.since = now;
            }
        }
    }
}

impl Failures {
    fn current(self, attempts: usize, lockout: Duration, now: Instant) -> usize {
        let period = if self.count >= attempts { lockout } else { Setup::WINDOW };
        if has_passed(now, period, self.since) { 0 } else { self.count }
    }
}

impl Machine {
    fn number(&self, stream: &Stream) -> Option<usize> {
        stream.credential.and_then(|credential| self.credentials[credential].token_id)
    }

    /// The service has refused a credential at this step. That is one failure for each address that waits for the
    /// answer. The asker's is counted at once.
    pub(super) fn refuse(&mut self, worker: usize, credential: usize, asker: Option<usize>, step: u64) {
        if let Some(asker) = asker {
            self.fail(asker);
            if let (Some(throttle), Some(address)) = (&mut self.throttle, self.streams[asker].address) {
                throttle.counted.insert((step, address));
            }
        }
        let waits = |stream: &&mut Stream| {
            (stream.worker, stream.state, stream.credential) == (worker, State::Waiting, Some(credential))
        };
        self.streams.iter_mut().filter(waits).for_each(|stream| stream.refused = Some(step));
    }

    /// A request was denied for a guess.
    pub(super) fn guessed(&mut self, number: usize, code: Code) {
        let stream = &self.streams[number];
        let (refused, address) = (stream.refused.filter(|_| code == Code::TokenRejected), stream.address);
        if let (Some(throttle), true) = (&mut self.throttle, self.is_ticking && code == Code::TokenRejected) {
            // The answer was another worker's, or many waited for it, or this request waited for its share.
            throttle.blur();
        }
        if let (Some(throttle), Some(step), Some(address)) = (&mut self.throttle, refused, address)
            && !throttle.counted.insert((step, address))
        {
            return;
        }
        self.fail(number);
    }

    /// A request was told that its client failed too often, perhaps instead of a refusal. That refusal then counts for
    /// no request of the address.
    pub(super) fn locked(&mut self, number: usize) {
        let stream = &self.streams[number];
        if let (Some(throttle), Some(step), Some(address)) = (&mut self.throttle, stream.refused, stream.address) {
            throttle.counted.insert((step, address));
        }
    }

    /// Counts a request's failed authentication.
    fn fail(&mut self, stream: usize) {
        let (stream, now) = (&self.streams[stream], self.now);
        let (address, number) = (stream.address, self.number(stream));
        if let Some(throttle) = &mut self.throttle {
            throttle.fail(address, number, now);
        }
    }

    /// Checks that a question not known to be good is asked only while its failure would be within the limit.
    pub(super) fn check_guess(&self, stream: &Stream) {
        let (Some(throttle), Some(address)) = (&self.throttle, stream.address) else { return };
        let is_good = self.vouchings.iter().any(|vouching| Some(vouching.credential) == stream.credential);
        if is_good || throttle.may_be_too_many {
            return;
        }
        let is_same = |question: &Question| {
            question.asker.is_some_and(|asker| self.streams[asker].address == Some(address) && !question.is_good)
        };
        let under_way = self.pending.iter().filter_map(|pending| pending.question()).filter(|it| is_same(it)).count();
        let failures = throttle.current(&throttle.addresses, &address, self.now);
        let attempts = throttle.attempts;
        assert!(failures + under_way < attempts, "{failures} failures, {under_way} questions, and another: {stream:?}");
    }

    /// Whether a request may be told that its client failed too often.
    pub(super) fn may_be_locked(&self, stream: &Stream) -> bool {
        let (Some(throttle), Some(address)) = (&self.throttle, stream.address) else { return false };
        throttle.is_vague
            || throttle.is_locked(address, self.number(stream), self.now)
            || self.has_waited_for_guesses(stream)
    }

    /// Whether others with its address or number have asked so much that it waited in vain for its own question.
    /// Without shared verdicts, each worker asks for itself. A question that was lost with its worker counts for a
    /// while.
    fn has_waited_for_guesses(&self, stream: &Stream) -> bool {
        let number = self.number(stream);
        let is_other = |other: &&Stream| {
            let is_near = other.address == stream.address || number.is_some() && self.number(other) == number;
            let is_another = (other.worker, other.credential) != (stream.worker, stream.credential);
            is_near && (is_another || other.state == State::Lost)
        };
        has_passed(self.now, self.setup.lease(), stream.arrived.at)
            && self.streams.iter().filter(is_other).any(|other| other.arrived.step < stream.arrived.step)
    }

    /// Whether a request may wait before its question: for guesses under way, or for its connection's share.
    pub(super) fn may_wait_for_its_share(&self, stream: &Stream) -> bool {
        let is_late = |began: &Moment| has_passed(self.now, self.setup.lease(), began.at);
        // If an answer was already void, the service is asked again, which may mean waiting again.
        let is_asked_again = self.vouchings.iter().any(|vouching| {
            (Some(vouching.credential), vouching.worker) == (stream.credential, stream.worker)
                && vouching.delivered.step > stream.arrived.step
                && !is_late(&vouching.delivered)
        });
        // An answer that came while the request waited for its turn may have ended by then.
        let is_its_turn = self.settled[stream.worker].as_ref().is_some_and(|settled| !is_late(settled));
        let is_in_time = !is_late(&stream.arrived) || is_asked_again || is_its_turn;
        is_in_time && stream.address.is_some() && (self.throttle.is_some() || self.is_share_used_up(stream))
    }

    /// Whether it has waited in vain for its connection's share.
    pub(super) fn has_waited_for_its_share(&self, stream: &Stream) -> bool {
        has_passed(self.now, self.setup.lease(), stream.arrived.at) && self.is_share_used_up(stream)
    }

    /// Whether others may have used up its connection's share. There is one connection from each address.
    fn is_share_used_up(&self, stream: &Stream) -> bool {
        let is_other = |other: &&Stream| {
            (other.worker, other.address) == (stream.worker, stream.address)
                && other.arrived.step < stream.arrived.step
                && other.state != State::Lost
        };
        let others: BTreeSet<_> = self.streams.iter().filter(is_other).filter_map(|other| other.credential).collect();
        stream.address.is_some() && others.len() >= FIRST_QUESTIONS
    }
}
