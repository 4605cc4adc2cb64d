//! Points in time. The clock is always an argument.

use std::time::Duration;

/// How far apart two workers' readings of one clock may be, when one worker reads what the other has just written.
pub const WORKERS_APART: Duration = Duration::from_secs(1);

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, as the host's wall clock tells it.
///
/// The wall clock may step either way, so nothing here assumes that a later call sees a larger value.
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
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// This time less `by`; the epoch if that is earlier.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(nanos))
    }

    /// How long ago `earlier` was; `None` if it is in the future, because the clock has stepped back.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// What is left of a `period` that began at `begin`, by any worker's clock; `None` if it has passed.
    ///
    /// If the clock stepped back behind `begin`, the period has ended, so that no period lasts much longer than its
    /// length. A clock that is behind by a moment has not stepped: another worker wrote `begin` after this one had read
    /// its clock, and for this one the period has just begun.
    pub fn remaining(self, period: Duration, begin: Self) -> Option<Duration> {
        let elapsed = self.after(WORKERS_APART).since(begin)?.saturating_sub(WORKERS_APART);
        period.checked_sub(elapsed).filter(|left| !left.is_zero())
    }

    /// Whether `period` has passed since `begin`, as defined by [`Self::remaining`].
    pub fn has_passed(self, period: Duration, begin: Self) -> bool {
        self.remaining(period, begin).is_none()
    }

    /// Whether this time is in the future of `now`: the clock was set back since it was written.
    pub fn is_to_come(self, now: Self) -> bool {
        self > now.after(WORKERS_APART)
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
    fn a_clock_that_stepped_back_ends_every_interval() {
        let before = UnixTime::from_secs(1_000);
        assert!(UnixTime::from_secs(400).has_passed(Duration::from_secs(3_600), before));
        assert!(!UnixTime::from_secs(1_001).has_passed(Duration::from_secs(2), before));
        assert!(UnixTime::from_secs(1_002).has_passed(Duration::from_secs(2), before));
    }

    #[test]
    fn a_time_slightly_ahead_has_just_begun() {
        let (now, later) = (UnixTime::from_secs(1_000), UnixTime::from_nanos(1_000_000_000_500));
        assert_eq!(now.remaining(Duration::from_secs(5), later), Some(Duration::from_secs(5)));
        assert!(!later.is_to_come(now));
        assert!(UnixTime::from_secs(1_002).is_to_come(now));
        assert!(now.has_passed(Duration::ZERO, now));
    }
}
