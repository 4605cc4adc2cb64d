//! Something that one worker of the process does at a time: fetch the key, poll the feed, sweep the shared data.
//!
//! Workers share one record: when a worker began it last, how that stands, and what else they know of it. Beginning
//! means winning the record by compare-and-swap. A turn whose worker died is free again after its lease.
//!
//! ```text
//!        begin (won the swap)            end
//! Free ───────────────────────► UnderWay ───► Succeeded │ Failed ──► begin again, when the caller says so
//!   ▲                               │
//!   └────── the lease is over ◄─────┘
//! ```

use std::marker::PhantomData;
use std::time::Duration;

use crate::host::{Cx, SharedData, SharedValue, Write};
use crate::table::{Reader, write_time};
use crate::time::UnixTime;

/// What the workers know beside the turn itself.
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
    /// No worker has had one, or the record is unreadable.
    #[default]
    Free,
    /// A worker has begun it.
    UnderWay {
        /// When.
        since: UnixTime,
    },
    /// It came to a good end.
    Succeeded {
        /// When it began.
        since: UnixTime,
    },
    /// It didn't.
    Failed {
        /// When it began.
        since: UnixTime,
    },
}

impl LastTurn {
    /// When it began.
    pub const fn since(self) -> Option<UnixTime> {
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

    const fn from_tag(tag: u8, since: UnixTime) -> Option<Self> {
        match tag {
            0 => Some(Self::Free),
            1 => Some(Self::UnderWay { since }),
            2 => Some(Self::Succeeded { since }),
            3 => Some(Self::Failed { since }),
            _ => None,
        }
    }
}

/// The turns of all workers, as one of them sees them.
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

    /// How the last turn stands, and what is known.
    pub fn read(&self, shared: &dyn SharedData) -> (LastTurn, P) {
        let (last, payload, _) = self.record(shared);
        (last, payload)
    }

    /// How the last turn stands. One that has outlived its lease is [`LastTurn::Free`].
    pub fn last(&self, cx: &Cx<'_>) -> LastTurn {
        self.within_lease(self.read(cx.shared).0, cx.now)
    }

    /// How the last turn stands; [`LastTurn::Free`], if the turn has outlived its lease.
    pub fn within_lease(&self, last: LastTurn, now: UnixTime) -> LastTurn {
        match last {
            LastTurn::UnderWay { since } if now.has_passed(self.lease, since) => LastTurn::Free,
            last => last,
        }
    }

    /// Tries to become the one worker that has the turn. `may_begin` is told how the last one stands, where one that
    /// has outlived its lease is still under way, and says what is known from now on; `None`: it is not time yet.
    ///
    /// True: the caller does it now, and says with [`Self::end`] how that ended. The sweep doesn't: its turn stays
    /// under way until the next one begins.
    pub fn begin(&self, may_begin: impl FnOnce(LastTurn, P) -> Option<P>, cx: &Cx<'_>) -> bool {
        let (last, payload, version) = self.record(cx.shared);
        let Some(payload) = may_begin(last, payload) else { return false };
        let write = version.map_or(Write::IfAbsent, Write::IfVersion);
        self.write(LastTurn::UnderWay { since: cx.now }, &payload, write, cx.shared)
    }

    /// The turn that began at `began` has come to its end. `change` says what is known from now on. A turn that another
    /// one has overtaken changes nothing.
    pub fn end(&self, began: UnixTime, is_success: bool, change: impl FnOnce(P) -> P, shared: &dyn SharedData) {
        let (last, payload, version) = self.record(shared);
        let outcome = if is_success { LastTurn::Succeeded { since: began } } else { LastTurn::Failed { since: began } };
        let has_ended = last == LastTurn::UnderWay { since: began }
            && version.is_some_and(|version| self.write(outcome, &change(payload), Write::IfVersion(version), shared));
        if !has_ended {
            log::debug!("another worker took the turn over: {}", self.name);
        }
    }

    fn record(&self, shared: &dyn SharedData) -> (LastTurn, P, Option<u32>) {
        let Some(SharedValue { bytes, cas }) = shared.shared_data(&self.name) else {
            return (LastTurn::Free, P::default(), None);
        };
        let (last, payload) = decode(&bytes).unwrap_or_default();
        (last, payload, Some(cas))
    }

    fn write(&self, last: LastTurn, payload: &P, write: Write, shared: &dyn SharedData) -> bool {
        let mut bytes = vec![last.tag()];
        write_time(&mut bytes, last.since().unwrap_or_default());
        payload.encode(&mut bytes);
        shared.set_shared_data(&self.name, &bytes, write).is_ok()
    }
}

fn decode<P: Payload>(bytes: &[u8]) -> Option<(LastTurn, P)> {
    let mut reader = Reader(bytes);
    let ([tag], since) = (reader.bytes()?, reader.time()?);
    Some((LastTurn::from_tag(tag, since)?, P::decode(reader.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::world::{BEGIN, Process};

    const LEASE: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(BEGIN + seconds)
    }

    fn turn() -> Turn {
        Turn::new("turn".to_owned(), LEASE)
    }

    /// Begins a turn if none is under way.
    fn begin(now: UnixTime, host: &Process) -> bool {
        let is_free = |last| turn().within_lease(last, now) == LastTurn::Free;
        turn().begin(|last, ()| is_free(last).then_some(()), &Cx::new(now, host))
    }

    #[test]
    fn one_worker_has_the_turn_until_it_ends_or_its_lease_is_over() {
        let host = Process::default();
        assert!(begin(at(0), &host));
        assert!(!begin(at(4), &host), "another worker has it");
        assert!(begin(at(5), &host), "that worker must have died");
        turn().end(at(5), true, |()| (), &host);
        assert_eq!(turn().last(&Cx::new(at(100), &host)), LastTurn::Succeeded { since: at(5) });
    }

    #[test]
    fn a_turn_that_was_overtaken_ends_nothing() {
        let host = Process::default();
        assert!(begin(at(0), &host) && begin(at(6), &host));
        turn().end(at(0), true, |()| (), &host);
        assert_eq!(turn().last(&Cx::new(at(6), &host)), LastTurn::UnderWay { since: at(6) });
    }

    #[test]
    fn of_two_workers_that_begin_at_once_one_has_it() {
        let host = Process::default();
        let outcome = turn().begin(
            |_, ()| {
                assert!(begin(at(0), &host));
                Some(())
            },
            &Cx::new(at(0), &host),
        );
        assert!(!outcome);
    }

    #[test]
    fn strange_bytes_are_a_turn_that_nobody_has() {
        let host = Process::default();
        for bytes in [&[][..], &[1], &[9; 9], &[1; 10]] {
            host.set_shared_data("turn", bytes, Write::Always).unwrap();
            assert_eq!(turn().read(&host).0, LastTurn::Free);
            assert!(begin(at(0), &host));
        }
    }
}
