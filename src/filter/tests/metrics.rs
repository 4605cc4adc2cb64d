//! What is counted and measured about requests, and what a worker reports about itself.

use std::time::Duration;

use serde_json::json;

use super::support::{answer_question, confirmed, down, ended, no, with_key};
use super::world::{api_token_of, head};
use super::{Answer, api_token, bearer, jwt};
use crate::code::Code;
use crate::host::Cx;
use crate::metrics::{Counter, Gauge, Histogram, Locked, Outcome, Presented, Source};

#[test]
fn the_duration_of_a_waiting_request_includes_its_wait() {
    let mut world = with_key(1, json!({"auth_service": {"cluster": "auth", "retries": 0}}));
    let recorded = |world: &super::World, source| {
        world.process.recorded.borrow().get(&Histogram::Duration { source }).cloned().unwrap_or_default()
    };
    let stream = world.send_to(0, &api_token());
    world.pass(Duration::from_millis(40));
    assert_eq!(ended(&world, &[stream]), 0);
    answer_question(&mut world, &Answer::Body(200, confirmed(json!({})).to_string()));
    assert_eq!(ended(&world, &[stream]), 1);
    assert_eq!(recorded(&world, Source::Callout), [40]);

    // These requests needn't wait.
    world.ask(&api_token());
    world.ask(&bearer(&jwt(0)));
    world.ask(&head(&[]));
    assert_eq!(recorded(&world, Source::Callout).len(), 1);
    assert_eq!(world.process.recorded.borrow().len(), 1);
}

#[test]
fn no_duration_is_recorded_for_a_client_that_leaves_before_its_verdict() {
    let mut world = with_key(1, json!({}));
    let stream = world.send_to(0, &api_token());
    world.pass(Duration::from_millis(40));
    world.end(0, stream);
    world.settle();
    let cancelled = Counter::Request { outcome: Outcome::Cancelled, source: Source::Callout, reason: None };
    assert_eq!(world.process.count_of(cancelled), 1);
    assert!(world.process.recorded.borrow().is_empty());
}

#[test]
fn a_503_for_a_remembered_missing_verdict_comes_from_the_cache() {
    let mut world = with_key(1, json!({}));
    let errors = |world: &super::World| {
        let reason = Some(Code::AuthServiceUnavailable);
        [Source::Callout, Source::Cache]
            .map(|source| world.process.count_of(Counter::Request { outcome: Outcome::Error, source, reason }))
    };
    world.verify = Answer::Body(500, String::new());
    world.ask(&api_token());
    assert_eq!(errors(&world), [1, 0]);
    let verifications = world.verifications;
    world.ask(&api_token());
    assert_eq!((errors(&world), world.verifications), ([1, 1], verifications));
}

#[test]
fn only_denials_count_as_errors_with_their_reason() {
    let mut world = with_key(1, json!({"auth_service": {"cluster": "auth", "retries": 0}}));
    let errors = |world: &super::World, code| world.process.count_of(Counter::Error(code));
    world.ask(&bearer(&jwt(0)));
    world.ask(&head(&[]));
    world.ask(&head(&[]));
    let stream = world.send_to(0, &api_token());
    answer_question(&mut world, &down());
    assert_eq!(ended(&world, &[stream]), 1);
    assert_eq!(errors(&world, Code::MissingCredentials), 2);
    assert_eq!(errors(&world, Code::AuthServiceUnavailable), 1);
    let counted = world.process.counted.borrow();
    let all: u64 = counted.iter().filter(|(one, _)| matches!(one, Counter::Error(_))).map(|(_, times)| times).sum();
    assert_eq!(all, 3);
}

#[test]
fn gauges_show_the_age_of_the_key_and_the_version() {
    let mut world = with_key(1, json!({}));
    assert_eq!(world.process.gauge(Gauge::BuildInfo), Some(1));
    world.pass(Duration::from_secs(70));
    world.tick();
    assert_eq!(world.process.gauge(Gauge::PublicKeyAge), Some(70));
    assert_eq!(world.process.gauge(Gauge::BlacklistAge), None, "there is no list");
}

#[test]
fn the_version_is_shown_while_a_worker_of_it_runs() {
    let mut world = with_key(2, json!({}));
    let retire = |world: &mut super::World, worker: usize| {
        world.workers[worker].on_retirement(&Cx::new(world.now, &world.process));
    };
    retire(&mut world, 0);
    world.tick_one(1);
    assert_eq!(world.process.gauge(Gauge::BuildInfo), Some(1), "the other worker runs");
    retire(&mut world, 1);
    assert_eq!(world.process.gauge(Gauge::BuildInfo), Some(0));
}

#[test]
fn label_values_contain_no_dots() {
    let version = env!("CARGO_PKG_VERSION").replace('.', "_");
    assert_eq!(Gauge::BuildInfo.to_string(), format!("auth_build_info.version={version}"));
    let duration = Histogram::Duration { source: Source::Jwt };
    assert_eq!(duration.to_string(), "auth_validation_duration_ms.source=jwt");
    assert_eq!(Counter::Error(Code::TokenExpired).to_string(), "auth_validation_errors_total.reason=token_expired");
    assert_eq!(Counter::TokenType(Presented::Apikey).to_string(), "auth_token_type_requests.type=apikey");
    assert_eq!(Counter::PublicKeyHit.to_string(), "auth_public_key_cache_hits");
    assert_eq!(Counter::Lockout(Locked::Token).to_string(), "auth_throttle_lockouts_total.kind=token");
}

#[test]
fn every_request_is_counted_once_by_its_credential() {
    let config = json!({
        "rules": [{"match": {"path": "/public"}, "public": true}, {"match": {"path": "/shut"}, "deny": true}],
        "status_paths": {"health": "/health"},
    });
    let mut world = with_key(1, config);
    let kinds = |world: &super::World| {
        use Presented::{Apikey, Jwt, None, Other};
        [Jwt, Apikey, Other, None].map(|kind| world.process.count_of(Counter::TokenType(kind)))
    };
    world.ask(&bearer(&jwt(0)));
    world.ask(&bearer(&jwt(0)));
    world.ask(&bearer("a.b.c"));
    assert_eq!(kinds(&world), [3, 0, 0, 0]);
    world.ask(&api_token());
    assert_eq!(kinds(&world), [3, 1, 0, 0]);
    for value in ["Basic x", "Bearer x", "APIKey 1$x", "x"] {
        world.ask(&head(&[("authorization", value)]));
    }
    assert_eq!(kinds(&world), [3, 1, 4, 0]);
    for path in ["/", "/public", "/shut", "/health", "/%"] {
        world.ask(&head(&[(":path", path)]));
    }
    assert_eq!(kinds(&world), [3, 1, 4, 5]);
    let waits = world.send(&api_token_of(8));
    world.end(0, waits);
    assert_eq!(kinds(&world), [3, 2, 4, 5]);
    assert_eq!(world.process.counted_requests(), 14);
}

#[test]
fn only_a_signature_verified_with_a_known_key_is_a_key_hit() {
    let mut world = with_key(1, json!({"jwt": {"public_key": {"min_refetch_interval": "1s"}}}));
    let hits = |world: &super::World| world.process.count_of(Counter::PublicKeyHit);
    world.ask(&bearer(&jwt(0)));
    assert_eq!(hits(&world), 1);
    world.ask(&bearer(&jwt(0)));
    assert_eq!(hits(&world), 1, "the cache");
    world.serves = 1;
    world.pass(Duration::from_secs(2));
    world.ask(&bearer(&jwt(1)));
    assert_eq!(hits(&world), 1, "a new key");
}

#[test]
fn a_lock_is_counted_once_when_it_begins() {
    let mut world = with_key(2, json!({"failed_auth_throttle": {"attempts": 2, "window": "60s", "lockout": "300s"}}));
    let locks = |world: &super::World| {
        [Locked::Address, Locked::Token].map(|locked| world.process.count_of(Counter::Lockout(locked)))
    };
    let from = |world: &super::World, address: &str| *world.process.address.borrow_mut() = Some(address.to_owned());
    world.verify = no();
    from(&world, "192.0.2.1:1");
    world.ask(&api_token_of(7));
    assert_eq!(locks(&world), [0, 0]);
    from(&world, "192.0.2.2:1");
    world.ask_at(1, &api_token_of(7));
    assert_eq!(locks(&world), [0, 1], "two addresses, one number");
    for worker in [0, 1, 0] {
        world.ask_at(worker, &head(&[("authorization", "Bearer x")]));
    }
    assert_eq!(locks(&world), [1, 1]);
}
