//! Single-flight: one callout for all who wait with the same credential, whoever leaves and whatever comes of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{BEGIN, Pending, api_token_of};
use super::{Answer, World, api_token, bearer, claims, jwt, jwt_of};
use crate::filter::{MAX_CALLOUTS, MAX_WAITING, StreamId};
use crate::host::{Host as _, Write};
use crate::introspection::CalloutError;
use crate::metrics::{CacheEvent, Counter, Gauge};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(20);

/// Workers that have the public key.
fn with_key(workers: usize, overrides: Value) -> World {
    let mut world = World::with_workers(workers, overrides);
    world.tick();
    world.settle();
    world.tick();
    world
}

fn confirmed(changes: Value) -> Value {
    let mut confirmed = claims();
    confirmed["token_type"] = json!("api_token");
    confirmed.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    confirmed
}

fn no() -> Answer {
    Answer::Body(401, r#"{"error": "Invalid token", "details": "gone"}"#.to_owned())
}

fn down() -> Answer {
    Answer::Error(CalloutError::Reset)
}

/// The callouts that ask about a credential.
fn questions(world: &World) -> Vec<Pending> {
    world.pending.iter().filter(|pending| pending.request.authorization.is_some()).cloned().collect()
}

fn answer_question(world: &mut World, answer: &Answer) {
    let question = questions(world).remove(0);
    world.answer(&question, answer);
}

/// How many of the streams have ended.
fn ended(world: &World, streams: &[StreamId]) -> usize {
    streams.iter().filter(|stream| world.outcome(**stream).is_some()).count()
}

/// Every tick as it comes, until all have ended: with this code, and not too many in one event.
fn all_end(world: &mut World, streams: &[StreamId], code: &str) {
    let mut before = ended(world, streams);
    for _ in 0..10_000 {
        if before == streams.len() {
            break;
        }
        let period = world.workers.iter().map(crate::filter::Filter::tick_period).min().unwrap();
        world.now = world.now.after(period);
        for worker in 0..world.workers.len() {
            world.tick_one(worker);
            let now = ended(world, streams);
            assert!(now - before <= 32, "{} in one event", now - before);
            before = now;
        }
    }
    for stream in streams {
        assert_eq!(world.outcome(*stream).map(|outcome| outcome.code()), Some(code), "stream {stream}");
    }
    assert!(world.workers.iter().all(|worker| worker.waiting() == 0));
}

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
fn four_workers_make_one_callout() {
    for (answer, code) in [(World::new(json!({})).verify, ""), (no(), "token_rejected")] {
        let mut world = with_key(4, json!({}));
        let streams: Vec<_> = (0..1000).map(|number| world.send_to(number % 4, &api_token())).collect();
        world.pass(SECOND / 10);
        assert_eq!((world.verifications, ended(&world, &streams)), (1, 0));
        answer_question(&mut world, &answer);
        all_end(&mut world, &streams, code);
        assert_eq!(world.verifications, 1);
        assert_eq!(world.process.stored(".l."), [], "no lease is left");
    }
}

#[test]
fn different_tokens_do_not_wait_for_each_other() {
    let mut world = with_key(1, json!({}));
    let streams = [0, 1].map(|number| world.send(&api_token_of(number)));
    let second = questions(&world).remove(1);
    let yes = world.verify.clone();
    world.answer(&second, &yes);
    assert_eq!((world.outcome(streams[0]), world.outcome(streams[1]).unwrap().code()), (None, ""));
    answer_question(&mut world, &no());
    assert_eq!(world.outcome(streams[0]).unwrap().code(), "token_rejected");
}

#[test]
fn whoever_leaves_the_others_are_answered() {
    for leaves in [0, 5, 9] {
        let mut world = with_key(1, json!({}));
        let mut streams: Vec<_> = (0..10).map(|_| world.send(&api_token())).collect();
        let left = streams.remove(leaves);
        world.end(0, left);
        world.settle();
        assert_eq!(world.outcome(left), None);
        all_end(&mut world, &streams, "");
        assert_eq!(world.verifications, 1, "number {leaves} left");
    }
}

#[test]
fn who_asked_first_leaves_and_the_others_still_get_their_retry() {
    let mut world = with_key(1, json!({}));
    let first = world.send(&api_token());
    let second = world.send(&api_token());
    world.end(0, first);
    answer_question(&mut world, &down());
    assert_eq!((world.outcome(second), world.verifications), (None, 2));
    world.settle();
    assert_eq!(world.outcome(second).unwrap().code(), "");
}

#[test]
fn what_is_answered_when_everybody_has_left_is_kept() {
    let mut world = with_key(2, json!({}));
    let streams: Vec<_> = (0..3).map(|_| world.send(&api_token())).collect();
    streams.iter().for_each(|stream| world.end(0, *stream));
    assert_eq!(world.workers[0].waiting(), 0);
    world.settle();
    for worker in [0, 1] {
        let stream = world.send_to(worker, &api_token());
        assert_eq!(world.outcome(stream).unwrap().code(), "", "worker {worker}");
    }
    assert_eq!(world.verifications, 1);
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
}

#[test]
fn a_newcomer_joins_a_question_that_everybody_has_left() {
    let mut world = with_key(1, json!({}));
    let left = world.send(&api_token());
    world.end(0, left);
    let newcomer = world.send(&api_token());
    assert_eq!(world.verifications, 1);
    answer_question(&mut world, &down());
    world.settle();
    assert_eq!((world.outcome(newcomer).unwrap().code(), world.verifications), ("", 2));
}

#[test]
fn a_callout_that_fails_fails_for_all_after_one_retry_in_total() {
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
        assert_eq!(world.outcome(last).unwrap().code(), "");
    }
}

#[test]
fn when_the_worker_that_asks_dies_another_asks_after_its_lease() {
    let mut world = with_key(4, json!({}));
    world.send(&api_token());
    let streams: Vec<_> = (1..40).map(|number| world.send_to(1 + number % 3, &api_token())).collect();
    world.restart(0);
    world.live(Duration::from_millis(2_900));
    assert_eq!((ended(&world, &streams), world.verifications), (0, 1), "two timeouts of 1 s and 1 s of slack");
    world.live(SECOND / 2);
    assert_eq!(world.verifications, 2, "one of three takes over");
    all_end(&mut world, &streams, "");
}

#[test]
fn clients_of_the_dead_worker_need_not_be_there_for_the_others_to_go_on() {
    let mut world = with_key(2, json!({}));
    world.send(&api_token());
    let left = world.send_to(1, &api_token());
    world.end(1, left);
    world.restart(0);
    world.live(4 * SECOND);
    assert_eq!(world.verifications, 1, "nobody wants to know any more");
    assert_eq!(world.workers[1].tick_period(), SECOND);
}

#[test]
fn two_workers_that_both_ask_do_no_harm() {
    for (first, second) in [("", ""), ("", "token_rejected"), ("token_rejected", ""), ("x", ""), ("", "x")] {
        let mut world = with_key(2, json!({}));
        let yes = world.verify.clone();
        let one = world.send(&api_token());
        world.pass(MOMENT);
        // The row has no room for a lease, or has lost it.
        for (row, _) in world.process.stored(".l.") {
            world.process.set_shared_data(&row, &[], Write::Always).unwrap();
        }
        let other = world.send_to(1, &api_token());
        assert_eq!(questions(&world).len(), 2);
        for code in [first, second] {
            let answer = match code {
                "" => yes.clone(),
                "x" => down(),
                _ => no(),
            };
            answer_question(&mut world, &answer);
        }
        world.verify = yes;
        world.live(SECOND);
        let codes = [one, other].map(|stream| world.outcome(stream).unwrap().code());
        let expected = match (first, second) {
            ("" | "x", "" | "x") => ["", ""],
            (_, "token_rejected") => ["", "token_rejected"],
            _ => ["token_rejected", ""],
        };
        assert_eq!(codes, expected, "{first:?} and {second:?}");
        // What the later question brought holds.
        for worker in [0, 1] {
            let stream = world.send_to(worker, &api_token());
            let code = world.outcome(stream).unwrap().code();
            assert_eq!(code, if second == "token_rejected" { second } else { "" }, "{first:?} and {second:?}");
        }
        assert!(world.workers.iter().all(|worker| worker.waiting() == 0 && worker.callouts_in_flight() == 0));
        assert_eq!(world.process.gauges.borrow().get(&Gauge::CalloutsInFlight), Some(&0));
    }
}

#[test]
fn a_full_row_of_leases_costs_callouts_and_nothing_else() {
    let mut world = with_key(3, json!({}));
    let mut streams = vec![world.send(&api_token())];
    let (row, lease) = world.process.stored(".l.").remove(0);
    let others: Vec<u8> = (1..=8).flat_map(|number| [&[lease[0] ^ number], &lease[1..]].concat()).collect();
    world.process.set_shared_data(&row, &others, Write::Always).unwrap();
    for worker in [1, 2, 1, 2] {
        streams.push(world.send_to(worker, &api_token()));
    }
    assert_eq!(world.verifications, 3);
    world.settle();
    all_end(&mut world, &streams, "");
    assert_eq!(world.process.stored(&row)[0].1, others, "the others keep theirs");
}

#[test]
fn an_identity_that_expires_before_its_answer_comes_lets_nobody_in() {
    let mut world = with_key(2, json!({}));
    world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 2})));
    let yes = world.verify.clone();
    let streams = [0, 1].map(|worker| world.send_to(worker, &api_token()));
    world.pass(2 * SECOND);
    answer_question(&mut world, &yes);
    world.live(SECOND);
    for stream in streams {
        assert_eq!(world.outcome(stream).unwrap().code(), "token_expired");
    }
}

#[test]
fn an_identity_that_expires_while_its_requests_wait_for_their_turn_lets_no_more_in() {
    let mut world = with_key(1, json!({}));
    let yes = Answer::json(&confirmed(json!({"exp": BEGIN + 1})));
    let streams: Vec<_> = (0..100).map(|_| world.send(&api_token())).collect();
    world.now = crate::time::UnixTime::from_secs(BEGIN + 1);
    world.now = crate::time::UnixTime::from_nanos(world.now.as_nanos() - 1_000);
    answer_question(&mut world, &yes);
    assert_eq!(ended(&world, &streams), 32);
    world.pass(MOMENT);
    let code = |stream: &StreamId| world.outcome(*stream).unwrap().code();
    let let_in = streams.iter().filter(|stream| code(stream).is_empty()).count();
    let expired = streams.iter().filter(|stream| code(stream) == "token_expired").count();
    assert_eq!((let_in, expired), (32, 68));
}

#[test]
fn who_held_an_expired_entry_waits_for_the_new_one() {
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
fn a_token_that_is_revoked_while_its_requests_wait_is_refused() {
    let mut world = with_feed(2);
    let streams = [0, 1].map(|worker| world.send_to(worker, &api_token()));
    let yes = world.verify.clone();
    let question = questions(&world).remove(0);
    feed(&mut world, &json!({"cursor": "2", "revoked": [{"jti": "j", "exp": BEGIN + 3600}]}));
    world.answer(&question, &yes);
    world.live(SECOND);
    for stream in streams {
        assert_eq!(world.outcome(stream).unwrap().code(), "token_revoked");
    }
}

#[test]
fn a_purge_voids_an_answer_whose_question_began_before_it_in_every_worker() {
    let mut world = with_feed(2);
    let first = world.send(&api_token());
    let question = questions(&world).remove(0);
    feed(&mut world, &json!({"cursor": "2", "revoked": [], "purge": [{"user_id": 1}]}));
    // Only now does the second worker come to wait for the first one's answer.
    let second = world.send_to(1, &api_token());
    let asked = questions(&world).len();
    let yes = world.verify.clone();
    world.answer(&question, &yes);
    world.verify = no();
    world.live(SECOND);
    assert_eq!(asked, 1);
    for stream in [first, second] {
        assert_eq!(world.outcome(stream).unwrap().code(), "token_rejected");
    }
}

#[test]
fn a_number_that_the_host_gives_to_another_stream_is_another_request() {
    let mut world = with_key(1, json!({}));
    let yes = world.verify.clone();
    // To a question about the same token, to one about another, to none.
    for (number, request) in [(0, api_token()), (1, api_token_of(1)), (2, bearer(&jwt(0)))] {
        let others: Vec<_> = (0..3).map(|_| world.send(&api_token())).collect();
        world.end(0, others[1]);
        world.send_as(0, others[1], &request);
        let questions = questions(&world);
        world.answer(&questions[0], &no());
        let code = world.outcome(others[1]).map(|outcome| outcome.code());
        assert_eq!(code, [Some("token_rejected"), None, Some("")][number]);
        if number == 1 {
            world.answer(&questions[1], &yes);
            assert_eq!(world.outcome(others[1]).unwrap().code(), "");
        }
        assert_eq!(world.workers[0].waiting(), 0);
        world.pass(11 * SECOND);
    }
}

#[test]
fn a_number_that_is_given_away_while_its_turn_is_still_to_come_takes_no_verdict_along() {
    let mut world = with_key(1, json!({}));
    let streams: Vec<_> = (0..100).map(|_| world.send(&api_token())).collect();
    let yes = world.verify.clone();
    answer_question(&mut world, &yes);
    let waits = streams.iter().copied().find(|stream| world.outcome(*stream).is_none()).unwrap();
    world.end(0, waits);
    world.send_as(0, waits, &api_token_of(1));
    let rest: Vec<_> = streams.iter().copied().filter(|stream| *stream != waits).collect();
    world.pass(SECOND / 10);
    assert_eq!((ended(&world, &rest), world.outcome(waits)), (99, None));
    answer_question(&mut world, &no());
    assert_eq!(world.outcome(waits).unwrap().code(), "token_rejected");
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
}

#[test]
fn those_who_wait_are_bounded() {
    let mut world = with_key(1, json!({}));
    let streams: Vec<_> = (0..MAX_WAITING).map(|_| world.send(&api_token())).collect();
    assert_eq!(ended(&world, &streams), 0);
    let one_more = world.send(&api_token());
    assert_eq!(world.outcome(one_more).unwrap().code(), "auth_service_unavailable");
    world.end(0, streams[7]);
    let instead = world.send(&api_token());
    assert_eq!(world.outcome(instead), None, "there is room again");
    assert_eq!(world.verifications, 1);
    world.settle();
    world.pass(SECOND);
    assert_eq!(world.workers[0].waiting(), 0);
}

#[test]
fn callouts_are_bounded_over_questions_of_other_workers_too() {
    let mut world = with_key(2, json!({}));
    for number in 0..MAX_CALLOUTS {
        world.send_to(1 - number % 2, &api_token_of(number));
        world.send_to(number % 2, &api_token_of(number));
    }
    // A row of leases that is full lets both workers ask.
    assert!(world.verifications < MAX_CALLOUTS * 21 / 20, "{} callouts", world.verifications);
    for worker in [0, 1] {
        assert!(world.workers[worker].callouts_in_flight() < MAX_CALLOUTS * 11 / 20);
        let stream = world.send_to(worker, &api_token_of(MAX_CALLOUTS));
        assert_eq!(world.outcome(stream).unwrap().code(), "auth_service_unavailable");
        let stream = world.send_to(worker, &api_token_of(5));
        assert_eq!(world.outcome(stream), None, "who joins needs no callout");
    }
}

#[test]
fn the_bytes_of_callouts_are_bounded() {
    let mut world = with_key(1, json!({"jwt": {"verification": "remote"}}));
    let large = |number: usize| {
        let mut claims = claims();
        claims["client_name"] = json!("x".repeat(11_000));
        claims["jti"] = json!(number.to_string());
        bearer(&jwt_of(0, &claims))
    };
    let bytes = large(1000)[3].1.len();
    let fit = crate::filter::MAX_CALLOUT_BYTES / bytes;
    assert!(fit < MAX_CALLOUTS);
    let streams: Vec<_> = (1000..1000 + fit).map(|number| world.send(&large(number))).collect();
    assert_eq!(ended(&world, &streams), 0);
    // Clients can fill the room: that is no reason to take a JWT at its signature.
    let one_more = world.send(&large(5000));
    assert_eq!((world.outcome(one_more).unwrap().code(), world.verifications), ("auth_service_unavailable", fit));
    world.settle();
    let next = world.send(&large(5001));
    assert_eq!(world.outcome(next), None);
}

#[test]
fn a_crowd_whose_answer_is_a_jwt_of_an_unknown_key_gets_in_when_the_key_comes() {
    let mut world = with_key(2, json!({"api_token": {"response_format": "jwt_body"}}));
    world.live(10 * SECOND);
    world.serves = 1;
    world.verify = Answer::Body(200, jwt_of(1, &confirmed(json!({}))));
    let streams: Vec<_> = (0..1000).map(|number| world.send_to(number % 2, &api_token())).collect();
    world.live(SECOND);
    assert_eq!(ended(&world, &streams), 1000);
    all_end(&mut world, &streams, "");
    assert_eq!(world.key_fetches, 2);
    assert!(world.verifications <= 2, "{} callouts of 2 workers", world.verifications);
    let stream = world.send(&api_token());
    assert_eq!(world.outcome(stream).unwrap().code(), "");
}

#[test]
fn a_crowd_whose_answer_is_a_jwt_of_a_stranger_gets_in_never() {
    let mut world = with_key(1, json!({"api_token": {"response_format": "jwt_body"}}));
    world.live(10 * SECOND);
    world.verify = Answer::Body(200, jwt_of(2, &confirmed(json!({}))));
    let streams: Vec<_> = (0..100).map(|_| world.send(&api_token())).collect();
    world.live(10 * SECOND);
    all_end(&mut world, &streams, "auth_service_unavailable");
}

#[test]
fn an_answer_signed_by_a_stranger_lets_a_verdict_stand_in_also_where_keys_are_pinned() {
    let pem = super::world::KEYS[0];
    let mut world = World::new(json!({
        "api_token": {"response_format": "jwt_body"}, "jwt": {"public_key": {"pem": [pem]}}, "cache": {"ttl": "10s"},
    }));
    world.verify = Answer::Body(200, jwt_of(0, &confirmed(json!({}))));
    assert_eq!(world.ask(&api_token()).code(), "");
    world.pass(11 * SECOND);
    world.verify = Answer::Body(200, jwt_of(1, &confirmed(json!({}))));
    assert_eq!(world.ask(&api_token()).code(), "");
    assert_eq!(world.ask(&api_token_of(8)).code(), "auth_service_unavailable");
}

#[test]
fn what_cannot_be_shared_is_asked_for_by_each_worker_in_turn() {
    // An identity that is larger than a slot, and a refusal that isn't kept.
    let large = Answer::json(&confirmed(json!({"client_name": "x".repeat(5_000)})));
    for (answer, code) in [(large, ""), (Answer::Body(403, String::new()), "forbidden_by_service")] {
        let mut world = with_key(4, json!({}));
        world.verify = answer;
        let streams: Vec<_> = (0..200).map(|number| world.send_to(number % 4, &api_token())).collect();
        for _ in 0..4 {
            world.pass(MOMENT);
            assert_eq!(questions(&world).len(), 1);
            world.settle();
        }
        all_end(&mut world, &streams, code);
        assert_eq!(world.verifications, 4);
    }
}

#[test]
fn those_who_wait_together_are_judged_by_their_own_rules() {
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
    let codes = streams.map(|stream| world.outcome(stream).unwrap().code());
    assert_eq!(codes, ["token_type_not_accepted", "", "token_type_not_accepted", ""]);
    assert_eq!(world.verifications, 1);
}

#[test]
fn without_a_cache_a_worker_still_asks_once() {
    let mut world = with_key(2, json!({"cache": {"ttl": "0s"}}));
    let streams: Vec<_> = (0..100).map(|number| world.send_to(number % 2, &api_token())).collect();
    assert_eq!(world.verifications, 2);
    world.settle();
    all_end(&mut world, &streams, "");
}
