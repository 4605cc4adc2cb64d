//! A hash map that takes little code for each type of key and value, and few steps while it holds little.
//!
//! The maps of the standard library and of `hashbrown` take from 2 to 8 KB for each. Here, what doesn't depend on the
//! types is there once: one type of `hashbrown`'s table holds the places of all entries, and the entries are apart.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, RandomState};

use hashbrown::HashTable;
use rustc_hash::FxHasher;

/// A map without an order.
///
/// The usual hasher is seeded, so that no client can choose keys that fill one bucket. [`IdMap`] has a quicker one.
#[derive(Debug)]
pub struct Map<K, V, S = RandomState> {
    hasher: S,
    index: Index,
    entries: Vec<Option<(K, V)>>,
}

/// A map whose keys no client can choose: numbers that are counted here or by the host.
pub type IdMap<K, V> = Map<K, V, BuildHasherDefault<FxHasher>>;

impl<K, V, S: Default> Default for Map<K, V, S> {
    fn default() -> Self {
        Self { hasher: S::default(), index: Index::default(), entries: Vec::new() }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Map<K, V, S> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.index.places.len()
    }

    /// Whether there are none.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let place = self.find(self.hasher.hash_one(key), key)?;
        self.entries.get(place)?.as_ref().map(|(_, value)| value)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.find(self.hasher.hash_one(key), key)?;
        self.entries.get_mut(place)?.as_mut().map(|(_, value)| value)
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: K, value: V) {
        let hash = self.hasher.hash_one(&key);
        let place = self.find(hash, &key).unwrap_or_else(|| self.index.add(hash));
        let entry = Some((key, value));
        match self.entries.get_mut(place) {
            Some(former) => *former = entry,
            None => self.entries.push(entry),
        }
    }

    /// The value of a key, which is inserted if there is none. Never `None`.
    pub fn or_default(&mut self, key: K) -> Option<&mut V>
    where
        V: Default,
    {
        let hash = self.hasher.hash_one(&key);
        let place = self.find(hash, &key).unwrap_or_else(|| self.index.add(hash));
        if place == self.entries.len() {
            self.entries.push(None);
        }
        let entry = self.entries.get_mut(place)?.get_or_insert_with(|| (key, V::default()));
        Some(&mut entry.1)
    }

    /// Removes the value of a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let place = self.find(hash, key)?;
        self.index.remove(hash, place);
        self.entries.get_mut(place)?.take().map(|(_, value)| value)
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.entries.iter().flatten()
    }

    fn find(&self, hash: u64, key: &K) -> Option<usize> {
        self.index.find(hash, &|at| matches!(self.entries.get(at), Some(Some((known, _))) if known == key))
    }
}

/// Which place each key's entry has, by hashes.
#[derive(Debug, Default)]
struct Index {
    places: HashTable<Slot>,
    /// The places without an entry.
    free: Vec<usize>,
}

/// The place of an entry, and the hash of its key.
#[derive(Debug)]
struct Slot {
    hash: u64,
    at: usize,
}

impl Index {
    /// The place that `is_it` knows, among those of keys with this hash.
    #[inline(never)]
    fn find(&self, hash: u64, is_it: &dyn Fn(usize) -> bool) -> Option<usize> {
        self.places.find(hash, |place| place.hash == hash && is_it(place.at)).map(|place| place.at)
    }

    /// A place for a new entry: a free one, or the next one.
    #[inline(never)]
    fn add(&mut self, hash: u64) -> usize {
        let at = self.free.pop().unwrap_or(self.places.len());
        self.places.insert_unique(hash, Slot { hash, at }, |place| place.hash);
        at
    }

    #[inline(never)]
    fn remove(&mut self, hash: u64, at: usize) {
        if let Ok(place) = self.places.find_entry(hash, |place| place.at == at) {
            place.remove();
            self.free.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_until_they_are_removed() {
        let mut map: Map<u64, u64> = Map::default();
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
            *map.or_default(7).unwrap() += 5;
            *map.or_default(7).unwrap() += 5;
            assert_eq!(map.remove(&7), Some(10));
            assert_eq!((map.remove(&7), map.get(&7), map.get(&1000)), (None, None, None));
            assert!((0..1000).filter(|key| *key != 7).all(|key| map.remove(&key) == Some(key + round + 1)));
            assert!(map.is_empty());
        }
        // Places are used again.
        assert_eq!(map.entries.len(), 1000);
    }

    #[test]
    fn keys_with_one_hash_are_told_apart() {
        #[derive(PartialEq, Eq)]
        struct Same(u8);
        impl Hash for Same {
            fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
        }
        let mut map: Map<Same, u8> = Map::default();
        (0..50).for_each(|key| map.insert(Same(key), key));
        assert_eq!(map.remove(&Same(17)), Some(17));
        assert!((0..50).filter(|key| *key != 17).all(|key| map.get(&Same(key)) == Some(&key)));
        assert_eq!(map.get(&Same(17)), None);
    }
}
