//! JWTs that were found forged, and come again.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::head;
use super::{Answer, Ending, World, bearer, jwt};

const SECOND: Duration = Duration::from_secs(1);

const FORGED: Ending = Ending::Denied(401, "signature_invalid", None);

/// A worker that has found the JWT of key 1 forged, by a fetch a second ago.
fn after_a_forged_jwt(overrides: Value) -> World {
    let mut world = World::new(overrides);
    world.tick();
    world.settle();
    world.live(10 * SECOND);
    assert_eq!(world.ask(&bearer(&jwt(1))), FORGED);
    world.live(SECOND);
    world
}

#[test]
fn a_forged_jwt_that_comes_again_is_refused_at_once() {
    let mut world = after_a_forged_jwt(json!({}));
    let fetches = world.key_fetches;
    for _ in 0..4 {
        world.live(Duration::from_millis(900));
        let stream = world.send(&bearer(&jwt(1)));
        assert_eq!(world.ending(stream), Some(FORGED));
    }
    assert_eq!(world.key_fetches, fetches);
}

#[test]
fn another_forged_jwt_waits_for_the_next_fetch() {
    let mut world = after_a_forged_jwt(json!({}));
    let stream = world.send(&bearer(&jwt(2)));
    world.live(3 * SECOND);
    assert_eq!(world.ending(stream), None);
    world.live(2 * SECOND);
    assert_eq!(world.ending(stream), Some(FORGED));
}

#[test]
fn a_forged_jwt_waits_for_a_fetch_that_may_begin_and_is_judged_by_it() {
    let mut world = after_a_forged_jwt(json!({}));
    for _ in 0..3 {
        world.live(6 * SECOND);
        let fetches = world.key_fetches;
        let streams = [(); 3].map(|()| world.send(&bearer(&jwt(1))));
        world.pass(Duration::from_millis(100));
        let late = world.send(&bearer(&jwt(1)));
        for stream in streams.into_iter().chain([late]) {
            assert_eq!(world.ending(stream), None, "the fetch is under way");
        }
        world.settle();
        for stream in streams.into_iter().chain([late]) {
            assert_eq!(world.ending(stream), Some(FORGED));
        }
        assert_eq!(world.key_fetches, fetches + 1);
    }
}

#[test]
fn a_key_that_is_served_later_lets_it_in_within_one_interval() {
    let mut world = after_a_forged_jwt(json!({}));
    world.serves = 1;
    let stream = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(stream), Some(FORGED), "fetched less than 5 s ago");
    world.live(5 * SECOND);
    assert_eq!(world.ask(&bearer(&jwt(1))).code(), "", "without another 401");
}

#[test]
fn a_key_that_another_jwt_brings_lets_it_in_at_once() {
    let mut world = after_a_forged_jwt(json!({}));
    world.live(6 * SECOND);
    world.serves = 2;
    assert_eq!(world.ask(&bearer(&jwt(2))).code(), "");
    let stream = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(stream), None, "with new keys, nothing is known of it");
    world.serves = 1;
    world.live(6 * SECOND);
    assert_eq!(world.ending(stream).unwrap().code(), "");
}

#[test]
fn a_forged_jwt_is_an_outage_while_the_key_cannot_be_fetched() {
    let mut world = after_a_forged_jwt(json!({}));
    world.live(6 * SECOND);
    world.key_fault = Some(Answer::Body(500, String::new()));
    assert_eq!(world.ask(&bearer(&jwt(1))).code(), "public_key_unavailable");
}

#[test]
fn a_forged_jwt_waits_each_time_where_refusals_are_not_kept() {
    for cache in [json!({"negative_ttl": "0s"}), json!({"ttl": "0s"})] {
        let mut world = after_a_forged_jwt(json!({"cache": cache}));
        let stream = world.send(&bearer(&jwt(1)));
        assert_eq!(world.ending(stream), None);
        world.live(6 * SECOND);
        assert_eq!(world.ending(stream), Some(FORGED));
    }
}

#[test]
fn the_service_is_asked_about_a_remote_jwt_all_the_same() {
    let mut world = after_a_forged_jwt(json!({"rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}]}));
    let stream = world.send(&head(&[(":path", "/remote"), ("authorization", &format!("Bearer {}", jwt(1)))]));
    assert_eq!((world.ending(stream), world.pending.len()), (None, 1), "the service is asked");
}
