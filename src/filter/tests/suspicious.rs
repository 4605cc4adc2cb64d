//! Suspicious activity, as requests cause it.

use serde_json::{Value, json};

use super::world::{BEGIN, api_token_of, bearer, head, jwt_of};
use super::{Answer, World, claims};
use crate::code::Code;
use crate::metrics::{Counter, Suspicion};
use crate::time::Instant;

fn world(config: Value) -> World {
    let mut world = World::with_workers(2, config);
    world.tick();
    world.settle();
    world.tick();
    world
}

fn from(world: &World, number: usize) {
    *world.process.address.borrow_mut() = Some(format!("192.0.2.{number}:4711"));
}

fn told(world: &World, suspicion: Suspicion) -> u64 {
    world.process.count_of(Counter::Suspicious(suspicion))
}

/// The audit's lines about suspicious activity.
fn lines(world: &World) -> Vec<String> {
    let lines = world.process.audited.borrow();
    lines.iter().filter(|line| line.contains("\"suspicious\"")).cloned().collect()
}

/// A JWT of its own, of this user.
fn login(user: u64, number: usize) -> Vec<(String, Vec<u8>)> {
    let mut claims = claims();
    (claims["user_id"], claims["jti"]) = (json!(user), json!(format!("j{number}")));
    bearer(&jwt_of(0, &claims))
}

fn confirm(world: &mut World) {
    let mut confirmed = claims();
    confirmed["token_type"] = json!("api_token");
    world.verify = Answer::json(&confirmed);
}

#[test]
fn a_user_of_six_addresses_is_told_once_for_all_workers_and_credentials() {
    let mut world = world(json!({}));
    for number in 0..5 {
        from(&world, number);
        let request = if number < 3 { login(1, number) } else { api_token_of(number) };
        assert_eq!(world.ask_at(number % 2, &request).code(), "");
    }
    from(&world, 5);
    assert_eq!(world.ask(&login(2, 0)).code(), "", "another user");
    assert_eq!(told(&world, Suspicion::ManyAddresses), 0);
    let mut sixth = api_token_of(5);
    sixth.extend(head(&[("x-request-id", "r-1")]).pop());
    assert_eq!(world.ask_at(1, &sixth).code(), "");
    for number in 6..20 {
        from(&world, number);
        assert_eq!(world.ask(&login(1, number)).code(), "", "nobody is locked out");
    }
    assert_eq!(told(&world, Suspicion::ManyAddresses), 1);
    let expected = r#"{"authgate": "audit", "suspicious": "many_addresses", "rule": "none", "user_id": 1, "client_id": 2, "address": "192.0.2.5", "request_id": "r-1"}"#;
    assert_eq!(lines(&world), [expected]);
}

#[test]
fn a_request_that_the_cache_answers_is_not_looked_at() {
    let mut world = world(json!({}));
    for number in 0..20 {
        from(&world, number);
        assert_eq!(world.ask(&login(1, 0)).code(), "");
        let writes = world.process.stored(".a.");
        assert_eq!(world.ask(&login(1, 0)).code(), "");
        assert_eq!(world.process.stored(".a."), writes);
    }
    assert_eq!(told(&world, Suspicion::ManyAddresses), 0);
}

#[test]
fn denied_users_count_and_expired_tokens_do_not() {
    let rules = json!([{"match": {"prefix": "/"}, "require": {"is_admin": true}}]);
    let mut world = world(json!({"rules": rules}));
    let mut expired = claims();
    expired["exp"] = json!(BEGIN);
    for number in 0..6 {
        from(&world, 100 + number);
        assert_eq!(world.ask(&bearer(&jwt_of(0, &expired))).code(), "token_expired");
    }
    assert_eq!(told(&world, Suspicion::ManyAddresses), 0);
    for number in 0..6 {
        from(&world, number);
        assert_eq!(world.ask(&login(1, number)).code(), "claims_not_sufficient");
    }
    assert_eq!(told(&world, Suspicion::ManyAddresses), 1);
}

/// Twenty refusals are reported, whatever the throttle does.
fn twenty_refusals(config: Value) {
    let mut world = world(config);
    world.verify = Answer::Body(401, String::new());
    from(&world, 1);
    for number in 0..50 {
        let request = match number % 3 {
            0 => head(&[("authorization", "Basic eA==")]),
            1 => bearer("malformed"),
            _ => api_token_of(number),
        };
        assert_eq!(told(&world, Suspicion::RepeatedFailures), u64::from(number >= 20), "{number}");
        assert_ne!(world.ask_at(number % 2, &request).code(), "");
    }
    let [line] = lines(&world).try_into().unwrap();
    let expected = r#"{"authgate": "audit", "suspicious": "repeated_failures", "rule": "none", "user_id": null, "client_id": null, "address": "192.0.2.1", "request_id": null}"#;
    assert_eq!(line, expected);
}

#[test]
fn twenty_refused_credentials_of_an_address_are_told_once() {
    twenty_refusals(json!({}));
}

#[test]
fn a_client_that_is_locked_out_goes_on_to_fail() {
    twenty_refusals(json!({"failed_auth_throttle": {"attempts": 3}}));
}

#[test]
fn refusals_in_shadow_mode_count() {
    let mut world = world(json!({"mode": "shadow"}));
    from(&world, 1);
    (0..20).for_each(|_| assert_eq!(world.ask(&bearer("malformed")).code(), ""));
    assert_eq!(told(&world, Suspicion::RepeatedFailures), 1);
}

#[test]
fn missing_and_good_credentials_are_no_failures() {
    let rules = json!([{"match": {"prefix": "/"}, "require": {"is_admin": true}}]);
    let mut world = world(json!({"rules": rules, "identity_headers": {"X-User-Type": "user_type"}}));
    from(&world, 1);
    let mut odd = claims();
    (odd["user_type"], odd["is_admin"]) = (json!("a\nb"), json!(true));
    for number in 0..30 {
        assert_eq!(world.ask(&head(&[])).code(), "missing_credentials");
        assert_eq!(world.ask(&login(1, number)).code(), "claims_not_sufficient");
        assert_eq!(world.ask(&bearer(&jwt_of(0, &odd))).code(), "token_malformed", "a claim that can't be a header");
    }
    assert_eq!(told(&world, Suspicion::RepeatedFailures), 0);
}

#[test]
fn nothing_is_told_without_an_address() {
    let mut world = world(json!({}));
    for number in 0..30 {
        world.ask(&bearer("malformed"));
        world.ask(&login(1, number));
    }
    assert_eq!(world.process.stored(".a."), []);
}

#[test]
fn counts_without_a_line_where_the_audit_is_off() {
    let mut world = world(json!({"audit": "off"}));
    from(&world, 1);
    (0..20).for_each(|_| drop(world.ask(&bearer("malformed"))));
    assert_eq!((told(&world, Suspicion::RepeatedFailures), lines(&world).len()), (1, 0));
}

#[test]
fn both_begin_anew_once_their_time_is_over() {
    let mut world = world(json!({"cache": {"negative_ttl": "1s"}}));
    confirm(&mut world);
    for round in [0, 601] {
        world.now = Instant::from_secs(BEGIN + round);
        for number in 0..6 {
            from(&world, number);
            let mut valid = claims();
            (valid["exp"], valid["jti"]) = (json!(BEGIN + 10_000), json!(format!("{round} {number}")));
            assert_eq!(world.ask(&bearer(&jwt_of(0, &valid))).code(), "");
        }
        from(&world, 1);
        (0..30).for_each(|_| assert_eq!(world.ask(&bearer("x")).code(), Code::TokenMalformed.name()));
    }
    assert_eq!((told(&world, Suspicion::ManyAddresses), told(&world, Suspicion::RepeatedFailures)), (2, 2));
}
