//! The wall clock is set back, by less than a verdict lives or for a moment: no refusal and no purge is lost.

use std::time::Duration;

use serde_json::json;

use super::support::{confirmed, down};
use super::{Answer, World, api_token};

const MINUTE: Duration = Duration::from_secs(60);

/// The clock is set back by a minute; the workers' next ticks see it.
fn set_back(world: &mut World) {
    world.step(-60);
    world.tick();
}

fn purge() -> Answer {
    Answer::json(&json!({"cursor": "c2", "purge": [{"user_id": 1}]}))
}

#[test]
fn a_verdict_does_not_override_a_later_refusal() {
    let mut world = World::with_workers(2, json!({"cache": {"ttl": "60s", "negative_ttl": "1s"}}));
    world.live(2 * MINUTE);
    for worker in [0, 1] {
        world.ask_at(worker, &api_token());
    }
    set_back(&mut world);
    world.live(MINUTE + Duration::from_secs(1));
    world.verify = Answer::Body(401, String::new());
    assert_eq!(world.ask(&api_token()).code(), "token_rejected");
    world.live(MINUTE + Duration::from_secs(1));
    assert_eq!(world.ask_at(1, &api_token()).code(), "token_rejected");
}

#[test]
fn a_verdict_does_not_override_a_later_purge() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.live(2 * MINUTE);
    world.ask(&api_token());
    set_back(&mut world);
    world.settle();
    world.feed = purge();
    world.live(MINUTE / 2);
    world.verify = Answer::Body(401, String::new());
    assert_eq!(world.ask(&api_token()).code(), "token_rejected");
}

#[test]
fn a_refusal_that_arrives_while_the_clock_is_slow_is_not_lost() {
    let mut world = World::with_workers(2, json!({}));
    world.live(2 * MINUTE);
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
    world.live(6 * MINUTE);
    let stream = world.send(&api_token());
    world.verify = Answer::Body(401, String::new());
    world.step(-7_200);
    world.answer_next();
    assert_eq!(world.ending(stream).unwrap().code(), "token_rejected");
    world.step(7_200);
    world.verify = down();
    world.live(15 * MINUTE);
    assert_eq!(world.ask_at(1, &api_token()).code(), "auth_service_unavailable");
}

#[test]
fn a_refusal_of_a_question_by_a_fast_clock_does_not_come_back() {
    let mut world = World::new(json!({"cache": {"negative_ttl": "3s"}}));
    world.live(2 * MINUTE);
    world.step(20);
    let stream = world.send(&api_token());
    world.verify = Answer::Body(401, String::new());
    world.step(-20);
    world.answer_next();
    assert_eq!(world.ending(stream).unwrap().code(), "token_rejected");
    world.verify = Answer::json(&confirmed(json!({})));
    world.live(Duration::from_secs(22));
    assert_eq!(world.ask(&api_token()).code(), "");
}

#[test]
fn a_purge_that_arrives_while_the_clock_is_slow_is_not_lost() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.live(2 * MINUTE);
    world.ask(&api_token());
    while world.pending.is_empty() {
        world.now = world.now.after(Duration::from_secs(1));
        world.tick();
    }
    world.feed = purge();
    world.step(-3_600);
    world.answer_next();
    world.step(3_600);
    world.feed = Answer::json(&json!({"cursor": "c2", "revoked": []}));
    world.verify = Answer::Body(401, String::new());
    world.live(Duration::from_secs(5));
    assert_eq!(world.ask(&api_token()).code(), "token_rejected");
}
