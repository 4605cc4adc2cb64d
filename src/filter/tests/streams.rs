//! One terminal action a stream, whatever the order of answers, departures and time.

use std::time::Duration;

use serde_json::json;

use super::{Answer, World, api_token, bearer, jwt};

#[test]
fn a_client_that_leaves_is_forgotten_and_its_answer_goes_nowhere() {
    let mut world = World::new(json!({}));
    let stream = world.send(&api_token());
    world.workers[0].on_end(stream);
    assert_eq!((world.workers[0].waiting(), world.workers[0].callouts_in_flight()), (0, 1));
    world.settle();
    assert_eq!((world.outcome(stream), world.workers[0].callouts_in_flight()), (None, 0));
}

#[test]
fn nobody_asks_again_for_a_client_that_left() {
    let mut world = World::new(json!({}));
    world.verify = Answer::Body(500, String::new());
    let stream = world.send(&api_token());
    world.workers[0].on_end(stream);
    world.settle();
    assert_eq!(world.verifications, 1);
}

#[test]
fn a_client_that_leaves_while_the_key_is_fetched_does_not_take_the_fetch_along() {
    let mut world = World::new(json!({}));
    let left = world.send(&bearer(&jwt(0)));
    let stayed = world.send(&bearer(&jwt(0)));
    world.workers[0].on_end(left);
    world.settle();
    assert_eq!(world.outcome(left), None);
    assert_eq!(world.outcome(stayed).unwrap().code(), "");
}

#[test]
fn a_second_answer_and_one_that_nobody_asked_for_fall_on_the_floor() {
    let mut world = World::new(json!({}));
    let stream = world.send(&api_token());
    let call = world.pending[0].clone();
    world.settle();
    let outcome = world.outcome(stream);
    world.answer(&call, &Answer::Body(401, String::new()));
    world.answer(&call, &Answer::Body(500, String::new()));
    assert_eq!(world.outcome(stream), outcome);
    assert_eq!(world.workers[0].callouts_in_flight(), 0);
}

#[test]
fn the_end_of_a_stream_that_never_waited_changes_nothing() {
    let mut world = World::new(json!({}));
    let waits = world.send(&api_token());
    world.workers[0].on_end(waits + 1);
    world.settle();
    assert_eq!(world.outcome(waits).unwrap().code(), "");
    world.workers[0].on_end(waits);
    assert_eq!(world.workers[0].waiting(), 0);
}

#[test]
fn the_room_of_clients_that_left_is_free_again() {
    let mut world = World::new(json!({}));
    for _ in 0..3 {
        let streams: Vec<_> = (0..crate::filter::MAX_WAITING_FOR_KEY).map(|_| world.send(&bearer(&jwt(0)))).collect();
        assert!(streams.iter().all(|stream| world.outcome(*stream).is_none()));
        for stream in streams {
            world.workers[0].on_end(stream);
        }
    }
    assert_eq!(world.workers[0].waiting(), 0);
}

#[test]
fn ticks_come_fast_only_while_somebody_waits_for_a_key() {
    let mut world = World::new(json!({}));
    assert_eq!(world.workers[0].tick_period(), Duration::from_secs(1));
    let stream = world.send(&bearer(&jwt(0)));
    assert_eq!(world.workers[0].tick_period(), Duration::from_millis(20));
    world.workers[0].on_end(stream);
    assert_eq!(world.workers[0].tick_period(), Duration::from_secs(1));
}
