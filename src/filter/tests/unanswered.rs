//! Answers without a verdict on one credential: remembered for it, and no outage for others.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{at_once, code, confirmed, down, in_format, with_key};
use super::world::{BEGIN, api_token_of};
use super::{Answer, Ending, World, api_token, bearer, jwt, jwt_of};
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

/// Many credentials get this answer; then another gets a good one.
fn opens_no_breaker(world: &mut World, answer: &Answer, good: &Answer) {
    world.verify = answer.clone();
    for number in 10..30 {
        let code = code(world, number % 2, &api_token_of(number));
        assert_eq!(code, "auth_service_unavailable", "{answer:?}");
    }
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(0), "{answer:?}");
    world.verify = good.clone();
    assert_eq!(world.ask(&api_token()).code(), "", "{answer:?}");
}

/// A well-signed JWT gets this answer.
fn enables_no_fallback(world: &mut World, answer: &Answer) {
    world.verify = answer.clone();
    let signed = bearer(&jwt_of(0, &confirmed(json!({"tenant": 5}))));
    assert_eq!(code(world, 0, &signed), "auth_service_unavailable", "not by its signature: {answer:?}");
}

#[test]
fn credentials_without_a_verdict_do_not_affect_others() {
    for answer in answers() {
        let mut world = world(2, json!({}));
        opens_no_breaker(&mut world, &answer, &Answer::json(&confirmed(json!({}))));
        enables_no_fallback(&mut world, &answer);
    }
}

#[test]
fn unusable_jwts_in_answers_do_not_affect_others() {
    let signed = |name: &str, value: Value| {
        let mut claims = confirmed(json!({"tenant": 5}));
        claims[name] = value;
        jwt_of(0, &claims)
    };
    for format in ["jwt_body", "jwt_header"] {
        for unusable in [
            String::new(),
            "no JWT".to_owned(),
            "a.b.c".to_owned(),
            signed("user_id", json!("one")),
            signed("exp", json!(BEGIN)),
            signed("nbf", json!(BEGIN + 3600)),
            // A required claim is missing.
            signed("tenant", Value::Null),
            // No key fits.
            jwt_of(2, &confirmed(json!({"tenant": 5}))),
        ] {
            let settings = json!({
                "jwt": {"verification": "remote", "required_claims": ["tenant"]},
                "api_token": {"response_format": format},
                "circuit_breaker": {"failures": 3},
            });
            let mut world = with_key(2, settings);
            let answer = in_format(format, &unusable);
            opens_no_breaker(&mut world, &answer, &in_format(format, &signed("tenant", json!(5))));
            enables_no_fallback(&mut world, &answer);
        }
    }
}

#[test]
fn an_answer_without_the_header_for_its_jwt_does_not_affect_others() {
    let settings = json!({
        "jwt": {"verification": "remote"},
        "api_token": {"response_format": "jwt_header"},
        "circuit_breaker": {"failures": 3},
    });
    let jwt = jwt_of(0, &confirmed(json!({})));
    for answer in [Answer::Body(200, jwt.clone()), Answer::Headers(vec![("authorization", b"Bearer \xe9".to_vec())])] {
        let mut world = with_key(2, settings.clone());
        opens_no_breaker(&mut world, &answer, &in_format("jwt_header", &jwt));
        enables_no_fallback(&mut world, &answer);
    }
}

#[test]
fn unreadable_answer_headers_do_not_affect_others() {
    let ids: [(&str, &[u8]); 2] = [("x-user-id", b"1"), ("x-client-id", b"2")];
    let of = |headers: &[(&'static str, &[u8])]| {
        Answer::Headers(headers.iter().map(|(name, value)| (*name, value.to_vec())).collect())
    };
    // É in Latin-1 is no UTF-8.
    for headers in [
        &[][..],
        &ids[..1],
        &ids[1..],
        &[ids[0], ("x-client-id", b"\xc9")],
        &[ids[0], ids[1], ("x-user-email", b"\xc9va@example.com")],
        &[ids[0], ids[1], ("x-user-type", b"\xc9")],
        &[ids[0], ids[1], ("x-is-admin", b"\xc9")],
    ] {
        let settings = json!({"api_token": {"response_format": "json_header"}, "circuit_breaker": {"failures": 3}});
        opens_no_breaker(&mut with_key(2, settings), &of(headers), &of(&ids));
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
