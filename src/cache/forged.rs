//! JWTs that were found forged in this worker.
//!
//! A JWT whose signature fits no known key has to wait for a fetch of the key, which may begin seconds later. If it comes
//! again, whether by mistake or to make requests wait, it is refused at once.

use std::time::Duration;

use super::Digest;
use crate::time::UnixTime;

/// How many places there are, a power of two. The hash picks the place; a later JWT in the same place replaces the
/// earlier one, which then waits again.
const PLACES: usize = 4096;

/// Half of a digest of [`Kind::LocalJwt`](super::Kind::LocalJwt), which is all of its keyed hash. Clients can't choose
/// it, so they can't choose either whose place they take.
type Hash = [u8; 16];

/// The forged JWTs.
#[derive(Debug)]
pub struct Forged {
    /// None until there is one.
    places: Vec<Option<Hash>>,
    /// Which keys their signatures don't fit.
    generation: u64,
    /// How long after a fetch of the key they are refused; zero: none is remembered.
    negative_ttl: Duration,
}

impl Forged {
    pub(super) const fn new(negative_ttl: Duration) -> Self {
        Self { places: Vec::new(), generation: 0, negative_ttl }
    }

    /// Remembers a JWT whose signature fits none of the keys of this generation, and for which no fetch has brought
    /// another.
    pub fn remember(&mut self, digest: &Digest, generation: u64) {
        if self.negative_ttl.is_zero() {
            return;
        }
        if self.generation != generation || self.places.is_empty() {
            self.places = vec![None; PLACES];
            self.generation = generation;
        }
        let (place, hash) = place_of(digest);
        if let Some(place) = self.places.get_mut(place) {
            *place = Some(hash);
        }
    }

    /// Whether a JWT was found forged with the keys of this generation, of which the newest was fetched at `fetched`.
    pub fn contains(&self, digest: &Digest, generation: u64, fetched: UnixTime, now: UnixTime) -> bool {
        let (place, hash) = place_of(digest);
        self.generation == generation
            && self.places.get(place) == Some(&Some(hash))
            && !now.has_passed(self.negative_ttl, fetched)
    }
}

fn place_of(digest: &Digest) -> (usize, Hash) {
    let hash: Hash = digest.0.first_chunk().copied().unwrap_or_default();
    let [low, high, ..] = hash;
    (usize::from(u16::from_le_bytes([low, high])) % PLACES, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FETCHED: UnixTime = UnixTime::from_secs(1000);

    fn forged() -> Forged {
        Forged::new(Duration::from_secs(10))
    }

    fn digest(first: u8, last: u8) -> Digest {
        let mut digest = [0; 32];
        (digest[0], digest[15]) = (first, last);
        Digest(digest)
    }

    #[test]
    fn a_later_jwt_replaces_one_in_the_same_place() {
        let mut forged = forged();
        assert!(!forged.contains(&digest(0, 0), 0, FETCHED, FETCHED));
        for added in [digest(1, 1), digest(2, 1), digest(2, 2)] {
            forged.remember(&added, 0);
        }
        for (digest, is_known) in [(digest(1, 1), true), (digest(2, 1), false), (digest(2, 2), true)] {
            assert_eq!(forged.contains(&digest, 0, FETCHED, FETCHED), is_known);
        }
    }

    #[test]
    fn with_other_keys_none_is_known() {
        let mut forged = forged();
        forged.remember(&digest(1, 1), 7);
        assert!(forged.contains(&digest(1, 1), 7, FETCHED, FETCHED));
        assert!(!forged.contains(&digest(1, 1), 8, FETCHED, FETCHED));
        forged.remember(&digest(2, 2), 8);
        assert!(!forged.contains(&digest(1, 1), 8, FETCHED, FETCHED));
    }

    #[test]
    fn one_is_known_for_the_negative_ttl_after_a_fetch() {
        let mut forged = forged();
        forged.remember(&digest(1, 1), 0);
        assert!(forged.contains(&digest(1, 1), 0, FETCHED, UnixTime::from_secs(1009)));
        assert!(!forged.contains(&digest(1, 1), 0, FETCHED, UnixTime::from_secs(1010)));
    }
}
