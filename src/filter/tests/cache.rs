//! The verification cache: what a verdict is good for, for how long, and in which workers.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::world::{BEGIN, api_token_of, head};
use super::{Answer, World, api_token, bearer, claims, jwt, jwt_of};
use crate::decision::Authorization;
use crate::filter::{Resolution, Step, StreamId};
use crate::host::{Host as _, Write};
use crate::metrics::{CacheEvent, Counter, Gauge, Outcome, Source};

const SECOND: Duration = Duration::from_secs(1);

fn events(world: &World, event: CacheEvent) -> u64 {
    world.process.count_of(Counter::Cache(event))
}

fn allowed(world: &World, source: Source) -> u64 {
    world.process.count_of(Counter::Request { outcome: Outcome::Allow, source, reason: None })
}

/// The code of a request that is answered at once; "waits": it isn't.
fn at_once(world: &mut World, worker: usize, headers: &[(String, Vec<u8>)]) -> &'static str {
    let stream = world.send_to(worker, headers);
    world.outcome(stream).map_or("waits", |outcome| outcome.code())
}

/// Everything that has been asked is answered, on whichever worker it was.
fn code(world: &mut World, worker: usize, headers: &[(String, Vec<u8>)]) -> &'static str {
    let stream = world.send_to(worker, headers);
    finish(world, stream)
}

fn finish(world: &mut World, stream: StreamId) -> &'static str {
    for _ in 0..500 {
        match world.outcome(stream) {
            Some(outcome) => return outcome.code(),
            None => world.live(SECOND / 50),
        }
    }
    "waits for ever"
}

/// A world whose workers have the public key.
fn with_key(workers: usize, overrides: Value) -> World {
    let mut world = World::with_workers(workers, overrides);
    world.tick();
    world.settle();
    world.tick();
    world
}

fn confirmed(changes: Value) -> Value {
    let mut confirmed = claims();
    confirmed["token_type"] = json!("api_token");
    confirmed.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    confirmed
}

fn no() -> Answer {
    Answer::Body(401, r#"{"error": "Invalid token", "details": "gone"}"#.to_owned())
}

#[test]
fn a_hit_costs_no_callout_and_is_counted_as_one() {
    let mut world = World::new(json!({}));
    assert_eq!(world.ask(&api_token()).code(), "");
    assert_eq!((events(&world, CacheEvent::Hit), events(&world, CacheEvent::Miss)), (0, 1));
    let first = world.send(&api_token());
    let again = world.send(&api_token());
    assert!(world.outcome(first).is_some() && world.outcome(first) == world.outcome(again));
    assert_eq!((world.verifications, world.pending.len()), (1, 0));
    assert_eq!((events(&world, CacheEvent::Hit), events(&world, CacheEvent::Miss)), (2, 1));
    assert_eq!((allowed(&world, Source::Callout), allowed(&world, Source::Cache)), (1, 2));
}

#[test]
fn an_entry_ends_at_its_ttl_however_often_it_is_used() {
    let mut world = World::new(json!({"cache": {"ttl": "10s"}}));
    assert_eq!(world.ask(&api_token()).code(), "");
    for _ in 0..19 {
        world.pass(SECOND / 2);
        assert_eq!(at_once(&mut world, 0, &api_token()), "", "at {:?}", world.now);
    }
    world.pass(SECOND / 2 - Duration::from_nanos(1));
    assert_eq!(at_once(&mut world, 0, &api_token()), "");
    world.pass(Duration::from_nanos(1));
    assert_eq!(at_once(&mut world, 0, &api_token()), "waits");
}

#[test]
fn a_local_verdict_ends_at_its_ttl_too() {
    let mut world = with_key(1, json!({"cache": {"ttl": "10s"}}));
    assert_eq!(at_once(&mut world, 0, &bearer(&jwt(0))), "");
    for (seconds, signatures) in [(9, 1), (1, 2), (9, 2), (1, 3)] {
        world.live(seconds * SECOND);
        assert_eq!(at_once(&mut world, 0, &bearer(&jwt(0))), "");
        assert_eq!(world.process.signatures.get(), signatures);
    }
}

#[test]
fn an_entry_ends_with_its_identity() {
    let mut world = World::new(json!({}));
    world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 5})));
    assert_eq!(world.ask(&api_token()).code(), "");
    world.pass(5 * SECOND - Duration::from_nanos(1));
    assert_eq!(at_once(&mut world, 0, &api_token()), "");
    world.pass(Duration::from_nanos(1));
    assert_eq!(world.ask(&api_token()).code(), "token_expired");
    assert_eq!(world.verifications, 2, "the service may know better");

    let mut world = with_key(1, json!({}));
    let token = bearer(&jwt_of(0, &confirmed(json!({"exp": BEGIN + 5}))));
    assert_eq!(at_once(&mut world, 0, &token), "");
    world.pass(5 * SECOND - Duration::from_nanos(1));
    assert_eq!(at_once(&mut world, 0, &token), "");
    world.pass(Duration::from_nanos(1));
    assert_eq!(at_once(&mut world, 0, &token), "token_expired");
}

#[test]
fn what_a_worker_learnt_after_an_expiry_is_known_to_those_who_held_the_expired_entry() {
    let mut world = World::with_workers(2, json!({}));
    world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 5})));
    world.ask(&api_token());
    assert_eq!(at_once(&mut world, 1, &api_token()), "");
    world.pass(6 * SECOND);
    world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 3600})));
    assert_eq!(world.ask(&api_token()).code(), "");
    assert_eq!(at_once(&mut world, 1, &api_token()), "");
    assert_eq!(world.verifications, 2);
}

#[test]
fn an_entry_says_who_it_is_and_not_where_he_may_go() {
    let mut world = World::new(json!({"rules": [
        {"match": {"path": "/people"}, "require": {"token_types": ["access"]}},
        {"match": {"path": "/machines"}, "require": {"token_types": ["api_token"]}},
    ]}));
    let to = |path: &str| {
        let mut request = api_token();
        request[1].1 = path.as_bytes().to_vec();
        request
    };
    assert_eq!(world.ask(&to("/people")).code(), "token_type_not_accepted");
    for (path, code) in [("/machines", ""), ("/people", "token_type_not_accepted"), ("/machines", ""), ("/", "")] {
        assert_eq!(at_once(&mut world, 0, &to(path)), code, "{path}");
    }
    assert_eq!(world.verifications, 1);
}

#[test]
fn a_401_is_the_answer_for_negative_ttl_and_a_403_never() {
    let mut world = World::with_workers(2, json!({"cache": {"negative_ttl": "10s"}}));
    world.verify = no();
    assert_eq!(code(&mut world, 0, &api_token()), "token_rejected");
    for worker in [0, 1] {
        assert_eq!(at_once(&mut world, worker, &api_token()), "token_rejected", "worker {worker}");
    }
    assert_eq!((world.verifications, events(&world, CacheEvent::Negative)), (1, 2));
    let denied = Counter::Request {
        outcome: Outcome::Deny,
        source: Source::Cache,
        reason: Some(crate::decision::Code::TokenRejected),
    };
    assert_eq!(world.process.count_of(denied), 2);
    world.pass(10 * SECOND);
    world.verify = Answer::json(&confirmed(json!({})));
    assert_eq!(code(&mut world, 1, &api_token()), "", "not a moment longer, and not for its being used");
    assert_eq!(at_once(&mut world, 0, &api_token()), "", "nor does any trace of it remain");

    let mut world = World::new(json!({}));
    world.verify = Answer::Body(403, String::new());
    for asked in 1..=3 {
        assert_eq!(world.ask(&api_token()).code(), "forbidden_by_service");
        assert_eq!(world.verifications, asked);
        world.pass(SECOND / 1000);
    }
    world.verify = Answer::json(&confirmed(json!({})));
    assert_eq!(world.ask(&api_token()).code(), "");
}

#[test]
fn without_negative_ttl_every_refusal_is_the_services_own() {
    let mut world = World::new(json!({"cache": {"negative_ttl": "0s"}}));
    world.verify = no();
    world.ask(&api_token());
    world.ask(&api_token());
    assert_eq!((world.verifications, events(&world, CacheEvent::Negative)), (2, 0));
}

#[test]
fn an_explicit_refusal_ends_the_verdict_in_every_worker_at_once() {
    for (answer, refused) in [(no(), "token_rejected"), (Answer::Body(403, String::new()), "forbidden_by_service")] {
        let mut world = World::with_workers(3, json!({}));
        world.ask(&api_token());
        assert_eq!(at_once(&mut world, 1, &api_token()), "");
        // Another token comes to the same slot, so that the third worker has to ask.
        let (slot, record) = world.process.stored(".v.").remove(0);
        let other: Vec<u8> = record.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 20)).collect();
        world.process.set_shared_data(&slot, &other, Write::Always).unwrap();
        world.verify = answer;
        assert_eq!(code(&mut world, 2, &api_token()), refused);
        for worker in [0, 1, 2] {
            assert_ne!(at_once(&mut world, worker, &api_token()), "", "worker {worker}");
        }
        world.live(11 * SECOND);
        for worker in [0, 1, 2] {
            assert_eq!(code(&mut world, worker, &api_token()), refused, "worker {worker}, after negative_ttl");
        }
        assert_eq!(world.process.stored(&slot)[0].1, other, "the other token's slot is its own");
        world.verify = Answer::Body(500, String::new());
        world.live(11 * SECOND);
        for worker in [0, 1, 2] {
            let code = code(&mut world, worker, &api_token());
            assert_eq!(code, "auth_service_unavailable", "nor does it stand in, worker {worker}");
        }
    }
}

#[test]
fn a_refusal_empties_the_slot_that_a_worker_to_come_would_read() {
    let mut world = World::with_workers(2, json!({"cache": {"ttl": "10s"}}));
    world.ask(&api_token());
    world.pass(Duration::from_millis(9_500));
    world.verify = no();
    world.send(&api_token());
    world.settle();
    assert_eq!(world.process.stored(".v."), []);
    assert_eq!(at_once(&mut world, 1, &api_token()), "token_rejected");
}

#[test]
fn a_token_that_one_worker_verified_is_known_to_the_others() {
    let mut world = World::with_workers(4, json!({}));
    let first = world.ask(&api_token());
    for worker in 0..4 {
        let stream = world.send_to(worker, &api_token());
        assert_eq!(world.outcome(stream), Some(first.clone()), "worker {worker}");
    }
    assert_eq!(world.verifications, 1);
    world.restart(2);
    assert_eq!(at_once(&mut world, 2, &api_token()), "", "also to one that came later");
    assert_eq!(world.verifications, 1);

    let mut world = with_key(4, json!({}));
    for worker in 0..4 {
        assert_eq!(at_once(&mut world, worker, &bearer(&jwt(0))), "", "worker {worker}");
    }
    assert_eq!(world.process.signatures.get(), 1);
    assert_eq!((allowed(&world, Source::Jwt), allowed(&world, Source::Cache)), (1, 3));
}

#[test]
fn an_entry_of_another_worker_is_no_younger_for_being_read_later() {
    let mut world = World::with_workers(2, json!({"cache": {"ttl": "10s"}}));
    world.ask(&api_token());
    world.pass(9 * SECOND);
    assert_eq!(at_once(&mut world, 1, &api_token()), "");
    world.pending.clear();
    world.pass(SECOND);
    assert_eq!(at_once(&mut world, 1, &api_token()), "waits");
}

#[test]
fn a_ttl_of_zero_turns_everything_off() {
    let mut world = with_key(2, json!({"cache": {"ttl": "0s"}}));
    for asked in 1..=3 {
        assert_eq!(code(&mut world, asked % 2, &api_token()), "");
        assert_eq!(world.verifications, asked);
        assert_eq!(at_once(&mut world, 0, &bearer(&jwt(0))), "");
        assert_eq!(world.process.signatures.get(), u64::try_from(asked).unwrap());
    }
    world.verify = no();
    for asked in 4..=6 {
        assert_eq!(code(&mut world, 0, &api_token()), "token_rejected");
        assert_eq!(world.verifications, asked);
    }
    world.verify = Answer::Body(500, String::new());
    assert_eq!(code(&mut world, 0, &api_token()), "auth_service_unavailable");
    for part in [".v.", ".n.", ".l."] {
        assert_eq!(world.process.stored(part), [], "{part}");
    }
    let events = [CacheEvent::Hit, CacheEvent::Miss, CacheEvent::Stale, CacheEvent::Negative, CacheEvent::Evict];
    assert!(events.into_iter().all(|event| self::events(&world, event) == 0));
    assert_eq!(world.process.gauges.borrow().get(&Gauge::CacheEntries), None);
}

#[test]
fn a_local_verdict_ends_when_its_key_is_no_longer_accepted() {
    let mut world = with_key(2, json!({"jwt": {"public_key": {"min_refetch_interval": "5s"}}}));
    for worker in [0, 1] {
        assert_eq!(at_once(&mut world, worker, &bearer(&jwt(0))), "");
    }
    world.live(10 * SECOND);
    world.serves = 1;
    assert_eq!(code(&mut world, 0, &bearer(&jwt(1))), "");
    assert_eq!(at_once(&mut world, 0, &bearer(&jwt(0))), "", "requests under way when the key changed");
    world.live(7 * SECOND);
    for worker in [0, 1] {
        assert_eq!(code(&mut world, worker, &bearer(&jwt(0))), "signature_invalid", "worker {worker}");
        assert_eq!(at_once(&mut world, worker, &bearer(&jwt(1))), "", "worker {worker}");
    }
}

#[test]
fn a_worker_that_lacks_the_new_key_yet_refuses_nobody_for_another_workers_verdict() {
    let mut world = with_key(2, json!({}));
    world.live(10 * SECOND);
    world.serves = 1;
    let first = world.send(&bearer(&jwt(1)));
    while world.outcome(first).is_none() {
        world.answer_next();
    }
    assert_eq!(at_once(&mut world, 1, &bearer(&jwt(1))), "");
    assert_eq!(at_once(&mut world, 0, &bearer(&jwt(1))), "");
}

#[test]
fn verdicts_of_the_service_and_of_the_signature_do_not_stand_in_for_each_other() {
    let mut world = with_key(
        1,
        json!({"rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}, {"match": {"prefix": "/"}}]}),
    );
    let to = |path: &str| head(&[(":path", path), ("authorization", &format!("Bearer {}", jwt(0)))]);
    world.verify = Answer::json(&claims());
    assert_eq!(at_once(&mut world, 0, &to("/local")), "");
    assert_eq!(at_once(&mut world, 0, &to("/remote")), "waits");
    world.settle();
    assert_eq!((world.verifications, world.process.signatures.get()), (1, 1));

    let mut world = with_key(
        1,
        json!({"rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}, {"match": {"prefix": "/"}}]}),
    );
    world.verify = Answer::json(&claims());
    assert_eq!(world.ask(&to("/remote")).code(), "");
    assert_eq!((at_once(&mut world, 0, &to("/local")), world.process.signatures.get()), ("", 1));
    assert_eq!(at_once(&mut world, 0, &to("/remote")), "");
}

#[test]
fn the_service_refuses_a_jwt_where_it_is_asked_and_nowhere_else() {
    let mut world = with_key(1, json!({"rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}]}));
    let to = |path: &str| head(&[(":path", path), ("authorization", &format!("Bearer {}", jwt(0)))]);
    world.verify = no();
    assert_eq!(world.ask(&to("/remote")).code(), "token_rejected");
    assert_eq!(at_once(&mut world, 0, &to("/remote")), "token_rejected");
    assert_eq!(at_once(&mut world, 0, &to("/local")), "");
}

#[test]
fn an_answer_whose_question_began_before_a_refusal_does_not_bring_the_token_back() {
    let mut world = with_key(3, json!({}));
    let early = world.send(&api_token());
    let late = world.pending[0].clone();
    world.pass(4 * SECOND);
    let later = world.send_to(1, &api_token());
    let second = world.pending[1].clone();
    world.answer(&second, &no());
    assert_eq!(world.outcome(later).unwrap().code(), "token_rejected");
    let yes = world.verify.clone();
    world.answer(&late, &yes);
    assert_ne!(world.outcome(early).unwrap().code(), "");
    world.verify = no();
    for seconds in [0, 11] {
        world.live(seconds * SECOND);
        for worker in [0, 1, 2] {
            assert_eq!(code(&mut world, worker, &api_token()), "token_rejected", "worker {worker}");
        }
    }
}

#[test]
fn an_answer_that_comes_late_takes_nobodys_newer_verdict_away() {
    let mut world = with_key(2, json!({}));
    world.send(&api_token());
    let late = world.pending[0].clone();
    world.pass(4 * SECOND);
    world.send_to(1, &api_token());
    let second = world.pending[1].clone();
    let yes = world.verify.clone();
    world.answer(&second, &yes);
    world.answer(&late, &no());
    assert_eq!(at_once(&mut world, 1, &api_token()), "");
    assert_eq!(at_once(&mut world, 0, &api_token()), "");
}

#[test]
fn slots_that_hold_anything_else_are_ignored() {
    let mut world = World::new(json!({}));
    world.ask(&api_token());
    let (slot, record) = world.process.stored(".v.").remove(0);
    let mut strangers: Vec<Vec<u8>> = (0..record.len()).step_by(3).map(|length| record[..length].to_vec()).collect();
    strangers.push(vec![0xff; record.len()]);
    // Version, key, time of verification, form, and claims.
    for at in [0, 1, 32, 41, 50, record.len() - 1] {
        let mut changed = record.clone();
        changed[at] ^= 0xff;
        strangers.push(changed);
    }
    let mut future = record.clone();
    future[33..41].copy_from_slice(&world.now.after(2 * SECOND).as_nanos().to_le_bytes());
    strangers.push(future);
    // Nobody but the service vouches for an API token.
    let mut by_key = record.clone();
    by_key[41] |= 1;
    strangers.push(by_key);
    for stranger in strangers {
        world.restart(0);
        world.process.set_shared_data(&slot, &stranger, Write::Always).unwrap();
        assert_eq!(at_once(&mut world, 0, &api_token()), "waits", "{stranger:02x?}");
        world.process.stored(".l.").iter().for_each(|(key, _)| {
            world.process.set_shared_data(key, &[], Write::Always).unwrap();
        });
    }
    world.restart(0);
    world.process.set_shared_data(&slot, &record, Write::Always).unwrap();
    assert_eq!(at_once(&mut world, 0, &api_token()), "", "the record itself");
}

#[test]
fn filters_of_other_settings_do_not_know_each_others_verdicts() {
    for (one, other) in [
        (json!({}), json!({"api_token": {"response_format": "json_header"}})),
        (json!({}), json!({"api_token": {"header_types": ["apikey", "other"]}})),
        (json!({}), json!({"jwt": {"issuers": ["iss"]}})),
        (json!({"jwt": {"issuers": ["one"]}}), json!({"jwt": {"audiences": ["one"]}})),
        (json!({}), json!({"forward_credential": "jwt", "api_token": {"response_format": "jwt_body"}})),
        (json!({}), json!({"auth_service": {"cluster": "other"}})),
        (json!({}), json!({"auth_service": {"cluster": "auth", "authority": "other"}})),
        (json!({}), json!({"auth_service": {"cluster": "auth", "verify_path": "/other"}})),
    ] {
        let mut world = World::new(one);
        world.workers.extend(World::new(other.clone()).workers);
        world.ask(&api_token());
        assert_eq!(at_once(&mut world, 1, &api_token()), "waits", "{other}");
    }
    let mut world = World::new(json!({}));
    world
        .workers
        .extend(World::new(json!({"rules": [{"match": {"prefix": "/"}}], "cache": {"max_entries": 7}})).workers);
    world.ask(&api_token());
    assert_eq!(at_once(&mut world, 1, &api_token()), "", "what no identity depends on");
}

#[test]
fn the_entries_are_bounded_and_the_gauges_say_what_is_there() {
    let mut world = World::with_workers(2, json!({"cache": {"max_entries": 10}}));
    for number in 0..100 {
        world.ask(&api_token_of(number));
    }
    let gauge = |world: &World, gauge| world.process.gauges.borrow().get(&gauge).copied().unwrap_or(0);
    assert_eq!((events(&world, CacheEvent::Evict), gauge(&world, Gauge::CacheEntries)), (90, 10));
    let bytes = gauge(&world, Gauge::CacheBytes);
    assert!((1_000..12_000).contains(&bytes), "{bytes} bytes");
    for number in 90..100 {
        assert_eq!(at_once(&mut world, 1, &api_token_of(number)), "");
    }
    assert_eq!((gauge(&world, Gauge::CacheEntries), gauge(&world, Gauge::CacheBytes)), (20, 2 * bytes));
    let process = &world.process;
    world.workers[1].on_retirement(process);
    assert_eq!((gauge(&world, Gauge::CacheEntries), gauge(&world, Gauge::CacheBytes)), (10, bytes));
    world.pass(4_300 * SECOND);
    assert_eq!((gauge(&world, Gauge::CacheEntries), gauge(&world, Gauge::CacheBytes)), (0, 0));
}

#[test]
fn a_refusal_takes_its_entry_off_the_gauges() {
    let mut world = World::new(json!({"cache": {"ttl": "10s"}}));
    world.ask(&api_token());
    world.pass(Duration::from_millis(9_500));
    world.verify = no();
    world.send(&api_token());
    world.settle();
    assert_eq!(world.process.gauges.borrow().get(&Gauge::CacheEntries), Some(&0));
    assert_eq!(world.process.gauges.borrow().get(&Gauge::CacheBytes), Some(&0));
}

#[test]
fn the_jwt_for_the_upstream_comes_from_the_cache_as_well() {
    let forwarded = |world: &mut World, worker: usize, headers: &[(String, Vec<u8>)]| {
        let head = crate::extractor::RequestHead { headers };
        match world.workers[worker].on_request(1_000_000, &head, world.now, &world.process).step {
            Step::Resolve(Resolution::Forward(forward)) => forward.authorization,
            other => panic!("{other:?}"),
        }
    };
    let format = json!({"api_token": {"response_format": "jwt_body"}, "forward_credential": "jwt"});
    let mut world = with_key(2, format);
    let token = jwt_of(0, &confirmed(json!({})));
    world.verify = Answer::Body(200, token.clone());
    world.ask(&api_token());
    world.ask(&bearer(&jwt(0)));
    for worker in [0, 1] {
        let replaced = forwarded(&mut world, worker, &api_token());
        assert_eq!(replaced, Authorization::Replace(format!("Bearer {token}")), "worker {worker}");
        let own = forwarded(&mut world, worker, &bearer(&jwt(0)));
        assert_eq!(own, Authorization::Keep, "the client's own JWT is what it came with, worker {worker}");
    }
    assert_eq!((world.verifications, world.process.signatures.get()), (1, 2));
}

#[test]
fn an_identity_without_an_expiry_is_good_for_its_ttl() {
    let mut world =
        World::with_workers(2, json!({"api_token": {"response_format": "json_header"}, "cache": {"ttl": "10s"}}));
    world.verify = Answer::Headers(vec![("x-user-id", "1".to_owned()), ("x-client-id", "2".to_owned())]);
    world.ask(&api_token());
    for worker in [0, 1] {
        assert_eq!(at_once(&mut world, worker, &api_token()), "");
    }
    world.pass(10 * SECOND);
    for worker in [0, 1] {
        assert_eq!(at_once(&mut world, worker, &api_token()), "waits");
    }
}

#[test]
fn the_shared_data_hold_no_piece_of_a_token() {
    let credential = "9$".to_owned() + &"0123456789abcdefghijklmnopqrstuvwxyz".repeat(4)[..128];
    let basic = "Basic YWxhZGRpbjpvcGVuIHNlc2FtZSBhbmQgbW9yZQ==";
    for changes in [json!({}), json!({"forward_credential": "jwt", "api_token": {"response_format": "jwt_body"}})] {
        let mut settings = json!({
            "rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}],
            "api_token": {"header_types": ["apikey", "other"]},
            "failed_auth_throttle": {"attempts": 3},
        });
        settings.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
        let mut world = with_key(2, settings);
        *world.process.address.borrow_mut() = Some("192.0.2.1:4711".to_owned());
        let mut tokens = vec![credential.clone(), jwt(0), jwt(2)];
        let mut requests = vec![
            head(&[("authorization", &format!("APIKey {credential}"))]),
            bearer(&jwt(0)),
            head(&[(":path", "/remote"), ("authorization", &format!("Bearer {}", jwt(0)))]),
            bearer(&jwt(2)),
        ];
        let answered = jwt_of(0, &confirmed(json!({})));
        if changes == json!({}) {
            tokens.push(basic.to_owned());
            requests.push(head(&[("authorization", basic)]));
        } else {
            world.verify = Answer::Body(200, answered.clone());
        }
        for answer in [world.verify.clone(), no(), Answer::Body(500, String::new())] {
            world.verify = answer;
            requests.iter().for_each(|request| _ = world.send(request));
            holds_none(&world, &tokens, &answered);
            requests.iter().for_each(|request| _ = code(&mut world, 1, request));
            holds_none(&world, &tokens, &answered);
            world.live(400 * SECOND);
        }
    }
}

/// The pieces that a JWT which the service answers with has in common with clients' tokens don't count.
fn holds_none(world: &World, tokens: &[String], answered: &str) {
    let pieces = tokens.iter().flat_map(|token| token.as_bytes().windows(16));
    let secret: HashSet<&[u8]> =
        pieces.filter(|piece| !answered.as_bytes().windows(16).any(|window| window == *piece)).collect();
    assert!(secret.len() > 300);
    for (key, value) in world.process.stored("") {
        let held = key.as_bytes().windows(16).chain(value.windows(16)).find(|window| secret.contains(window));
        assert_eq!(held.map(String::from_utf8_lossy), None, "{key}");
    }
}
