//! What is counted and measured of requests, and what a worker says of itself.

use std::time::Duration;

use serde_json::json;

use super::support::{answer_question, confirmed, down, ended, with_key};
use super::world::head;
use super::{Answer, api_token, bearer, jwt};
use crate::code::Code;
use crate::metrics::{Counter, Gauge, Histogram, Source};

#[test]
fn a_request_that_waits_is_measured_from_its_head_to_its_verdict() {
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

    // These needn't wait.
    world.ask(&api_token());
    world.ask(&bearer(&jwt(0)));
    world.ask(&head(&[]));
    assert_eq!(recorded(&world, Source::Callout).len(), 1);
    assert_eq!(world.process.recorded.borrow().len(), 1);
}

#[test]
fn a_denial_is_an_error_for_its_reason_and_a_request_that_goes_on_is_none() {
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
fn the_key_ages_and_the_version_is_told_while_a_worker_runs() {
    let mut world = with_key(1, json!({}));
    assert_eq!(world.process.gauge(Gauge::BuildInfo), Some(1));
    world.pass(Duration::from_secs(70));
    world.tick();
    assert_eq!(world.process.gauge(Gauge::PublicKeyAge), Some(70));
    assert_eq!(world.process.gauge(Gauge::BlacklistAge), None, "there is no list");
}

#[test]
fn names_have_labels_without_dots() {
    let version = env!("CARGO_PKG_VERSION").replace('.', "_");
    assert_eq!(Gauge::BuildInfo.to_string(), format!("auth_build_info.version={version}"));
    let duration = Histogram::Duration { source: Source::Jwt };
    assert_eq!(duration.to_string(), "auth_validation_duration_ms.source=jwt");
    assert_eq!(Counter::Error(Code::TokenExpired).to_string(), "auth_validation_errors_total.reason=token_expired");
}
