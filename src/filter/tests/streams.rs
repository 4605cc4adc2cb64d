//! Each stream ends by one action, in any order of answers, departures and ticks.

use std::time::Duration;

use serde_json::json;

use super::world::{api_token_of, head};
use super::{Answer, World, api_token, bearer, jwt};
use crate::code::Code;
use crate::filter::Action;
use crate::host::Cx;
use crate::introspection::CalloutResponse;
use crate::metrics::{Counter, Gauge, Outcome, Source};

#[test]
fn the_answer_for_a_client_that_left_is_dropped() {
    let mut world = World::new(json!({}));
    let stream = world.send(&api_token());
    world.end(0, stream);
    assert_eq!((world.workers[0].waiting(), world.workers[0].callouts_in_flight()), (0, 1));
    world.settle();
    assert_eq!((world.ending(stream), world.workers[0].callouts_in_flight()), (None, 0));
}

#[test]
fn no_retry_is_made_for_a_client_that_left() {
    let mut world = World::new(json!({}));
    world.verify = Answer::Body(500, String::new());
    let stream = world.send(&api_token());
    world.end(0, stream);
    world.settle();
    assert_eq!(world.verifications, 1);
}

#[test]
fn the_key_fetch_continues_when_its_client_leaves() {
    let mut world = World::new(json!({}));
    let left = world.send(&bearer(&jwt(0)));
    let stayed = world.send(&bearer(&jwt(0)));
    world.end(0, left);
    world.settle();
    assert_eq!(world.ending(left), None);
    assert_eq!(world.ending(stayed).unwrap().code(), "");
}

#[test]
fn repeated_and_unknown_answers_are_ignored() {
    let mut world = World::new(json!({}));
    let stream = world.send(&api_token());
    let call = world.pending[0].clone();
    world.settle();
    let outcome = world.ending(stream);
    world.answer(&call, &Answer::Body(401, String::new()));
    world.answer(&call, &Answer::Body(500, String::new()));
    assert_eq!(world.ending(stream), outcome);
    assert_eq!(world.workers[0].callouts_in_flight(), 0);
}

#[test]
fn the_end_of_a_finished_stream_changes_nothing() {
    let mut world = World::new(json!({}));
    let waits = world.send(&api_token());
    world.end(0, waits + 1);
    world.settle();
    assert_eq!(world.ending(waits).unwrap().code(), "");
    world.end(0, waits);
    assert_eq!(world.workers[0].waiting(), 0);
}

#[test]
fn clients_that_leave_free_their_room() {
    let mut world = World::new(json!({}));
    for _ in 0..3 {
        let streams: Vec<_> = (0..crate::limits::MAX_WAITING_FOR_KEY).map(|_| world.send(&bearer(&jwt(0)))).collect();
        assert!(streams.iter().all(|stream| world.ending(*stream).is_none()));
        for stream in streams {
            world.end(0, stream);
        }
    }
    assert_eq!(world.workers[0].waiting(), 0);
}

#[test]
fn ticks_are_frequent_only_while_requests_wait_for_a_key() {
    let mut world = World::new(json!({}));
    assert_eq!(world.workers[0].tick_period(), Duration::from_secs(1));
    let stream = world.send(&bearer(&jwt(0)));
    assert_eq!(world.workers[0].tick_period(), Duration::from_millis(20));
    world.end(0, stream);
    assert_eq!(world.workers[0].tick_period(), Duration::from_secs(1));
}

#[test]
fn every_request_is_counted_exactly_once_and_gauges_return_to_zero() {
    let mut world = World::new(json!({"rules": [{"match": {"path": "/public"}, "public": true}]}));
    let waits = world.send(&bearer(&jwt(0)));
    let leaves = world.send(&bearer(&jwt(0)));
    let asked = world.send(&api_token());
    let leaves_too = world.send(&api_token());
    world.end(0, leaves);
    world.end(0, leaves_too);
    world.settle();
    world.end(0, waits);
    world.end(0, asked);
    world.ask(&head(&[(":path", "/public")]));
    world.ask(&head(&[]));
    world.verify = Answer::Body(500, String::new());
    world.ask(&api_token_of(8));

    let count = |outcome, source, reason| {
        let counter = Counter::Request { outcome, source, reason };
        world.process.counted.borrow().get(&counter).copied().unwrap_or(0)
    };
    assert_eq!(count(Outcome::Allow, Source::Jwt, None), 1);
    assert_eq!(count(Outcome::Allow, Source::Callout, None), 1);
    assert_eq!(count(Outcome::Cancelled, Source::Jwt, None), 1);
    assert_eq!(count(Outcome::Cancelled, Source::Callout, None), 1);
    assert_eq!(count(Outcome::Public, Source::None, None), 1);
    assert_eq!(count(Outcome::Deny, Source::None, Some(Code::MissingCredentials)), 1);
    assert_eq!(count(Outcome::Error, Source::Callout, Some(Code::AuthServiceUnavailable)), 1);
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
    assert_eq!(world.process.gauges.borrow().get(&Gauge::CalloutsInFlight), Some(&0));
}

#[test]
fn a_pending_resolution_ends_with_its_stream() {
    let mut world = World::new(json!({}));
    let stream = world.send(&api_token());
    let call = world.pending.remove(0).call();
    let answer = CalloutResponse { status: 401, headers: vec![], body: Some(vec![]) };
    world.workers[0].on_answer(call, Ok(answer), &Cx::new(world.now, &world.process));
    world.end(0, stream);
    assert_eq!(world.workers[0].next_action(), None);
}

#[test]
fn handling_a_request_resolves_no_other_request() {
    let mut world = World::new(json!({}));
    let [first, second, third] = [0, 1, 2].map(|number| world.send(&api_token_of(number)));
    let worker = &mut world.workers[0];
    for pending in world.pending.drain(..2) {
        let answer = CalloutResponse { status: 401, headers: vec![], body: Some(vec![]) };
        worker.on_answer(pending.call(), Ok(answer), &Cx::new(world.now, &world.process));
    }
    let ended = |action| match action {
        Some(Action::Resolve { stream, .. }) => Some(stream),
        other => {
            assert_eq!(other, None);
            None
        }
    };
    assert_eq!(ended(worker.next_action_within(third)), None);
    assert_eq!(ended(worker.next_action_within(second)), Some(second));
    assert_eq!(ended(worker.next_action_within(second)), None);
    assert!(worker.has_actions());
    assert_eq!(ended(worker.next_action()), Some(first));
    assert!(!worker.has_actions());
}

#[test]
fn callouts_stay_bounded_when_their_clients_leave() {
    let mut world = World::new(json!({}));
    for number in 0..crate::limits::MAX_CALLOUTS {
        let stream = world.send(&api_token_of(number));
        world.end(0, stream);
    }
    let one_more = world.send(&api_token_of(crate::limits::MAX_CALLOUTS));
    assert_eq!(world.ending(one_more).unwrap().code(), "auth_service_unavailable");
    world.settle();
    assert_eq!(world.ask(&api_token()).code(), "");
}
