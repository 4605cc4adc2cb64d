//! A second implementation of the circuit breaker: which questions it must let through.

use std::time::Duration;

use authgate::{Instant, Scope};

use super::setup::Setup;
use super::state::has_passed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    /// Since this time.
    HalfOpen(Instant),
    /// Since this time.
    Open(Instant),
    /// The probe was given back, so that another may be sent at once.
    GivenBack,
}

/// The breaker of all workers.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// Counts changes of the state. A question that was admitted before a change has no effect after it.
    epoch: u64,
    /// Consecutive failures.
    failures: u64,
    most: u64,
    open_for: Duration,
    lease: Duration,
}

impl Breaker {
    pub(super) fn new(setup: Setup) -> Self {
        let (most, open_for) = setup.breaker();
        Self { state: State::Closed, epoch: 0, failures: 0, most, open_for, lease: setup.lease() }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// The value of `auth_breaker_state`.
    pub(super) const fn number(&self) -> i64 {
        match self.state {
            State::Closed => 0,
            State::HalfOpen(_) => 1,
            State::Open(_) | State::GivenBack => 2,
        }
    }

    /// Admits a question. Returns its epoch, and whether it is a probe.
    ///
    /// # Panics
    /// If none may be sent.
    pub(super) fn admit(&mut self, now: Instant) -> (u64, bool) {
        let (period, since) = match self.state {
            State::Closed => return (self.epoch, false),
            State::HalfOpen(since) => (self.lease, since),
            State::Open(since) => (self.open_for, since),
            State::GivenBack => (Duration::ZERO, now),
        };
        assert!(has_passed(now, period, since), "the service is asked, and the breaker is {:?}", self.state);
        self.change(State::HalfOpen(now));
        (self.epoch, true)
    }

    /// A callout of this epoch has ended with an outage of this scope; `None`: with a verdict.
    pub(super) fn report(&mut self, epoch: u64, outage: Option<Scope>, now: Instant) {
        if epoch != self.epoch || outage == Some(Scope::Gateway) {
            return;
        }
        let is_down = outage == Some(Scope::Service);
        match self.state {
            State::Closed if !is_down => self.failures = 0,
            State::Closed if self.failures + 1 < self.most => self.failures += 1,
            _ if is_down => self.change(State::Open(now)),
            _ => self.change(State::Closed),
        }
    }

    /// The worker of a callout of this epoch, which is a probe, has ended in good order.
    pub(super) fn give_back(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.change(State::GivenBack);
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
        self.failures = 0;
    }
}
