//! JWTs that were found forged in this worker.
//!
//! A JWT whose signature fits no known key has to wait for a fetch of the key, which may begin seconds later. If two
//! fetches have found it forged and it comes again, whether by mistake or to make requests wait, it is refused at once.
//! One fetch is not enough: while replicas of the service change their key one by one, it may have asked the wrong one.

use std::time::Duration;

use super::Digest;
use crate::time::Instant;

/// How many rows there are, a power of two. The hash picks the row. In a full row it also picks whose place a later JWT
/// takes; the earlier one then waits again.
const ROWS: usize = 1024;

/// How many JWTs a row remembers.
const PER_ROW: usize = 4;

/// Half of a digest of [`Kind::LocalJwt`](super::Kind::LocalJwt), which is all of its keyed hash. Clients can't choose
/// it, so they can't choose either whose place they take.
type Hash = [u8; 16];

/// A JWT that was found forged.
#[derive(Debug, Clone, Copy)]
struct Known {
    hash: Hash,
    /// When the fetch began by which it was found forged first.
    first: Instant,
    /// Whether another fetch confirmed it.
    is_confirmed: bool,
}

/// The forged JWTs.
#[derive(Debug)]
pub struct Forged {
    /// None until there is one.
    rows: Vec<[Option<Known>; PER_ROW]>,
    /// Which keys their signatures don't fit.
    generation: u64,
    /// How long after a fetch of the key they are refused; zero: none is remembered.
    negative_ttl: Duration,
}

impl Forged {
    pub(super) const fn new(negative_ttl: Duration) -> Self {
        Self { rows: Vec::new(), generation: 0, negative_ttl }
    }

    /// Remembers a JWT whose signature fits none of the keys of this generation, after the fetch that began at
    /// `fetched` has brought no other.
    pub fn remember(&mut self, digest: &Digest, generation: u64, fetched: Instant) {
        if self.negative_ttl.is_zero() {
            return;
        }
        if self.generation != generation || self.rows.is_empty() {
            // Not a second one beside it: the module's memory never shrinks.
            self.rows.clear();
            self.rows.resize(ROWS, [None; PER_ROW]);
            self.generation = generation;
        }
        let (row, hash) = row_of(digest);
        let Some(row) = self.rows.get_mut(row) else { return };
        let [.., last] = hash;
        if let Some(known) = row.iter_mut().flatten().find(|known| known.hash == hash) {
            known.is_confirmed |= known.first != fetched;
            return;
        }
        let free = row.iter().position(Option::is_none);
        if let Some(place) = row.get_mut(free.unwrap_or(usize::from(last) % PER_ROW)) {
            *place = Some(Known { hash, first: fetched, is_confirmed: false });
        }
    }

    /// Whether two fetches found a JWT forged with the keys of this generation, of which the newest was fetched at
    /// `fetched`.
    pub fn contains(&self, digest: &Digest, generation: u64, fetched: Instant, now: Instant) -> bool {
        let (row, hash) = row_of(digest);
        let is_it = |known: &Known| known.hash == hash && known.is_confirmed;
        self.generation == generation
            && self.rows.get(row).is_some_and(|row| row.iter().flatten().any(is_it))
            && !now.has_passed(self.negative_ttl, fetched)
    }
}

fn row_of(digest: &Digest) -> (usize, Hash) {
    let hash: Hash = digest.half();
    let [low, high, ..] = hash;
    (usize::from(u16::from_le_bytes([low, high])) % ROWS, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FETCHED: Instant = Instant::from_secs(1000);

    fn forged() -> Forged {
        Forged::new(Duration::from_secs(10))
    }

    fn digest(first: u8, last: u8) -> Digest {
        let mut digest = [0; 32];
        (digest[0], digest[15]) = (first, last);
        Digest(digest)
    }

    /// By two fetches.
    fn remember(forged: &mut Forged, digest: &Digest, generation: u64) {
        for fetched in [Instant::from_secs(990), FETCHED] {
            forged.remember(digest, generation, fetched);
        }
    }

    #[test]
    fn only_another_fetch_confirms_a_forged_jwt() {
        let mut forged = forged();
        for (fetched, is_known) in [(990, false), (990, false), (1000, true), (1000, true)] {
            forged.remember(&digest(1, 1), 0, Instant::from_secs(fetched));
            assert_eq!(forged.contains(&digest(1, 1), 0, FETCHED, FETCHED), is_known, "{fetched}");
        }
    }

    #[test]
    fn in_a_full_row_a_later_jwt_takes_the_place_of_one() {
        let mut forged = forged();
        assert!(!forged.contains(&digest(0, 0), 0, FETCHED, FETCHED));
        remember(&mut forged, &digest(1, 1), 0);
        (0..4).for_each(|last| remember(&mut forged, &digest(2, last), 0));
        let known = |forged: &Forged, last| forged.contains(&digest(2, last), 0, FETCHED, FETCHED);
        assert!((0..4).all(|last| known(&forged, last)));
        remember(&mut forged, &digest(2, 5), 0);
        for (last, is_known) in [(0, true), (1, false), (2, true), (3, true), (5, true)] {
            assert_eq!(known(&forged, last), is_known, "{last}");
        }
        assert!(forged.contains(&digest(1, 1), 0, FETCHED, FETCHED));
    }

    #[test]
    fn with_other_keys_none_is_known() {
        let mut forged = forged();
        remember(&mut forged, &digest(1, 1), 7);
        assert!(forged.contains(&digest(1, 1), 7, FETCHED, FETCHED));
        assert!(!forged.contains(&digest(1, 1), 8, FETCHED, FETCHED));
        remember(&mut forged, &digest(2, 2), 8);
        assert!(forged.contains(&digest(2, 2), 8, FETCHED, FETCHED));
        assert!(!forged.contains(&digest(1, 1), 8, FETCHED, FETCHED));
    }

    #[test]
    fn one_is_known_for_the_negative_ttl_after_a_fetch() {
        let mut forged = forged();
        remember(&mut forged, &digest(1, 1), 0);
        assert!(forged.contains(&digest(1, 1), 0, FETCHED, Instant::from_secs(1009)));
        assert!(!forged.contains(&digest(1, 1), 0, FETCHED, Instant::from_secs(1010)));
    }
}
