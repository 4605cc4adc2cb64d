//! The clock, as an argument.

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

    /// Whether `period` has passed since `begin`, as [`Self::remaining`] has it.
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
    fn a_clock_that_stepped_back_ends_every_interval() {
        let before = UnixTime::from_secs(1_000);
        assert!(UnixTime::from_secs(400).has_passed(Duration::from_secs(3_600), before));
        assert!(!UnixTime::from_secs(1_001).has_passed(Duration::from_secs(2), before));
        assert!(UnixTime::from_secs(1_002).has_passed(Duration::from_secs(2), before));
    }

    #[test]
    fn what_another_worker_wrote_a_moment_later_has_just_begun() {
        let (now, later) = (UnixTime::from_secs(1_000), UnixTime::from_nanos(1_000_000_000_500));
        assert_eq!(now.remaining(Duration::from_secs(5), later), Some(Duration::from_secs(5)));
        assert!(!later.is_to_come(now));
        assert!(UnixTime::from_secs(1_002).is_to_come(now));
        assert!(now.has_passed(Duration::ZERO, now));
    }
}
