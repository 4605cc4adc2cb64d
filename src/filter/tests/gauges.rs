//! What the gauges of a filter show that could read nothing yet, and after an update.

use std::time::Duration;

use serde_json::json;

use super::support::down;
use super::{World, api_token};
use crate::host::Cx;
use crate::metrics::Gauge;

const MINUTE: Duration = Duration::from_secs(60);

/// Whether this gauge shows an age of ten minutes, as of a tick of the last seconds.
fn is_ten_minutes(world: &World, age: Gauge) -> bool {
    world.process.gauge(age).is_some_and(|age| (590..=600).contains(&age))
}

/// The first worker's filter ends, and one with this configuration takes its place.
fn replace(world: &mut World, overrides: &serde_json::Value) {
    let cx = Cx::new(world.now, &world.process);
    world.workers[0].on_retirement(&cx);
    world.update(0, overrides);
}

#[test]
fn a_list_that_was_never_read_is_as_old_as_its_filter() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.feed = down();
    world.live(10 * MINUTE);
    assert!(is_ten_minutes(&world, Gauge::BlacklistAge));
    assert_eq!(world.process.gauge(Gauge::BlacklistSize), Some(0));
}

#[test]
fn a_key_that_was_never_fetched_is_as_old_as_its_filter() {
    let mut world = World::new(json!({}));
    world.key_fault = Some(down());
    world.live(10 * MINUTE);
    assert!(is_ten_minutes(&world, Gauge::PublicKeyAge));
}

#[test]
fn after_an_update_to_a_wrong_path_the_list_grows_old() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.live(MINUTE);
    assert!(world.process.gauge(Gauge::BlacklistAge).is_some_and(|age| age < 60));
    replace(&mut world, &json!({"revocation": {"path": "/auth/blocklist"}}));
    world.feed = down();
    world.live(10 * MINUTE);
    assert!(is_ten_minutes(&world, Gauge::BlacklistAge));
}

#[test]
fn after_an_update_that_ends_the_feed_its_gauges_are_zero() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.feed =
        super::world::Answer::json(&json!({"cursor": "c", "revoked": [{"jti": "j", "exp": 4_102_444_800_u64}]}));
    world.live(10 * MINUTE);
    world.feed = down();
    world.live(10 * MINUTE);
    replace(&mut world, &json!({}));
    world.live(MINUTE);
    let gauges = [Gauge::BlacklistAge, Gauge::BlacklistSize].map(|gauge| world.process.gauge(gauge));
    assert_eq!(gauges, [Some(0), Some(0)]);
}

#[test]
fn a_filter_that_ends_takes_the_breakers_state_and_the_keys_age_with_it() {
    let mut world = World::new(json!({"circuit_breaker": {"failures": 1}}));
    world.live(MINUTE);
    world.verify = down();
    world.ask(&api_token());
    world.live(MINUTE);
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(2));
    let cx = Cx::new(world.now, &world.process);
    world.workers[0].on_retirement(&cx);
    let gauges = [Gauge::BreakerState, Gauge::PublicKeyAge].map(|gauge| world.process.gauge(gauge));
    assert_eq!(gauges, [Some(0), Some(0)]);
}

#[test]
fn a_filter_that_stays_shows_its_state_again() {
    let mut world = World::with_workers(2, json!({"circuit_breaker": {"failures": 1}}));
    world.live(MINUTE);
    world.verify = down();
    world.ask(&api_token());
    let cx = Cx::new(world.now, &world.process);
    world.workers[0].on_retirement(&cx);
    world.tick_one(1);
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(2));
}
