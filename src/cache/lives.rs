//! How long the filters of a process keep verdicts, which they share.
//!
//! A purge or a refusal is remembered for as long as any of them may use a verdict that it has ended. So the longest
//! life that a filter of the process has had stands in the shared data, and never becomes shorter. A filter whose
//! verdicts live longer makes its own life the longest. What ended a verdict before the **horizon**, which is the
//! former longest life ago then, may be forgotten already: from earlier verdicts nobody takes anything any more.

use std::cell::Cell;
use std::time::Duration;

use crate::host::Host;
use crate::table::{self, Reader, Table, write_time, write_u64};
use crate::time::{UnixTime, WORKERS_APART};

/// The table's one row.
const ROW: u32 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    longest: Duration,
    horizon: UnixTime,
}

impl table::Record for Record {
    const BYTES: usize = 16;

    fn encode(&self, to: &mut Vec<u8>) {
        write_u64(to, u64::try_from(self.longest.as_nanos()).unwrap_or(u64::MAX));
        write_time(to, self.horizon);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        Some(Self { longest: Duration::from_nanos(reader.u64()?), horizon: reader.time()? })
    }
}

/// The lives, as one worker sees them.
#[derive(Debug)]
pub struct Lives {
    table: Table<Record>,
    own: Duration,
    /// The horizon as of when this filter made its life known. One that moves later is older than all that this filter
    /// may use.
    horizon: Cell<Option<UnixTime>>,
}

impl Lives {
    /// - `name`: how the key of the shared data begins; nothing else may use such keys.
    /// - `own`: how long this filter may use a verdict.
    pub const fn new(name: String, own: Duration) -> Self {
        Self { table: Table::new(name, 1), own, horizon: Cell::new(None) }
    }

    /// Verdicts of before are of no use. The first call makes this filter's life known.
    pub fn horizon(&self, now: UnixTime, host: &impl Host) -> UnixTime {
        // One of a time to come is of a clock that was set back since.
        if let Some(horizon) = self.horizon.get().filter(|horizon| !horizon.is_to_come(now)) {
            return horizon;
        }
        let joined = self.table.update(ROW, host, |records| {
            let before = records.first().copied();
            let after = self.join(before, now);
            *records = vec![after];
            (before != Some(after), after.horizon)
        });
        // Busy: it knows no better, this time.
        let Ok(horizon) = joined else { return now };
        self.horizon.set(Some(horizon));
        horizon
    }

    /// How long any filter of the process may use a verdict, at most.
    pub fn longest(&self, now: UnixTime, host: &impl Host) -> Duration {
        self.horizon(now, host);
        self.table.read(ROW, host).first().map_or(self.own, |record| record.longest.max(self.own))
    }

    fn join(&self, known: Option<Record>, now: UnixTime) -> Record {
        let Some(Record { longest, horizon }) = known else {
            return Record { longest: self.own, horizon: UnixTime::default() };
        };
        let horizon = if horizon.is_to_come(now) { now } else { horizon };
        if self.own <= longest {
            return Record { longest, horizon };
        }
        // Others may yet forget by their own clock what was of use until a moment ago.
        let forgotten = now.after(WORKERS_APART).before(longest);
        Record { longest: self.own, horizon: horizon.max(forgotten) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::world::{BEGIN, Process};

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(BEGIN + seconds)
    }

    fn lives(seconds: u64) -> Lives {
        Lives::new("life".to_owned(), Duration::from_secs(seconds))
    }

    #[test]
    fn the_longest_life_stays_the_longest_whoever_comes_after() {
        let host = Process::default();
        for (own, longest) in [(100, 100), (10, 100), (200, 200), (0, 200)] {
            assert_eq!(lives(own).longest(at(0), &host), Duration::from_secs(longest));
        }
    }

    #[test]
    fn nothing_is_beyond_the_horizon_until_a_life_is_raised() {
        let host = Process::default();
        for own in [100, 100, 50] {
            assert_eq!(lives(own).horizon(at(5000), &host), UnixTime::default());
        }
        let raised = at(5000 - 100 + 1);
        assert_eq!(lives(200).horizon(at(5000), &host), raised, "the former longest life ago, and a moment");
        assert_eq!(lives(200).horizon(at(9000), &host), raised);
        assert_eq!(lives(150).horizon(at(9000), &host), raised, "raised by another filter");
        assert_eq!(lives(300).horizon(at(9000), &host), at(9000 - 200 + 1));
    }

    #[test]
    fn a_horizon_of_a_clock_that_was_set_back_is_now() {
        let host = Process::default();
        lives(100).horizon(at(0), &host);
        let raised = lives(200);
        raised.horizon(at(50_000), &host);
        for lives in [raised, lives(10)] {
            assert_eq!(lives.horizon(at(1000), &host), at(1000));
            assert_eq!(lives.horizon(at(1010), &host), at(1000));
        }
    }
}
