//! Sorting with little code. The sorts of the standard library are made for speed and take up to 17 KB for each type
//! that is sorted. Envoy compiles the module at its start, and requests only wait for sorts of a few entries.

/// Sorts by a key. Entries with equal keys end up in any order.
pub fn sort_by_key<T, K: Ord>(entries: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(entries, &|one, other| key(one) < key(other));
}

/// Sorts entries by their own order.
pub fn sort<T: Ord>(entries: &mut [T]) {
    sort_by(entries, &|one, other| one < other);
}

/// Sorts by whether one entry comes before another. Equal entries end up in any order.
pub fn sort_by<T>(entries: &mut [T], is_less: &dyn Fn(&T, &T) -> bool) {
    let count = entries.len();
    heapsort(&mut Entries { entries, is_less }, count);
}

/// What a sort does with entries, whatever their type is.
trait Sequence {
    /// Whether the entry at one index comes before that at another.
    fn is_less(&self, one: usize, other: usize) -> bool;
    fn swap(&mut self, one: usize, other: usize);
}

struct Entries<'e, T> {
    entries: &'e mut [T],
    is_less: &'e dyn Fn(&T, &T) -> bool,
}

impl<T> Sequence for Entries<'_, T> {
    fn is_less(&self, one: usize, other: usize) -> bool {
        let pair = self.entries.get(one).zip(self.entries.get(other));
        pair.is_some_and(|(one, other)| (self.is_less)(one, other))
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.entries.swap(one, other);
    }
}

/// In `n log n` steps, whatever the order was (J. W. J. Williams, Heapsort, 1964).
fn heapsort(entries: &mut dyn Sequence, count: usize) {
    for root in (0..count / 2).rev() {
        sift_down(entries, root, count);
    }
    for end in (1..count).rev() {
        entries.swap(0, end);
        sift_down(entries, 0, end);
    }
}

/// Moves the entry at `root` below those that are greater, within the first `end` entries.
fn sift_down(entries: &mut dyn Sequence, mut root: usize, end: usize) {
    loop {
        let left = 2 * root + 1;
        let greater = if left + 1 < end && entries.is_less(left, left + 1) { left + 1 } else { left };
        if greater >= end || !entries.is_less(root, greater) {
            return;
        }
        entries.swap(root, greater);
        root = greater;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_by_a_key_and_by_themselves() {
        for count in 0..70_u64 {
            for seed in 0..20_u64 {
                let mixed = |number: u64| (number + 1).wrapping_mul(seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
                let entries: Vec<u64> = (0..count).map(mixed).collect();
                let mut expected = entries.clone();
                expected.sort_unstable();
                let (mut by_key, mut by_itself) = (entries.clone(), entries);
                sort_by_key(&mut by_key, |entry| *entry);
                sort(&mut by_itself);
                assert_eq!((&by_key, &by_itself), (&expected, &expected));
                sort_by_key(&mut by_key, |entry| std::cmp::Reverse(*entry));
                expected.reverse();
                assert_eq!(by_key, expected);
            }
        }
    }

    #[test]
    fn sorting_takes_no_more_than_n_log_n_steps() {
        let steps = |entries: Vec<u32>| {
            let (steps, mut entries) = (std::cell::Cell::new(0_u64), entries);
            sort_by_key(&mut entries, |entry| {
                steps.set(steps.get() + 1);
                *entry
            });
            steps.get()
        };
        for entries in [(0..10_000).collect(), (0..10_000).rev().collect(), vec![7; 10_000]] {
            assert!(steps(entries) < 8 * 10_000 * 14);
        }
    }
}
