//! The circuit breaker: when it opens, and what closes it.

mod probe;

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{BEGIN, api_token_of};
use super::{Answer, Ending, World, bearer, claims, jwt};
use crate::host::StreamId;
use crate::introspection::CalloutError;
use crate::metrics::{Counter, Gauge, Outcome, Source};
use crate::time::Instant;

const DOWN: Answer = Answer::Error(CalloutError::Reset);

/// Three failures open it for 60 s. Nothing is retried; a callout takes at most 2 s, and so does a probe.
fn world_with(workers: usize, changes: Value) -> World {
    let mut config = json!({
        "auth_service": {"cluster": "auth", "retries": 0},
        "cache": {"ttl": "10s", "stale_ttl": "30m", "negative_ttl": "2s"},
        "circuit_breaker": {"failures": 3, "open_for": "60s"},
    });
    config.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    let mut world = World::with_workers(workers, config);
    world.verify = up();
    world.tick();
    world.settle();
    world
}

fn world(workers: usize) -> World {
    world_with(workers, json!({}))
}

fn up() -> Answer {
    let mut confirmed = claims();
    confirmed["token_type"] = json!("api_token");
    confirmed["exp"] = json!(BEGIN + 36_000);
    Answer::json(&confirmed)
}

fn status(status: u16) -> Answer {
    Answer::Body(status, String::new())
}

fn at(world: &mut World, seconds: u64) {
    world.now = Instant::from_secs(BEGIN + seconds);
    world.tick();
}

fn unavailable(retry_after: u64) -> Ending {
    Ending::Denied(503, "auth_service_unavailable", Some(retry_after.to_string()))
}

fn allowed(world: &World, source: Source) -> u64 {
    world.process.count_of(Counter::Request { outcome: Outcome::Allow, source, reason: None })
}

/// Fails three callouts about unknown tokens, by the workers in turn.
fn open(world: &mut World) {
    world.verify = DOWN;
    for number in 100..103 {
        assert_eq!(
            world.ask_at(number % world.workers.len(), &api_token_of(number)).code(),
            "auth_service_unavailable"
        );
    }
}

/// The workers whose questions to the service are unanswered.
fn asked(world: &World) -> Vec<usize> {
    world
        .pending
        .iter()
        .filter(|call| call.request.authorization().is_some())
        .map(super::world::Pending::worker)
        .collect()
}

fn send_to_all(world: &mut World, number: usize) -> Vec<StreamId> {
    (0..world.workers.len()).map(|worker| world.send_to(worker, &api_token_of(number + worker))).collect()
}

#[test]
fn failures_of_all_workers_open_the_breaker_and_stop_callouts() {
    let mut world = world(3);
    open(&mut world);
    assert_eq!(world.verifications, 3);
    for number in 0..6 {
        assert_eq!(world.ask_at(number % 3, &api_token_of(number)), unavailable(60));
    }
    at(&mut world, 20);
    assert_eq!(world.ask(&api_token_of(7)), unavailable(40));
    world.now = world.now.after(Duration::from_millis(39_001));
    assert_eq!(world.ask(&api_token_of(7)), unavailable(1), "a whole second, rounded up");
    assert_eq!(world.verifications, 3);
}

#[test]
fn a_failed_retry_counts_as_a_failure() {
    let mut world = world_with(1, json!({"auth_service": {"cluster": "auth", "retries": 1}}));
    world.verify = DOWN;
    world.ask(&api_token_of(1));
    assert_eq!(world.ask(&api_token_of(2)), unavailable(60), "the third failure opened it, so there is no fourth");
    assert_eq!(world.verifications, 3);
}

#[test]
fn no_question_is_retried_while_the_breaker_is_open() {
    let mut world = world_with(2, json!({"auth_service": {"cluster": "auth", "retries": 3}}));
    let first = world.send_to(0, &api_token_of(1));
    let call = world.pending.remove(0);
    world.verify = DOWN;
    world.ask_at(1, &api_token_of(2));
    assert_eq!(world.verifications, 1 + 3);
    world.answer(&call, &DOWN);
    assert_eq!((world.ending(first), world.verifications), (Some(unavailable(60)), 4));
}

#[test]
fn any_answer_about_a_credential_resets_the_count() {
    let no_claims = Answer::Body(200, "{}".to_owned());
    let statuses = [401, 403, 400, 404, 408, 429, 500, 501, 505, 599, 302, 204].map(status);
    for answer in [up(), no_claims, Answer::TooLarge].into_iter().chain(statuses) {
        let mut world = world(2);
        for round in 0..4 {
            world.verify = DOWN;
            for number in 0..2 {
                world.ask_at(number, &api_token_of(10 * round + number));
            }
            world.verify = answer.clone();
            world.ask(&api_token_of(10 * round + 5));
        }
        assert_eq!(world.verifications, 12, "{answer:?}");
        for number in 100..110 {
            world.ask(&api_token_of(number));
        }
        assert_eq!(world.verifications, 22, "{answer:?}");
    }
}

#[test]
fn every_failure_of_the_service_counts() {
    let not_sent = Answer::Error(CalloutError::NotSent);
    for answer in [status(502), status(503), status(504), not_sent, DOWN] {
        let mut world = world(1);
        world.verify = answer.clone();
        for number in 0..5 {
            world.ask(&api_token_of(number));
        }
        assert_eq!(world.verifications, 3, "{answer:?}");
    }
}

#[test]
fn known_clients_are_served_at_once_while_it_is_open() {
    let jwt_settings = json!({"verification": "remote"});
    let mut world = world_with(2, json!({"jwt": jwt_settings}));
    world.ask(&api_token_of(1));
    at(&mut world, 11);
    open(&mut world);
    for worker in [0, 1] {
        for headers in [api_token_of(1), bearer(&jwt(0))] {
            let stream = world.send_to(worker, &headers);
            assert_eq!(world.ending(stream).unwrap().code(), "");
        }
    }
    assert_eq!((allowed(&world, Source::Stale), allowed(&world, Source::Fallback)), (2, 2));
    assert_eq!((world.verifications, world.process.counted_requests()), (4, world.process.requests.get()));
}

#[test]
fn late_answers_do_not_close_an_open_breaker() {
    let mut world = world(2);
    let early = world.send_to(0, &api_token_of(1));
    let another = world.send_to(0, &api_token_of(2));
    let (call, failing) = (world.pending.remove(0), world.pending.remove(0));
    open(&mut world);
    world.answer(&call, &up());
    assert_eq!(world.ending(early).unwrap().code(), "", "a verdict all the same");
    assert_eq!(world.ask_at(1, &api_token_of(3)), unavailable(60), "it stays open");
    at(&mut world, 60);
    world.send_to(1, &api_token_of(4));
    world.answer(&failing, &DOWN);
    assert_eq!(world.ending(another), Some(unavailable(2)));
    world.verify = up();
    world.settle();
    assert_eq!(world.ask(&api_token_of(5)).code(), "", "nor does it fail the probe");
}

#[test]
fn the_gauge_shows_the_breakers_state() {
    let mut world = world(2);
    let mut states = vec![world.process.gauge(Gauge::BreakerState)];
    open(&mut world);
    states.push(world.process.gauge(Gauge::BreakerState));
    at(&mut world, 60);
    states.push(world.process.gauge(Gauge::BreakerState));
    world.send_to(1, &api_token_of(1));
    states.push(world.process.gauge(Gauge::BreakerState));
    world.settle();
    states.push(world.process.gauge(Gauge::BreakerState));
    at(&mut world, 120);
    world.verify = up();
    world.ask(&api_token_of(1));
    states.push(world.process.gauge(Gauge::BreakerState));
    assert_eq!(states, [0, 2, 2, 1, 2, 0].map(Some));
}

#[test]
fn key_fetches_and_polls_ignore_the_breaker() {
    let mut world = world_with(1, json!({"revocation": {"path": "/auth/blacklist"}}));
    (world.key_fault, world.feed) = (Some(DOWN), DOWN);
    for minute in 60..80 {
        at(&mut world, 60 * minute);
        world.settle();
    }
    assert!(world.key_fetches > 3 && world.polls > 3);
    assert_eq!(world.ask(&api_token_of(1)).code(), "", "their failures don't open it");
    open(&mut world);
    (world.key_fault, world.feed) = (None, Answer::json(&json!({"cursor": "c", "revoked": []})));
    let (fetches, polls) = (world.key_fetches, world.polls);
    at(&mut world, 60 * 80 + 30);
    world.settle();
    assert!(world.key_fetches > fetches && world.polls > polls, "they go on while it is open");
    assert_eq!(world.ask(&api_token_of(2)).code(), "auth_service_unavailable", "and don't close it");
}

#[test]
fn a_clock_step_of_an_hour_makes_a_probe_due() {
    for hour in [-3600, 3600] {
        let mut world = world_with(2, json!({"cache": {"ttl": "0s"}}));
        at(&mut world, 7200);
        world.settle();
        open(&mut world);
        at(&mut world, 7201_u64.checked_add_signed(hour).unwrap());
        let streams = send_to_all(&mut world, 0);
        assert_eq!(asked(&world), [0], "{hour}");
        assert_eq!(world.ending(streams[1]), Some(unavailable(2)));
        at(&mut world, 7201);
        assert_eq!(asked(&world), [0], "{hour}");
        world.send_to(1, &api_token_of(5));
        assert_eq!(asked(&world).len(), 2, "{hour}: nobody can tell how long the probe has been out");
        world.verify = up();
        world.settle();
        assert_eq!(world.ask(&api_token_of(6)).code(), "", "{hour}");
    }
}

#[test]
fn the_breaker_works_without_a_cache() {
    let mut world = world_with(2, json!({"cache": {"ttl": "0s"}}));
    open(&mut world);
    assert_eq!(world.ask(&api_token_of(1)), unavailable(60));
    at(&mut world, 60);
    world.verify = up();
    assert_eq!(world.ask_at(1, &api_token_of(1)).code(), "");
    assert_eq!(world.ask_at(0, &api_token_of(1)).code(), "");
    assert_eq!(world.verifications, 5);
}

#[test]
fn at_its_defaults_it_opens_after_five_failures_for_a_minute() {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    world.verify = DOWN;
    for number in 0..4 {
        world.ask(&api_token_of(number));
    }
    assert_eq!(world.verifications, 5);
    assert_eq!(world.ask(&api_token_of(9)), unavailable(60));
}
