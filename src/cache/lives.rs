//! How long the filters of a process keep the verdicts that they share.
//!
//! A purge or a refusal is remembered for as long as any filter may use a verdict that it ended. So the shared data
//! hold the longest life of verdicts in any filter of the process so far, which never becomes shorter. A filter whose
//! verdicts live longer raises it. By then, purges and refusals older than the previous longest life may have been
//! forgotten. The **horizon** is the time before which that may have happened: no filter uses an older verdict.

use std::cell::Cell;
use std::time::Duration;

use crate::host::Cx;
use crate::table::{self, Bytes, Table, write_time, write_u64};
use crate::time::{Instant, WORKERS_APART};

/// The table's one row.
const ROW: u32 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LongestLife {
    longest: Duration,
    horizon: Instant,
}

impl table::Record for LongestLife {
    const BYTES: usize = 16;

    fn encode(&self, to: &mut Vec<u8>) {
        write_u64(to, u64::try_from(self.longest.as_nanos()).unwrap_or(u64::MAX));
        write_time(to, self.horizon);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        Some(Self { longest: Duration::from_nanos(reader.u64()?), horizon: reader.time()? })
    }
}

/// The lives, as one worker sees them.
#[derive(Debug)]
pub struct Lives {
    table: Table<LongestLife>,
    own: Duration,
    /// The horizon when this filter made its life known. It need not be read again: if another filter moves it later,
    /// it is further back than this filter's own life, and this filter uses no verdict that old.
    horizon: Cell<Option<Instant>>,
}

impl Lives {
    /// - `name`: the prefix of the key in shared data; nothing else may use keys with this prefix.
    /// - `own`: how long this filter may use a verdict.
    pub const fn new(name: String, own: Duration) -> Self {
        Self { table: Table::new(name, 1), own, horizon: Cell::new(None) }
    }

    /// The time before which verdicts must not be used. The first call makes this filter's life known.
    pub fn horizon(&self, cx: &Cx<'_>) -> Instant {
        if let Some(horizon) = self.horizon.get() {
            return horizon;
        }
        let joined = self.table.update(ROW, cx.shared, |records| {
            let before = records.first().copied();
            let after = self.join(before, cx.now);
            *records = vec![after];
            (before != Some(after), after.horizon)
        });
        // Busy: this time, use no verdict from before now.
        let Ok(horizon) = joined else { return cx.now };
        self.horizon.set(Some(horizon));
        horizon
    }

    /// The longest time for which any filter of the process may use a verdict.
    pub fn longest(&self, cx: &Cx<'_>) -> Duration {
        self.horizon(cx);
        self.table.read(ROW, cx.shared).first().map_or(self.own, |record| record.longest.max(self.own))
    }

    fn join(&self, known: Option<LongestLife>, now: Instant) -> LongestLife {
        let Some(LongestLife { longest, horizon }) = known else {
            return LongestLife { longest: self.own, horizon: Instant::default() };
        };
        if self.own <= longest {
            return LongestLife { longest, horizon };
        }
        // Other workers may have read the clock a moment later, and forget a little more.
        let forgotten = now.after(WORKERS_APART).before(longest);
        LongestLife { longest: self.own, horizon: horizon.max(forgotten) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::world::{BEGIN, Process};

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(BEGIN + seconds)
    }

    fn lives(seconds: u64) -> Lives {
        Lives::new("life".to_owned(), Duration::from_secs(seconds))
    }

    #[test]
    fn a_shorter_life_does_not_replace_a_longer_one() {
        let host = Process::default();
        for (own, longest) in [(100, 100), (10, 100), (200, 200), (0, 200)] {
            assert_eq!(lives(own).longest(&Cx::new(at(0), &host)), Duration::from_secs(longest));
        }
    }

    #[test]
    fn the_horizon_moves_only_when_a_life_is_raised() {
        let host = Process::default();
        for own in [100, 100, 50] {
            assert_eq!(lives(own).horizon(&Cx::new(at(5000), &host)), Instant::default());
        }
        let raised = at(5000 - 100 + 1);
        assert_eq!(lives(200).horizon(&Cx::new(at(5000), &host)), raised, "the former longest life ago, and a moment");
        assert_eq!(lives(200).horizon(&Cx::new(at(9000), &host)), raised);
        assert_eq!(lives(150).horizon(&Cx::new(at(9000), &host)), raised, "raised by another filter");
        assert_eq!(lives(300).horizon(&Cx::new(at(9000), &host)), at(9000 - 200 + 1));
    }
}
