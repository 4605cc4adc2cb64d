//! When the service gives no verdict: what counts as an outage, and what stands in.

mod refusals;

use std::time::Duration;

use serde_json::{Value, json};

use super::support::refusal_row;
use super::world::{BEGIN, KEYS, api_token_of, head};
use super::{Answer, Ending, World, api_token, bearer, claims, jwt, jwt_of};
use crate::introspection::CalloutError;
use crate::metrics::{CacheEvent, Counter, Outcome, Source};
use crate::time::Instant;

const DOWN: Answer = Answer::Error(CalloutError::Reset);

/// Verdicts are good for 10 s, stale ones for 60 s more, refusals for 2 s; the breaker stays out of it.
fn world_with(workers: usize, changes: Value) -> World {
    let mut config = json!({
        "cache": {"ttl": "10s", "stale_ttl": "60s", "negative_ttl": "2s"},
        "circuit_breaker": {"failures": 1000},
    });
    config.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    let mut world = World::with_workers(workers, config);
    world.tick();
    world.settle();
    world
}

fn world() -> World {
    world_with(1, json!({}))
}

fn remote_world(workers: usize) -> World {
    world_with(workers, json!({"jwt": {"verification": "remote"}}))
}

fn confirmed() -> Value {
    let mut claims = claims();
    claims["token_type"] = json!("api_token");
    claims
}

fn status(status: u16) -> Answer {
    Answer::Body(status, String::new())
}

fn at(world: &mut World, seconds: u64) {
    world.now = Instant::from_secs(BEGIN + seconds);
    world.tick();
    world.settle();
}

fn allowed(world: &World, source: Source) -> u64 {
    world.process.count_of(Counter::Request { outcome: Outcome::Allow, source, reason: None })
}

fn unavailable() -> Ending {
    Ending::Denied(503, "auth_service_unavailable", Some("1".to_owned()))
}

fn outages() -> Vec<Answer> {
    let no_user = json!({"exp": BEGIN + 3600, "client_id": 2, "token_type": "api_token"});
    let mut answers: Vec<_> = [504, 503, 500, 599, 404, 400, 408, 429, 302, 204, 0].map(status).to_vec();
    answers.extend([
        DOWN,
        Answer::Error(CalloutError::NotSent),
        status(200),
        Answer::Body(200, "<html>".to_owned()),
        Answer::Body(200, r#"{"exp": 1"#.to_owned()),
        Answer::json(&no_user),
        Answer::TooLarge,
    ]);
    answers
}

#[test]
fn a_failed_question_is_retried_once_and_known_clients_are_served_stale() {
    for outage in outages() {
        let mut world = world();
        let known = world.ask(&api_token());
        at(&mut world, 11);
        world.verify = outage.clone();
        assert_eq!(world.ask(&api_token()), known, "{outage:?}");
        assert_eq!((world.verifications, allowed(&world, Source::Stale)), (3, 1), "{outage:?}");
        assert_eq!(world.process.count_of(Counter::Cache(CacheEvent::Stale)), 1);
        assert_eq!(world.ask(&api_token_of(8)).code(), unavailable().code(), "{outage:?}");
    }
}

#[test]
fn an_unusable_jwt_from_the_service_is_an_outage() {
    let mut expired = confirmed();
    expired["exp"] = json!(1);
    let pinned = json!({"public_key": {"pem": [KEYS[0]]}});
    for jwt_settings in [json!({}), pinned] {
        for unusable in ["a.b.c", "", &jwt_of(0, &expired), &jwt_of(2, &confirmed())] {
            let format = json!({"response_format": "jwt_body"});
            let mut world = world_with(1, json!({"api_token": format, "jwt": jwt_settings}));
            world.verify = Answer::Body(200, jwt_of(0, &confirmed()));
            let known = world.ask(&api_token());
            at(&mut world, 11);
            world.verify = Answer::Body(200, unusable.to_owned());
            let stream = world.send(&api_token());
            let unknown = world.send(&api_token_of(8));
            world.settle();
            world.live(Duration::from_secs(13));
            assert_eq!(world.ending(stream), Some(known), "{unusable}");
            assert_eq!(world.ending(unknown).unwrap().code(), "auth_service_unavailable", "{unusable}");
            assert_eq!(allowed(&world, Source::Stale), 1, "{unusable}");
        }
    }
}

#[test]
fn a_stale_verdict_of_one_worker_serves_another() {
    let mut world = world_with(2, json!({}));
    let known = world.ask_at(0, &api_token());
    at(&mut world, 11);
    world.verify = DOWN;
    assert_eq!(world.ask_at(1, &api_token()), known);
}

#[test]
fn each_waiting_request_is_served_stale_and_counted_once() {
    let mut world = world();
    world.ask(&api_token());
    at(&mut world, 11);
    world.verify = DOWN;
    let streams: Vec<_> = (0..100).map(|_| world.send(&api_token())).collect();
    world.end(0, streams[7]);
    world.settle();
    world.live(Duration::from_millis(200));
    let served = streams.iter().filter(|stream| world.ending(**stream).is_some()).count();
    assert_eq!((served, world.verifications, allowed(&world, Source::Stale)), (99, 3, 99));
    let cancelled = Counter::Request { outcome: Outcome::Cancelled, source: Source::Callout, reason: None };
    assert_eq!(world.process.count_of(cancelled), 1);
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
}

#[test]
fn using_a_stale_verdict_does_not_extend_its_stale_ttl() {
    let mut world = world();
    world.ask(&api_token());
    world.verify = DOWN;
    for seconds in [11, 30, 50, 69] {
        at(&mut world, seconds);
        assert_eq!(world.ask(&api_token()).code(), "", "after {seconds} s");
    }
    at(&mut world, 70);
    assert_eq!(world.ask(&api_token()), unavailable());
}

#[test]
fn no_stale_verdict_outlives_the_expiry_of_its_token() {
    let mut world = world();
    let mut short = confirmed();
    short["exp"] = json!(BEGIN + 30);
    world.verify = Answer::json(&short);
    world.ask(&api_token());
    world.verify = DOWN;
    at(&mut world, 29);
    assert_eq!(world.ask(&api_token()).code(), "");
    let stream = world.send(&api_token());
    world.now = Instant::from_secs(BEGIN + 30);
    world.settle();
    assert_eq!(world.ending(stream), Some(unavailable()), "it expired while the service was asked");
    assert_eq!(world.ask(&api_token()), unavailable(), "whether it was prolonged only the service knows");
    world.verify = Answer::json(&confirmed());
    assert_eq!(world.ask(&api_token()).code(), "");
}

#[test]
fn a_jwt_expires_during_an_outage() {
    let mut world = remote_world(1);
    let mut short = claims();
    short["exp"] = json!(BEGIN + 30);
    let token = bearer(&jwt_of(0, &short));
    world.ask(&token);
    world.verify = DOWN;
    at(&mut world, 29);
    let stream = world.send(&token);
    world.now = Instant::from_secs(BEGIN + 30);
    world.settle();
    assert_eq!(world.ending(stream).unwrap().code(), "token_expired");
    assert_eq!(world.ask(&token).code(), "token_expired");
}

#[test]
fn a_stale_identity_must_pass_the_rules_policy() {
    let rules = json!([{"match": {"prefix": "/users"}, "require": {"token_types": ["access"]}}]);
    let mut world = world_with(1, json!({"rules": rules}));
    let mut token = api_token();
    world.ask(&token);
    at(&mut world, 11);
    world.verify = DOWN;
    assert_eq!(world.ask(&token).code(), "");
    token.iter_mut().find(|(name, _)| name == ":path").unwrap().1 = b"/users".to_vec();
    assert_eq!(world.ask(&token).code(), "claims_not_sufficient");
    assert_eq!(allowed(&world, Source::Stale), 1);
}

#[test]
fn a_remote_jwt_is_served_stale_first_and_then_by_its_signature() {
    let mut world = remote_world(1);
    let known = bearer(&jwt(0));
    world.ask(&known);
    at(&mut world, 11);
    world.verify = DOWN;
    assert_eq!(world.ask(&known).code(), "");
    assert_eq!((allowed(&world, Source::Stale), allowed(&world, Source::Fallback)), (1, 0));
    at(&mut world, 71);
    assert_eq!(world.ask(&known).code(), "");
    assert_eq!((allowed(&world, Source::Stale), allowed(&world, Source::Fallback)), (1, 1));
    assert_eq!(world.verifications, 1 + 2 + 2, "the service is tried each time");
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
}

#[test]
fn a_verified_signature_is_not_cached_as_a_verdict_of_the_service() {
    let mut world = remote_world(2);
    world.verify = DOWN;
    let token = bearer(&jwt(0));
    assert_eq!(world.ask_at(0, &token).code(), "");
    assert_eq!(world.ask_at(0, &token).code(), "");
    assert_eq!((world.verifications, allowed(&world, Source::Fallback)), (4, 2));
    world.verify = status(403);
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &token).code(), "forbidden_by_service");
    }
    assert_eq!(allowed(&world, Source::Cache) + allowed(&world, Source::Stale), 0);
}

#[test]
fn the_fallback_needs_a_valid_signature_and_a_key() {
    let mut world = remote_world(1);
    world.verify = DOWN;
    at(&mut world, 10);
    let forged = world.send(&bearer(&jwt(2)));
    world.settle();
    assert_eq!(world.ending(forged).unwrap().code(), "signature_invalid");
    assert_eq!(world.ask(&head(&[("authorization", "Bearer a.b.c")])).code(), "token_malformed");

    let mut world = World::new(json!({"jwt": {"verification": "remote"}}));
    (world.verify, world.key_fault) = (DOWN, Some(DOWN));
    let stream = world.send(&bearer(&jwt(0)));
    world.settle();
    assert_eq!(world.ending(stream).unwrap().code(), "public_key_unavailable");
}
