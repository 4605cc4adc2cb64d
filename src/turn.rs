//! Work that one worker of the process does at a time: fetch the key, poll the feed, sweep the shared data, probe a
//! service that was down.
//!
//! Workers share one record: when the last turn began, how it stands, and a payload. Beginning means winning the record
//! by compare-and-swap. A turn whose worker died is free again after its lease.
//!
//! ```text
//!        begin (won the swap)            end
//! Free ───────────────────────► UnderWay ───► Succeeded │ Failed ──► begin again, when the caller says so
//!   ▲                               │
//!   └── given back, or lease over ◄─┘
//! ```

use std::marker::PhantomData;
use std::time::Duration;

use crate::host::{Cx, SharedData};
use crate::table::{self, Busy, Bytes, write_time};
use crate::time::Instant;

/// What the workers share besides the turn itself.
pub trait Payload: Default {
    /// Appends the bytes.
    fn encode(&self, to: &mut Vec<u8>);

    /// Reads what [`Self::encode`] wrote. `None`: these bytes are something else.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl Payload for () {
    fn encode(&self, _to: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

/// How the last turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastTurn {
    /// No worker has had one, it was given back, or the record is unreadable.
    #[default]
    Free,
    /// A worker has begun it.
    UnderWay {
        /// When.
        since: Instant,
    },
    /// It succeeded.
    Succeeded {
        /// When it began.
        since: Instant,
    },
    /// It failed.
    Failed {
        /// When it began.
        since: Instant,
    },
}

impl LastTurn {
    /// When it began.
    pub const fn since(self) -> Option<Instant> {
        match self {
            Self::Free => None,
            Self::UnderWay { since } | Self::Succeeded { since } | Self::Failed { since } => Some(since),
        }
    }

    const fn tag(self) -> u8 {
        match self {
            Self::Free => 0,
            Self::UnderWay { .. } => 1,
            Self::Succeeded { .. } => 2,
            Self::Failed { .. } => 3,
        }
    }

    const fn from_tag(tag: u8, since: Instant) -> Option<Self> {
        match tag {
            0 => Some(Self::Free),
            1 => Some(Self::UnderWay { since }),
            2 => Some(Self::Succeeded { since }),
            3 => Some(Self::Failed { since }),
            _ => None,
        }
    }
}

/// The turns of all workers, as one worker sees them.
#[derive(Debug)]
pub struct Turn<P = ()> {
    name: String,
    lease: Duration,
    payload: PhantomData<P>,
}

impl<P: Payload> Turn<P> {
    /// - `name`: the key of the shared data.
    /// - `lease`: the longest that a turn can take. After it its worker counts as dead.
    pub const fn new(name: String, lease: Duration) -> Self {
        Self { name, lease, payload: PhantomData }
    }

    /// How the last turn stands, and the payload.
    pub fn read(&self, shared: &dyn SharedData) -> (LastTurn, P) {
        shared.shared_data(&self.name).and_then(|stored| decode(&stored.bytes)).unwrap_or_default()
    }

    /// How the last turn stands. One that has outlived its lease is [`LastTurn::Free`].
    pub fn last(&self, cx: &Cx<'_>) -> LastTurn {
        self.within_lease(self.read(cx.shared).0, cx.now)
    }

    /// How the last turn stands; [`LastTurn::Free`], if the turn has outlived its lease.
    pub fn within_lease(&self, last: LastTurn, now: Instant) -> LastTurn {
        match last {
            LastTurn::UnderWay { since } if now.has_passed(self.lease, since) => LastTurn::Free,
            last => last,
        }
    }

    /// Tries to take the turn. `may_begin` gets how the last turn stands, which is under way even after its lease, and
    /// the payload. It returns the new payload; `None`: it isn't time yet.
    ///
    /// True: the caller does the work, and says with [`Self::end`] how that ended. The sweep doesn't: its turn stays
    /// under way until the next one begins.
    pub fn begin(&self, mut may_begin: impl FnMut(LastTurn, P) -> Option<P>, cx: &Cx<'_>) -> bool {
        let begun = LastTurn::UnderWay { since: cx.now };
        // Busy: other workers compete for the turn, so one of them has it.
        self.update(cx.shared, |last, payload| Some((begun, may_begin(last, payload)?))).unwrap_or(false)
    }

    /// The turn that began at `began` has ended. `change` returns the new payload. If another turn has overtaken it,
    /// nothing changes. Returns whether anything changed.
    pub fn end(
        &self,
        began: Instant,
        is_success: bool,
        mut change: impl FnMut(P) -> P,
        shared: &dyn SharedData,
    ) -> bool {
        let outcome = if is_success { LastTurn::Succeeded { since: began } } else { LastTurn::Failed { since: began } };
        let is_its = |last| last == LastTurn::UnderWay { since: began };
        let ended = self.update(shared, |last, payload| is_its(last).then(|| (outcome, change(payload))));
        match ended {
            Ok(true) => return true,
            Ok(false) => log::debug!("another worker took the turn over: {}", self.name),
            Err(busy) => log::debug!("the end of a turn was not recorded: {}: {busy}", self.name),
        }
        false
    }

    /// The turn that began at `began` will not end, as its worker ends first. Another may begin at once.
    pub fn give_back(&self, began: Instant, shared: &dyn SharedData) {
        let is_its = |last| last == LastTurn::UnderWay { since: began };
        let given = self.update(shared, |last, payload| is_its(last).then_some((LastTurn::Free, payload)));
        if let Err(busy) = given {
            log::debug!("a turn was not given back, and lasts until its lease is over: {}: {busy}", self.name);
        }
    }

    /// Changes the payload, whoever has the turn. `change` returns `None` to change nothing. Returns whether anything
    /// changed.
    ///
    /// # Errors
    /// [`Busy`] after many tries; nothing has changed.
    pub fn note(&self, mut change: impl FnMut(P) -> Option<P>, shared: &dyn SharedData) -> Result<bool, Busy> {
        self.update(shared, |last, payload| Some((last, change(payload)?)))
    }

    /// Replaces the record by what `step` returns; `None` leaves it. Returns whether it was replaced.
    fn update(
        &self,
        shared: &dyn SharedData,
        mut step: impl FnMut(LastTurn, P) -> Option<(LastTurn, P)>,
    ) -> Result<bool, Busy> {
        table::update(&self.name, shared, |stored| {
            let (last, payload) = stored.and_then(decode).unwrap_or_default();
            let next = step(last, payload).map(|(last, payload)| encode(last, &payload));
            let is_made = next.is_some();
            (next, is_made)
        })
    }
}

fn encode(last: LastTurn, payload: &impl Payload) -> Vec<u8> {
    let mut bytes = vec![last.tag()];
    write_time(&mut bytes, last.since().unwrap_or_default());
    payload.encode(&mut bytes);
    bytes
}

fn decode<P: Payload>(bytes: &[u8]) -> Option<(LastTurn, P)> {
    let mut reader = Bytes(bytes);
    let ([tag], since) = (reader.bytes()?, reader.time()?);
    Some((LastTurn::from_tag(tag, since)?, P::decode(reader.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::world::{BEGIN, Process};
    use crate::host::Write;
    use crate::testing::overtaking;

    const LEASE: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(BEGIN + seconds)
    }

    fn turn() -> Turn {
        Turn::new("turn".to_owned(), LEASE)
    }

    /// Begins a turn if none is under way.
    fn begin(now: Instant, host: &Process) -> bool {
        let is_free = |last| turn().within_lease(last, now) == LastTurn::Free;
        turn().begin(|last, ()| is_free(last).then_some(()), &Cx::new(now, host))
    }

    #[test]
    fn one_worker_has_the_turn_until_it_ends_or_its_lease_is_over() {
        let host = Process::default();
        assert!(begin(at(0), &host));
        assert!(!begin(at(4), &host), "another worker has it");
        assert!(begin(at(5), &host), "that worker must have died");
        assert!(turn().end(at(5), true, |()| (), &host));
        assert_eq!(turn().last(&Cx::new(at(100), &host)), LastTurn::Succeeded { since: at(5) });
    }

    #[test]
    fn a_turn_that_was_overtaken_ends_nothing() {
        let host = Process::default();
        assert!(begin(at(0), &host) && begin(at(6), &host));
        assert!(!turn().end(at(0), true, |()| (), &host));
        assert_eq!(turn().last(&Cx::new(at(6), &host)), LastTurn::UnderWay { since: at(6) });
    }

    #[test]
    fn a_turn_that_is_given_back_is_free_unless_it_was_overtaken() {
        let host = Process::default();
        assert!(begin(at(0), &host));
        turn().give_back(at(0), &host);
        assert!(begin(at(1), &host), "it is free before its lease is over");
        assert!(begin(at(6), &host), "that worker must have died");
        turn().give_back(at(1), &host);
        assert!(!begin(at(7), &host), "the turn is another worker's");
    }

    #[test]
    fn one_of_two_simultaneous_workers_gets_the_turn() {
        let host = Process::default();
        let is_free = |last| turn().within_lease(last, at(0)) == LastTurn::Free;
        let overtaking = overtaking(&host, [|| assert!(begin(at(0), &host))]);
        assert!(!turn().begin(|last, ()| is_free(last).then_some(()), &Cx::new(at(0), &overtaking)));
    }

    #[test]
    fn a_note_leaves_the_turn_with_its_worker() {
        let host = Process::default();
        assert!(begin(at(0), &host));
        assert_eq!(turn().note(Some, &host), Ok(true));
        assert_eq!(turn().note(|()| None, &host), Ok(false));
        assert!(!begin(at(4), &host));
        assert!(turn().end(at(0), true, |()| (), &host));
    }

    #[test]
    fn an_unreadable_record_is_a_free_turn() {
        let host = Process::default();
        for bytes in [&[][..], &[1], &[9; 9], &[1; 10]] {
            host.set_shared_data("turn", bytes, Write::Always).unwrap();
            assert_eq!(turn().read(&host).0, LastTurn::Free);
            assert!(begin(at(0), &host));
        }
    }
}
