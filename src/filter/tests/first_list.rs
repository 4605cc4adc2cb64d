//! A new process has no revocation list yet: what requests wait for.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, World, bearer, claims, jwt_of};
use crate::filter::Filter;
use crate::introspection::CalloutError;

fn worlds(workers: usize) -> World {
    let mut world = World::with_workers(workers, json!({"revocation": {"path": "/list"}}));
    world.tick();
    world
}

/// The key comes, and the list doesn't.
fn answer_key(world: &mut World) {
    let keys: Vec<_> = world.pending.iter().filter(|it| it.request.path == "/iam/public-key").cloned().collect();
    for pending in keys {
        world.answer(&pending, &Answer::json(&json!({"public_key": super::world::KEYS[0]})));
    }
}

fn answer_list(world: &mut World, answer: &Answer) {
    let list = world.pending.iter().find(|it| it.request.path == "/list").cloned().expect("nobody polls");
    world.answer(&list, answer);
}

fn with_jti(jti: &str) -> Vec<(String, Vec<u8>)> {
    let mut claims: Value = claims();
    claims["jti"] = json!(jti);
    bearer(&jwt_of(0, &claims))
}

#[test]
fn no_local_jwt_passes_before_the_first_revocation_list() {
    let mut world = worlds(2);
    let (good, revoked) = (world.send_to(0, &with_jti("good")), world.send_to(1, &with_jti("gone")));
    answer_key(&mut world);
    world.pass(Duration::from_millis(100));
    assert_eq!((world.ending(good), world.ending(revoked)), (None, None));
    let exp = super::world::BEGIN + 3600;
    answer_list(&mut world, &Answer::json(&json!({"cursor": "1", "revoked": [{"jti": "gone", "exp": exp}]})));
    world.pass(Duration::from_millis(100));
    assert_eq!(world.ending(good).unwrap().code(), "");
    assert_eq!(world.ending(revoked).unwrap().code(), "token_revoked");
    assert_eq!(world.workers.iter().map(Filter::waiting).sum::<usize>(), 0);
}

#[test]
fn a_feed_that_fails_at_the_start_delays_requests_briefly() {
    let mut world = worlds(2);
    let stream = world.send_to(1, &with_jti("good"));
    answer_key(&mut world);
    for _ in 0..2 {
        assert_eq!(world.ending(stream), None);
        answer_list(&mut world, &Answer::Error(CalloutError::Reset));
    }
    world.pass(Duration::from_millis(50));
    assert_eq!(world.ending(stream).unwrap().code(), "");
    let next = world.send_to(0, &with_jti("good"));
    assert_eq!(world.ending(next).unwrap().code(), "", "at once");
}

#[test]
fn a_silent_feed_delays_requests_for_one_callout_at_most() {
    let mut world = worlds(1);
    let stream = world.send(&with_jti("good"));
    answer_key(&mut world);
    world.pass(Duration::from_millis(2900));
    assert_eq!(world.ending(stream), None);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.ending(stream).unwrap().code(), "");
}
