//! Both levels together, as one worker and two see them.

mod ended;
mod kept;

use serde_json::{Value, json};

use super::*;
use crate::filter::world::{BEGIN, Process};
use crate::host::{Conflict, Cx, Write};
use crate::introspection::{CalloutResponse, Verdict, read};
use crate::keys::Keys;
use crate::policy::VerifiedBy;
use crate::seal::{Seal, Sealed};
use crate::testing::{self, Overheard};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_KEY: &str = "//////////////////////////////////////////8=";
const KIND: Kind = Kind::ApiToken;

fn at(seconds: u64) -> Instant {
    Instant::from_secs(BEGIN + seconds)
}

/// A `ttl` of 100 s, a `stale_ttl` of 1000 s and a `negative_ttl` of 10 s, overridden by `changes`.
fn worker(changes: Value) -> VerificationCache {
    let mut settings = json!({"cache": {"ttl": "100s", "stale_ttl": "1000s", "negative_ttl": "10s"}});
    settings.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    let config = testing::config(settings);
    VerificationCache::new(&config, &prefix(&config))
}

/// An identity that the service confirmed.
fn identity(changes: Value) -> Identity {
    let mut claims = testing::claims(json!({"exp": BEGIN + 100_000}));
    claims.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    let answer = CalloutResponse { status: 200, headers: vec![], body: Some(claims.to_string().into_bytes()) };
    match read(&answer, config::ResponseFormat::JsonBody, &config::AnswerHeaders::default()) {
        Ok(Verdict::Identity(confirmed)) => confirmed.into(),
        other => panic!("{other:?}"),
    }
}

fn digest(cache: &VerificationCache, number: u8) -> Digest {
    cache.digest(KIND, &[number])
}

fn no_keys() -> Keys {
    Keys::new(&testing::config(json!({})))
}

/// The user of the fresh entry; 0: there is none; -1 and -2: it is refused, with 401 and 403.
fn who(cache: &mut VerificationCache, digest: &Digest, cx: &Cx<'_>) -> i64 {
    match cache.look_up(digest, KIND, &mut Validity::new(&mut no_keys(), None, cx.shared), cx) {
        Lookup::Fresh(entry) => entry.claims().user_id(),
        Lookup::Refused(Code::ForbiddenByService) => -2,
        Lookup::Refused(_) => -1,
        Lookup::Miss => 0,
    }
}

fn stands_in(cache: &mut VerificationCache, digest: &Digest, cx: &Cx<'_>) -> bool {
    cache.stale(digest, KIND, &mut Validity::new(&mut no_keys(), None, cx.shared), cx).is_some()
}

#[test]
fn a_verdict_is_fresh_for_ttl_and_may_stand_in_for_stale_ttl_more() {
    let host = Process::default();
    let (mut one, mut other) = (worker(json!({})), worker(json!({})));
    let digest = digest(&one, 0);
    one.store(&digest, KIND, identity(json!({})), at(0), &Cx::new(at(3), &host)).unwrap();
    for cache in [&mut one, &mut other] {
        assert_eq!(who(cache, &digest, &Cx::new(at(99), &host)), 17);
        assert_eq!(who(cache, &digest, &Cx::new(at(100), &host)), 0, "counted from when it began");
        assert!(
            stands_in(cache, &digest, &Cx::new(at(100), &host)) && stands_in(cache, &digest, &Cx::new(at(1099), &host))
        );
        assert!(!stands_in(cache, &digest, &Cx::new(at(1100), &host)));
    }
    let mut late = worker(json!({}));
    assert!(
        stands_in(&mut late, &digest, &Cx::new(at(1099), &host))
            && !stands_in(&mut late, &digest, &Cx::new(at(1100), &host))
    );
}

#[test]
fn an_expired_identity_is_neither_fresh_nor_stale() {
    for (skew, end) in [("0s", 50), ("10s", 60)] {
        let host = Process::default();
        let settings = json!({"jwt": {"clock_skew": skew}});
        let (mut one, mut other) = (worker(settings.clone()), worker(settings));
        let digest = digest(&one, 0);
        one.store(&digest, KIND, identity(json!({"exp": BEGIN + 50})), at(0), &Cx::new(at(0), &host)).unwrap();
        for cache in [&mut one, &mut other] {
            let before = Instant::from_nanos(at(end).as_nanos() - 1);
            assert_eq!(
                (who(cache, &digest, &Cx::new(before, &host)), who(cache, &digest, &Cx::new(at(end), &host))),
                (17, 0)
            );
            assert!(
                stands_in(cache, &digest, &Cx::new(before, &host))
                    && !stands_in(cache, &digest, &Cx::new(at(end), &host))
            );
        }
    }
}

#[test]
fn the_newer_of_two_verdicts_counts() {
    let host = Process::default();
    let (mut one, mut other) = (worker(json!({})), worker(json!({})));
    let digest = digest(&one, 0);
    one.store(&digest, KIND, identity(json!({"user_id": 1})), at(0), &Cx::new(at(0), &host)).unwrap();
    other.store(&digest, KIND, identity(json!({"user_id": 2})), at(60), &Cx::new(at(60), &host)).unwrap();
    assert_eq!(who(&mut one, &digest, &Cx::new(at(61), &host)), 1, "its own is good enough");
    assert_eq!(who(&mut one, &digest, &Cx::new(at(101), &host)), 2);
    other.store(&digest, KIND, identity(json!({"user_id": 3})), at(50), &Cx::new(at(102), &host)).unwrap();
    assert_eq!(who(&mut other, &digest, &Cx::new(at(103), &host)), 2, "an answer that was long under way");
}

#[test]
fn a_refusal_voids_older_verdicts_only() {
    for (code, negative) in [(Code::TokenRejected, -1), (Code::ForbiddenByService, -2)] {
        let host = Process::default();
        let (mut one, mut other) = (worker(json!({})), worker(json!({})));
        let digest = digest(&one, 0);
        one.store(&digest, KIND, identity(json!({})), at(0), &Cx::new(at(0), &host)).unwrap();
        assert_eq!(who(&mut other, &digest, &Cx::new(at(1), &host)), 17);
        one.refuse(&digest, code, None, at(2), &Cx::new(at(3), &host));
        for cache in [&mut one, &mut other] {
            assert_eq!(who(cache, &digest, &Cx::new(at(12), &host)), negative);
            assert_eq!(who(cache, &digest, &Cx::new(at(13), &host)), 0, "negative_ttl is counted from the answer");
            assert!(
                !stands_in(cache, &digest, &Cx::new(at(14), &host))
                    && !stands_in(cache, &digest, &Cx::new(at(1099), &host))
            );
            assert!(cache.is_refused(&digest, KIND, &host));
        }
        let back = one.store(&digest, KIND, identity(json!({})), at(1), &Cx::new(at(4), &host));
        assert_eq!(back, Err(code), "it began before the refusal");
        assert_eq!(who(&mut other, &digest, &Cx::new(at(13), &host)), 0);
        assert!(one.store(&digest, KIND, identity(json!({"user_id": 5})), at(20), &Cx::new(at(21), &host)).is_ok());
        one.refuse(&digest, code, None, at(19), &Cx::new(at(22), &host));
        assert_eq!(who(&mut one, &digest, &Cx::new(at(23), &host)), 5);
        assert_eq!(
            who(&mut other, &digest, &Cx::new(at(23), &host)),
            5,
            "its own is older than the refusal, the shared one newer"
        );
        assert_eq!(who(&mut other, &digest, &Cx::new(at(101), &host)), 5);
    }
}

#[test]
fn a_verdict_newer_than_a_refusal_replaces_a_workers_older_one() {
    let host = Process::default();
    let (mut one, mut other) = (worker(json!({})), worker(json!({})));
    let digest = digest(&one, 0);
    other.store(&digest, KIND, identity(json!({})), at(0), &Cx::new(at(0), &host)).unwrap();
    one.store(&digest, KIND, identity(json!({"user_id": 5})), at(20), &Cx::new(at(21), &host)).unwrap();
    one.refuse(&digest, Code::TokenRejected, None, at(19), &Cx::new(at(22), &host));
    assert_eq!(who(&mut other, &digest, &Cx::new(at(23), &host)), 5);
    one.refuse(&digest, Code::TokenRejected, None, at(24), &Cx::new(at(24), &host));
    assert_eq!(
        (who(&mut other, &digest, &Cx::new(at(25), &host)), who(&mut one, &digest, &Cx::new(at(25), &host))),
        (-1, -1)
    );
}

#[test]
fn a_refusal_holds_for_its_credential_only() {
    let host = Process::default();
    let mut cache = worker(json!({}));
    let keys: Vec<Digest> = (0..50).map(|number| digest(&cache, number)).collect();
    for (number, digest) in (0..).zip(&keys) {
        cache.store(digest, KIND, identity(json!({"user_id": number})), at(0), &Cx::new(at(0), &host)).unwrap();
    }
    cache.refuse(&keys[7], Code::TokenRejected, None, at(1), &Cx::new(at(1), &host));
    for (number, digest) in (0..).zip(&keys) {
        assert_eq!(who(&mut cache, digest, &Cx::new(at(2), &host)), if number == 7 { -1 } else { number });
    }
}

#[test]
fn equal_bytes_verified_differently_are_different_credentials() {
    let cache = worker(json!({}));
    let kinds = [Kind::LocalJwt, Kind::RemoteJwt, Kind::ApiToken, Kind::Other];
    let mut keys: Vec<Digest> = kinds.map(|kind| cache.digest(kind, b"token")).to_vec();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4);
}

#[test]
fn forgetting_a_verdict_clears_its_slot_but_not_a_newer_verdict() {
    let host = Process::default();
    let (mut one, mut other) = (worker(json!({})), worker(json!({})));
    let digest = digest(&one, 0);
    one.store(&digest, KIND, identity(json!({})), at(0), &Cx::new(at(0), &host)).unwrap();
    one.forget(&digest, KIND, at(0), &Cx::new(at(0), &host));
    assert_eq!(
        (who(&mut one, &digest, &Cx::new(at(1), &host)), who(&mut other, &digest, &Cx::new(at(1), &host))),
        (0, 0)
    );
    assert_eq!(host.gauge(Gauge::CacheEntries), Some(0));
    one.store(&digest, KIND, identity(json!({})), at(2), &Cx::new(at(2), &host)).unwrap();
    other.store(&digest, KIND, identity(json!({"user_id": 5})), at(3), &Cx::new(at(3), &host)).unwrap();
    one.forget(&digest, KIND, at(2), &Cx::new(at(2), &host));
    assert_eq!(who(&mut one, &digest, &Cx::new(at(4), &host)), 5);
}

#[test]
fn an_identity_too_large_for_a_slot_is_cached_locally() {
    let host = Process::default();
    let (mut one, mut other) = (worker(json!({})), worker(json!({})));
    let digest = digest(&one, 0);
    one.store(&digest, KIND, identity(json!({"email": "x".repeat(4096)})), at(0), &Cx::new(at(0), &host)).unwrap();
    assert_eq!(
        (who(&mut one, &digest, &Cx::new(at(1), &host)), who(&mut other, &digest, &Cx::new(at(1), &host))),
        (17, 0)
    );
}

#[test]
fn a_record_that_is_not_sealed_with_the_key_is_ignored() {
    let process = Process::default();
    let host = |key: Option<&str>| {
        let seal = key.map(|key| Seal::new(key, [7; 16]).unwrap());
        Sealed::new(Overheard { host: &process, heard: |_: &str| Ok(()) }, seal)
    };
    let sealed = host(Some(KEY));
    let (mut one, mut other) = (worker(json!({})), worker(json!({})));
    let digest = digest(&one, 0);
    one.store(&digest, KIND, identity(json!({})), at(0), &Cx { shared: &sealed, ..Cx::new(at(0), &process) }).unwrap();
    assert_eq!(who(&mut other, &digest, &Cx { shared: &sealed, ..Cx::new(at(1), &process) }), 17, "the same digest");
    for stranger in [host(Some(OTHER_KEY)), host(None)] {
        assert_eq!(
            who(&mut worker(json!({})), &digest, &Cx { shared: &stranger, ..Cx::new(at(1), &process) }),
            0,
            "it can't be read"
        );
        let forged = Entry::new(Rc::new(identity(json!({"user_id": 666}))), at(2));
        for (slot, _) in process.stored(".v.") {
            stranger.set_shared_data(&slot, &shared::encode(&digest, &forged), Write::Always).unwrap();
        }
        assert_eq!(
            who(&mut worker(json!({})), &digest, &Cx { shared: &sealed, ..Cx::new(at(3), &process) }),
            0,
            "nor forged"
        );
    }
    // A record that was sealed for another slot.
    one.store(&digest, KIND, identity(json!({})), at(4), &Cx { shared: &sealed, ..Cx::new(at(4), &process) }).unwrap();
    let (name, record) = process.stored(".v.").remove(0);
    assert!(!record.windows(7).any(|part| part == b"user_id"));
    let moved = Seal::new(KEY, [7; 16]).unwrap().seal("elsewhere", &[]);
    process.set_shared_data(&name, &moved, Write::Always).unwrap();
    assert_eq!(
        who(&mut worker(json!({})), &digest, &Cx { shared: &sealed, ..Cx::new(at(5), &process) }),
        0,
        "nor moved"
    );
}

#[test]
fn a_busy_row_of_refusals_refuses_no_valid_credential() {
    let process = Process::default();
    let mut cache = worker(json!({}));
    let digest = digest(&cache, 0);
    cache.refuse(&digest, Code::TokenRejected, None, at(0), &Cx::new(at(0), &process));
    // Other workers always write refusals first.
    let heard = |key: &str| if key.contains(".n.") { Err(Conflict) } else { Ok(()) };
    let host = Overheard { host: &process, heard };
    assert!(cache.store(&digest, KIND, identity(json!({})), at(20), &Cx::new(at(21), &host)).is_ok());
    assert_eq!(who(&mut cache, &digest, &Cx::new(at(22), &host)), 17);
    let other = cache.digest(KIND, b"other");
    cache.refuse(&other, Code::TokenRejected, None, at(30), &Cx::new(at(30), &process));
    assert!(
        cache.store(&other, KIND, identity(json!({})), at(29), &Cx::new(at(31), &host)).is_err(),
        "a later one counts"
    );
}

#[test]
fn a_flood_of_refusals_evicts_no_verdict() {
    let host = Process::default();
    let mut cache = worker(json!({}));
    let keys: Vec<Digest> = (0..100_u8).map(|number| digest(&cache, number)).collect();
    keys.iter().for_each(|digest| _ = cache.store(digest, KIND, identity(json!({})), at(0), &Cx::new(at(0), &host)));
    for number in 0..20_000_u32 {
        let garbage = cache.digest(KIND, &number.to_le_bytes());
        cache.refuse(&garbage, Code::TokenRejected, None, at(1), &Cx::new(at(1), &host));
    }
    assert!(keys.iter().all(|digest| who(&mut cache, digest, &Cx::new(at(2), &host)) == 17));
    let rows = host.stored(".n.");
    assert!(rows.len() <= 4096 && rows.iter().all(|(_, row)| row.len() <= 4 * 57));
}

#[test]
fn workers_share_nearly_all_of_ten_thousand_verdicts() {
    let host = Process::default();
    let (mut one, mut other) = (worker(json!({})), worker(json!({})));
    let keys: Vec<_> = (0..10_000_u32).map(|number| one.digest(KIND, &number.to_le_bytes())).collect();
    for digest in &keys {
        one.store(digest, KIND, identity(json!({})), at(0), &Cx::new(at(0), &host)).unwrap();
    }
    let known = keys.iter().filter(|digest| stands_in(&mut other, digest, &Cx::new(at(200), &host))).count();
    println!("{known} of 10,000");
    assert!(known >= 9_500, "{known}");
}

#[test]
fn without_negative_ttl_no_worker_reuses_a_refusal() {
    for code in [Code::TokenRejected, Code::ForbiddenByService] {
        let host = Process::default();
        let settings = json!({"cache": {"negative_ttl": "0s"}});
        let (mut one, mut other) = (worker(settings.clone()), worker(settings));
        let digest = digest(&one, 0);
        one.refuse(&digest, code, None, at(2), &Cx::new(at(3), &host));
        let earlier = Instant::from_nanos(at(3).as_nanos() - 1_000);
        assert_eq!(who(&mut other, &digest, &Cx::new(earlier, &host)), 0, "it is asked about");
    }
}

#[test]
fn an_identity_too_large_to_share_is_named_while_it_may_be_cached() {
    let host = Process::default();
    let mut one = worker(json!({}));
    let digest = digest(&one, 0);
    one.store(&digest, KIND, identity(json!({"email": "x".repeat(5000)})), at(0), &Cx::new(at(0), &host)).unwrap();
    assert_eq!(who(&mut worker(json!({})), &digest, &Cx::new(at(1), &host)), 0, "to one worker alone");
    for (now, named) in [(at(1099), 1), (at(1100), 0)] {
        (0..one.rows())
            .for_each(|row| one.sweep_row(row, one.lives.longest(&Cx::new(now, &host)), &Cx::new(now, &host)));
        let stored = host.stored(".v.");
        assert_eq!(stored.len(), named);
        assert!(stored.iter().all(|(_, record)| record.len() == 41));
    }
}

#[test]
fn forged_jwts_displace_no_refusal_of_a_signed_jwt() {
    let host = Process::default();
    let cache = worker(json!({}));
    let (cx, expires) = (Cx::new(at(0), &host), UnixTime::from_secs(BEGIN + 3600));
    let signed: Vec<Vec<u8>> = (0..100_u8).map(|number| format!("signed {number}").into_bytes()).collect();
    signed.iter().for_each(|token| cache.refuse_jwt(token, true, Code::TokenRejected, Some(expires), at(0), &cx));
    let later = Cx::new(at(1), &host);
    for number in 0..20_000_u32 {
        let forged = number.to_le_bytes();
        cache.refuse_jwt(&forged, false, Code::TokenRejected, Some(expires), at(1), &later);
        assert!(!cache.may_stand_for_itself(&forged, &host), "a digest may still be found for it");
    }
    assert!(signed.iter().all(|token| !cache.may_stand_for_itself(token, &host)));
    assert!(host.stored(".j.").iter().all(|(_, row)| row.len() <= 4 * 57));
}

#[test]
fn a_digest_is_the_same_whether_it_is_remembered_or_displaced() {
    let one = worker(json!({}));
    for token in (0..2000_u32).chain(0..2000).flat_map(|number| [number.to_le_bytes(); 2]) {
        assert_eq!(one.digest(KIND, &token), one.digests.sha256(KIND, &token));
    }
}

#[test]
fn only_locally_verified_jwts_have_a_digest_under_the_workers_secret() {
    let (one, other) = (worker(json!({})), worker(json!({})));
    for (kind, is_the_same) in
        [(Kind::LocalJwt, false), (Kind::RemoteJwt, true), (Kind::ApiToken, true), (Kind::Other, true)]
    {
        let of_one = one.digest(kind, b"a.b.c");
        assert_eq!(one.digest(kind, b"a.b.c"), of_one);
        assert_ne!(one.digest(kind, b"a.b.d"), of_one);
        assert_eq!(other.digest(kind, b"a.b.c") == of_one, is_the_same, "{kind:?}");
    }
    let shown = format!("{:?}", one.digests);
    assert_eq!(shown, "Digests { secret: WorkerSecret { .. }, .. }", "neither secret nor hashes are in debug output");
}
