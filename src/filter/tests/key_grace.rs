//! The service's replicas change their key one by one.

use std::time::Duration;

use serde_json::json;

use super::{World, bearer, claims, jwt, jwt_of};
use crate::filter::Filter;
use crate::filter::world::BEGIN;

/// Answers all pending callouts; the next replica answers each fetch of the key.
fn settle(world: &mut World) {
    while !world.pending.is_empty() {
        if world.pending[0].request.authorization().is_none() {
            world.serves = 1 - world.serves;
        }
        world.answer_next();
    }
}

#[test]
fn tokens_of_two_replicas_with_different_keys_pass() {
    for (pause, grace) in [(1, "5s"), (400, "5s"), (1_300, "5s"), (6_000, "1m"), (61_000, "10m")] {
        let key = json!({"ttl": "60s", "min_refetch_interval": "1s", "grace": grace});
        let mut world = World::with_workers(3, json!({"jwt": {"public_key": key}, "cache": {"ttl": "0s"}}));
        world.serves = 1;
        world.tick();
        settle(&mut world);
        for number in 0..96 {
            let mut claims = claims();
            claims["exp"] = json!(BEGIN + 100_000);
            claims["jti"] = json!(number.to_string());
            let stream = world.send_to(number % 3, &bearer(&jwt_of(number / 2 % 2, &claims)));
            while world.ending(stream).is_none() {
                settle(&mut world);
                world.pass(Duration::from_millis(20));
            }
            assert_eq!(world.ending(stream).unwrap().code(), "", "token {number}, one each {pause} ms");
            world.pass(Duration::from_millis(pause));
            settle(&mut world);
        }
    }
}

#[test]
fn a_new_worker_accepts_the_replaced_key() {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    world.live(Duration::from_secs(10));
    world.serves = 1;
    world.ask(&bearer(&jwt(1)));
    world.workers.push(Filter::new(world.workers[0].config().clone()));
    let mut other = claims();
    other["jti"] = json!("not cached");
    let stream = world.send_to(1, &bearer(&jwt_of(0, &other)));
    assert_eq!(world.ending(stream).unwrap().code(), "");
    assert_eq!(world.key_fetches, 2);
}

#[test]
fn a_longer_grace_keeps_the_old_key_and_its_cached_verdicts() {
    let mut world = World::with_workers(2, json!({"jwt": {"public_key": {"grace": "2m"}}}));
    world.tick();
    world.settle();
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");
    world.live(Duration::from_secs(10));
    world.serves = 1;
    world.ask(&bearer(&jwt(1)));
    world.live(Duration::from_secs(119));
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "");
    }
    world.live(Duration::from_secs(2));
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "signature_invalid");
    }
}

#[test]
fn without_grace_a_replaced_key_and_its_cached_verdicts_are_void() {
    let mut world = World::with_workers(2, json!({"jwt": {"public_key": {"grace": "0s"}}}));
    world.tick();
    world.settle();
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "");
    }
    world.live(Duration::from_secs(10));
    world.serves = 1;
    world.ask(&bearer(&jwt(1)));
    world.live(Duration::from_secs(6));
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "signature_invalid");
        world.live(Duration::from_secs(6));
    }
}

#[test]
fn a_new_worker_takes_over_the_fetched_key() {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    world.ask(&bearer(&jwt(0)));
    let signatures = world.process.signatures.get();
    world.workers.push(Filter::new(world.workers[0].config().clone()));
    for _ in 0..2 {
        for worker in [1, 0] {
            assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "");
        }
    }
    assert_eq!(world.process.signatures.get(), signatures + 1, "it verifies the JWT once, by that key");
}
