//! Which keys are accepted, for how long, and by which worker.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::filter::world::{BEGIN, KEYS, Process};
use crate::testing::{config, overtaking};

const GRACE: Duration = Duration::from_secs(5);

/// A worker that knows nothing yet.
fn store() -> KeyStore {
    KeyStore::new(&config(json!({"jwt": {"public_key": {"grace": "5s"}}})))
}

/// Five keys.
fn key(number: usize) -> PublicKey {
    let further = [
        include_str!("../../public_key/testdata/rsa_2048.pem"),
        include_str!("../../public_key/testdata/rsa_3072.pem"),
    ];
    PublicKey::from_pem(KEYS.iter().chain(&further).nth(number).unwrap()).unwrap()
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(BEGIN + seconds)
}

/// A fetch that begins now brings this key at once.
fn fetch(store: &mut KeyStore, number: usize, now: Instant, host: &Process) {
    assert!(store.begin_fetch(Reason::SignatureFailed, &Cx::new(now, host)));
    store.succeed(&key(number), now, false, &Cx::new(now, host));
}

/// Which of the keys are accepted, the likeliest first.
fn good(store: &KeyStore, now: Instant) -> Vec<usize> {
    store.keys(now).map(|good| (0..5).find(|number| key(*number) == *good).unwrap()).collect()
}

#[test]
fn every_worker_accepts_a_replaced_key_for_its_grace() {
    let host = Process::default();
    let (mut one, mut other) = (store(), store());
    fetch(&mut one, 0, at(0), &host);
    other.synchronise(&Cx::new(at(0), &host));
    fetch(&mut one, 1, at(100), &host);
    // Another worker hears of it late, and a third one begins later.
    let mut third = store();
    for store in [&mut other, &mut third] {
        store.synchronise(&Cx::new(at(103), &host));
    }
    for store in [&one, &other, &third] {
        assert_eq!(good(store, at(104)), [1, 0]);
        assert_eq!(good(store, at(105)), [1]);
        assert!(store.accepts(key(0).id(), at(104)) && !store.accepts(key(0).id(), at(105)));
    }
}

#[test]
fn the_grace_begins_when_the_new_key_arrives() {
    let host = Process::default();
    let mut store = store();
    fetch(&mut store, 0, at(0), &host);
    assert!(store.begin_fetch(Reason::SignatureFailed, &Cx::new(at(100), &host)));
    store.succeed(&key(1), at(100), false, &Cx::new(at(102), &host));
    assert_eq!(good(&store, at(106)), [1, 0]);
    assert_eq!(good(&store, at(107)), [1]);
}

#[test]
fn keys_that_replicas_serve_alternately_stay_good() {
    let host = Process::default();
    let mut store = store();
    fetch(&mut store, 0, at(0), &host);
    for turn in 1..20 {
        let now = at(turn * 5);
        fetch(&mut store, usize::try_from(turn % 2).unwrap(), now, &host);
        assert_eq!(good(&store, now.after(Duration::from_millis(4999))).len(), 2);
    }
    // The replicas agree: a key that none of them serves isn't accepted after its grace.
    for turn in 20..23 {
        fetch(&mut store, 1, at(turn * 5), &host);
    }
    assert_eq!(good(&store, at(110)), [1]);
}

#[test]
fn four_keys_are_kept_at_the_most() {
    let host = Process::default();
    let (mut store, mut other) = (
        KeyStore::new(&config(json!({"jwt": {"public_key": {"grace": "1h"}}}))),
        KeyStore::new(&config(json!({"jwt": {"public_key": {"grace": "1h"}}}))),
    );
    for number in 0..5 {
        fetch(&mut store, number, at(u64::try_from(number).unwrap() * 10), &host);
    }
    other.synchronise(&Cx::new(at(41), &host));
    for store in [&store, &other] {
        assert_eq!(good(store, at(41)), [4, 3, 2, 1]);
    }
    fetch(&mut store, 2, at(50), &host);
    assert_eq!(good(&store, at(51)), [2, 4, 3, 1]);
}

#[test]
fn an_unchanged_key_counts_as_fetched_and_not_as_changed() {
    let host = Process::default();
    let mut store = store();
    fetch(&mut store, 0, at(0), &host);
    fetch(&mut store, 1, at(10), &host);
    let generation = store.generation();
    fetch(&mut store, 1, at(20), &host);
    assert_eq!((store.generation(), store.fetched_at()), (generation, Some(at(20))));
    fetch(&mut store, 0, at(30), &host);
    assert!(store.generation() > generation, "another key comes first");
}

#[test]
fn a_worker_takes_over_two_changes_at_once() {
    let host = Process::default();
    let (mut one, mut other) = (store(), store());
    fetch(&mut one, 0, at(0), &host);
    other.synchronise(&Cx::new(at(0), &host));
    let generation = other.generation();
    fetch(&mut one, 1, at(5), &host);
    fetch(&mut one, 2, at(10), &host);
    other.synchronise(&Cx::new(at(10), &host));
    assert_eq!((good(&other, at(11)), good(&other, at(16))), (vec![2, 1], vec![2]));
    assert!(other.generation() > generation);
}

#[test]
fn a_concurrent_write_of_another_worker_is_kept() {
    let process = Process::default();
    let (mut one, mut other) = (store(), store());
    fetch(&mut one, 0, at(0), &process);
    assert!(one.begin_fetch(Reason::Due, &Cx::new(at(100), &process)));
    // The lease is over, and another worker's fetch brings another key just before this worker writes its own.
    let host = overtaking(&process, [|| other.succeed(&key(1), at(99), false, &Cx::new(at(104), &process))]);
    one.succeed(&key(2), at(100), false, &Cx::new(at(104), &host));
    assert_eq!(good(&one, at(105)), [2, 1, 0]);
}

#[test]
fn every_worker_may_judge_signatures_for_a_minute_after_a_search() {
    let host = Process::default();
    let (mut one, mut other) = (store(), store());
    fetch(&mut one, 0, at(0), &host);
    assert!(!one.can_judge(at(0), at(1)), "another replica may serve another key");
    assert!(one.begin_fetch(Reason::SignatureFailed, &Cx::new(at(10), &host)));
    one.succeed(&key(0), at(10), true, &Cx::new(at(11), &host));
    other.synchronise(&Cx::new(at(11), &host));
    for store in [&one, &other] {
        assert!(store.can_judge(at(9), at(12)) && store.can_judge(at(10), at(12)));
        assert!(!store.can_judge(at(11), at(12)), "nobody has asked since it arrived");
    }
    fetch(&mut one, 0, at(20), &host);
    assert!(one.can_judge(at(20), at(69)), "the service was searched less than a minute ago, and asked since");
    assert!(!one.can_judge(at(20), at(70)) && one.may_search(at(70)));
    fetch(&mut one, 1, at(75), &host);
    assert!(!one.can_judge(at(75), at(76)) && one.may_search(at(76)), "a new key ends what the search has found");
}

#[test]
fn foreign_bytes_are_not_read_as_keys() {
    let host = Process::default();
    let mut store = store();
    fetch(&mut store, 0, at(0), &host);
    let good_record = host.shared_data(&store.key_name).unwrap().bytes;
    let mut cut = good_record.clone();
    cut[8..16].copy_from_slice(&at(10).as_nanos().to_le_bytes());
    cut.pop();
    for bytes in [&[][..], &[1; 7], &[1; 300], &cut, &[&good_record[..], &[0; 10]].concat()] {
        host.set_shared_data(&store.key_name, bytes, Write::Always).unwrap();
        store.synchronise(&Cx::new(at(20), &host));
        assert_eq!(good(&store, at(20)), [0], "{} bytes", bytes.len());
    }
    assert_eq!(GRACE, store.grace);
    fetch(&mut store, 1, at(30), &host);
    assert_eq!(good(&store, at(31)), [1, 0]);
}
