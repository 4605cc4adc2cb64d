//! A request that waits for another worker's question is served as if its own worker had asked.

use std::time::Duration;

use serde_json::json;

use super::support::{answer_question, at_once, code, code_of, confirmed, down, no, questions, with_key};
use super::{Answer, api_token, bearer, jwt};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(20);

fn failing() -> Answer {
    Answer::Body(503, String::new())
}

fn large() -> Answer {
    Answer::json(&confirmed(json!({"email": "x".repeat(5_000)})))
}

#[test]
fn a_request_at_another_worker_gets_the_retry_after_the_first_client_left() {
    let mut world = with_key(2, json!({}));
    let left = world.send_to(0, &api_token());
    let waits = world.send_to(1, &api_token());
    world.pass(MOMENT);
    world.end(0, left);
    answer_question(&mut world, &failing());
    world.live(5 * SECOND);
    assert_eq!(code_of(&world, waits), "", "{} questions", world.verifications);
}

#[test]
fn a_failure_without_a_retry_admits_no_refused_jwt() {
    let mut world = with_key(2, json!({"jwt": {"verification": "remote"}}));
    let left = world.send_to(0, &bearer(&jwt(0)));
    let waits = world.send_to(1, &bearer(&jwt(0)));
    world.pass(MOMENT);
    world.end(0, left);
    answer_question(&mut world, &failing());
    world.verify = no();
    world.live(5 * SECOND);
    assert_eq!(code_of(&world, waits), "token_rejected", "{} questions", world.verifications);
}

#[test]
fn a_failed_refresh_does_not_use_up_another_workers_retry() {
    let mut world = with_key(2, json!({"cache": {"ttl": "100s"}}));
    world.verify = large();
    assert_eq!(code(&mut world, 0, &api_token()), "");
    world.pass(95 * SECOND);
    assert_eq!(at_once(&mut world, 0, &api_token()), "");
    assert_eq!(questions(&world).len(), 1, "the refresh");
    let waits = world.send_to(1, &api_token());
    answer_question(&mut world, &failing());
    world.live(5 * SECOND);
    assert_eq!(code_of(&world, waits), "");
}

/// How long a known client waits at one worker while another that is busy asks about the same token again and again.
fn starved(failures: u64, answer: &Answer, each: Duration, rounds: usize) -> (Duration, &'static str) {
    let mut world =
        with_key(2, json!({"cache": {"ttl": "10s"}, "circuit_breaker": {"failures": failures, "open_for": "60s"}}));
    assert_eq!(code(&mut world, 0, &api_token()), "");
    assert_eq!(at_once(&mut world, 1, &api_token()), "");
    world.pass(11 * SECOND);
    let began = world.now;
    world.send_to(0, &api_token());
    let waits = world.send_to(1, &api_token());
    for _ in 0..rounds {
        if code_of(&world, waits) != "waits" || questions(&world).is_empty() {
            break;
        }
        world.pass(each);
        answer_question(&mut world, answer);
        if questions(&world).is_empty() {
            // The next request of the same busy client.
            world.send_to(0, &api_token());
            world.pass(MOMENT);
        }
    }
    for _ in 0..5 {
        if code_of(&world, waits) == "waits" {
            world.pass(MOMENT);
        }
    }
    (world.now.since(began), code_of(&world, waits))
}

#[test]
fn a_known_client_is_served_in_time_while_another_worker_fails() {
    let (waited, code) = starved(5, &down(), SECOND, 100);
    assert!(waited <= Duration::from_millis(2_100), "{code:?} after {waited:?}");
}

#[test]
fn a_request_stops_waiting_while_another_worker_keeps_failing() {
    let (waited, code) = starved(1000, &down(), SECOND, 100);
    assert!(waited <= Duration::from_millis(2_100), "{code:?} after {waited:?}");
}

#[test]
fn a_request_stops_waiting_while_another_worker_keeps_getting_404() {
    let (waited, code) = starved(5, &Answer::Body(404, String::new()), SECOND / 10, 600);
    assert!(waited <= Duration::from_millis(5_500), "{code:?} after {waited:?}");
}

#[test]
fn workers_that_ask_one_after_another_answer_in_time() {
    let mut world = with_key(8, json!({}));
    let began = world.now;
    let streams: Vec<_> = (0..8).map(|worker| world.send_to(worker, &api_token())).collect();
    while streams.iter().any(|stream| code_of(&world, *stream) == "waits") {
        world.pass(SECOND * 9 / 10);
        questions(&world).iter().for_each(|question| world.answer(question, &Answer::Body(403, String::new())));
    }
    let waited = world.now.since(began);
    assert!(waited <= 6 * SECOND, "{waited:?}");
}
