//! Limits on log lines that clients cause, so that no client can fill the log.

use std::time::Duration;

use crate::time::Instant;

/// The period of each limit.
const PERIOD: Duration = Duration::from_secs(1);

/// At most `most` lines in each [`PERIOD`].
#[derive(Debug)]
pub(super) struct LogLimit {
    most: u32,
    written: u32,
    since: Option<Instant>,
}

impl LogLimit {
    pub(super) const fn new(most: u32) -> Self {
        Self { most, written: 0, since: None }
    }

    /// Whether its last [`PERIOD`] is over, so that there is room again.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.since.is_none_or(|since| now.has_passed(PERIOD, since))
    }

    /// Whether there is room for another line.
    pub(super) fn takes(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            (self.since, self.written) = (Some(now), 0);
        }
        let has_room = self.written < self.most;
        self.written += u32::from(has_room);
        has_room
    }
}

/// The limits of one worker.
#[derive(Debug)]
pub(super) struct LogLimits {
    pub(super) outages: LogLimit,
    pub(super) malformed: LogLimit,
    pub(super) shadow: LogLimit,
    pub(super) deprecated: LogLimit,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            outages: LogLimit::new(1),
            malformed: LogLimit::new(10),
            shadow: LogLimit::new(10),
            deprecated: LogLimit::new(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_per_second() {
        let mut limit = LogLimit::new(3);
        let mut lines = |millis: u64| {
            let now = Instant::from_nanos(millis * 1_000_000);
            (0..10).filter(|_| limit.takes(now)).count()
        };
        let times = [(10_000, 3), (10_999, 0), (11_000, 3), (12_500, 3), (99_000, 3)];
        for (millis, expected) in times {
            assert_eq!(lines(millis), expected, "{millis} ms");
        }
    }
}
