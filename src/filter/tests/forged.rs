//! JWTs that were found forged, and come again.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{BEGIN, KEYS, head};
use super::{Answer, Ending, World, bearer, claims, jwt, jwt_of};

const SECOND: Duration = Duration::from_secs(1);

const FORGED: Ending = Ending::Denied(401, "signature_invalid", None);

/// A worker that fetched the key so many seconds ago.
fn after_a_fetch(overrides: Value, seconds: u32) -> World {
    let mut world = World::new(overrides);
    world.tick();
    world.settle();
    world.live(seconds * SECOND);
    world
}

/// A worker that has found the JWT of key 1 forged twice, the second time by a fetch a second ago.
fn after_a_forged_jwt(overrides: Value) -> World {
    let mut world = after_a_fetch(overrides, 10);
    for _ in 0..2 {
        assert_eq!(world.ask(&bearer(&jwt(1))), FORGED);
        world.live(6 * SECOND);
    }
    world.ask(&bearer(&jwt(1)));
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
fn a_jwt_that_was_refused_once_waits_for_its_key() {
    let config = json!({"jwt": {"public_key": {"min_refetch_interval": "15s"}}, "cache": {"negative_ttl": "1h"}});
    let mut world = after_a_fetch(config, 20);
    // All of them are refused by one fetch.
    let streams = [(); 3].map(|()| world.send(&bearer(&jwt(1))));
    world.settle();
    for stream in streams {
        assert_eq!(world.ending(stream), Some(FORGED));
    }
    world.live(SECOND);
    world.serves = 1;
    let stream = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(stream), None);
    world.live(15 * SECOND);
    assert_eq!(world.ending(stream).unwrap().code(), "");
}

#[test]
fn a_forged_jwt_is_verified_once_with_each_key() {
    let mut world = after_a_fetch(json!({}), 10);
    assert_eq!(world.ask(&bearer(&jwt(1))), FORGED);
    assert_eq!(world.process.signatures.get(), 1);
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
fn after_a_new_key_a_forged_jwt_waits_again() {
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

/// The headers of a request with a JWT of this key that lives long.
fn long(key: usize) -> Vec<(String, Vec<u8>)> {
    let mut claims = claims();
    claims["exp"] = json!(BEGIN + 1_000_000);
    bearer(&jwt_of(key, &claims))
}

#[test]
fn a_rotation_that_is_rolled_back_costs_no_valid_token_a_401() {
    let mut world = World::new(json!({}));
    assert_eq!(world.ask(&long(0)).code(), "");
    world.live(600 * SECOND);
    world.serves = 1;
    assert_eq!(world.ask(&long(1)).code(), "");
    world.live(600 * SECOND);
    for _ in 0..2 {
        world.live(6 * SECOND);
        assert_eq!(world.ask(&long(0)), FORGED, "the grace is over");
    }
    world.live(SECOND);
    world.serves = 0;
    for _ in 0..4 {
        let stream = world.send(&long(0));
        world.live(6 * SECOND);
        assert_eq!(world.ending(stream).unwrap().code(), "");
    }
}

#[test]
fn a_forged_jwt_waits_for_a_search_when_one_is_due() {
    // Keys are fetched in the background all the time. Only the third replica in a row has the new key.
    let config = json!({"jwt": {"public_key": {"ttl": "1s", "min_refetch_interval": "5s", "grace": "24h"}}});
    let mut world = World::new(config);
    for _ in 0..2 {
        world.live(10 * SECOND);
        let stream = world.send(&long(1));
        world.live(10 * SECOND);
        assert_eq!(world.ending(stream), Some(FORGED));
    }
    let ask = |world: &mut World| {
        let stream = world.send(&long(1));
        for _ in 0..50 {
            world.pass(Duration::from_millis(20));
            let mut question = 0;
            while let Some(pending) = world.pending.first().cloned() {
                question += 1;
                let key = KEYS[usize::from(question == 3)];
                world.answer(&pending, &Answer::json(&json!({"public_key": key})));
            }
        }
        world.ending(stream).map(|ending| ending.code())
    };
    let passed = (0..120).find(|_| ask(&mut world) == Some(""));
    assert!(passed.is_some(), "a search is made once per minute");
}

#[test]
fn a_key_that_another_worker_fetched_lets_it_in_at_once() {
    let mut world = World::with_workers(2, json!({}));
    world.tick();
    world.settle();
    world.live(10 * SECOND);
    for _ in 0..2 {
        assert_eq!(world.ask_at(0, &bearer(&jwt(1))), FORGED);
        world.live(6 * SECOND);
    }
    world.serves = 1;
    assert_eq!(world.ask_at(1, &bearer(&jwt(1))).code(), "");
    let stream = world.send_to(0, &bearer(&jwt(1)));
    assert_eq!(world.ending(stream).unwrap().code(), "");
}

#[test]
fn all_that_wait_for_one_fetch_count_as_one() {
    let config = json!({"jwt": {"public_key": {"min_refetch_interval": "15s"}}, "cache": {"negative_ttl": "1h"}});
    let mut world = after_a_fetch(config, 20);
    // More than are looked at in one event.
    let streams: Vec<_> = (0..100).map(|_| world.send(&bearer(&jwt(1)))).collect();
    world.live(SECOND);
    for stream in streams {
        assert_eq!(world.ending(stream), Some(FORGED));
    }
    let stream = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(stream), None);
}

#[test]
fn a_forged_jwt_waits_again_after_negative_ttl() {
    let mut world = after_a_forged_jwt(json!({"cache": {"negative_ttl": "2s"}}));
    let stream = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(stream), Some(FORGED));
    world.live(SECOND);
    let stream = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(stream), None);
}

#[test]
fn a_jwt_for_the_service_is_not_remembered_as_forged() {
    let mut world = World::new(json!({"jwt": {"verification": "remote"}}));
    world.tick();
    world.settle();
    world.is_host_gone = true;
    for _ in 0..3 {
        world.live(6 * SECOND);
        world.ask(&bearer(&jwt(1)));
    }
    world.live(SECOND);
    let stream = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(stream), None);
}

#[test]
fn with_pinned_keys_a_forged_jwt_never_waits() {
    let mut world = World::new(json!({"jwt": {"public_key": {"pem": [KEYS[0]]}}}));
    for _ in 0..2 {
        let stream = world.send(&bearer(&jwt(1)));
        assert_eq!(world.ending(stream), Some(FORGED));
    }
    assert_eq!(world.key_fetches, 0);
}
