//! Drops what has expired: each worker sweeps its own cache, and one worker of the process sweeps the shared data.
//! After the clock was set back, every worker sweeps the shared data.
//!
//! After the clock was set forward, no sweep begins for a whole interval. The clock may be wrong, and a sweep by a wrong
//! clock would drop what still matters once it is right again, such as the revocation of a token that hasn't expired.

use std::time::Duration;

use super::parts::Parts;
use crate::cache;
use crate::config::Config;
use crate::host::Cx;
use crate::time::UnixTime;
use crate::turn::{LastTurn, Turn};

/// The time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);

/// If more time has passed between two ticks, the clock was set forward, or Envoy stood still.
const LONGEST_TICK: Duration = Duration::from_secs(60);

/// How many rows of the shared data are swept in one tick.
const ROWS_AT_ONCE: u32 = 256;

/// The progress of this worker's sweeps.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Decides which worker sweeps the shared data.
    turn: Turn,
    swept: Option<UnixTime>,
    ticked: Option<UnixTime>,
    next_row: Option<u32>,
}

impl Sweep {
    pub(super) fn new(config: &Config) -> Self {
        let prefix = cache::prefix(config);
        // A filter that reads the list from another host has to sweep that list too.
        let list = config.revocation.as_ref().map(|list| cache::prefix_at(&list.host, &config.auth_service));
        let other = list.filter(|list| *list != prefix).unwrap_or_default();
        let name = format!("{prefix}sweep{other}");
        Self { turn: Turn::new(name, SWEEP_INTERVAL), swept: None, ticked: None, next_row: None }
    }

    pub(super) fn tick_period(&self) -> Option<Duration> {
        self.next_row.map(|_| Duration::from_millis(10))
    }

    /// A tick.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub(super) fn on_tick(&mut self, parts: &mut Parts, cx: &Cx<'_>) {
        let ticked = self.ticked.replace(cx.now);
        if ticked.and_then(|last| cx.now.since(last)).is_some_and(|time| time > LONGEST_TICK) {
            self.swept = Some(cx.now);
            self.next_row = None;
        }
        if ticked.is_some_and(|last| last.is_to_come(cx.now)) {
            // The clock was set back. Entries whose time is still to come are dropped: if they stayed, they would count
            // as new when that time comes.
            parts.cache.sweep_local(cx);
            self.next_row = Some(0);
        }
        if let Some(row) = self.next_row {
            self.next_row = sweep_rows(row, parts, cx);
            return;
        }
        // A worker that has just begun has nothing to sweep yet.
        let last = *self.swept.get_or_insert(cx.now);
        if cx.now.has_passed(SWEEP_INTERVAL, last) {
            self.swept = Some(cx.now);
            parts.cache.sweep_local(cx);
            let is_due = |last: LastTurn| last.since().is_none_or(|last| cx.now.has_passed(SWEEP_INTERVAL, last));
            self.next_row = self.turn.begin(|last, ()| is_due(last).then_some(()), cx).then_some(0);
        }
    }
}

/// Sweeps some rows of the cache, then of the revocation list. Returns the next row; `None`: that was the last.
fn sweep_rows(first: u32, parts: &Parts, cx: &Cx<'_>) -> Option<u32> {
    let life = parts.cache.lives.longest(cx);
    let of_cache = parts.cache.rows();
    let all = of_cache + parts.revocation.as_ref().map_or(0, |revocation| revocation.rows());
    let end = (first + ROWS_AT_ONCE).min(all);
    for row in first..end {
        match (row.checked_sub(of_cache), &parts.revocation) {
            (Some(row), Some(revocation)) => revocation.sweep_row(row, life, cx),
            _ => parts.cache.sweep_row(row, life, cx),
        }
    }
    (end < all).then_some(end)
}
