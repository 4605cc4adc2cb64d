//! Many requests that wait for the service at once: how many may wait, and what a JWT in the answer means for them.

use std::time::Duration;

use serde_json::json;

use super::support::{all_end, confirmed, ended, with_key};
use super::world::api_token_of;
use super::{Answer, World, api_token, bearer, claims, jwt_of};
use crate::limits::{MAX_CALLOUTS, MAX_WAITING};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn waiting_requests_are_bounded() {
    let mut world = with_key(1, json!({}));
    let streams: Vec<_> = (0..MAX_WAITING).map(|_| world.send(&api_token())).collect();
    assert_eq!(ended(&world, &streams), 0);
    let one_more = world.send(&api_token());
    assert_eq!(world.ending(one_more).unwrap().code(), "auth_service_unavailable");
    world.end(0, streams[7]);
    let instead = world.send(&api_token());
    assert_eq!(world.ending(instead), None, "there is room again");
    assert_eq!(world.verifications, 1);
    world.settle();
    world.pass(SECOND);
    assert_eq!(world.workers[0].waiting(), 0);
}

#[test]
fn callouts_for_questions_of_other_workers_are_bounded() {
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
        assert_eq!(world.ending(stream).unwrap().code(), "auth_service_unavailable");
        let stream = world.send_to(worker, &api_token_of(5));
        assert_eq!(world.ending(stream), None, "who joins needs no callout");
    }
}

#[test]
fn callout_bytes_are_bounded() {
    let mut world = with_key(1, json!({"jwt": {"verification": "remote"}}));
    let large = |number: usize| {
        let mut claims = claims();
        claims["client_name"] = json!("x".repeat(11_000));
        claims["jti"] = json!(number.to_string());
        bearer(&jwt_of(0, &claims))
    };
    // Some hundred bytes more than the token.
    let bytes = large(1000)[3].1.len() + 700;
    let fit = crate::limits::MAX_CALLOUT_BYTES / bytes;
    assert!(fit < MAX_CALLOUTS);
    let streams: Vec<_> = (1000..1000 + fit).map(|number| world.send(&large(number))).collect();
    assert_eq!(ended(&world, &streams), 0);
    let streams: Vec<_> = (3000..3000 + fit / 20).map(|number| world.send(&large(number))).collect();
    let fit = fit + streams.len() - ended(&world, &streams);
    assert!(ended(&world, &streams) > 0);
    // Clients can fill the room, so a full room is no reason to accept a JWT by its signature.
    let one_more = world.send(&large(5000));
    assert_eq!((world.ending(one_more).unwrap().code(), world.verifications), ("auth_service_unavailable", fit));
    world.settle();
    let next = world.send(&large(5001));
    assert_eq!(world.ending(next), None);
}

#[test]
fn waiting_requests_pass_once_the_key_of_the_answered_jwt_arrives() {
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
    assert_eq!(world.ending(stream).unwrap().code(), "");
}

#[test]
fn waiting_requests_fail_when_no_key_fits_the_answered_jwt() {
    let mut world = with_key(1, json!({"api_token": {"response_format": "jwt_body"}}));
    world.live(10 * SECOND);
    world.verify = Answer::Body(200, jwt_of(2, &confirmed(json!({}))));
    let streams: Vec<_> = (0..100).map(|_| world.send(&api_token())).collect();
    world.live(10 * SECOND);
    all_end(&mut world, &streams, "auth_service_unavailable");
}

#[test]
fn a_stale_verdict_stands_in_for_a_forged_answer_with_pinned_keys() {
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
