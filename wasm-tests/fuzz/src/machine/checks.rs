//! What must hold between two events, after a tick, and at the end.

use std::time::Duration;

use authgate::metrics::{Counter, Gauge};

use super::credentials::Kind;
use super::state::{Moment, Pending, State, Stream, has_passed};
use super::world::Machine;
use super::{Counted, Outcomes};

impl Machine {
    /// After a tick, each credential that requests wait for is being asked about, or a worker recently died asking.
    pub(super) fn check_waits(&self, worker: usize) {
        let is_waiting = |stream: &&Stream| stream.worker == worker && stream.state == State::Waiting;
        for stream in self.streams.iter().filter(is_waiting) {
            let Some(credential) = stream.credential.filter(|it| self.credentials[*it].kind != Kind::Jwt) else {
                continue;
            };
            if self.may_wait_for_its_share(stream) {
                continue;
            }
            let mut questions = self.pending.iter().filter_map(Pending::question);
            let is_lost = |(lost, began): &(usize, Moment)| {
                *lost == credential && !has_passed(self.now, self.setup.lease(), began.at)
            };
            assert!(
                questions.any(|question| question.credential == credential) || self.lost_leases.iter().any(is_lost),
                "waits for nothing: {stream:?}"
            );
        }
    }

    /// What must hold between two events.
    pub(super) fn check(&mut self) {
        for (worker, filter) in self.workers.iter().enumerate() {
            let is_waiting = |stream: &&Stream| stream.worker == worker && stream.state == State::Waiting;
            assert_eq!(filter.waiting(), self.streams.iter().filter(is_waiting).count(), "who waits at {worker}");
            let calls = self.pending.iter().filter(|pending| pending.worker == worker).count();
            assert_eq!(filter.callouts_in_flight(), calls, "what worker {worker} has asked");
        }
        let gauge = self.host.process.gauges.borrow().get(&Gauge::CalloutsInFlight).copied().unwrap_or(0);
        assert_eq!(gauge, i64::try_from(self.pending.len()).expect("few") + self.lost_calls, "callouts in flight");
    }

    /// Every client leaves or gets an answer, and nothing is left over.
    pub(super) fn finish(mut self, leave: bool) -> Outcomes {
        let is_waiting = |machine: &Self| machine.streams.iter().any(|stream| stream.state == State::Waiting);
        // Time for guesses of others, a worker that died, the answer, and a key.
        let end = self.now.after(self.setup.lease() * 3 + self.setup.longest_wait() + Duration::from_secs(5));
        while !leave && is_waiting(&self) {
            assert!(self.now < end, "somebody waits for ever");
            self.pass(500);
            (0..self.workers.len()).for_each(|worker| self.tick(worker));
            self.check();
        }
        (0..self.streams.len()).for_each(|stream| self.end(stream));
        for _ in 0..=self.setup.retries() {
            self.pass(1_000);
        }
        self.check();
        assert!(self.pending.is_empty(), "callouts without end");
        assert!(self.workers.iter().all(|worker| worker.waiting() == 0), "a request is kept");
        let counters = self.host.process.counted.take();
        let mut counted = Counted::new();
        for (counter, times) in &counters {
            if let Counter::Request { outcome, reason, .. } = counter {
                *counted.entry((*outcome, *reason)).or_default() += times;
            }
        }
        assert_eq!(counted, self.counted, "every request is counted once, as what it was");
        counters
    }
}
