//! Three numbers of a series: a shared machine adds to some of its values, and takes from none.

use serde::Serialize;

/// The minimum, the lower quartile and the median.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) quartile: f64,
    pub(crate) median: f64,
}

impl Spread {
    /// Of these values; zeros if there are none.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let at = |share: usize| values.get((values.len().saturating_sub(1)) * share / 4).copied().unwrap_or_default();
        Self { min: at(0), quartile: at(1), median: at(2) }
    }

    /// Each number combined with that of `other`.
    pub(crate) fn with(self, other: Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            min: combine(self.min, other.min),
            quartile: combine(self.quartile, other.quartile),
            median: combine(self.median, other.median),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_values_does_not_matter() {
        let spread = Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { min: 1.0, quartile: 2.0, median: 3.0 });
        assert_eq!(Spread::of(&[7.0]), Spread { min: 7.0, quartile: 7.0, median: 7.0 });
        assert_eq!(Spread::of(&[]), Spread::default());
    }
}
