//! Verdicts that have expired: they end older ones, and make room for others.

use super::*;

/// The service may bring a token's `exp` forward. A worker that has an older verdict has not seen that.
#[test]
fn a_newer_verdict_that_has_expired_ends_an_older_one_in_every_worker() {
    for newer in [json!({"exp": BEGIN + 210}), json!({"exp": BEGIN + 10}), json!({"nbf": BEGIN + 50_000})] {
        let host = Process::default();
        let (mut one, mut other) = (worker(json!({})), worker(json!({})));
        let digest = digest(&one, 0);
        one.store(&digest, KIND, identity(json!({})), at(0), &Cx::new(at(0), &host)).unwrap();
        assert_eq!(who(&mut other, &digest, &Cx::new(at(1), &host)), 17);
        one.store(&digest, KIND, identity(newer.clone()), at(200), &Cx::new(at(200), &host)).unwrap();
        let mut assert_ended = |now| {
            for cache in [&mut one, &mut other, &mut worker(json!({}))] {
                let cx = Cx::new(now, &host);
                assert!(!stands_in(cache, &digest, &cx) && !cache.was_good(&digest, KIND, &cx), "{newer}");
                assert_eq!(who(cache, &digest, &cx), 0, "{newer}");
            }
        };
        assert_ended(at(250));
        // What a worker has learned holds without the shared entry, which another credential's may displace.
        for (name, _) in host.stored(".v.") {
            let mut alone = worker(json!({}));
            alone.store(&digest, KIND, identity(json!({})), at(0), &Cx::new(at(0), &Process::default())).unwrap();
            assert!(!stands_in(&mut alone, &digest, &Cx::new(at(250), &host)), "{newer}");
            let emptied = Process::default();
            emptied.set_shared_data(&name, &[], Write::Always).unwrap();
            assert!(!stands_in(&mut alone, &digest, &Cx::new(at(251), &emptied)), "{newer}");
        }
        // The sweep forgets whose it was, not that it has ended.
        let cx = Cx::new(at(700), &host);
        (0..other.rows()).for_each(|row| other.sweep_row(row, other.lives.longest(&cx), &cx));
        let mut assert_ended = |now| {
            for cache in [&mut other, &mut worker(json!({}))] {
                assert!(!stands_in(cache, &digest, &Cx::new(now, &host)), "{newer}");
            }
        };
        assert_ended(at(701));
        assert_ended(at(1099));
    }
}

#[test]
fn the_sweep_drops_an_expired_identity_and_later_the_time_of_its_verification() {
    let host = Process::default();
    let mut one = worker(json!({}));
    let digest = digest(&one, 0);
    one.store(&digest, KIND, identity(json!({"exp": BEGIN + 10})), at(0), &Cx::new(at(0), &host)).unwrap();
    for (now, length) in [(at(309), 100..4096), (at(310), 42..43), (at(1099), 42..43)] {
        let cx = Cx::new(now, &host);
        (0..one.rows()).for_each(|row| one.sweep_row(row, one.lives.longest(&cx), &cx));
        let stored = host.stored(".v.");
        assert!(stored.iter().all(|(_, record)| length.contains(&record.len())), "{stored:?}");
        assert_eq!(stored.len(), 1);
    }
    let cx = Cx::new(at(1100), &host);
    (0..one.rows()).for_each(|row| one.sweep_row(row, one.lives.longest(&cx), &cx));
    assert_eq!(host.stored(".v.").len(), 0);
}

/// A record of another credential, by its slot, and in the form that the sweep leaves when it has expired.
fn records(number: u8, verified: u64) -> (String, Vec<u8>, Vec<u8>) {
    let host = Process::default();
    let mut cache = worker(json!({}));
    let digest = digest(&cache, number);
    let identity = identity(json!({"exp": BEGIN + 10}));
    cache.store(&digest, KIND, identity, at(verified), &Cx::new(at(verified), &host)).unwrap();
    let (name, whole) = host.stored(".v.").remove(0);
    let cx = Cx::new(at(400), &host);
    (0..cache.rows()).for_each(|row| cache.sweep_row(row, cache.lives.longest(&cx), &cx));
    (name, whole, host.stored(".v.").remove(0).1)
}

#[test]
fn an_expired_verdict_makes_room_before_one_of_use() {
    let store = |host: &Process| {
        let mut cache = worker(json!({}));
        let digest = digest(&cache, 0);
        cache.store(&digest, KIND, identity(json!({})), at(9), &Cx::new(at(9), host)).unwrap();
    };
    let (_, earlier, _) = records(1, 1);
    let (_, _, expired) = records(2, 8);
    // Its first slot, and with another's record there its second.
    let host = Process::default();
    store(&host);
    let first = host.stored(".v.").remove(0).0;
    host.set_shared_data(&first, &earlier, Write::Always).unwrap();
    store(&host);
    let second = host.stored(".v.").into_iter().map(|(name, _)| name).find(|name| *name != first).unwrap();
    for (expired_slot, used_slot) in [(&first, &second), (&second, &first)] {
        let host = Process::default();
        host.set_shared_data(expired_slot, &expired, Write::Always).unwrap();
        host.set_shared_data(used_slot, &earlier, Write::Always).unwrap();
        store(&host);
        let stored = host.stored(".v.");
        assert!(stored.iter().any(|(_, record)| *record == earlier), "it was verified earlier, but is of use");
        assert!(stored.iter().all(|(_, record)| *record != expired));
    }
}
