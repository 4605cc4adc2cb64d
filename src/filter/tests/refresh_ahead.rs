//! Refresh ahead: an entry in use is verified again in the background before it ends.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::confirmed;
use super::world::BEGIN;
use super::{Answer, World, api_token, jwt_of};
use crate::host::StreamId;
use crate::introspection::CalloutError;
use crate::metrics::{Counter, Outcome, Source};

const SECOND: Duration = Duration::from_secs(1);

/// Workers that have the public key, and a `ttl` of 100 s: an entry is verified again when 10 s of it are left.
fn with_key(workers: usize, changes: Value) -> World {
    let mut overrides = json!({"cache": {"ttl": "100s"}});
    overrides.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    let mut world = World::with_workers(workers, overrides);
    world.tick();
    world.settle();
    world.tick();
    world
}

/// A request that must be let in at once.
fn served(world: &mut World, worker: usize) -> StreamId {
    let stream = world.send_to(worker, &api_token());
    let code = world.ending(stream).map(|outcome| outcome.code());
    assert_eq!(
        code,
        Some(""),
        "worker {worker}, {} s after the beginning",
        world.now.as_nanos() / 1_000_000_000 - BEGIN
    );
    stream
}

#[test]
fn an_active_client_never_waits_for_a_refresh() {
    for ttl in ["100s", "10s", "2s"] {
        let mut world = with_key(3, json!({"cache": {"ttl": ttl}}));
        world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 100_000})));
        world.ask(&api_token());
        let seconds: usize = ttl.trim_end_matches('s').parse().unwrap();
        let uses = 10 * seconds * 5;
        for number in 0..uses {
            // Callouts take a tenth of a second.
            world.pass(SECOND / 5 / 2);
            world.settle();
            world.pass(SECOND / 5 / 2);
            served(&mut world, number % 3);
        }
        let periods = uses / 5 / seconds;
        assert!((periods..=periods * 2 + 1).contains(&world.verifications), "{} callouts", world.verifications);
        let cached = Counter::Request { outcome: Outcome::Allow, source: Source::Cache, reason: None };
        assert_eq!(world.process.count_of(cached), u64::try_from(uses).unwrap());
    }
}

#[test]
fn all_workers_together_refresh_an_entry_once_before_it_expires() {
    let mut world = with_key(4, json!({}));
    world.ask(&api_token());
    (0..4).for_each(|worker| _ = served(&mut world, worker));
    world.pass(90 * SECOND - Duration::from_nanos(1));
    (0..4).for_each(|worker| _ = served(&mut world, worker));
    assert_eq!(world.verifications, 1, "a tenth of its time isn't left yet");
    world.pass(Duration::from_nanos(1));
    (0..4).for_each(|worker| _ = served(&mut world, worker));
    assert_eq!(world.verifications, 2, "one asks, and nobody else meanwhile");
    world.settle();
    for _ in 0..50 {
        world.pass(SECOND);
        (0..4).for_each(|worker| _ = served(&mut world, worker));
    }
    assert_eq!(world.verifications, 2, "what one has learnt is good for all");
}

#[test]
fn an_unused_entry_is_not_refreshed() {
    let mut world = with_key(2, json!({}));
    world.ask(&api_token());
    served(&mut world, 1);
    world.live(200 * SECOND);
    assert_eq!(world.verifications, 1);
}

#[test]
fn an_entry_that_expires_with_its_token_is_not_refreshed() {
    for (exp, verifications) in [(BEGIN + 95, 1), (BEGIN + 100, 1), (BEGIN + 101, 2)] {
        let mut world = with_key(1, json!({}));
        world.verify = Answer::json(&confirmed(json!({"exp": exp})));
        world.ask(&api_token());
        world.pass(92 * SECOND);
        served(&mut world, 0);
        assert_eq!(world.verifications, verifications, "{exp}");
    }
}

#[test]
fn a_refresh_brings_the_changed_identity() {
    let mut world = with_key(2, json!({}));
    world.ask(&api_token());
    served(&mut world, 1);
    world.pass(95 * SECOND);
    world.verify = Answer::json(&confirmed(json!({"user_id": 4711})));
    served(&mut world, 0);
    world.settle();
    let stream = served(&mut world, 0);
    let user = |world: &World, stream| format!("{:?}", world.ending(stream)).contains("4711");
    assert!(user(&world, stream));
    // The other worker learns it when it would refresh its own entry.
    served(&mut world, 1);
    let stream = served(&mut world, 1);
    assert!(user(&world, stream));
    assert_eq!(world.verifications, 2);
}

#[test]
fn a_refresh_answered_401_ends_access_in_every_worker() {
    let mut world = with_key(3, json!({}));
    world.ask(&api_token());
    (0..3).for_each(|worker| _ = served(&mut world, worker));
    world.pass(95 * SECOND);
    world.verify = Answer::Body(401, String::new());
    served(&mut world, 1);
    world.settle();
    for worker in 0..3 {
        let stream = world.send_to(worker, &api_token());
        assert_eq!(world.ending(stream).unwrap().code(), "token_rejected", "worker {worker}");
    }
    assert_eq!(world.verifications, 2);
}

#[test]
fn a_failed_refresh_keeps_the_entry_and_is_retried_each_second() {
    let mut world = with_key(1, json!({"circuit_breaker": {"failures": 1000}}));
    world.ask(&api_token());
    world.pass(90 * SECOND);
    world.verify = Answer::Error(CalloutError::Reset);
    for _ in 0..99 {
        served(&mut world, 0);
        world.settle();
        world.pass(SECOND / 10);
    }
    assert_eq!(world.verifications, 1 + 10, "ten seconds, and no retries");
    world.pass(SECOND / 10);
    world.send(&api_token());
    world.settle();
    let stale = Counter::Request { outcome: Outcome::Allow, source: Source::Stale, reason: None };
    assert_eq!(world.process.count_of(stale), 1, "when it has ended, somebody waits for the retry");
    assert_eq!(world.verifications, 1 + 10 + 2);
}

#[test]
fn all_workers_together_retry_a_failed_refresh_once_a_second() {
    let mut world = with_key(4, json!({"circuit_breaker": {"failures": 1000}}));
    world.ask(&api_token());
    (0..4).for_each(|worker| _ = served(&mut world, worker));
    world.pass(90 * SECOND);
    world.verify = Answer::Error(CalloutError::Reset);
    for number in 0..99 {
        served(&mut world, number % 4);
        world.settle();
        world.pass(SECOND / 10);
    }
    assert!((8..=11).contains(&world.verifications), "{} callouts", world.verifications);
}

#[test]
fn a_refresh_can_still_succeed_at_the_last_moment() {
    let mut world = with_key(1, json!({}));
    world.ask(&api_token());
    world.pass(98 * SECOND);
    served(&mut world, 0);
    let refresh = world.pending[0].clone();
    world.pass(2 * SECOND);
    let stream = world.send(&api_token());
    assert_eq!((world.ending(stream), world.verifications), (None, 2), "who comes too late joins it");
    let yes = world.verify.clone();
    world.answer(&refresh, &yes);
    assert_eq!(world.ending(stream).unwrap().code(), "");
    world.pass(97 * SECOND);
    served(&mut world, 0);
    world.pass(SECOND);
    let late = world.send(&api_token());
    assert_eq!(world.ending(late), None, "its time is counted from when the question was asked");
}

#[test]
fn nothing_is_refreshed_while_the_breaker_is_open() {
    let mut world = with_key(1, json!({"circuit_breaker": {"failures": 1, "open_for": "60s"}}));
    world.ask(&api_token());
    world.pass(90 * SECOND);
    world.verify = Answer::Error(CalloutError::Reset);
    served(&mut world, 0);
    world.settle();
    assert_eq!(world.verifications, 2);
    for _ in 0..9 {
        world.pass(SECOND);
        served(&mut world, 0);
    }
    assert_eq!(world.verifications, 2);
}

#[test]
fn a_refresh_is_the_probe_when_one_is_due_and_delays_no_request() {
    let mut world = with_key(1, json!({"circuit_breaker": {"failures": 1, "open_for": "5s"}}));
    world.ask(&api_token());
    world.pass(90 * SECOND);
    let yes = world.verify.clone();
    world.verify = Answer::Error(CalloutError::Reset);
    served(&mut world, 0);
    world.settle();
    world.pass(5 * SECOND);
    world.verify = yes;
    served(&mut world, 0);
    assert_eq!(
        (world.verifications, world.pending.iter().filter(|pending| pending.request.authorization().is_some()).count()),
        (3, 1)
    );
    world.settle();
    world.pass(50 * SECOND);
    served(&mut world, 0);
}

#[test]
fn a_refresh_answered_with_a_jwt_of_a_new_key_fetches_that_key() {
    let mut world = with_key(1, json!({"api_token": {"response_format": "jwt_body"}}));
    let body = |key| Answer::Body(200, jwt_of(key, &confirmed(json!({}))));
    world.verify = body(0);
    world.ask(&api_token());
    world.live(90 * SECOND);
    (world.serves, world.verify) = (1, body(1));
    for _ in 0..30 {
        served(&mut world, 0);
        world.live(SECOND);
    }
    assert_eq!((world.verifications, world.key_fetches), (3, 2), "the next refresh knows it");
}

#[test]
fn verdicts_on_signatures_are_not_refreshed() {
    let mut world = with_key(1, json!({}));
    let token = super::bearer(&super::jwt(0));
    for _ in 0..30 {
        assert_eq!(world.ask(&token).code(), "");
        world.pass(10 * SECOND);
    }
    assert_eq!((world.verifications, world.process.signatures.get()), (0, 3));
}
