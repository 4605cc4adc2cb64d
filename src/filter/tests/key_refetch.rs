//! The public key: the first one, rotation, and the service's faults.

use std::time::Duration;

use serde_json::json;

use super::{Answer, Ending, World, bearer, claims, jwt, jwt_of};
use crate::host::Cx;
use crate::introspection::CalloutError;
use crate::limits::AT_ONCE;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn requests_wait_for_the_first_key_and_one_worker_fetches_it() {
    let mut world = World::with_workers(3, json!({}));
    let streams: Vec<_> = (0..200).map(|number| world.send_to(number % 3, &bearer(&jwt(0)))).collect();
    assert!(streams.iter().all(|stream| world.ending(*stream).is_none()));
    world.live(SECOND);
    for stream in streams {
        assert_eq!(world.ending(stream).unwrap().code(), "");
    }
    assert_eq!(world.key_fetches, 1);
}

#[test]
fn the_first_tick_fetches_the_key_before_any_request() {
    let mut world = World::with_workers(2, json!({}));
    world.tick();
    assert_eq!(world.key_fetches, 1);
    world.settle();
    world.tick();
    let stream = world.send_to(1, &bearer(&jwt(0)));
    assert_eq!(world.ending(stream).unwrap().code(), "", "the other worker has it too");
    assert_eq!(world.key_fetches, 1);
}

#[test]
fn a_later_worker_has_the_key_at_once() {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    world.workers.push(crate::filter::Filter::new(world.workers[0].config().clone()));
    let stream = world.send_to(1, &bearer(&jwt(0)));
    assert_eq!(world.ending(stream).unwrap().code(), "");
    assert_eq!(world.key_fetches, 1);
}

#[test]
fn an_expired_key_is_fetched_again_in_the_background() {
    let mut world = World::new(json!({"jwt": {"public_key": {"ttl": "60s"}}}));
    world.tick();
    world.settle();
    world.serves = 1;
    world.live(59 * SECOND);
    assert_eq!(world.key_fetches, 1);
    world.live(3 * SECOND);
    assert_eq!(world.key_fetches, 2);
    let stream = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(stream).unwrap().code(), "", "without waiting");
}

#[test]
fn a_rotated_key_is_fetched_while_the_request_waits() {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    world.live(10 * SECOND);
    world.serves = 1;
    let stream = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(stream), None);
    world.settle();
    assert_eq!(world.ending(stream).unwrap().code(), "");
    assert_eq!(world.key_fetches, 2);
}

#[test]
fn a_request_that_spans_a_key_change_is_not_refused() {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    world.live(10 * SECOND);
    world.serves = 1;
    world.ask(&bearer(&jwt(1)));
    let stream = world.send(&bearer(&jwt(0)));
    assert_eq!(world.ending(stream).unwrap().code(), "", "sent before the rotation, arrived after it");
    world.live(6 * SECOND);
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "signature_invalid");
}

#[test]
fn a_second_rotation_within_the_interval_waits_for_the_next_fetch() {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    world.live(10 * SECOND);
    world.serves = 1;
    world.ask(&bearer(&jwt(1)));
    world.live(SECOND);
    world.serves = 2;
    let stream = world.send(&bearer(&jwt(2)));
    world.live(3 * SECOND);
    assert_eq!((world.ending(stream), world.key_fetches), (None, 2), "the interval is 5 s");
    world.live(2 * SECOND);
    assert_eq!(world.ending(stream).unwrap().code(), "");
    assert_eq!(world.key_fetches, 3);
}

#[test]
fn requests_that_wait_for_the_key_go_on_before_a_newer_one() {
    let mut world = World::new(json!({}));
    let streams: Vec<_> = (0..=AT_ONCE).map(|_| world.send(&bearer(&jwt(0)))).collect();
    world.end(0, streams[0]);
    let newest = world.send(&bearer(&jwt(0)));
    world.answer_next();
    assert!(streams[1..].iter().all(|stream| world.ending(*stream).is_some()));
    assert_eq!(world.ending(newest), None);
    world.tick();
    assert_eq!(world.ending(newest).unwrap().code(), "");
}

#[test]
fn many_forged_tokens_cause_one_fetch_per_interval() {
    let mut world = World::with_workers(2, json!({}));
    world.tick();
    world.settle();
    world.live(10 * SECOND);
    let mut streams = Vec::new();
    for number in 0..600 {
        streams.push(world.send_to(number % 2, &bearer(&jwt(2))));
        world.live(Duration::from_millis(20));
    }
    world.live(6 * SECOND);
    for stream in streams {
        assert_eq!(world.ending(stream), Some(Ending::Denied(401, "signature_invalid", None)));
    }
    // Only the first of them is a search, which asks three times.
    assert!(world.key_fetches <= 1 + 4 + 2, "{} questions in 18 s", world.key_fetches);
}

#[test]
fn a_failed_fetch_keeps_the_old_key() {
    let mut world = World::new(json!({"jwt": {"public_key": {"ttl": "60s"}}}));
    world.tick();
    world.settle();
    for fault in [
        Answer::Body(500, String::new()),
        Answer::Body(200, "{".to_owned()),
        Answer::Body(200, r#"{"public_key": "nonsense"}"#.to_owned()),
        Answer::Body(200, r#"{"public_key": 1}"#.to_owned()),
        Answer::Body(401, r#"{"error": "no"}"#.to_owned()),
        Answer::TooLarge,
        Answer::Error(CalloutError::Reset),
        Answer::Error(CalloutError::NotSent),
    ] {
        let before = world.key_fetches;
        world.key_fault = Some(fault.clone());
        world.live(65 * SECOND);
        assert!(world.key_fetches > before + 1, "{fault:?}: it was tried, and tried again");
        assert_eq!(world.ask(&bearer(&jwt(0))).code(), "", "{fault:?}");
    }
}

#[test]
fn without_a_key_a_jwt_gets_a_503_with_a_retry_after() {
    let mut world = World::new(json!({}));
    world.key_fault = Some(Answer::Error(CalloutError::NotSent));
    let outcome = world.ask(&bearer(&jwt(0)));
    assert_eq!(outcome, Ending::Denied(503, "public_key_unavailable", Some("1".to_owned())));
    assert_eq!(world.key_fetches, 2, "one retry");

    world.pass(Duration::from_millis(1));
    let stream = world.send(&bearer(&jwt(0)));
    world.key_fault = None;
    world.live(2 * SECOND);
    assert_eq!(world.ending(stream).unwrap().code(), "", "the next attempt is soon");
}

#[test]
fn an_unknown_signature_is_an_outage_while_the_service_is_down() {
    let mut world = World::new(json!({}));
    world.tick();
    world.settle();
    world.live(10 * SECOND);
    world.key_fault = Some(Answer::Body(500, String::new()));
    assert_eq!(world.ask(&bearer(&jwt(1))).code(), "public_key_unavailable");
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "", "known clients don't notice");
}

#[test]
fn a_retry_can_complete_the_fetch() {
    let mut world = World::new(json!({}));
    let stream = world.send(&bearer(&jwt(0)));
    let first = world.pending[0].clone();
    world.answer(&first, &Answer::Error(CalloutError::Reset));
    assert_eq!(world.ending(stream), None);
    world.settle();
    assert_eq!(world.ending(stream).unwrap().code(), "");
    assert_eq!(world.key_fetches, 2);
}

#[test]
fn another_worker_fetches_after_the_lease_of_a_dead_worker() {
    let mut world = World::with_workers(2, json!({}));
    world.workers[0].on_tick(&Cx::new(world.now, &world.process));
    world.workers.remove(0);
    let stream = world.send(&bearer(&jwt(0)));
    world.live(4 * SECOND);
    assert_eq!((world.ending(stream), world.key_fetches), (None, 0));
    world.live(2 * SECOND);
    assert_eq!(world.ending(stream).unwrap().code(), "", "four timeouts of 1 s and 1 s of slack are over");
}

#[test]
fn a_request_stops_waiting_if_no_answer_comes() {
    let mut world = World::new(json!({}));
    let stream = world.send(&bearer(&jwt(0)));
    world.pass(60 * SECOND);
    assert_eq!(world.ending(stream).unwrap().code(), "public_key_unavailable");
    assert_eq!(world.workers[0].waiting(), 0);
}

#[test]
fn a_token_that_expires_while_waiting_is_refused() {
    let mut world = World::new(json!({}));
    let mut short = claims();
    short["exp"] = json!(super::world::BEGIN + 2);
    let stream = world.send(&bearer(&jwt_of(0, &short)));
    world.pass(Duration::from_millis(2500));
    world.settle();
    assert_eq!(world.ending(stream).unwrap().code(), "token_expired");
}

#[test]
fn a_clock_step_of_an_hour_neither_refuses_tokens_nor_floods_the_service() {
    for step in [3600_i64, -3600] {
        let mut world = World::new(json!({"jwt": {"public_key": {"ttl": "24h"}}}));
        world.tick();
        world.settle();
        world.step(step);
        world.live(2 * SECOND);
        let mut long = claims();
        long["exp"] = json!(super::world::BEGIN + 100_000);
        assert_eq!(world.ask(&bearer(&jwt_of(0, &long))).code(), "");
        world.live(5 * SECOND);
        world.serves = 1;
        let stream = world.send(&bearer(&jwt_of(1, &long)));
        world.live(6 * SECOND);
        assert_eq!(world.ending(stream).unwrap().code(), "", "rotation after a step of {step} s");
        assert!(world.key_fetches <= 4, "{} fetches after a step of {step} s", world.key_fetches);
    }
}

#[test]
fn a_full_waiting_room_gives_503() {
    let mut world = World::new(json!({}));
    for _ in 0..crate::limits::MAX_WAITING_FOR_KEY {
        world.send(&bearer(&jwt(0)));
    }
    let outcome = world.send(&bearer(&jwt(0)));
    assert_eq!(world.ending(outcome).unwrap().code(), "public_key_unavailable");
    world.live(SECOND);
    assert_eq!(world.workers[0].waiting(), 0);
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");

    let mut world = World::new(json!({}));
    let mut large = claims();
    large["client_name"] = json!("x".repeat(11_000));
    let token = bearer(&jwt_of(0, &large));
    let denied = (0..2000).filter(|_| {
        let stream = world.send(&token);
        world.ending(stream).is_some()
    });
    assert!(denied.count() > 500, "bounded in bytes, too");
}

#[test]
fn waiting_requests_resume_in_small_batches() {
    let mut world = World::new(json!({}));
    world.tick();
    world.live(6 * SECOND);
    let streams: Vec<_> = (0..1000).map(|_| world.send(&bearer(&jwt(1)))).collect();
    let ended = |world: &World| streams.iter().filter(|stream| world.ending(**stream).is_some()).count();
    world.settle();
    let mut before = ended(&world);
    assert_eq!(before, 32);
    while before < 1000 {
        assert!(world.workers[0].tick_period() <= Duration::from_millis(20));
        world.tick();
        let now = ended(&world);
        assert!((1..=32).contains(&(now - before)), "{} at once", now - before);
        before = now;
    }
}

#[test]
fn a_late_answer_does_not_restore_an_older_key() {
    let mut world = World::with_workers(2, json!({}));
    world.workers[0].on_tick(&Cx::new(world.now, &world.process));
    let stalled = world.workers[0].next_action();
    world.live(4 * SECOND);
    world.serves = 1;
    let stream = world.send_to(1, &bearer(&jwt(1)));
    world.live(6 * SECOND);
    assert_eq!(world.ending(stream).unwrap().code(), "");
    let Some(crate::filter::Action::Callout { call, .. }) = stalled else { panic!("nothing was asked") };
    world.answer_key_late(0, call, 0);
    world.live(SECOND);
    for worker in [0, 1] {
        let stream = world.send_to(worker, &bearer(&jwt(1)));
        assert_eq!(world.ending(stream).unwrap().code(), "", "worker {worker}, without waiting");
    }
}

#[test]
fn a_replaced_key_that_was_the_newest_again_is_tried_again() {
    let mut world = World::with_workers(2, json!({"jwt": {"public_key": {"min_refetch_interval": "200ms"}}}));
    world.tick();
    world.settle();
    world.live(10 * SECOND);
    world.serves = 1;
    assert_eq!(world.ask_at(0, &bearer(&jwt(1))).code(), "");
    world.live(10 * SECOND);
    assert_eq!(world.ask_at(1, &bearer(&jwt(0))).code(), "signature_invalid", "the grace is over");
    world.live(2 * SECOND);
    // Between two looks of the second worker, the first one sees the old key, and the new one again.
    let mut see = |serves: usize| {
        world.serves = serves;
        let stream = world.send_to(0, &bearer(&jwt(serves)));
        world.settle();
        world.now = world.now.after(Duration::from_millis(210));
        world.tick_one(0);
        world.settle();
        assert_eq!(world.ending(stream).unwrap().code(), "");
    };
    see(0);
    world.serves = 1;
    world.send_to(0, &bearer(&jwt(2)));
    world.settle();
    let stream = world.send_to(1, &bearer(&jwt(0)));
    world.settle();
    assert_eq!(world.ending(stream).map(|ending| ending.code()), Some(""));
}
