//! Single-flight: one callout for all requests that wait with the same credential.

mod workers;

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{all_end, answer_question, confirmed, down, ended, forget_leases, no, questions, with_key};
use super::world::{BEGIN, api_token_of};
use super::{Answer, World, api_token, bearer, jwt};
use crate::host::StreamId;
use crate::host::{SharedData as _, Write};
use crate::metrics::{CacheEvent, Counter, Gauge};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(20);

#[test]
fn a_thousand_requests_with_one_cold_token_make_one_callout() {
    let mut world = with_key(1, json!({}));
    let streams: Vec<_> = (0..1000).map(|_| world.send(&api_token())).collect();
    assert_eq!((world.verifications, ended(&world, &streams)), (1, 0));
    assert_eq!(world.process.count_of(Counter::Cache(CacheEvent::Coalesced)), 999);
    let yes = world.verify.clone();
    answer_question(&mut world, &yes);
    assert_eq!(ended(&world, &streams), 32, "of the answer's own event");
    all_end(&mut world, &streams, "");
    assert_eq!(world.verifications, 1);
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
}

#[test]
fn different_tokens_do_not_wait_for_each_other() {
    let mut world = with_key(1, json!({}));
    let streams = [0, 1].map(|number| world.send(&api_token_of(number)));
    let second = questions(&world).remove(1);
    let yes = world.verify.clone();
    world.answer(&second, &yes);
    assert_eq!((world.ending(streams[0]), world.ending(streams[1]).unwrap().code()), (None, ""));
    answer_question(&mut world, &no());
    assert_eq!(world.ending(streams[0]).unwrap().code(), "token_rejected");
}

#[test]
fn the_other_requests_are_answered_when_one_leaves() {
    for leaves in [0, 5, 9] {
        let mut world = with_key(1, json!({}));
        let mut streams: Vec<_> = (0..10).map(|_| world.send(&api_token())).collect();
        let left = streams.remove(leaves);
        world.end(0, left);
        world.settle();
        assert_eq!(world.ending(left), None);
        all_end(&mut world, &streams, "");
        assert_eq!(world.verifications, 1, "number {leaves} left");
    }
}

#[test]
fn the_retry_happens_after_the_first_client_leaves() {
    let mut world = with_key(1, json!({}));
    let first = world.send(&api_token());
    let second = world.send(&api_token());
    world.end(0, first);
    answer_question(&mut world, &down());
    assert_eq!((world.ending(second), world.verifications), (None, 2));
    world.settle();
    assert_eq!(world.ending(second).unwrap().code(), "");
}

#[test]
fn an_answer_is_cached_after_every_client_has_left() {
    let mut world = with_key(2, json!({}));
    let streams: Vec<_> = (0..3).map(|_| world.send(&api_token())).collect();
    streams.iter().for_each(|stream| world.end(0, *stream));
    assert_eq!(world.workers[0].waiting(), 0);
    world.settle();
    for worker in [0, 1] {
        let stream = world.send_to(worker, &api_token());
        assert_eq!(world.ending(stream).unwrap().code(), "", "worker {worker}");
    }
    assert_eq!(world.verifications, 1);
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
}

#[test]
fn a_new_request_joins_an_abandoned_question() {
    let mut world = with_key(1, json!({}));
    let left = world.send(&api_token());
    world.end(0, left);
    let newcomer = world.send(&api_token());
    assert_eq!(world.verifications, 1);
    answer_question(&mut world, &down());
    world.settle();
    assert_eq!((world.ending(newcomer).unwrap().code(), world.verifications), ("", 2));
}

#[test]
fn a_failed_callout_is_retried_once_for_all_waiting_requests() {
    for workers in [1, 4] {
        let mut world = with_key(workers, json!({}));
        world.verify = down();
        let streams: Vec<_> = (0..400).map(|number| world.send_to(number % workers, &api_token())).collect();
        world.live(SECOND);
        assert_eq!((ended(&world, &streams), world.verifications), (400, 2), "{workers} workers");
        all_end(&mut world, &streams, "auth_service_unavailable");
        // The next one asks again.
        world.verify = Answer::json(&confirmed(json!({})));
        let last = world.send_to(workers - 1, &api_token());
        world.live(MOMENT);
        assert_eq!(world.ending(last).unwrap().code(), "");
    }
}

#[test]
fn an_identity_that_expires_before_its_answer_is_denied() {
    let mut world = with_key(2, json!({}));
    world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 2})));
    let yes = world.verify.clone();
    let streams = [0, 1].map(|worker| world.send_to(worker, &api_token()));
    world.pass(2 * SECOND);
    answer_question(&mut world, &yes);
    world.live(SECOND);
    for stream in streams {
        assert_eq!(world.ending(stream).unwrap().code(), "token_expired");
    }
}

#[test]
fn an_identity_that_expires_while_requests_are_queued_is_denied() {
    let mut world = with_key(1, json!({}));
    let yes = Answer::json(&confirmed(json!({"exp": BEGIN + 1})));
    let streams: Vec<_> = (0..100).map(|_| world.send(&api_token())).collect();
    world.now = crate::time::Instant::from_secs(BEGIN + 1);
    world.now = crate::time::Instant::from_nanos(world.now.as_nanos() - 1_000);
    answer_question(&mut world, &yes);
    assert_eq!(ended(&world, &streams), 32);
    world.pass(MOMENT);
    let code = |stream: &StreamId| world.ending(*stream).unwrap().code();
    let let_in = streams.iter().filter(|stream| code(stream).is_empty()).count();
    let expired = streams.iter().filter(|stream| code(stream) == "token_expired").count();
    assert_eq!((let_in, expired), (32, 68));
}

#[test]
fn requests_with_an_expired_entry_wait_for_the_new_verdict() {
    let mut world = with_key(2, json!({}));
    world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 5})));
    for worker in [0, 1] {
        world.send_to(worker, &api_token());
        world.live(MOMENT);
    }
    world.pass(6 * SECOND);
    let yes = Answer::json(&confirmed(json!({})));
    let streams = [0, 1].map(|worker| world.send_to(worker, &api_token()));
    world.pass(MOMENT);
    assert_eq!((ended(&world, &streams), world.verifications), (0, 2));
    answer_question(&mut world, &yes);
    all_end(&mut world, &streams, "");
    assert_eq!(world.verifications, 2);
}

const FEED: &str = "/auth/blacklist";

fn with_feed(workers: usize) -> World {
    let mut world = with_key(workers, json!({"revocation": {"path": FEED, "poll_interval": "1s"}}));
    feed(&mut world, &json!({"cursor": "1", "revoked": []}));
    world
}

/// The next poll comes, and this is its answer.
fn feed(world: &mut World, answer: &Value) {
    world.pending.retain(|pending| !pending.request.path.starts_with(FEED));
    for _ in 0..10 {
        world.pass(SECOND / 4);
        let poll = world.pending.iter().find(|pending| pending.request.path.starts_with(FEED)).cloned();
        if let Some(poll) = poll {
            world.answer(&poll, &Answer::json(answer));
            return;
        }
    }
    panic!("no poll");
}

#[test]
fn a_token_revoked_while_its_requests_wait_is_refused() {
    let mut world = with_feed(2);
    let streams = [0, 1].map(|worker| world.send_to(worker, &api_token()));
    let yes = world.verify.clone();
    let question = questions(&world).remove(0);
    feed(&mut world, &json!({"cursor": "2", "revoked": [{"jti": "j", "exp": BEGIN + 3600}]}));
    world.answer(&question, &yes);
    world.live(SECOND);
    for stream in streams {
        assert_eq!(world.ending(stream).unwrap().code(), "token_revoked");
    }
}

#[test]
fn a_purge_voids_answers_to_earlier_questions_in_every_worker() {
    let mut world = with_feed(2);
    let first = world.send(&api_token());
    let question = questions(&world).remove(0);
    feed(&mut world, &json!({"cursor": "2", "revoked": [], "purge": [{"user_id": 1}]}));
    // Only now does the second worker begin to wait for the first one's answer.
    let second = world.send_to(1, &api_token());
    let asked = questions(&world).len();
    let yes = world.verify.clone();
    world.answer(&question, &yes);
    world.verify = no();
    world.live(SECOND);
    assert_eq!(asked, 1);
    for stream in [first, second] {
        assert_eq!(world.ending(stream).unwrap().code(), "token_rejected");
    }
}

#[test]
fn a_reused_stream_number_is_a_new_request() {
    let mut world = with_key(1, json!({}));
    let yes = world.verify.clone();
    // The new request waits for the same question, for another one, or for none.
    for (number, request) in [(0, api_token()), (1, api_token_of(1)), (2, bearer(&jwt(0)))] {
        let others: Vec<_> = (0..3).map(|_| world.send(&api_token())).collect();
        world.end(0, others[1]);
        world.send_as(0, others[1], &request);
        let questions = questions(&world);
        world.answer(&questions[0], &no());
        let code = world.ending(others[1]).map(|outcome| outcome.code());
        assert_eq!(code, [Some("token_rejected"), None, Some("")][number]);
        if number == 1 {
            world.answer(&questions[1], &yes);
            assert_eq!(world.ending(others[1]).unwrap().code(), "");
        }
        assert_eq!(world.workers[0].waiting(), 0);
        world.pass(11 * SECOND);
    }
}

#[test]
fn a_reused_stream_number_does_not_inherit_a_queued_verdict() {
    let mut world = with_key(1, json!({}));
    let streams: Vec<_> = (0..100).map(|_| world.send(&api_token())).collect();
    let yes = world.verify.clone();
    answer_question(&mut world, &yes);
    let waits = streams.iter().copied().find(|stream| world.ending(*stream).is_none()).unwrap();
    world.end(0, waits);
    world.send_as(0, waits, &api_token_of(1));
    let rest: Vec<_> = streams.iter().copied().filter(|stream| *stream != waits).collect();
    world.pass(SECOND / 10);
    assert_eq!((ended(&world, &rest), world.ending(waits)), (99, None));
    answer_question(&mut world, &no());
    assert_eq!(world.ending(waits).unwrap().code(), "token_rejected");
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
}

#[test]
fn requests_that_share_an_answer_are_judged_by_their_own_rules() {
    let mut world = with_key(
        1,
        json!({"rules": [
            {"match": {"path": "/people"}, "require": {"token_types": ["access"]}},
        ]}),
    );
    let to = |path: &str| {
        let mut request = api_token();
        request[1].1 = path.as_bytes().to_vec();
        request
    };
    let streams = ["/people", "/", "/people", "/"].map(|path| world.send(&to(path)));
    world.settle();
    let codes = streams.map(|stream| world.ending(stream).unwrap().code());
    assert_eq!(codes, ["claims_not_sufficient", "", "claims_not_sufficient", ""]);
    assert_eq!(world.verifications, 1);
}

#[test]
fn without_a_cache_concurrent_requests_share_one_callout() {
    let mut world = with_key(2, json!({"cache": {"ttl": "0s"}}));
    let streams: Vec<_> = (0..100).map(|number| world.send_to(number % 2, &api_token())).collect();
    assert_eq!(world.verifications, 2);
    world.settle();
    all_end(&mut world, &streams, "");
}
