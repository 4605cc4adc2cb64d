//! A worker stands still in the middle of an event, while others go on: its clock is behind what they write.

use std::time::Duration;

use serde_json::json;

use super::support::{confirmed, no};
use super::world::BEGIN;
use super::{Answer, World, api_token};

const SECOND: Duration = Duration::from_secs(1);

/// A worker stands still for so long in the middle of the one tick in which it sweeps a row. Returns the code of a
/// request with a token that was refused meanwhile.
fn after_a_stall(stall: Duration) -> &'static str {
    use crate::host::{SharedData as _, Write};
    let mut world = World::with_workers(3, json!({"cache": {"ttl": "1h", "negative_ttl": "1s"}}));
    let yes = Answer::json(&confirmed(json!({"exp": BEGIN + 100_000})));
    world.tick();
    world.settle();
    // Only to learn the token's row of refusals.
    world.verify = no();
    assert_eq!(world.ask_at(0, &api_token()).code(), "token_rejected");
    let name = world.process.stored(".n.")[0].0.clone();
    let row = u32::from_str_radix(name.rsplit('.').next().unwrap(), 16).unwrap();
    world.verify = yes;
    world.live(290 * SECOND);
    for worker in 0..3 {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
    assert_eq!(world.process.stored(".n.").len(), 0);
    while world.workers[0].tick_period() > SECOND / 100 {
        world.now = world.now.after(SECOND);
        world.tick_one(0);
        world.settle();
    }
    for _ in 0..(32_768 + row) / 256 {
        world.now = world.now.after(SECOND / 100);
        world.tick_one(0);
    }
    // The sweeper's next tick reads the clock now.
    let began = world.now;
    // Then it stands still. Meanwhile the service refuses the token, at worker 1, which didn't know it.
    world.now = world.now.after(stall);
    for (slot, _) in world.process.stored(".v.") {
        world.process.set_shared_data(&slot, &[], Write::Always).unwrap();
    }
    world.restart(1);
    world.verify = no();
    assert_eq!(world.ask_at(1, &api_token()).code(), "token_rejected");
    assert_eq!(world.process.stored(".n.").len(), 1);
    // It goes on: one tick.
    let now = world.now;
    world.now = began;
    world.tick_one(0);
    world.now = now.after(SECOND);
    let stream = world.send_to(2, &api_token());
    world.ending(stream).map_or("waits", |ending| ending.code())
}

#[test]
fn a_sweep_by_a_worker_that_stood_still_keeps_a_new_refusal() {
    for millis in [500, 990, 1_100, 2_000] {
        assert_ne!(after_a_stall(Duration::from_millis(millis)), "", "{millis} ms");
    }
}

#[test]
fn a_sweep_by_a_worker_that_stood_still_keeps_a_new_purge() {
    let mut world = World::with_workers(2, json!({"cache": {"ttl": "1h"}, "revocation": {"path": "/auth/blacklist"}}));
    world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 100_000})));
    world.live(290 * SECOND);
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
    world.live(Duration::from_millis(10_060));
    let Some(sweeper) = (0..2).find(|worker| world.workers[*worker].tick_period() <= Duration::from_millis(10)) else {
        panic!("nobody sweeps")
    };
    let began = world.now;
    world.now = world.now.after(2 * SECOND);
    let other = 1 - sweeper;
    world.feed = Answer::json(&json!({"cursor": "d", "purge": [{"user_id": 1}]}));
    let polls = world.polls;
    while world.polls == polls {
        world.now = world.now.after(SECOND);
        world.tick_one(other);
    }
    world.settle();
    world.feed = Answer::json(&json!({"cursor": "d", "revoked": []}));
    let now = world.now;
    world.now = began;
    for _ in 0..400 {
        world.tick_one(sweeper);
    }
    world.now = now;
    world.verify = no();
    assert_eq!(world.ask_at(sweeper, &api_token()).code(), "token_rejected", "the verdict was purged");
}
