//! A clock that is an hour or a day fast for a moment must not end what still holds when it is right again.

use std::time::Duration;

use serde_json::json;

use super::support::down;
use super::world::BEGIN;
use super::{Answer, World, api_token, bearer, claims, jwt_of};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: i64 = 3_600;

/// The clock is an hour fast for so long.
fn be_fast(world: &mut World, time: Duration) {
    world.step(HOUR);
    world.live(time);
    world.step(-HOUR);
    world.tick();
}

fn with_a_feed(feed: &serde_json::Value) -> World {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist", "poll_interval": "8s"}}));
    world.feed = Answer::json(feed);
    world.live(SECOND);
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": []}));
    world
}

fn jwt_until(seconds: u64) -> Vec<(String, Vec<u8>)> {
    let mut claims = claims();
    claims["exp"] = json!(BEGIN + seconds);
    bearer(&jwt_of(0, &claims))
}

#[test]
fn a_revoked_jwt_stays_refused() {
    let mut world = with_a_feed(&json!({"cursor": "c", "revoked": [{"jti": "j", "exp": BEGIN + 1_200}]}));
    world.live(600 * SECOND);
    assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked");
    world.feed = Answer::Body(500, String::new());
    be_fast(&mut world, 120 * SECOND);
    for _ in 0..10 {
        assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked");
        world.live(SECOND);
    }
}

#[test]
fn a_revoked_jwt_stays_refused_when_the_whole_list_is_read_meanwhile() {
    let list =
        json!({"cursor": "c", "revoked": [{"jti": "j", "exp": BEGIN + 1_200}, {"jti": "k", "exp": BEGIN + 9_000}]});
    let mut world = with_a_feed(&list);
    world.live(600 * SECOND);
    world.step(HOUR);
    world.feed = Answer::Body(400, json!({"error": "invalid_cursor"}).to_string());
    world.live(9 * SECOND);
    let mut later = list;
    later["revoked"].as_array_mut().unwrap().push(json!({"jti": "l", "exp": BEGIN + 9_000}));
    world.feed = Answer::json(&later);
    world.live(9 * SECOND);
    world.feed = Answer::Body(500, String::new());
    world.step(-HOUR);
    world.live(SECOND);
    assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked");
}

#[test]
fn a_revoked_jwt_stays_refused_when_the_clock_becomes_right_in_steps() {
    for first in [2, HOUR / 2] {
        let mut world = with_a_feed(&json!({"cursor": "c", "revoked": [{"jti": "j", "exp": BEGIN + 1_200}]}));
        world.live(600 * SECOND);
        world.feed = Answer::Body(500, String::new());
        world.step(HOUR);
        world.live(10 * SECOND);
        world.step(-first);
        world.live(10 * SECOND);
        world.step(first - HOUR);
        world.live(SECOND);
        assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked", "{first}");
    }
}

#[test]
fn a_revoked_jwt_stays_refused_when_the_clock_is_set_forward_in_small_steps() {
    for first in [50, HOUR] {
        let mut world = with_a_feed(&json!({"cursor": "c", "revoked": [{"jti": "j", "exp": BEGIN + 1_200}]}));
        world.live(600 * SECOND);
        world.feed = Answer::Body(500, String::new());
        world.step(first);
        for _ in 0..20 {
            world.live(SECOND);
            world.step(50);
        }
        world.live(10 * SECOND);
        world.step(-first - 20 * 50);
        world.live(SECOND);
        assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked", "{first}");
    }
}

#[test]
fn a_revocation_that_arrives_while_the_clock_is_fast_is_not_lost() {
    let mut world = with_a_feed(&json!({"cursor": "c", "revoked": []}));
    world.live(600 * SECOND);
    while world.pending.is_empty() {
        world.now = world.now.after(SECOND);
        world.tick();
    }
    world.feed = Answer::json(&json!({"cursor": "d", "revoked": [{"jti": "j", "exp": BEGIN + 1_200}]}));
    world.step(HOUR);
    world.answer_next();
    world.step(-HOUR);
    world.feed = Answer::json(&json!({"cursor": "d", "revoked": []}));
    world.live(20 * SECOND);
    assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked");
}

#[test]
fn a_revoked_jwt_is_refused_again_although_the_clock_was_fast_between_two_polls() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist", "poll_interval": "1h"}}));
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": [{"jti": "j", "exp": BEGIN + 1_200}]}));
    world.live(SECOND);
    assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked");
    be_fast(&mut world, 310 * SECOND);
    world.live(SECOND);
    assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked");
}

#[test]
fn of_two_feeds_on_one_host_both_are_read_again_after_a_fast_clock() {
    let mut world = World::with_workers(2, json!({"revocation": {"path": "/auth/blacklist-a", "poll_interval": "1h"}}));
    world.update(1, &json!({"revocation": {"path": "/auth/blacklist-b", "poll_interval": "1h"}}));
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": [{"jti": "j", "exp": BEGIN + 6_000}]}));
    world.live(10 * SECOND);
    // The other feed's list is empty: the token is on the second feed's list alone.
    assert_eq!(world.ask_at(1, &jwt_until(6_000)).code(), "token_revoked");
    world.step(2 * HOUR);
    world.live(700 * SECOND);
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": []}));
    world.step(-2 * HOUR);
    for _ in 0..10 {
        world.pass(SECOND);
        while let Some(pending) = world.pending.first().cloned() {
            if pending.request.path == "/auth/blacklist-b" {
                let list = json!({"cursor": "c", "revoked": [{"jti": "j", "exp": BEGIN + 6_000}]});
                world.answer(&pending, &Answer::json(&list));
            } else {
                world.answer_next();
            }
        }
    }
    assert_eq!(world.ask_at(1, &jwt_until(6_000)).code(), "token_revoked");
}

#[test]
fn a_revocation_that_is_first_read_while_the_clock_is_fast_is_kept() {
    let mut world = with_a_feed(&json!({"cursor": "c", "revoked": []}));
    world.live(600 * SECOND);
    world.step(HOUR);
    world.live(SECOND);
    world.feed = Answer::json(&json!({"cursor": "d", "revoked": [{"jti": "j", "exp": BEGIN + 1_200}]}));
    world.live(9 * SECOND);
    world.feed = Answer::Body(500, String::new());
    world.step(-HOUR);
    world.live(SECOND);
    assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked");
}

#[test]
fn a_jwt_of_a_signed_out_user_stays_refused() {
    let mut world = with_a_feed(&json!({"cursor": "c", "users": [{"user_id": 1, "exp_before": BEGIN + 1_300}]}));
    world.live(600 * SECOND);
    assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked");
    world.feed = Answer::Body(500, String::new());
    be_fast(&mut world, 120 * SECOND);
    assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_revoked");
}

#[test]
fn a_jwt_that_the_service_refused_does_not_pass_by_its_signature() {
    let mut world = World::new(json!({"jwt": {"verification": "remote"}, "circuit_breaker": {"failures": 1}}));
    world.verify = Answer::Body(401, String::new());
    world.live(600 * SECOND);
    assert_eq!(world.ask(&jwt_until(1_200)).code(), "token_rejected");
    world.verify = down();
    world.step(20 * HOUR);
    world.live(8 * SECOND);
    world.step(-20 * HOUR);
    for _ in 0..5 {
        world.live(SECOND);
        let code = world.ask(&jwt_until(1_200)).code();
        assert!(["auth_service_unavailable", "token_rejected"].contains(&code), "{code:?}");
    }
}

#[test]
fn a_jwt_that_is_refused_while_the_clock_is_fast_does_not_pass_by_its_signature() {
    for cache in [json!({}), json!({"ttl": "0s"}), json!({"ttl": "10s", "stale_ttl": "0s", "negative_ttl": "1s"})] {
        let settings = json!({
            "jwt": {"verification": "remote"}, "circuit_breaker": {"failures": 1}, "cache": cache,
        });
        let mut world = World::new(settings);
        world.live(600 * SECOND);
        let stream = world.send(&jwt_until(1_200));
        world.verify = Answer::Body(401, String::new());
        world.step(HOUR);
        world.answer_next();
        assert_eq!(world.ending(stream).unwrap().code(), "token_rejected", "{cache}");
        world.step(-HOUR);
        world.verify = down();
        for _ in 0..5 {
            world.live(SECOND);
            let code = world.ask(&jwt_until(1_200)).code();
            assert!(["auth_service_unavailable", "token_rejected"].contains(&code), "{cache}: {code:?}");
        }
    }
}

#[test]
fn a_purge_by_a_fast_clock_voids_the_verdicts_before_it() {
    let mut world = with_a_feed(&json!({"cursor": "c", "revoked": []}));
    world.live(600 * SECOND);
    assert_eq!(world.ask(&api_token()).code(), "");
    world.step(HOUR);
    world.feed = Answer::json(&json!({"cursor": "d", "purge": [{"user_id": 1}]}));
    world.live(9 * SECOND);
    world.feed = Answer::json(&json!({"cursor": "e", "revoked": []}));
    world.step(-HOUR);
    world.live(SECOND);
    world.verify = Answer::Body(401, String::new());
    assert_eq!(world.ask(&api_token()).code(), "token_rejected");
}
