//! Both policies: the bounds, the values, and what a flood of credentials that are seen once does to the hit rate.

use std::collections::HashMap;

use super::*;

const POLICIES: [Policy; 2] = [Policy::Lru, Policy::Lfu];

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
fn digest(number: usize) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&mix(number as u64).to_le_bytes());
    bytes[24..].copy_from_slice(&(number as u64).to_be_bytes());
    Digest(bytes)
}

/// Room for this many values of no weight.
fn room(entries: usize) -> usize {
    entries * ENTRY_OVERHEAD
}

fn keys<V: Clone>(cache: &LocalCache<V>, candidates: usize) -> Vec<usize> {
    (0..candidates).filter(|number| cache.peek(&digest(*number)).is_some()).collect()
}

#[test]
fn any_sequence_of_operations_keeps_both_bounds_and_every_value() {
    for policy in POLICIES {
        // Limited by entries, by bytes, and by neither alone.
        for (max_entries, max_bytes) in [(1, 1 << 20), (7, 1 << 20), (50, 1 << 20), (1000, room(40)), (50, room(90))] {
            let mut random = Random(max_entries as u64);
            let mut cache = LocalCache::new(policy, max_entries, max_bytes);
            let mut inserted: HashMap<usize, (u64, usize)> = HashMap::new();
            let (mut evictions, mut replacements) = (0, 0);
            for step in 0..20_000 {
                let number = random.below(150).min(random.below(150));
                let key = digest(number);
                let had = cache.peek(&key);
                let before = cache.len();
                match random.below(20) {
                    0..10 => assert_eq!(cache.get(&key), had),
                    10..18 => {
                        let bytes = random.below(5) * random.below(80);
                        let evicted = cache.insert(key, step, bytes);
                        inserted.insert(number, (step, bytes));
                        if bytes + ENTRY_OVERHEAD > max_bytes / 8 {
                            assert_eq!((evicted, cache.peek(&key)), (0, None));
                        } else {
                            assert_eq!(cache.len(), before + usize::from(had.is_none()) - evicted);
                            assert!(had.is_some() || cache.peek(&key).is_some(), "a new one is kept");
                        }
                        evictions += evicted;
                        replacements += usize::from(had.is_some());
                    }
                    18 => {
                        assert_eq!(cache.remove(&key), had);
                        assert_eq!((cache.peek(&key), cache.len()), (None, before - usize::from(had.is_some())));
                    }
                    _ => {
                        let odd = random.below(10);
                        let gone = cache.retain(|key, _| usize::from(key.0[31]) % 10 != odd);
                        assert_eq!(cache.len(), before - gone);
                        assert!(keys(&cache, 150).iter().all(|number| number % 10 != odd));
                    }
                }
                assert!(cache.len() <= max_entries, "{policy:?} {max_entries} {max_bytes}");
                assert!(cache.bytes() <= max_bytes, "{policy:?} {max_entries} {max_bytes}");
                let kept = keys(&cache, 150);
                assert_eq!((cache.len(), cache.is_empty()), (kept.len(), kept.is_empty()));
                let weighs: usize = kept.iter().map(|number| inserted[number].1 + ENTRY_OVERHEAD).sum();
                assert_eq!(cache.bytes(), weighs);
                assert!(kept.iter().all(|number| cache.peek(&digest(*number)) == Some(inserted[number].0)));
            }
            assert!(evictions > 500 && replacements > 500, "{policy:?} {max_entries} {max_bytes}: {evictions}");
        }
    }
}

/// The share of hits, in percent, of clients whose requests follow Zipf's law with exponent 1, each request followed
/// by one with a credential that is never seen again. Every client has sent two requests before; the first half of
/// these aren't counted.
fn hit_rate(policy: Policy, max_entries: usize, clients: usize, requests: usize) -> f64 {
    let mut cumulated: Vec<f64> = (1..=clients).map(|rank| 1.0 / rank as f64).collect();
    for rank in 1..clients {
        cumulated[rank] += cumulated[rank - 1];
    }
    let mut random = Random(1);
    let mut cache = LocalCache::new(policy, max_entries, 1 << 30);
    for client in 0..clients {
        cache.insert(digest(client), (), 0);
        cache.get(&digest(client));
    }
    let mut hits = 0;
    for request in 0..2 * requests {
        let point = random.next() as f64 / 2f64.powi(64) * cumulated[clients - 1];
        let client = cumulated.partition_point(|sum| *sum <= point);
        let hit = cache.get(&digest(client)).is_some();
        if !hit {
            cache.insert(digest(client), (), 0);
        }
        hits += usize::from(hit && request >= requests);
        let once = digest(clients + request);
        assert_eq!(cache.get(&once), None);
        cache.insert(once, (), 0);
    }
    hits as f64 * 100.0 / requests as f64
}

#[test]
fn a_flood_of_credentials_seen_once_leaves_those_in_use() {
    for policy in POLICIES {
        let rate = hit_rate(policy, 10_000, 10_000, 100_000);
        println!("{policy:?}: {rate:.2} % of 10,000 clients' requests hit");
        assert!(rate >= 95.0, "{policy:?}: {rate:.2} %");
    }
}
