//! The circuit breaker of callouts to the auth service (docs/reference.md#circuit-breaker).
//!
//! There is one per process. The probe is a [`Turn`]; its payload says how the calls before it ended.
//!
//! ```text
//!          `failures` in a row            admit, after `open_for`
//! Closed ──────────────────────► Open ─────────────────────────────► HalfOpen ◄─┐ admit, after the lease:
//!   ▲                              ▲          the probe failed          │ │ └───┘ the next probe
//!   │                              └────────────────────────────────────┘ │
//!   └──────────────────────── the probe was answered ─────────────────────┘
//! ```
//!
//! A [`Ticket`] says how a call was admitted. The report of a call counts only while the breaker hasn't opened since
//! that call was admitted; the report of a probe, only until another probe replaces it, after its lease.

use std::time::Duration;

use crate::host::{Cx, SharedData};
use crate::table::{Bytes, write_time, write_u64};
use crate::time::Instant;
use crate::turn::{LastTurn, Payload, Turn};

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

    /// The name, for `status_paths.health` and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// How a call was admitted. It is passed back with the call's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(Admitted);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admitted {
    /// While the breaker was closed, after this many openings.
    Call { openings: u64 },
    /// As the probe that began at this time.
    Probe { began: Instant },
}

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
    /// The ticket of every call while it is closed.
    closed: Option<Ticket>,
}

impl Snapshot {
    /// Whether no call may be sent now.
    pub fn rejects(&self) -> bool {
        self.state != State::Closed && !self.is_probe_due
    }
}

/// What the workers share besides the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Calls {
    /// How often the breaker has opened.
    openings: u64,
    /// How many calls in a row have failed; 0 unless closed.
    failures: u64,
    /// When it opened, unless the probe has closed it since; the epoch: it is closed.
    opened: Instant,
}

impl Calls {
    const fn opened_at(self, now: Instant) -> Self {
        Self { openings: self.openings.wrapping_add(1), failures: 0, opened: now }
    }

    fn state(self, probe: LastTurn) -> State {
        match probe {
            LastTurn::UnderWay { .. } => State::HalfOpen,
            _ if self.opened == Instant::default() => State::Closed,
            _ => State::Open,
        }
    }
}

impl Payload for Calls {
    fn encode(&self, to: &mut Vec<u8>) {
        write_u64(to, self.openings);
        write_u64(to, self.failures);
        write_time(to, self.opened);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let calls = Self { openings: reader.u64()?, failures: reader.u64()?, opened: reader.time()? };
        reader.0.is_empty().then_some(calls)
    }
}

/// The breaker, as one worker sees it.
#[derive(Debug)]
pub struct Breaker {
    probe: Turn<Calls>,
    failures: u64,
    open_for: Duration,
    probe_lease: Duration,
}

impl Breaker {
    /// - `name`: the key of the shared data.
    /// - `failures`: how many in a row open the breaker; 0 is the same as 1.
    /// - `open_for`: how long it stays open before a probe.
    /// - `probe_lease`: the longest that a probe can take. After it the probe's worker counts as dead.
    pub fn new(name: String, failures: u32, open_for: Duration, probe_lease: Duration) -> Self {
        Self { probe: Turn::new(name, probe_lease), failures: failures.into(), open_for, probe_lease }
    }

    /// Like [`Self::admit`], but trusts a look in the same event that found the breaker closed.
    pub fn admit_by(&self, look: &Snapshot, cx: &Cx<'_>) -> Admission {
        look.closed.map_or_else(|| self.admit(cx), Admission::Closed)
    }

    /// Asks whether a call may be sent. Only winning the probe writes to the shared data.
    pub fn admit(&self, cx: &Cx<'_>) -> Admission {
        let mut found = None;
        let has_probe = self.probe.begin(
            |last, calls| {
                found = self.without_probe(last, calls, cx.now);
                found.is_none().then_some(calls)
            },
            cx,
        );
        if has_probe {
            return Admission::Probe(Ticket(Admitted::Probe { began: cx.now }));
        }
        found.unwrap_or(Admission::Open { retry_after: self.probe_lease })
    }

    /// The time until a probe can be admitted, if no call can be now; changes nothing.
    pub fn retry_after(&self, cx: &Cx<'_>) -> Option<Duration> {
        let (last, calls) = self.probe.read(cx.shared);
        self.wait(last, calls, cx.now)
    }

    /// How the breaker stands; changes nothing.
    pub fn peek(&self, cx: &Cx<'_>) -> Snapshot {
        let (last, calls) = self.probe.read(cx.shared);
        let admission = self.without_probe(last, calls, cx.now);
        Snapshot {
            state: calls.state(last),
            has_failed: calls.failures > 0,
            is_probe_due: admission.is_none(),
            closed: if let Some(Admission::Closed(ticket)) = admission { Some(ticket) } else { None },
        }
    }

    /// The service answered a call, with a verdict or without one. Returns the state if that changed it.
    pub fn succeed(&self, ticket: Ticket, cx: &Cx<'_>) -> Option<State> {
        match ticket.0 {
            Admitted::Call { openings } => {
                let forget = |calls: Calls| (calls.failures > 0).then_some(Calls { failures: 0, ..calls });
                self.note(openings, forget, cx.shared);
                None
            }
            Admitted::Probe { began } => {
                let closed = |calls| Calls { opened: Instant::default(), ..calls };
                self.probe.end(began, true, closed, cx.shared).then_some(State::Closed)
            }
        }
    }

    /// A call will not end, as its worker ends first.
    pub fn give_back(&self, ticket: Ticket, cx: &Cx<'_>) {
        if let Admitted::Probe { began } = ticket.0 {
            self.probe.give_back(began, cx.shared);
        }
    }

    /// A call failed: no connection, a timeout, a reset, 502, 503 or 504. Returns the state if that changed it.
    pub fn fail(&self, ticket: Ticket, cx: &Cx<'_>) -> Option<State> {
        let has_opened = match ticket.0 {
            Admitted::Call { openings } => {
                let mut opens = false;
                let failed = |calls: Calls| {
                    let failures = calls.failures.saturating_add(1);
                    opens = failures >= self.failures;
                    Some(if opens { calls.opened_at(cx.now) } else { Calls { failures, ..calls } })
                };
                self.note(openings, failed, cx.shared) && opens
            }
            Admitted::Probe { began } => self.probe.end(began, false, |calls| calls.opened_at(cx.now), cx.shared),
        };
        has_opened.then_some(State::Open)
    }

    /// Notes the outcome of a call, unless the breaker has opened since it was admitted. Returns whether anything
    /// changed.
    fn note(&self, openings: u64, mut change: impl FnMut(Calls) -> Option<Calls>, shared: &dyn SharedData) -> bool {
        let noted =
            self.probe.note(|calls: Calls| if calls.openings == openings { change(calls) } else { None }, shared);
        noted.unwrap_or_else(|busy| {
            log::debug!("the outcome of a callout was not counted: {busy}");
            false
        })
    }

    /// The admission of a call while the breaker is closed, or no probe is possible; `None`: the call is the next
    /// probe.
    fn without_probe(&self, last: LastTurn, calls: Calls, now: Instant) -> Option<Admission> {
        if calls.state(last) == State::Closed {
            return Some(Admission::Closed(Ticket(Admitted::Call { openings: calls.openings })));
        }
        self.wait(last, calls, now).map(|retry_after| Admission::Open { retry_after })
    }

    /// The time until a probe is possible, if that is not now.
    fn wait(&self, last: LastTurn, calls: Calls, now: Instant) -> Option<Duration> {
        match (calls.state(last), last) {
            (State::Closed, _) => None,
            (_, LastTurn::UnderWay { since }) => now.remaining(self.probe_lease, since),
            _ => now.remaining(self.open_for, calls.opened),
        }
    }
}

#[cfg(test)]
mod tests;
