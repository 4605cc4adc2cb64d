//! What clients send neither opens the breaker nor weakens a remote verification.

use serde_json::json;

use super::world::api_token_of;
use super::{Answer, World, api_token, bearer, claims, jwt, jwt_of};
use crate::introspection::CalloutError;
use crate::metrics::{Counter, Gauge, Source};

fn remote() -> World {
    let mut world = World::new(json!({"jwt": {"verification": "remote"}}));
    world.tick();
    world.settle();
    world
}

/// Envoy's own 503 for a callout beyond the cluster's limits.
const OVERFLOW: Answer = Answer::Error(CalloutError::Overflow);

fn answer_all(world: &mut World, answer: &Answer) {
    while !world.pending.is_empty() {
        let pending = world.pending.remove(0);
        world.answer(&pending, answer);
        world.tick();
    }
}

#[test]
fn an_overflow_of_the_cluster_is_not_retried_nor_counted_by_the_breaker() {
    let mut world = remote();
    for number in 0..20 {
        let stream = world.send(&api_token_of(number));
        answer_all(&mut world, &OVERFLOW);
        assert_eq!(world.ending(stream).unwrap().code(), "auth_service_unavailable");
    }
    assert_eq!((world.verifications, world.process.gauge(Gauge::BreakerState)), (20, Some(0)));
}

#[test]
fn an_unsendable_callout_is_an_overflow_only_while_others_are_under_way() {
    let mut world = remote();
    let not_sent = Answer::Error(CalloutError::NotSent);
    world.send(&api_token());
    for number in 10..20 {
        let stream = world.send(&api_token_of(number));
        let refused = world.pending.pop().unwrap();
        world.answer(&refused, &not_sent);
        assert_eq!(world.ending(stream).unwrap().code(), "auth_service_unavailable");
    }
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(0));
    world.settle();
    world.verify = not_sent;
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "", "the cluster has no host: the service is down");
    for number in 20..25 {
        world.ask(&api_token_of(number));
    }
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(2));
}

#[test]
fn an_unsendable_callout_is_an_overflow_while_another_worker_asks() {
    let mut world = World::with_workers(2, json!({"auth_service": {"cluster": "auth", "retries": 0}}));
    world.tick();
    world.settle();
    world.send_to(0, &api_token());
    for number in 10..20 {
        let stream = world.send_to(1, &api_token_of(number));
        let refused = world.pending.pop().unwrap();
        world.answer(&refused, &Answer::Error(CalloutError::NotSent));
        assert_eq!(world.ending(stream).unwrap().code(), "auth_service_unavailable");
    }
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(0));
}

#[test]
fn no_signature_stands_in_after_an_overflow_or_an_odd_status() {
    let statuses = [404, 410, 429, 500, 501, 505].map(|status| Answer::Body(status, String::new()));
    let broken = [OVERFLOW, Answer::Error(CalloutError::StreamReset), Answer::Error(CalloutError::NotHttp)];
    for odd in broken.into_iter().chain(statuses) {
        let mut world = remote();
        let stream = world.send(&bearer(&jwt(0)));
        answer_all(&mut world, &odd);
        assert_eq!(world.ending(stream).unwrap().code(), "auth_service_unavailable", "{odd:?}");
    }
    for status in [502, 503, 504] {
        let mut world = remote();
        world.verify = Answer::Body(status, String::new());
        assert_eq!(world.ask(&bearer(&jwt(0))).code(), "", "the service is down");
        let outcome = crate::metrics::Outcome::Allow;
        let fallback = Counter::Request { outcome, source: Source::Fallback, reason: None };
        assert_eq!(world.process.count_of(fallback), 1);
    }
}

#[test]
fn a_stale_verdict_is_served_after_an_overflow() {
    let mut world = remote();
    world.ask(&api_token());
    world.now = world.now.after(std::time::Duration::from_secs(400));
    let stream = world.send(&api_token());
    answer_all(&mut world, &OVERFLOW);
    assert_eq!(world.ending(stream).unwrap().code(), "");
}

#[test]
fn an_answer_cannot_extend_the_life_of_a_jwt() {
    let mut world = remote();
    let mut short = claims();
    short["exp"] = json!(super::world::BEGIN + 30);
    world.verify = Answer::json(&claims());
    let token = bearer(&jwt_of(0, &short));
    assert_eq!(world.ask(&token).code(), "");
    world.now = world.now.after(std::time::Duration::from_secs(31));
    assert_eq!(world.ask(&token).code(), "token_expired");
}

#[test]
fn a_purge_by_number_works_where_the_answer_has_no_number() {
    let mut world =
        World::new(json!({"api_token": {"response_format": "json_header"}, "revocation": {"path": "/auth/blacklist"}}));
    let ids = [("x-user-id", "1".into()), ("x-client-id", "2".into())];
    world.verify = Answer::Headers(ids.to_vec());
    world.feed = Answer::json(&json!({"cursor": "1", "purge": []}));
    world.live(std::time::Duration::from_secs(1));
    assert_eq!(world.ask(&api_token()).code(), "");
    world.verify = Answer::Body(401, String::new());
    world.feed = Answer::json(&json!({"cursor": "2", "purge": [{"token_id": 7}]}));
    assert_eq!(world.ask(&api_token()).code(), "", "cached");
    world.live(std::time::Duration::from_secs(30));
    assert_eq!(world.ask(&api_token()).code(), "token_rejected");
}

#[test]
fn a_locked_address_may_use_a_token_that_was_good_lately() {
    let mut world = World::new(json!({"failed_auth_throttle": {"attempts": 2}}));
    *world.process.address.borrow_mut() = Some("192.0.2.1:4711".to_owned());
    world.ask(&api_token());
    let valid = std::mem::replace(&mut world.verify, Answer::Body(401, String::new()));
    for number in 10..12 {
        assert_eq!(world.ask(&api_token_of(number)).code(), "token_rejected");
    }
    assert_eq!(world.ask(&api_token_of(12)).code(), "too_many_failures");
    world.now = world.now.after(std::time::Duration::from_secs(301));
    *world.process.address.borrow_mut() = Some("192.0.2.1:4712".to_owned());
    for number in 20..22 {
        world.ask(&api_token_of(number));
    }
    assert_eq!(world.ask(&api_token_of(22)).code(), "too_many_failures");
    world.verify = valid;
    assert_eq!(world.ask(&api_token()).code(), "", "no guess");
}
