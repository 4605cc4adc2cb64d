//! A hash map that takes little code for each type of key and value, and few steps while it holds little.
//!
//! The maps of the standard library and of `hashbrown` take from 2 to 8 KB for each. Here, what doesn't depend on the
//! types is there once: which keys share a bucket is kept apart from the entries, as a chain of their places.

use std::hash::{BuildHasher as _, RandomState};

/// What entries are found by.
pub trait Key: Eq {
    /// A number that few other keys have. It need not be mixed.
    fn number(&self) -> u64;
}

impl Key for u32 {
    fn number(&self) -> u64 {
        (*self).into()
    }
}

impl Key for u64 {
    fn number(&self) -> u64 {
        *self
    }
}

/// A map without an order. No client can choose keys that fill one bucket.
#[derive(Debug)]
pub struct Map<K, V> {
    chains: Chains,
    entries: Vec<Option<(K, V)>>,
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { chains: Chains::default(), entries: Vec::new() }
    }
}

impl<K: Key, V> Map<K, V> {
    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.chains.len
    }

    /// Whether there are none.
    #[cfg(test)]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let place = self.find(self.chains.hash(key.number()), key)?;
        self.entries.get(place)?.as_ref().map(|(_, value)| value)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.find(self.chains.hash(key.number()), key)?;
        self.entries.get_mut(place)?.as_mut().map(|(_, value)| value)
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: K, value: V) {
        let hash = self.chains.hash(key.number());
        let place = self.find(hash, &key).unwrap_or_else(|| self.chains.add(hash));
        let entry = Some((key, value));
        match self.entries.get_mut(place) {
            Some(former) => *former = entry,
            None => self.entries.push(entry),
        }
    }

    /// Removes the value of a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let hash = self.chains.hash(key.number());
        let place = self.find(hash, key)?;
        self.chains.remove(hash, place);
        self.entries.get_mut(place)?.take().map(|(_, value)| value)
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.entries.iter().flatten()
    }

    fn find(&self, hash: u32, key: &K) -> Option<usize> {
        let mut place = self.chains.first(hash);
        loop {
            let link = self.chains.links.get(place)?;
            if link.hash == hash && matches!(self.entries.get(place), Some(Some((known, _))) if known == key) {
                return Some(place);
            }
            place = link.next;
        }
    }
}

/// No place: the end of a chain.
const END: usize = usize::MAX;

/// The places of entries in chains, one for each bucket, and one of those that are free.
#[derive(Debug)]
struct Chains {
    /// The first place in each bucket's chain. Their number is 0 or a power of two, and no less than that of places.
    first: Vec<usize>,
    links: Vec<Link>,
    free: usize,
    len: usize,
    secrets: [u64; 2],
}

/// What is known about a place.
#[derive(Debug)]
struct Link {
    /// The hash of its entry's key.
    hash: u32,
    /// The next place in its chain.
    next: usize,
}

impl Default for Chains {
    fn default() -> Self {
        let state = RandomState::new();
        let secrets = [state.hash_one(0), state.hash_one(1) | 1];
        Self { first: Vec::new(), links: Vec::new(), free: END, len: 0, secrets }
    }
}

impl Chains {
    /// A multiplication by a secret spreads numbers that are chosen without knowing it.
    fn hash(&self, number: u64) -> u32 {
        let [mask, factor] = self.secrets;
        let product = (number ^ mask).wrapping_mul(factor);
        (product ^ product >> 32) as u32
    }

    fn bucket(&self, hash: u32) -> usize {
        hash as usize & self.first.len().wrapping_sub(1)
    }

    fn first(&self, hash: u32) -> usize {
        self.first.get(self.bucket(hash)).copied().unwrap_or(END)
    }

    /// A place for a new entry: a free one, or a new one at the end.
    fn add(&mut self, hash: u32) -> usize {
        if self.len == self.first.len() {
            self.grow();
        }
        self.len += 1;
        let place = if self.free == END { self.links.len() } else { self.free };
        match self.links.get_mut(place) {
            Some(link) => {
                self.free = link.next;
                link.hash = hash;
            }
            None => self.links.push(Link { hash, next: END }),
        }
        self.link(place);
        place
    }

    /// Twice as many buckets. No place is free, as there are no more places than buckets.
    fn grow(&mut self) {
        let count = (2 * self.first.len()).max(8);
        self.first.clear();
        self.first.resize(count, END);
        (0..self.links.len()).for_each(|place| self.link(place));
    }

    /// Makes a place the first of its chain.
    fn link(&mut self, place: usize) {
        let Some(link) = self.links.get_mut(place) else { return };
        let bucket = link.hash as usize & self.first.len().wrapping_sub(1);
        if let Some(first) = self.first.get_mut(bucket) {
            link.next = *first;
            *first = place;
        }
    }

    fn remove(&mut self, hash: u32, place: usize) {
        let Some(link) = self.links.get_mut(place) else { return };
        let next = link.next;
        link.next = self.free;
        self.free = place;
        self.len -= 1;
        let bucket = self.bucket(hash);
        let mut at = match self.first.get_mut(bucket) {
            Some(first) if *first == place => {
                *first = next;
                return;
            }
            first => first.map_or(END, |first| *first),
        };
        while let Some(link) = self.links.get_mut(at) {
            if link.next == place {
                link.next = next;
                return;
            }
            at = link.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_until_they_are_removed() {
        let mut map = Map::default();
        for round in 0..3_u64 {
            for key in 0..1000_u64 {
                map.insert(key, key + round);
                map.insert(key, key + round + 1);
            }
            assert_eq!(map.len(), 1000);
            assert!((0..1000).all(|key| map.get(&key) == Some(&(key + round + 1))));
            let mut keys: Vec<u64> = map.iter().map(|(key, _)| *key).collect();
            keys.sort_unstable();
            assert_eq!(keys, (0..1000).collect::<Vec<_>>());
            *map.get_mut(&7).unwrap() = 0;
            assert_eq!(map.remove(&7), Some(0));
            assert_eq!((map.remove(&7), map.get(&7), map.get(&1000)), (None, None, None));
            assert!((0..1000).filter(|key| *key != 7).all(|key| map.remove(&key) == Some(key + round + 1)));
            assert!(map.is_empty());
        }
        // Places are used again.
        assert_eq!(map.entries.len(), 1000);
    }

    #[test]
    fn keys_with_one_number_are_told_apart() {
        #[derive(PartialEq, Eq)]
        struct Same(u8);
        impl Key for Same {
            fn number(&self) -> u64 {
                1
            }
        }
        let mut map = Map::default();
        (0..50).for_each(|key| map.insert(Same(key), key));
        assert_eq!(map.remove(&Same(17)), Some(17));
        assert!((0..50).filter(|key| *key != 17).all(|key| map.get(&Same(key)) == Some(&key)));
        assert_eq!(map.get(&Same(17)), None);
    }

    #[test]
    fn numbers_at_any_distance_get_different_hashes() {
        let chains = Chains { secrets: [0x0123_4567_89ab_cdef, 0x9e37_79b9_7f4a_7c15], ..Chains::default() };
        for distance in [1, 3, 1 << 10, 1 << 20, 1 << 24] {
            let mut taken = vec![0; 128];
            for number in 0..128_u64 {
                let bucket = chains.hash(number * distance) as usize % 128;
                taken[bucket] += 1;
            }
            assert!(taken.iter().max() < Some(&24), "{distance}: {taken:?}");
        }
    }
}
