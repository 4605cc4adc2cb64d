//! The circuit breaker of callouts to the auth service (docs/reference.md#circuit-breaker).
//!
//! There is one per process: its workers share a record, which they change by compare-and-swap.
//!
//! ```text
//!          `failures` in a row            admit, after `open_for`
//! Closed ──────────────────────► Open ─────────────────────────────► HalfOpen ◄─┐ admit, after the lease:
//!   ▲                              ▲          the probe failed          │ │ └───┘ the next probe
//!   │                              └────────────────────────────────────┘ │
//!   └──────────────────────── the probe was answered ─────────────────────┘
//! ```
//!
//! Each arrow begins a new epoch, and a [`Ticket`] names the epoch in which a call was admitted. Its report counts in
//! that epoch alone: a call that was sent before the breaker opened has no effect any more, and neither has a probe
//! whose lease ran out and which another probe replaced.

use std::time::Duration;

use crate::host::{Cx, SharedData};
use crate::table::{self, Reader, Table, write_time, write_u64};
use crate::time::UnixTime;

/// The table's one row.
const ROW: u32 = 0;

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Every call.
    #[default]
    Closed,
    /// One probe, which is under way or was lost with its worker.
    HalfOpen,
    /// None.
    Open,
}

impl State {
    /// The value of `auth_breaker_state` (docs/reference.md#metrics).
    pub const fn number(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }

    /// The name in `status_paths.health`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// The name, for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Closed),
            1 => Some(Self::HalfOpen),
            2 => Some(Self::Open),
            _ => None,
        }
    }
}

/// Names the epoch in which a call was admitted. The report of the call's outcome hands it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// Whether a call may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may, and so may any other.
    Closed(Ticket),
    /// It may, as the one probe: its outcome decides, so it has to be reported.
    Probe(Ticket),
    /// It may not.
    Open {
        /// The time until a probe can be admitted, more than 0. While one is under way: until its lease is over.
        retry_after: Duration,
    },
}

/// How the breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// Whether the last call that was reported failed. Only while closed.
    pub has_failed: bool,
    /// Whether the next [`Breaker::admit`] wins the probe.
    pub is_probe_due: bool,
}

/// What the workers share. Without one, or if it is unreadable, the breaker is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct SharedState {
    state: State,
    epoch: u64,
    /// How many calls in a row have failed; 0 unless closed.
    failures: u64,
    /// When this epoch began; unused while closed.
    since: UnixTime,
}

impl SharedState {
    fn of(records: &[Self]) -> Self {
        records.first().copied().unwrap_or_default()
    }

    const fn next(self, state: State, since: UnixTime) -> Self {
        Self { state, epoch: self.epoch.wrapping_add(1), failures: 0, since }
    }
}

impl table::Record for SharedState {
    const BYTES: usize = 25;

    fn encode(&self, to: &mut Vec<u8>) {
        to.push(self.state.number());
        write_u64(to, self.epoch);
        write_u64(to, self.failures);
        write_time(to, self.since);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let [state] = reader.bytes()?;
        Some(Self {
            state: State::from_number(state)?,
            epoch: reader.u64()?,
            failures: reader.u64()?,
            since: reader.time()?,
        })
    }
}

/// The breaker, as one worker sees it.
#[derive(Debug)]
pub struct Breaker {
    table: Table<SharedState>,
    failures: u64,
    open_for: Duration,
    probe_lease: Duration,
}

impl Breaker {
    /// - `name`: how the key of the shared data begins; nothing else may use such keys.
    /// - `failures`: how many in a row open the breaker; 0 is the same as 1.
    /// - `open_for`: how long it stays open before a probe.
    /// - `probe_lease`: the longest that a probe can take. After it the probe's worker counts as dead.
    pub fn new(name: String, failures: u32, open_for: Duration, probe_lease: Duration) -> Self {
        Self { table: Table::new(name, 1), failures: failures.into(), open_for, probe_lease }
    }

    /// Asks whether a call may be sent. Only winning the probe writes to the shared data.
    pub fn admit(&self, cx: &Cx<'_>) -> Admission {
        let admission = self.table.update(ROW, cx.shared, |records| {
            let record = SharedState::of(records);
            if record.state == State::Closed {
                return (false, Admission::Closed(Ticket(record.epoch)));
            }
            if let Some(retry_after) = self.wait(record, cx.now) {
                return (false, Admission::Open { retry_after });
            }
            let probe = record.next(State::HalfOpen, cx.now);
            *records = vec![probe];
            (true, Admission::Probe(Ticket(probe.epoch)))
        });
        // Busy: other workers compete for the probe, so one of them has it.
        admission.unwrap_or(Admission::Open { retry_after: self.probe_lease })
    }

    /// The time until a probe can be admitted, if no call can be now; changes nothing.
    pub fn rejects(&self, cx: &Cx<'_>) -> Option<Duration> {
        let record = SharedState::of(&self.table.read(ROW, cx.shared));
        self.wait(record, cx.now).filter(|_| record.state != State::Closed)
    }

    /// How the breaker stands; changes nothing.
    pub fn peek(&self, cx: &Cx<'_>) -> Snapshot {
        let record = SharedState::of(&self.table.read(ROW, cx.shared));
        Snapshot {
            state: record.state,
            has_failed: record.failures > 0,
            is_probe_due: self.wait(record, cx.now).is_none() && record.state != State::Closed,
        }
    }

    /// The service answered a call, with a verdict or without one. Returns the state if that changed it.
    pub fn succeed(&self, ticket: Ticket, cx: &Cx<'_>) -> Option<State> {
        self.report(ticket, cx.shared, |record| match record.state {
            State::Closed => SharedState { failures: 0, ..record },
            State::HalfOpen | State::Open => record.next(State::Closed, cx.now),
        })
    }

    /// A call failed: no connection, a timeout, a reset, 502, 503 or 504. Returns the state if that changed it.
    pub fn fail(&self, ticket: Ticket, cx: &Cx<'_>) -> Option<State> {
        self.report(ticket, cx.shared, |record| match record.state {
            State::Closed if record.failures.saturating_add(1) < self.failures => {
                SharedState { failures: record.failures + 1, ..record }
            }
            State::Closed | State::HalfOpen | State::Open => record.next(State::Open, cx.now),
        })
    }

    /// Makes one step, unless the epoch of the call is over.
    fn report(
        &self,
        ticket: Ticket,
        shared: &dyn SharedData,
        step: impl Fn(SharedState) -> SharedState,
    ) -> Option<State> {
        let change = self.table.update(ROW, shared, |records| {
            let before = SharedState::of(records);
            let after = if before.epoch == ticket.0 { step(before) } else { before };
            *records = vec![after];
            (after != before, (after.state != before.state).then_some(after.state))
        });
        change.unwrap_or_else(|busy| {
            log::debug!("the outcome of a callout isn't counted: {busy}");
            None
        })
    }

    /// The time until a probe is possible, if that is not now.
    fn wait(&self, record: SharedState, now: UnixTime) -> Option<Duration> {
        let period = match record.state {
            State::Closed => return None,
            State::HalfOpen => self.probe_lease,
            State::Open => self.open_for,
        };
        now.remaining(period, record.since)
    }
}

#[cfg(test)]
mod tests;
