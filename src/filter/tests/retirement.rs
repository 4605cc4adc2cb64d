//! A filter that is replaced while its callouts are under way: others ask in its place, without waiting for it.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{code, down, with_key};
use super::world::api_token_of;
use super::{World, api_token, bearer, jwt};
use crate::host::Cx;
use crate::metrics::Gauge;

const SECOND: Duration = Duration::from_secs(1);

/// With a long time for answers, as others would otherwise wait for them.
fn slow(mut overrides: Value) -> Value {
    overrides["auth_service"] = json!({"cluster": "auth", "timeout": "20s", "retries": 1});
    overrides
}

/// The first worker's filter ends with the callouts that are under way, and a new one takes its place.
fn replace(world: &mut World) {
    assert_ne!(world.workers[0].callouts_in_flight(), 0);
    let cx = Cx::new(world.now, &world.process);
    world.workers[0].on_retirement(&cx);
    world.restart(0);
}

#[test]
fn another_worker_fetches_the_key() {
    let mut world = World::with_workers(2, slow(json!({})));
    world.tick_one(0);
    assert_eq!(world.key_fetches, 1);
    replace(&mut world);
    world.live(SECOND);
    let stream = world.send_to(1, &bearer(&jwt(0)));
    assert_eq!((world.ending(stream).map(|ending| ending.code()), world.key_fetches), (Some(""), 2));
}

#[test]
fn another_worker_polls_the_feed() {
    let mut world = World::with_workers(2, slow(json!({"revocation": {"path": "/auth/blacklist"}})));
    world.tick_one(0);
    assert_eq!(world.polls, 1);
    replace(&mut world);
    world.live(SECOND);
    assert_eq!(world.polls, 2);
    assert_eq!(world.process.gauge(Gauge::BlacklistAge).map(|age| age < 2), Some(true));
}

#[test]
fn another_worker_asks_about_the_credential() {
    let mut world = with_key(2, slow(json!({})));
    world.send(&api_token());
    replace(&mut world);
    let stream = world.send_to(1, &api_token());
    world.settle();
    assert_eq!(world.ending(stream).map(|ending| ending.code()), Some(""));
}

#[test]
fn another_worker_probes_the_service() {
    let breaker = json!({"circuit_breaker": {"failures": 1, "open_for": "10s"}});
    let mut world = with_key(2, slow(breaker));
    let up = world.verify.clone();
    world.verify = down();
    assert_eq!(code(&mut world, 0, &api_token_of(1)), "auth_service_unavailable");
    world.verify = up;
    world.pass(11 * SECOND);
    world.send(&api_token_of(2));
    replace(&mut world);
    assert_eq!(code(&mut world, 1, &api_token_of(3)), "");
}

#[test]
fn what_has_ended_since_is_left_alone() {
    let mut world = with_key(2, slow(json!({})));
    world.send(&api_token());
    // So long that another worker may ask.
    world.pass(60 * SECOND);
    let stream = world.send_to(1, &api_token());
    replace(&mut world);
    world.send(&api_token());
    assert_eq!(world.verifications, 2, "the other worker's lease is its own");
    world.settle();
    assert_eq!(world.ending(stream).map(|ending| ending.code()), Some(""));
}

#[test]
fn its_callouts_are_no_longer_counted() {
    let mut world = with_key(2, slow(json!({})));
    world.send(&api_token());
    assert_eq!(world.process.gauge(Gauge::CalloutsInFlight), Some(1));
    replace(&mut world);
    assert_eq!(world.process.gauge(Gauge::CalloutsInFlight), Some(0));
}
