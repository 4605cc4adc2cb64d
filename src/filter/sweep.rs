//! Drops what has expired: each worker sweeps its own cache, and one worker of the process sweeps the shared data.
//!
//! After the wall clock was set, no sweep begins for a whole interval: the clock may be fast, and a sweep would drop
//! what still matters once it is right again, such as the revocation of a token that hasn't expired.

use std::ops::Range;
use std::time::Duration;

use super::parts::Parts;
use crate::cache;
use crate::config::Config;
use crate::host::Cx;
use crate::time::{Instant, STEP};
use crate::turn::{LastTurn, Turn};

/// The time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);

/// How many rows of the shared data are swept in one tick.
const ROWS_AT_ONCE: u32 = 256;

/// The progress of this worker's sweeps.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Decides which worker sweeps the shared data.
    turn: Turn,
    /// When this worker last swept, or saw that the wall clock was set; and how far that was ahead then.
    idle_since: Option<(Instant, i64)>,
    /// The rows that are still to be swept.
    rows: Option<Range<u32>>,
}

impl Sweep {
    pub(super) fn new(config: &Config) -> Self {
        let prefix = cache::prefix(config);
        // Filters that share a cache may have different lists, or none: each list needs a filter that sweeps it.
        let list = config.revocation.as_ref().map(|list| cache::prefix_at(&list.host, &config.auth_service));
        let name = format!("{prefix}sweep{}", list.unwrap_or_default());
        Self { turn: Turn::new(name, SWEEP_INTERVAL), idle_since: None, rows: None }
    }

    pub(super) fn tick_period(&self) -> Option<Duration> {
        self.rows.as_ref().map(|_| Duration::from_millis(10))
    }

    /// A tick.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub(super) fn on_tick(&mut self, parts: &mut Parts, cx: &Cx<'_>) {
        let (since, ahead) = *self.idle_since.get_or_insert((cx.now, cx.ahead()));
        if cx.ahead().abs_diff(ahead) > STEP.unsigned_abs() {
            self.idle_since = Some((cx.now, cx.ahead()));
            self.rows = None;
            return;
        }
        if let Some(rows) = self.rows.take() {
            self.rows = sweep_rows(rows, parts, cx);
            return;
        }
        if cx.now.has_passed(SWEEP_INTERVAL, since) {
            self.idle_since = Some((cx.now, cx.ahead()));
            parts.cache.sweep_local(cx);
            let is_due = |last: LastTurn| last.since().is_none_or(|last| cx.now.has_passed(SWEEP_INTERVAL, last));
            let is_mine = self.turn.begin(|last, ()| is_due(last).then_some(()), cx);
            let list = parts.revocation.as_ref().map_or(0, |revocation| revocation.rows());
            self.rows = is_mine.then_some(0..parts.cache.rows() + list);
        }
    }
}

/// Sweeps some of these rows: first come those of the cache, then those of the revocation list. Returns the others.
fn sweep_rows(rows: Range<u32>, parts: &Parts, cx: &Cx<'_>) -> Option<Range<u32>> {
    let life = parts.cache.lives.longest(cx);
    let next = (rows.start + ROWS_AT_ONCE).min(rows.end);
    for row in rows.start..next {
        match (row.checked_sub(parts.cache.rows()), &parts.revocation) {
            (Some(row), Some(revocation)) => revocation.sweep_row(row, life, cx),
            _ => parts.cache.sweep_row(row, life, cx),
        }
    }
    (next < rows.end).then_some(next..rows.end)
}
