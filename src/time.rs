//! The clock, as an argument.

use std::time::Duration;

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

    /// How long ago `earlier` was, or `None` if the clock says that it is still to come: it has stepped back.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// Whether `period` has passed since `earlier`. A clock that stepped back behind `earlier` counts as
    /// passed, so that no interval ever lasts longer than its length by the clock of the day.
    pub fn has_passed(self, period: Duration, earlier: Self) -> bool {
        self.since(earlier).is_none_or(|elapsed| elapsed >= period)
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
}
