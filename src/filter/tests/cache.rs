//! The verification cache: what a verdict is good for and for how long.

use std::time::Duration;

use serde_json::json;

use super::support::{Headers, at_once, code, confirmed, no, with_key};
use super::world::{BEGIN, api_token_of, head};
use super::{Answer, World, api_token, bearer, claims, jwt, jwt_of};
use crate::code::Code;
use crate::credential::Redacted;
use crate::decision::Authorization;
use crate::extractor::{RequestHead, lend};
use crate::filter::{Resolution, Step};
use crate::host::Cx;
use crate::metrics::{CacheEvent, Counter, Gauge, Outcome, Source};

const SECOND: Duration = Duration::from_secs(1);

fn events(world: &World, event: CacheEvent) -> u64 {
    world.process.count_of(Counter::Cache(event))
}

fn allowed(world: &World, source: Source) -> u64 {
    world.process.count_of(Counter::Request { outcome: Outcome::Allow, source, reason: None })
}

#[test]
fn a_hit_is_counted_and_makes_no_callout() {
    let mut world = World::new(json!({}));
    assert_eq!(world.ask(&api_token()).code(), "");
    assert_eq!((events(&world, CacheEvent::Hit), events(&world, CacheEvent::Miss)), (0, 1));
    let first = world.send(&api_token());
    let again = world.send(&api_token());
    assert!(world.ending(first).is_some() && world.ending(first) == world.ending(again));
    assert_eq!((world.verifications, world.pending.len()), (1, 0));
    assert_eq!((events(&world, CacheEvent::Hit), events(&world, CacheEvent::Miss)), (2, 1));
    assert_eq!((allowed(&world, Source::Callout), allowed(&world, Source::Cache)), (1, 2));
}

#[test]
fn using_an_entry_does_not_extend_its_ttl() {
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
fn an_entry_expires_with_its_identity() {
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
fn a_cached_identity_still_passes_each_rules_policy() {
    let mut world = World::new(json!({"rules": [
        {"match": {"path": "/people"}, "require": {"token_types": ["access"]}},
        {"match": {"path": "/machines"}, "require": {"token_types": ["api_token"]}},
    ]}));
    let to = |path: &str| {
        let mut request = api_token();
        request[1].1 = path.as_bytes().to_vec();
        request
    };
    assert_eq!(world.ask(&to("/people")).code(), "claims_not_sufficient");
    for (path, code) in [("/machines", ""), ("/people", "claims_not_sufficient"), ("/machines", ""), ("/", "")] {
        assert_eq!(at_once(&mut world, 0, &to(path)), code, "{path}");
    }
    assert_eq!(world.verifications, 1);
}

#[test]
fn every_worker_reuses_a_refusal_for_negative_ttl() {
    for (refusal, reason) in [(no(), Code::TokenRejected), (Answer::Body(403, String::new()), Code::ForbiddenByService)]
    {
        let mut world = World::with_workers(2, json!({"cache": {"negative_ttl": "10s"}}));
        world.verify = refusal;
        assert_eq!(code(&mut world, 0, &api_token()), reason.name());
        for worker in [0, 1] {
            assert_eq!(at_once(&mut world, worker, &api_token()), reason.name(), "worker {worker}");
        }
        assert_eq!((world.verifications, events(&world, CacheEvent::Negative)), (1, 2));
        let denied = Counter::Request { outcome: Outcome::Deny, source: Source::Cache, reason: Some(reason) };
        assert_eq!(world.process.count_of(denied), 2);
        world.pass(10 * SECOND);
        world.verify = Answer::json(&confirmed(json!({})));
        assert_eq!(code(&mut world, 1, &api_token()), "", "not a moment longer, and not for its being used");
        assert_eq!(at_once(&mut world, 0, &api_token()), "", "nor does any trace of it remain");
    }
}

#[test]
fn without_negative_ttl_every_request_asks_the_service() {
    let mut world = World::new(json!({"cache": {"negative_ttl": "0s"}}));
    world.verify = no();
    world.ask(&api_token());
    world.ask(&api_token());
    assert_eq!((world.verifications, events(&world, CacheEvent::Negative)), (2, 0));
}

#[test]
fn a_ttl_of_zero_turns_the_cache_off() {
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
fn local_and_remote_verdicts_are_cached_apart() {
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
fn a_request_that_only_resembles_one_with_a_known_jwt_is_read_in_full() {
    let mut world = World::new(json!({}));
    let token = jwt(0);
    assert_eq!(world.ask(&bearer(&token)).code(), "");
    for (value, code) in [
        (format!("bearer {token}"), ""),
        (format!("Bearer  {token}"), "malformed_credentials"),
        (format!("Bearer {token} "), "malformed_credentials"),
        (format!("Bearer {token},{token}"), "malformed_credentials"),
        (format!("Bearer\t{token}"), "malformed_credentials"),
        (format!("Bearer {token}."), "token_malformed"),
        (format!("Basic {token}"), "unsupported_scheme"),
        (format!("APIKey {token}"), "token_malformed"),
        (token.clone(), "malformed_credentials"),
    ] {
        assert_eq!(world.ask(&head(&[("authorization", &value)])).code(), code, "{value}");
    }
    let value = format!("Bearer {token}");
    let twice = head(&[("authorization", &value), ("authorization", &value)]);
    assert_eq!(world.ask(&twice).code(), "malformed_credentials");
}

#[test]
fn a_refused_jwt_is_refused_only_on_remote_rules() {
    let mut world = with_key(1, json!({"rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}]}));
    let to = |path: &str| head(&[(":path", path), ("authorization", &format!("Bearer {}", jwt(0)))]);
    world.verify = no();
    assert_eq!(world.ask(&to("/remote")).code(), "token_rejected");
    assert_eq!(at_once(&mut world, 0, &to("/remote")), "token_rejected");
    assert_eq!(at_once(&mut world, 0, &to("/local")), "");
}

#[test]
fn the_cache_is_bounded_and_the_gauges_show_its_size() {
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
    world.workers[1].on_retirement(&Cx::new(world.now, &world.process));
    assert_eq!((gauge(&world, Gauge::CacheEntries), gauge(&world, Gauge::CacheBytes)), (10, bytes));
    world.pass(4_300 * SECOND);
    assert_eq!((gauge(&world, Gauge::CacheEntries), gauge(&world, Gauge::CacheBytes)), (0, 0));
}

#[test]
fn a_refusal_removes_its_entry_from_the_gauges() {
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
fn a_cached_verdict_includes_the_jwt_for_the_upstream() {
    let forwarded = |world: &mut World, worker: usize, headers: &Headers| {
        let head = RequestHead { headers: &lend(headers), has_body: false };
        match world.workers[worker].on_request(1_000_000, &head, &Cx::new(world.now, &world.process)).step {
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
        assert_eq!(replaced, Authorization::Replace(Redacted(format!("Bearer {token}"))), "worker {worker}");
        let own = forwarded(&mut world, worker, &bearer(&jwt(0)));
        assert_eq!(own, Authorization::Keep, "the client's own JWT is what it came with, worker {worker}");
    }
    assert_eq!((world.verifications, world.process.signatures.get()), (1, 3), "each worker verifies the client's JWT");
}

#[test]
fn an_identity_without_an_expiry_is_cached_for_the_ttl() {
    let mut world =
        World::with_workers(2, json!({"api_token": {"response_format": "json_header"}, "cache": {"ttl": "10s"}}));
    world.verify = Answer::Headers(vec![("x-user-id", "1".into()), ("x-client-id", "2".into())]);
    world.ask(&api_token());
    for worker in [0, 1] {
        assert_eq!(at_once(&mut world, worker, &api_token()), "");
    }
    world.pass(10 * SECOND);
    for worker in [0, 1] {
        assert_eq!(at_once(&mut world, worker, &api_token()), "waits");
    }
}
