//! JWTs that were found forged in this worker.
//!
//! A JWT whose signature fits no known key has to wait for a fetch of the key, which may begin seconds later. Whoever
//! repeats a forged JWT, by mistake or to make requests wait, doesn't have to be judged anew each time.

use super::Digest;

/// How many are remembered, a power of two: one more takes the place of another, which then waits again.
const PLACES: usize = 4096;

/// Half of a digest of [`Kind::LocalJwt`](super::Kind::LocalJwt), which is all of its keyed hash. Clients can't choose
/// it, so they can't choose either whose place they take.
type Hash = [u8; 16];

/// The forged JWTs.
#[derive(Debug, Default)]
pub(super) struct Forged {
    /// None until there is one.
    places: Vec<Option<Hash>>,
    /// Which keys their signatures don't fit.
    generation: u64,
}

impl Forged {
    pub(super) fn add(&mut self, digest: &Digest, generation: u64) {
        if self.generation != generation || self.places.is_empty() {
            self.places = vec![None; PLACES];
            self.generation = generation;
        }
        let (place, hash) = place_of(digest);
        if let Some(place) = self.places.get_mut(place) {
            *place = Some(hash);
        }
    }

    pub(super) fn contains(&self, digest: &Digest, generation: u64) -> bool {
        let (place, hash) = place_of(digest);
        self.generation == generation && self.places.get(place) == Some(&Some(hash))
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

    fn digest(first: u8, last: u8) -> Digest {
        let mut digest = [0; 32];
        (digest[0], digest[15]) = (first, last);
        Digest(digest)
    }

    #[test]
    fn one_of_the_same_place_takes_it() {
        let mut forged = Forged::default();
        assert!(!forged.contains(&digest(0, 0), 0));
        for added in [digest(1, 1), digest(2, 1), digest(2, 2)] {
            forged.add(&added, 0);
        }
        assert!(forged.contains(&digest(1, 1), 0));
        assert!(!forged.contains(&digest(2, 1), 0));
        assert!(forged.contains(&digest(2, 2), 0));
    }

    #[test]
    fn with_other_keys_none_is_known() {
        let mut forged = Forged::default();
        forged.add(&digest(1, 1), 7);
        assert!(forged.contains(&digest(1, 1), 7));
        assert!(!forged.contains(&digest(1, 1), 8));
        forged.add(&digest(2, 2), 8);
        assert!(!forged.contains(&digest(1, 1), 8));
    }
}
