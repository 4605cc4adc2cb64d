//! Answers without a verdict on one credential: remembered for it, and no outage for others.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{at_once, confirmed, down, with_key};
use super::world::api_token_of;
use super::{Answer, Ending, World, api_token, bearer, jwt};
use crate::introspection::CalloutError;
use crate::metrics::{CacheEvent, Counter, Gauge};

const SECOND: Duration = Duration::from_secs(1);

fn world(workers: usize, cache: Value) -> World {
    let breaker = json!({"failures": 3, "open_for": "60s"});
    with_key(workers, json!({"jwt": {"verification": "remote"}, "cache": cache, "circuit_breaker": breaker}))
}

fn answers() -> Vec<Answer> {
    let mut answers: Vec<_> = [500, 501, 429, 404, 302, 204].map(|status| Answer::Body(status, String::new())).to_vec();
    answers.extend([CalloutError::NotHttp, CalloutError::StreamReset].map(Answer::Error));
    answers.extend([Answer::TooLarge, Answer::json(&confirmed(json!({"exp": null}))), Answer::Body(200, "x".into())]);
    answers
}

#[test]
fn credentials_without_a_verdict_do_not_affect_others() {
    for answer in answers() {
        let mut world = world(2, json!({}));
        world.verify = answer.clone();
        for number in 10..30 {
            assert_eq!(world.ask_at(number % 2, &api_token_of(number)).code(), "auth_service_unavailable");
        }
        world.tick();
        assert_eq!(world.process.gauge(Gauge::BreakerState), Some(0), "{answer:?}");
        assert_eq!(world.ask(&bearer(&jwt(0))).code(), "auth_service_unavailable", "not by its signature: {answer:?}");
        world.verify = Answer::json(&confirmed(json!({})));
        assert_eq!(world.ask(&api_token()).code(), "", "{answer:?}");
    }
}

#[test]
fn every_worker_remembers_a_missing_verdict_for_negative_ttl_or_a_second() {
    for (cache, seconds) in [
        (json!({"negative_ttl": "10s"}), 10),
        (json!({"negative_ttl": "0s"}), 1),
        (json!({"ttl": "0s", "negative_ttl": "0s"}), 1),
    ] {
        let mut world = world(2, cache.clone());
        world.verify = Answer::Body(500, String::new());
        world.ask(&api_token());
        assert_eq!(world.verifications, 2, "it is retried as configured");
        world.verify = Answer::json(&confirmed(json!({})));
        world.pass(seconds * SECOND - SECOND / 2);
        for worker in [0, 1] {
            let outcome = Ending::Denied(503, "auth_service_unavailable", Some("1".to_owned()));
            assert_eq!(world.ask_at(worker, &api_token()), outcome, "{cache}");
        }
        assert_eq!((world.verifications, world.process.count_of(Counter::Cache(CacheEvent::Negative))), (2, 2));
        assert_eq!(world.ask(&api_token_of(8)).code(), "", "another credential");
        world.pass(SECOND / 2);
        assert_eq!(world.ask_at(1, &api_token()).code(), "", "{cache}");
    }
}

/// An answer that Envoy can't take may end its connection, and with it the answers about others (HTTP/2).
#[test]
fn simultaneous_broken_answers_are_remembered_briefly() {
    for error in [CalloutError::NotHttp, CalloutError::Broken] {
        let mut world = world(1, json!({"negative_ttl": "10s"}));
        world.tick();
        world.settle();
        let tokens = [10, 11, 12].map(api_token_of);
        let streams = tokens.each_ref().map(|token| world.send(token));
        for _ in 0..2 {
            for asked in std::mem::take(&mut world.pending) {
                world.answer(&asked, &Answer::Error(error));
            }
        }
        for stream in streams {
            let denied = Ending::Denied(503, "auth_service_unavailable", Some("1".to_owned()));
            assert_eq!(world.ending(stream), Some(denied), "{error:?}");
        }
        world.tick();
        assert_eq!((world.ask(&tokens[0]).code(), world.verifications), ("auth_service_unavailable", 6));
        world.pass(SECOND);
        for token in &tokens {
            assert_eq!(world.ask(token).code(), "", "{error:?}");
        }
        // An answer that breaks alone, at another time, is remembered as usual.
        world.verify = Answer::Error(error);
        world.ask(&api_token_of(20));
        world.tick();
        world.ask(&api_token_of(21));
        world.verify = Answer::json(&confirmed(json!({})));
        world.tick();
        world.pass(9 * SECOND);
        for number in [20, 21] {
            assert_eq!(world.ask(&api_token_of(number)).code(), "auth_service_unavailable", "{error:?} {number}");
        }
    }
}

#[test]
fn a_known_client_is_served_stale_without_further_questions() {
    let mut world = world(2, json!({"ttl": "10s", "stale_ttl": "1h", "negative_ttl": "5s"}));
    world.ask(&api_token());
    world.pass(11 * SECOND);
    world.verify = Answer::Body(500, String::new());
    for worker in [0, 1, 0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
    assert_eq!(world.verifications, 1 + 2);
}

#[test]
fn a_refresh_without_a_verdict_is_not_repeated_at_once() {
    let mut world = world(2, json!({"ttl": "100s", "negative_ttl": "5s"}));
    world.ask(&api_token());
    world.pass(91 * SECOND);
    world.verify = Answer::Body(500, String::new());
    for worker in [0, 1, 0, 1] {
        assert_eq!(at_once(&mut world, worker, &api_token()), "");
        world.settle();
        world.pass(SECOND);
    }
    assert_eq!(world.verifications, 1 + 1, "nobody waits for a refresh, so that it isn't retried");
    world.pass(2 * SECOND);
    world.ask(&api_token());
    assert_eq!(world.verifications, 3);
}

#[test]
fn any_answer_to_the_probe_closes_the_breaker() {
    let mut world = world(1, json!({}));
    world.verify = down();
    for number in 10..13 {
        world.ask(&api_token_of(number));
    }
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(2));
    world.pass(60 * SECOND);
    world.verify = Answer::Body(500, String::new());
    world.ask(&api_token_of(20));
    world.verify = Answer::json(&confirmed(json!({})));
    assert_eq!(world.ask(&api_token()).code(), "");
}

#[test]
fn a_probe_that_overflows_the_cluster_decides_nothing() {
    let mut world = world(1, json!({}));
    world.verify = down();
    for number in 10..13 {
        world.ask(&api_token_of(number));
    }
    world.pass(60 * SECOND);
    world.verify = Answer::Error(CalloutError::Overflow);
    assert_eq!(world.ask(&api_token()).code(), "auth_service_unavailable");
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(1));
    world.pass(5 * SECOND);
    world.verify = Answer::json(&confirmed(json!({})));
    assert_eq!(world.ask(&api_token()).code(), "", "the next probe");
}

#[test]
fn without_the_fallback_no_signature_stands_in() {
    for fallback in [true, false] {
        let config =
            json!({"jwt": {"verification": "remote"}, "circuit_breaker": {"fallback": fallback, "failures": 1}});
        let mut world = with_key(1, config);
        world.verify = down();
        for _ in 0..2 {
            let code = if fallback { "" } else { "auth_service_unavailable" };
            assert_eq!(world.ask(&bearer(&jwt(0))).code(), code);
        }
    }
}

#[test]
fn a_broken_answer_counts_for_the_credential_and_a_late_one_for_the_service() {
    for (waits, gauge) in [(Duration::from_millis(800), 0), (Duration::from_secs(1), 2)] {
        let mut world = World::new(json!({"auth_service": {"cluster": "auth", "retries": 0}}));
        world.tick();
        world.settle();
        for number in 0..10 {
            let stream = world.send(&api_token_of(number));
            let Some(asked) = world.pending.pop() else { continue };
            world.now = world.now.after(waits);
            world.answer(&asked, &Answer::Error(CalloutError::Broken));
            assert_eq!(world.ending(stream).unwrap().code(), "auth_service_unavailable");
        }
        world.tick();
        assert_eq!(world.process.gauge(Gauge::BreakerState), Some(gauge), "after {waits:?}");
    }
}
