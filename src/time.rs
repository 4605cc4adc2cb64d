//! Points in time. The clocks are always arguments.
//!
//! There are two, as everywhere: the **wall clock** says what time it is, and may be set at any moment; the **monotonic
//! clock** only ever runs on, and means nothing outside this process. Claims are compared with the wall clock. All else
//! is measured by the monotonic clock: ages, waits, and what came first.

use std::time::Duration;

/// The most that lies between two workers' readings of the clock when one acts on what the other has just done.
pub const WORKERS_APART: Duration = Duration::from_secs(1);

/// The least step of the wall clock that counts, in nanoseconds. A smaller one makes no difference: what depends on the
/// wall clock is kept for minutes longer than it is needed.
pub const STEP: i64 = 1_000_000_000;

/// A point in time by the host's monotonic clock, in nanoseconds. All workers of a process read the same clock.
///
/// The default is long before every reading: it stands for a time at which nothing had happened yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

/// The monotonic clock may count from the start of the machine. So that the default is long before, it counts from
/// here.
const START: u64 = 100 * 365 * 86_400 * 1_000_000_000;

impl Instant {
    /// A reading of the monotonic clock, in nanoseconds.
    pub const fn from_reading(nanos: u64) -> Self {
        Self(nanos.saturating_add(START))
    }

    /// What [`Self::as_nanos`] returned.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A time of a test, in seconds.
    #[cfg(any(test, feature = "testing"))]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the default.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This time plus `by`, saturating.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    /// This time less `by`; the default if that is earlier.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }

    /// How long ago `earlier` was; zero if another worker read the clock a moment later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// What is left of a `period` that began at `begin`; `None` if it has passed, or if `begin` is further ahead than
    /// another worker's reading should be: then it wasn't read from this clock, or this worker has stood still since.
    pub fn remaining(self, period: Duration, begin: Self) -> Option<Duration> {
        if begin > self.after(WORKERS_APART) {
            return None;
        }
        period.checked_sub(self.since(begin)).filter(|left| !left.is_zero())
    }

    /// Whether `period` has passed since `begin`.
    pub fn has_passed(self, period: Duration, begin: Self) -> bool {
        self.remaining(period, begin).is_none()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A point in time by the wall clock: nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(u64);

impl UnixTime {
    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From seconds since the epoch; saturates in the year 2554.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// In the format of RFC 3339, in whole seconds: `2026-01-01T00:00:00Z`.
    pub fn rfc3339(self) -> String {
        let (days, second) = (self.as_secs() / 86_400, self.as_secs() % 86_400);
        // Years begin in March here, so that a leap day is the last of its year; 400 years have 146,097 days.
        let shifted = days + 719_468;
        let (era, day) = (shifted / 146_097, shifted % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// This time plus `by`, saturating.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_formatted_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_800_000_000, "2027-01-15T08:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(UnixTime::from_secs(seconds).rfc3339(), text);
        }
    }

    #[test]
    fn a_period_ends_exactly_after_its_length() {
        let at = |seconds: u64| Instant::from_reading(seconds * 1_000_000_000);
        assert_eq!(at(1_001).remaining(Duration::from_secs(5), at(1_000)), Some(Duration::from_secs(4)));
        assert!(!at(1_001).has_passed(Duration::from_secs(2), at(1_000)));
        assert!(at(1_002).has_passed(Duration::from_secs(2), at(1_000)));
        assert!(at(1_000).has_passed(Duration::ZERO, at(1_000)));
    }

    #[test]
    fn a_time_that_another_worker_read_a_moment_later_has_just_begun() {
        let (now, later) = (Instant::from_reading(1_000), Instant::from_reading(1_500));
        assert_eq!(now.since(later), Duration::ZERO);
        assert_eq!(now.remaining(Duration::from_secs(5), later), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_time_of_another_clock_holds_nothing_up() {
        let (now, other) = (Instant::from_reading(1_000), Instant::from_nanos(u64::MAX));
        assert!(now.has_passed(Duration::from_secs(5), other));
    }

    #[test]
    fn the_default_is_long_before_the_start_of_the_machine() {
        assert!(Instant::from_reading(0).has_passed(Duration::from_hours(24 * 365), Instant::default()));
    }
}
