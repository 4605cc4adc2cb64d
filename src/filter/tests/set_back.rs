//! A clock that is set back by less than a verdict lives.

use std::time::Duration;

use serde_json::json;

use super::{Answer, Outcome, World, api_token};
use crate::time::UnixTime;

const MINUTE: Duration = Duration::from_secs(60);

/// The clock is set back by a minute; the workers' next ticks see it.
fn set_back(world: &mut World) {
    world.now = UnixTime::from_nanos(world.now.as_nanos() - 60_000_000_000);
    world.tick();
}

fn purge() -> Answer {
    Answer::json(&json!({"cursor": "c2", "purge": [{"user_id": 1}]}))
}

#[test]
fn a_purge_of_a_time_to_come_makes_no_question_endless() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.feed = purge();
    world.tick();
    world.settle();
    world.feed = Answer::json(&json!({"cursor": "c2"}));
    set_back(&mut world);
    world.settle();
    let stream = world.send(&api_token());
    world.now = world.now.after(Duration::from_millis(5));
    world.answer_next();
    assert!(matches!(world.outcome(stream), Some(Outcome::Forwarded(_))), "{:?}", world.outcome(stream));
    assert_eq!(world.verifications, 1);
}
