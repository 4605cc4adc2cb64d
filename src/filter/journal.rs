//! The lines that one worker writes into the audit, limited in number.

use super::log_limit::LogLimit;
use crate::audit;
use crate::host::Host;
use crate::time::Instant;

/// The most lines in a second, besides the one that says how many were left out.
const MOST_LINES: u32 = 100;

/// Writes lines, and counts those beyond the limit.
#[derive(Debug)]
pub(super) struct Journal {
    limit: LogLimit,
    left_out: u64,
    /// The time of the last event that had one.
    latest: Instant,
}

impl Default for Journal {
    fn default() -> Self {
        Self { limit: LogLimit::new(MOST_LINES), left_out: 0, latest: Instant::default() }
    }
}

impl Journal {
    /// Writes a line. `now` is `None` when a stream ends: that event has no time, and the last event's is close enough.
    pub(super) fn write(&mut self, now: Option<Instant>, line: impl FnOnce() -> String, host: &dyn Host) {
        self.latest = now.unwrap_or(self.latest);
        if self.limit.takes(self.latest) {
            self.tell_left_out(host);
            host.audit(&line());
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// A tick.
    pub(super) fn on_tick(&mut self, now: Instant, host: &dyn Host) {
        self.latest = now;
        if self.limit.is_over(now) {
            self.tell_left_out(host);
        }
    }

    /// Writes how many lines were left out since the last time.
    pub(super) fn tell_left_out(&mut self, host: &dyn Host) {
        if self.left_out > 0 {
            host.audit(&audit::left_out(std::mem::take(&mut self.left_out)));
        }
    }
}
