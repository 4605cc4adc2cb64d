//! The sweep: every five minutes, what is no longer of use is dropped, a few rows in each tick.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{BEGIN, api_token_of};
use super::{Answer, World, api_token, claims};
use crate::metrics::Gauge;

const SECOND: Duration = Duration::from_secs(1);

/// Workers with these settings of the cache, which have ticked once.
fn world(workers: usize, cache: Value) -> World {
    let mut world = World::with_workers(workers, json!({"cache": cache}));
    world.tick();
    world.settle();
    world
}

fn entries(world: &World) -> i64 {
    world.process.gauges.borrow().get(&Gauge::CacheEntries).copied().unwrap_or(0)
}

fn slots(world: &World) -> usize {
    world.process.stored(".v.").len()
}

#[test]
fn expired_entries_are_dropped_within_five_minutes_on_both_levels() {
    let mut world = world(2, json!({"ttl": "10s", "stale_ttl": "0s"}));
    for number in 0..20 {
        world.ask(&api_token_of(number));
        world.send_to(1, &api_token_of(number));
    }
    assert_eq!((entries(&world), slots(&world)), (40, 20));
    world.pass(299 * SECOND);
    assert_eq!((entries(&world), slots(&world)), (40, 20), "it isn't time yet");
    world.pass(SECOND);
    assert_eq!(entries(&world), 0);
    world.pass(2 * SECOND);
    assert_eq!(slots(&world), 0);
    for number in 0..20 {
        world.ask(&api_token_of(number));
    }
    world.pass(297 * SECOND);
    assert_eq!((entries(&world), slots(&world)), (20, 20));
    world.pass(3 * SECOND);
    assert_eq!((entries(&world), slots(&world)), (0, 0), "and every five minutes");
}

#[test]
fn entries_that_may_still_be_served_stale_stay() {
    let mut world = world(2, json!({"ttl": "10s", "stale_ttl": "1h"}));
    world.ask(&api_token());
    world.pass(1_000 * SECOND);
    assert_eq!((entries(&world), slots(&world)), (1, 1));
    world.verify = Answer::Body(500, String::new());
    for worker in [0, 1] {
        let stream = world.send_to(worker, &api_token());
        world.live(SECOND);
        assert_eq!(world.ending(stream).unwrap().code(), "", "worker {worker}");
    }
    world.pass(3_000 * SECOND);
    assert_eq!((entries(&world), slots(&world)), (0, 0), "its hour is over");
}

#[test]
fn entries_of_expired_tokens_are_dropped_before_their_stale_ttl() {
    let mut world = world(1, json!({"ttl": "1h", "stale_ttl": "24h"}));
    let mut confirmed = claims();
    (confirmed["exp"], confirmed["token_type"]) = (json!(BEGIN + 5), json!("api_token"));
    let lasting = world.verify.clone();
    world.verify = Answer::json(&confirmed);
    world.ask(&api_token_of(1));
    world.verify = lasting;
    world.ask(&api_token_of(2));
    world.pass(301 * SECOND);
    assert_eq!((entries(&world), slots(&world)), (2, 2), "the largest clock skew is 5 min");
    world.pass(302 * SECOND);
    // When it was verified is kept: that ends older verdicts.
    let mut lengths: Vec<_> = world.process.stored(".v.").into_iter().map(|(_, record)| record.len()).collect();
    lengths.sort_unstable();
    assert_eq!(entries(&world), 1);
    assert!(matches!(lengths[..], [42, whole] if whole > 100), "{lengths:?}");
    let stream = world.send(&api_token_of(2));
    assert_eq!(world.ending(stream).unwrap().code(), "");
}

#[test]
fn refusals_are_dropped_once_no_older_verdict_can_remain() {
    let mut world = world(1, json!({"ttl": "10s", "stale_ttl": "400s"}));
    world.verify = Answer::Body(401, String::new());
    for number in 0..5 {
        world.ask(&api_token_of(number));
    }
    let refusals = |world: &World| world.process.stored(".n.").len();
    assert_eq!(refusals(&world), 5);
    world.pass(302 * SECOND);
    assert_eq!(refusals(&world), 5);
    world.pass(300 * SECOND);
    assert_eq!(refusals(&world), 0);
}

#[test]
fn one_worker_sweeps_the_shared_data_in_small_steps() {
    let mut world = world(4, json!({"ttl": "10s"}));
    world.pass(299 * SECOND);
    let (mut most, mut sweepers) = (0, [false; 4]);
    let mut all = 0;
    for _ in 0..300 {
        world.now = world.now.after(SECOND / 100);
        for (worker, sweeps) in sweepers.iter_mut().enumerate() {
            let before = world.process.reads.get();
            world.tick_one(worker);
            let reads = world.process.reads.get() - before;
            most = most.max(reads);
            if reads > 100 {
                *sweeps = true;
                all += reads;
            }
        }
    }
    assert_eq!(sweepers.iter().filter(|sweeps| **sweeps).count(), 1);
    assert!(most < 300, "{most} reads in one tick");
    assert!(all >= 32_768 + 4_096, "{all} reads in all");
    assert!(world.workers.iter().all(|worker| worker.tick_period() == SECOND), "it has come to its end");
}

#[test]
fn another_worker_sweeps_after_the_sweeping_worker_died() {
    let mut world = world(2, json!({"ttl": "10s", "stale_ttl": "0s"}));
    world.ask(&api_token());
    world.pass(300 * SECOND);
    let sweeper = (0..2).find(|worker| world.workers[*worker].tick_period() < SECOND).unwrap();
    world.restart(sweeper);
    world.pass(299 * SECOND);
    assert_eq!(slots(&world), 1);
    world.pass(3 * SECOND);
    assert_eq!(slots(&world), 0);
}

#[test]
fn a_sweep_delays_no_request() {
    let mut world = world(1, json!({"ttl": "10s"}));
    world.pass(300 * SECOND);
    assert!(world.workers[0].tick_period() <= SECOND / 100);
    world.ask(&api_token());
    let stream = world.send(&api_token());
    assert_eq!(world.ending(stream).unwrap().code(), "");
    world.pass(SECOND);
    assert_eq!((entries(&world), slots(&world)), (1, 1), "what is new stays");
}

#[test]
fn the_sweep_includes_the_revocation_list() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist", "poll_interval": "1h"}}));
    world.tick();
    let poll =
        world.pending.iter().find(|pending| pending.request.path.starts_with("/auth/blacklist")).unwrap().clone();
    let revoked = json!([{"jti": "a", "exp": BEGIN + 5}, {"jti": "b", "exp": BEGIN + 3600}]);
    world.answer(&poll, &Answer::json(&json!({"cursor": "1", "revoked": revoked})));
    let rows = |world: &World| world.process.stored(".r.revoked.").len();
    assert_eq!(rows(&world), 2);
    world.pass(302 * SECOND);
    assert_eq!(rows(&world), 2, "the largest clock skew is 5 min");
    world.pass(300 * SECOND);
    assert_eq!(rows(&world), 1);
    world.pass(SECOND);
    assert_eq!(world.process.gauge(Gauge::BlacklistSize), Some(1), "without another poll");
}

#[test]
fn a_neighbour_without_a_list_does_not_take_its_sweep() {
    let mut world = World::with_workers(2, json!({}));
    world.update(1, &json!({"revocation": {"path": "/auth/blacklist"}}));
    world.feed = Answer::json(&json!({"cursor": "1", "revoked": [{"jti": "a", "exp": BEGIN + 5}]}));
    world.live(2 * SECOND);
    let rows = |world: &World| world.process.stored(".r.revoked.").len();
    assert_eq!(rows(&world), 1);
    world.feed = Answer::json(&json!({"cursor": "1"}));
    world.live(610 * SECOND);
    assert_eq!(rows(&world), 0);
}
