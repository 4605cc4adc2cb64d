//! Both policies: the bounds, the values, and what a flood of credentials that are seen once does to the hit rate.

use std::collections::HashMap;

use super::*;

const EVICTIONS: [Eviction; 2] = [Eviction::Lru, Eviction::Lfu];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// The digest of the credential of this number.
fn digest_of(number: usize) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&mix(number as u64).to_le_bytes());
    bytes[24..].copy_from_slice(&(number as u64).to_be_bytes());
    Digest(bytes)
}

/// Room for this many values of no weight.
fn room(eviction: Eviction, entries: usize) -> usize {
    entries * eviction.overhead()
}

fn keys<V: Clone>(cache: &LocalCache<V>, candidates: usize) -> Vec<usize> {
    (0..candidates).filter(|number| cache.peek(&digest_of(*number)).is_some()).collect()
}

#[test]
fn random_operations_keep_both_bounds_and_every_value() {
    for eviction in EVICTIONS {
        // Limited by entries, by bytes, and by neither alone.
        for (max_entries, max_bytes) in
            [(1, 1 << 20), (7, 1 << 20), (50, 1 << 20), (1000, room(eviction, 40)), (50, room(eviction, 90))]
        {
            let mut random = Random(max_entries as u64);
            let mut cache = LocalCache::new(eviction, max_entries, max_bytes);
            let mut inserted: HashMap<usize, (u64, usize)> = HashMap::new();
            let (mut evictions, mut replacements) = (0, 0);
            for step in 0..4_000_u64 {
                let number = random.below(100).min(random.below(100));
                let digest = digest_of(number);
                let had = cache.peek(&digest);
                let before = cache.len();
                match random.below(20) {
                    0..10 => assert_eq!(cache.get(&digest), had),
                    10..18 => {
                        let bytes = random.below(5) * random.below(300);
                        let evicted = cache.insert(digest, step, bytes);
                        inserted.insert(number, (step, bytes));
                        if bytes + eviction.overhead() > max_bytes / 8 {
                            assert_eq!((evicted, cache.peek(&digest)), (0, None));
                        } else {
                            assert_eq!(cache.len(), before + usize::from(had.is_none()) - evicted);
                            assert!(had.is_some() || cache.peek(&digest).is_some(), "a new one is kept");
                        }
                        evictions += evicted;
                        replacements += usize::from(had.is_some());
                    }
                    18 => {
                        assert_eq!(cache.remove(&digest), had);
                        assert_eq!((cache.peek(&digest), cache.len()), (None, before - usize::from(had.is_some())));
                    }
                    _ => {
                        let odd = random.below(10);
                        let gone = cache.retain(|digest, _| usize::from(digest.0[31]) % 10 != odd);
                        assert_eq!(cache.len(), before - gone);
                        assert!(keys(&cache, 100).iter().all(|number| number % 10 != odd));
                    }
                }
                assert!(cache.len() <= max_entries, "{eviction:?} {max_entries} {max_bytes}");
                assert!(cache.bytes() <= max_bytes, "{eviction:?} {max_entries} {max_bytes}");
                // Looking all of them up takes long.
                if step % 8 != 0 {
                    continue;
                }
                let kept = keys(&cache, 100);
                assert_eq!(cache.len(), kept.len());
                let weighs: usize = kept.iter().map(|number| inserted[number].1 + eviction.overhead()).sum();
                assert_eq!(cache.bytes(), weighs);
                assert!(kept.iter().all(|number| cache.peek(&digest_of(*number)) == Some(inserted[number].0)));
            }
            assert!(
                evictions > 10 && replacements > 10,
                "{eviction:?} {max_entries} {max_bytes}: {evictions} {replacements}"
            );
        }
    }
}

/// The share of hits, in percent, of 10,000 clients whose requests follow Zipf's law with exponent 1, each request
/// followed by one with a credential that is never seen again. It is counted over 100,000 requests of the clients
/// after a warm-up: 200,000 without the flood and 100,000 with it.
fn hit_rate(eviction: Eviction) -> f64 {
    const CLIENTS: usize = 10_000;
    let mut cumulated: Vec<f64> = (1..=CLIENTS).map(|rank| 1.0 / rank as f64).collect();
    for rank in 1..CLIENTS {
        cumulated[rank] += cumulated[rank - 1];
    }
    let mut random = Random(1);
    let mut cache = LocalCache::new(eviction, 10_000, 1 << 30);
    let mut ask = |number| {
        let hit = cache.get(&digest_of(number)).is_some();
        if !hit {
            cache.insert(digest_of(number), (), 0);
        }
        hit
    };
    let mut hits = 0;
    for request in 0..400_000 {
        let point = random.next() as f64 / 2f64.powi(64) * cumulated[CLIENTS - 1];
        let hit = ask(cumulated.partition_point(|sum| *sum <= point));
        hits += usize::from(hit && request >= 300_000);
        if request >= 200_000 {
            assert!(!ask(CLIENTS + request));
        }
    }
    hits as f64 / 1000.0
}

#[test]
fn a_flood_of_new_credentials_does_not_evict_those_in_use() {
    for eviction in EVICTIONS {
        let rate = hit_rate(eviction);
        println!("{eviction:?}: {rate:.2} % hits");
        assert!(rate >= 96.0, "{eviction:?}: {rate:.2} %");
    }
}

#[test]
fn unused_entries_are_evicted_first_then_the_least_recently_used() {
    let mut cache = LocalCache::new(Eviction::Lru, 4, 1 << 20);
    for number in 0..4 {
        assert_eq!(cache.insert(digest_of(number), number, 0), 0);
    }
    for number in [2, 0, 1] {
        assert_eq!(cache.get(&digest_of(number)), Some(number));
    }
    assert_eq!(cache.insert(digest_of(4), 4, 0), 1, "3 was never used");
    assert_eq!(keys(&cache, 9), [0, 1, 2, 4]);
    for number in 5..8 {
        cache.insert(digest_of(number), number, 0);
    }
    assert_eq!(keys(&cache, 9), [0, 1, 2, 7]);
    for number in [7, 0] {
        cache.get(&digest_of(number));
    }
    cache.insert(digest_of(8), 8, 0);
    assert_eq!(keys(&cache, 9), [0, 1, 7, 8], "2 was used longest ago");
}

#[test]
fn peeking_does_not_count_as_use() {
    let mut cache = LocalCache::new(Eviction::Lru, 2, 1 << 20);
    cache.insert(digest_of(0), 0, 0);
    cache.insert(digest_of(1), 1, 0);
    assert_eq!(cache.peek(&digest_of(0)), Some(0));
    cache.insert(digest_of(2), 2, 0);
    assert_eq!(keys(&cache, 3), [1, 2]);
}

#[test]
fn storing_again_replaces_the_value() {
    for eviction in EVICTIONS {
        let mut cache = LocalCache::new(eviction, 10, room(eviction, 80));
        cache.insert(digest_of(0), "old", 100);
        cache.insert(digest_of(1), "other", 0);
        assert_eq!(cache.insert(digest_of(0), "new", 300), 0);
        assert_eq!((cache.get(&digest_of(0)), cache.len()), (Some("new"), 2));
        assert_eq!(cache.bytes(), 300 + room(eviction, 2));
        assert_eq!(cache.insert(digest_of(0), "newer", 0), 0);
        assert_eq!((cache.get(&digest_of(0)), cache.bytes()), (Some("newer"), room(eviction, 2)));
    }
}

#[test]
fn an_entry_larger_than_an_eighth_is_not_stored_and_removes_the_old_one() {
    for eviction in EVICTIONS {
        let mut cache = LocalCache::new(eviction, 10, room(eviction, 80));
        let largest = room(eviction, 10) - eviction.overhead();
        cache.insert(digest_of(0), 0, 0);
        assert_eq!(cache.insert(digest_of(1), 1, largest), 0);
        assert_eq!(cache.get(&digest_of(1)), Some(1));
        for bytes in [largest + 1, usize::MAX] {
            assert_eq!(cache.insert(digest_of(1), 2, bytes), 0);
            assert_eq!((keys(&cache, 3), cache.bytes()), (vec![0], room(eviction, 1)));
        }
    }
}

#[test]
fn retain_removes_and_counts_the_rejected_entries() {
    for eviction in EVICTIONS {
        let mut cache = LocalCache::new(eviction, 100, 1 << 20);
        for number in 0..10 {
            cache.insert(digest_of(number), number, number);
        }
        cache.get(&digest_of(4));
        cache.get(&digest_of(5));
        let mut seen = Vec::new();
        let gone = cache.retain(|digest, number| {
            assert_eq!(*digest, digest_of(*number));
            seen.push(*number);
            number % 2 == 0
        });
        seen.sort_unstable();
        assert_eq!((gone, seen), (5, (0..10).collect()));
        assert_eq!((keys(&cache, 10), cache.bytes()), (vec![0, 2, 4, 6, 8], 20 + room(eviction, 5)));
        assert_eq!(cache.retain(|_, _| true), 0);
        assert_eq!(cache.retain(|_, _| false), 5);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }
}

#[test]
fn a_cache_of_no_size_stores_nothing() {
    for eviction in EVICTIONS {
        for (max_entries, max_bytes) in [(0, 1 << 20), (10, 0), (10, room(eviction, 7))] {
            let mut cache = LocalCache::new(eviction, max_entries, max_bytes);
            assert_eq!(cache.insert(digest_of(0), 0, 0), 0);
            assert_eq!((cache.get(&digest_of(0)), cache.len(), cache.bytes()), (None, 0, 0));
        }
        let mut largest = LocalCache::new(eviction, usize::MAX, usize::MAX);
        largest.insert(digest_of(0), 0, 1000);
        assert_eq!(largest.get(&digest_of(0)), Some(0));
    }
}

#[test]
fn an_empty_cache_allocates_nothing() {
    for eviction in EVICTIONS {
        match LocalCache::<u64>::new(eviction, 1_000_000, 1 << 30).store {
            Store::Lru(store) => {
                assert_eq!(store.probation.entries.capacity() + store.protected.entries.capacity(), 0);
            }
            Store::Lfu(store) => assert_eq!(store.cache.memory_used().total(), 0),
        }
    }
}

#[test]
fn digests_with_the_same_beginning_are_distinguished() {
    for eviction in EVICTIONS {
        let mut cache = LocalCache::new(eviction, 1000, 1 << 20);
        let digest_of = |number: u8| {
            let mut bytes = [7; 32];
            bytes[31] = number;
            Digest(bytes)
        };
        for number in 0..100 {
            cache.insert(digest_of(number), number, 0);
        }
        assert!((0..100).all(|number| cache.get(&digest_of(number)) == Some(number)));
        assert_eq!(cache.remove(&digest_of(3)), Some(3));
        assert_eq!((cache.get(&digest_of(3)), cache.get(&digest_of(4)), cache.len()), (None, Some(4), 99));
    }
}
