//! What one connection may take up, so that no client fills the room for the others.

use std::time::Duration;

use serde_json::json;

use super::support::{confirmed, ended, no, questions, with_key};
use super::world::api_token_of;
use super::{Answer, World, bearer, claims, jwt, jwt_of};
use crate::code::Code;
use crate::host::StreamId;
use crate::limits::{MAX_CALLOUT_BYTES, MAX_CALLOUTS, MAX_WAITING};
use crate::metrics::{CacheEvent, Counter, Outcome, Source};
use crate::questions::shares::{FIRST_QUESTIONS, MOST_QUESTIONS};

const TICK: Duration = Duration::from_millis(20);

fn by(world: &World, connection: u64) {
    world.process.connection.set(Some(connection));
}

fn yes() -> Answer {
    Answer::json(&confirmed(json!({})))
}

/// Requests of a connection, each with a token of its own.
fn send(world: &mut World, connection: u64, numbers: std::ops::Range<usize>) -> Vec<StreamId> {
    by(world, connection);
    numbers.map(|number| world.send(&api_token_of(number))).collect()
}

fn leave(world: &mut World, streams: &[StreamId]) {
    streams.iter().for_each(|stream| world.end(0, *stream));
}

#[test]
fn a_connection_that_resets_its_requests_asks_few_questions() {
    let mut world = with_key(1, json!({}));
    for number in 0..1000 {
        let streams = send(&mut world, 1, number..number + 1);
        leave(&mut world, &streams);
    }
    world.pass(TICK);
    assert_eq!((questions(&world).len(), world.workers[0].waiting()), (FIRST_QUESTIONS, 0));
    let other = send(&mut world, 2, 5000..5001);
    assert_eq!(questions(&world).len(), FIRST_QUESTIONS + 1);
    world.settle();
    assert_eq!(world.ending(other[0]).unwrap().code(), "");
    assert_eq!(world.verifications, FIRST_QUESTIONS + 1);
}

#[test]
fn requests_reset_together_leave_few_questions_behind() {
    let mut world = with_key(1, json!({}));
    world.verify = no();
    for round in 0..10 {
        let streams = send(&mut world, 1, round * 100..round * 100 + 100);
        leave(&mut world, &streams);
        world.pass(TICK);
        assert!(questions(&world).len() <= FIRST_QUESTIONS);
        world.settle();
    }
}

#[test]
fn requests_beyond_the_share_wait_and_are_answered_in_order() {
    let mut world = with_key(1, json!({}));
    let streams = send(&mut world, 1, 0..30);
    assert_eq!((questions(&world).len(), ended(&world, &streams)), (FIRST_QUESTIONS, 0));
    world.verify = no();
    world.settle();
    world.pass(TICK);
    assert_eq!((questions(&world).len(), ended(&world, &streams[..8])), (FIRST_QUESTIONS, 8));
    world.live(Duration::from_millis(200));
    assert_eq!(ended(&world, &streams), 30);
    assert!(streams.iter().all(|stream| world.ending(*stream).unwrap().code() == "token_rejected"));
}

#[test]
fn the_share_of_a_connection_grows_with_good_credentials() {
    let mut world = with_key(1, json!({}));
    let streams = send(&mut world, 1, 0..1000);
    let mut most = 0;
    for _ in 0..30 {
        most = most.max(questions(&world).len());
        world.settle();
        world.pass(TICK);
    }
    assert_eq!((most, ended(&world, &streams)), (MOST_QUESTIONS, 1000));
    assert!(streams.iter().all(|stream| world.ending(*stream).unwrap().code().is_empty()));
}

#[test]
fn an_abandoned_question_resets_the_share_of_its_connection() {
    let mut world = with_key(1, json!({}));
    send(&mut world, 1, 0..100);
    for _ in 0..3 {
        world.settle();
        world.pass(TICK);
    }
    let streams = send(&mut world, 1, 200..201);
    assert!(questions(&world).len() > FIRST_QUESTIONS);
    leave(&mut world, &streams);
    world.settle();
    world.live(Duration::from_secs(1));
    send(&mut world, 1, 300..400);
    assert_eq!(questions(&world).len(), FIRST_QUESTIONS);
}

#[test]
fn a_request_that_waits_too_long_for_its_share_is_denied_or_served_stale() {
    let mut world = with_key(1, json!({}));
    by(&world, 2);
    assert_eq!(world.ask(&api_token_of(9)).code(), "");
    world.pass(Duration::from_secs(400));
    world.settle();
    let streams = send(&mut world, 1, 100..108);
    let unknown = send(&mut world, 1, 200..201);
    let known = send(&mut world, 1, 9..10);
    world.pass(Duration::from_millis(3_100));
    assert_eq!(world.ending(unknown[0]).unwrap().code(), "auth_service_unavailable");
    assert_eq!(world.ending(known[0]).unwrap().code(), "");
    assert_eq!(ended(&world, &streams), 0);
}

#[test]
fn a_request_that_waits_for_its_share_joins_an_open_question() {
    let mut world = with_key(1, json!({}));
    send(&mut world, 1, 0..8);
    let queued = send(&mut world, 1, 50..51);
    let other = send(&mut world, 2, 50..51);
    assert_eq!(questions(&world).len(), 9);
    let question = questions(&world).pop().unwrap();
    world.answer(&question, &yes());
    assert_eq!(world.ending(other[0]).unwrap().code(), "");
    world.answer(&questions(&world)[0].clone(), &yes());
    world.pass(TICK);
    assert_eq!(world.ending(queued[0]).unwrap().code(), "");
    assert_eq!(world.verifications, 9);
}

/// A request waits for its share, and meanwhile another connection gets an answer about the same credential.
fn wait_while_another_asks(world: &mut World) -> StreamId {
    send(world, 1, 0..8);
    let queued = send(world, 1, 50..51)[0];
    send(world, 2, 50..51);
    world.settle();
    queued
}

#[test]
fn a_verdict_that_comes_while_a_request_waits_for_its_share_is_a_hit() {
    let mut world = with_key(1, json!({}));
    let queued = wait_while_another_asks(&mut world);
    let hits = |world: &World| {
        let allowed = Counter::Request { outcome: Outcome::Allow, source: Source::Cache, reason: None };
        [Counter::Cache(CacheEvent::Hit), allowed].map(|counter| world.process.count_of(counter))
    };
    assert_eq!((ended(&world, &[queued]), hits(&world)), (0, [0, 0]));
    world.pass(TICK);
    assert_eq!((ended(&world, &[queued]), hits(&world)), (1, [1, 1]));
}

#[test]
fn a_refusal_that_comes_while_a_request_waits_for_its_share_is_negative() {
    let mut world = with_key(1, json!({}));
    world.verify = no();
    let queued = wait_while_another_asks(&mut world);
    world.pass(TICK);
    assert_eq!(world.ending(queued).unwrap().code(), "token_rejected");
    let denied = Counter::Request { outcome: Outcome::Deny, source: Source::Cache, reason: Some(Code::TokenRejected) };
    let counted = [Counter::Cache(CacheEvent::Negative), denied].map(|counter| world.process.count_of(counter));
    assert_eq!(counted, [1, 1]);
}

#[test]
fn abandoned_questions_of_all_connections_are_bounded() {
    let mut world = with_key(1, json!({}));
    for connection in 0..1000 {
        let number = 100 * usize::try_from(connection).unwrap();
        let streams = send(&mut world, connection, number..number + 8);
        leave(&mut world, &streams);
    }
    let left = questions(&world).len();
    assert!((128..128 + 1000).contains(&left), "{left}: one each from then on");
    let other = send(&mut world, 5000, 500_000..500_001);
    assert_eq!(questions(&world).len(), left + 1);
    world.settle();
    assert_eq!(world.ending(other[0]).unwrap().code(), "");
}

#[test]
fn a_connection_has_a_share_of_the_waiting_room() {
    let mut world = with_key(1, json!({}));
    by(&world, 1);
    let streams: Vec<_> = (0..MAX_WAITING).map(|_| world.send(&api_token_of(1))).collect();
    assert_eq!(world.workers[0].waiting(), MAX_WAITING / 4);
    assert_eq!(ended(&world, &streams), MAX_WAITING * 3 / 4);
    let other = send(&mut world, 2, 2..3);
    assert_eq!(world.ending(other[0]), None);
}

#[test]
fn a_connection_has_a_share_of_the_room_for_key_waits() {
    let mut world = with_key(1, json!({}));
    world.live(Duration::from_secs(10));
    by(&world, 1);
    let large = |number: usize| {
        let mut claims = claims();
        claims["client_name"] = json!("x".repeat(11_000));
        claims["jti"] = json!(number.to_string());
        bearer(&jwt_of(1, &claims))
    };
    let streams: Vec<_> = (0..2000).map(|number| world.send(&large(number))).collect();
    let waiting = world.workers[0].waiting();
    assert!((100..400).contains(&waiting), "{waiting}");
    assert_eq!(world.ending(streams[1999]).unwrap().code(), "public_key_unavailable");
    by(&world, 2);
    let other = world.send(&bearer(&jwt(1)));
    assert_eq!(world.ending(other), None);
}

#[test]
fn a_connection_without_requests_is_forgotten() {
    let mut world = with_key(1, json!({}));
    for connection in 0..50 {
        let number = 100 * usize::try_from(connection).unwrap();
        let streams = send(&mut world, connection, number..number + 12);
        leave(&mut world, &streams[..6]);
    }
    world.live(Duration::from_secs(1));
    assert_eq!(world.workers[0].waiting(), 0);
    assert!(world.workers[0].holds_nothing());
}

#[test]
fn the_bytes_of_a_question_count_in_the_share() {
    let mut world = with_key(1, json!({"jwt": {"verification": "remote"}}));
    let large = |number: usize| {
        let mut claims = claims();
        claims["jti"] = json!(format!("{number:011000}"));
        bearer(&jwt_of(0, &claims))
    };
    let bytes = large(0)[3].1.len() + 11_000;
    let fit = MAX_CALLOUT_BYTES / bytes;
    let streams: Vec<_> = (0..fit + 1).map(|number| world.send(&large(number))).collect();
    assert!(fit < MAX_CALLOUTS && ended(&world, &streams) >= 1, "the jti isn't counted");
    assert!(ended(&world, &streams) < fit / 10);
}

#[test]
fn waiting_requests_of_one_connection_leave_room_for_others() {
    let mut world = with_key(1, json!({"jwt": {"verification": "remote"}}));
    by(&world, 1);
    let large = |number: usize| {
        let mut claims = claims();
        claims["client_name"] = json!("x".repeat(11_000));
        claims["jti"] = json!(number.to_string());
        bearer(&jwt_of(0, &claims))
    };
    let streams: Vec<_> = (0..2000).map(|number| world.send(&large(number))).collect();
    assert_eq!(questions(&world).len(), FIRST_QUESTIONS);
    assert_eq!(world.ending(streams[1999]).unwrap().code(), "auth_service_unavailable");
    by(&world, 2);
    let other = world.send(&large(3000));
    assert_eq!((world.ending(other), questions(&world).len()), (None, FIRST_QUESTIONS + 1));
}
