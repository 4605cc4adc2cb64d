//! The throttle of failed authentications, as requests meet it.

mod guesses;

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{BEGIN, api_token_of, head};
use super::{Answer, Ending, World, bearer, claims, jwt, jwt_of};
use crate::code::{Code, GrpcStatus};
use crate::extractor::{RequestHead, lend};
use crate::filter::{Resolution, Step};
use crate::host::Cx;
use crate::introspection::CalloutError;
use crate::metrics::{Counter, Outcome, Source};
use crate::time::Instant;

const ME: &str = "192.0.2.1:4711";
const THEM: &str = "198.51.100.9:80";
const REJECTED: Ending = Ending::Denied(401, "token_rejected", None);

/// Three failures within 60 s lock out for 300 s. Refusals are kept for 10 s.
fn world_with(workers: usize, changes: Value) -> World {
    let mut config = json!({"failed_auth_throttle": {"attempts": 3, "window": "60s", "lockout": "300s"}});
    config.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    let mut world = World::with_workers(workers, config);
    world.tick();
    world.settle();
    world.tick();
    from(&world, ME);
    world
}

fn world() -> World {
    world_with(1, json!({}))
}

/// The next requests come from here.
fn from(world: &World, address: &str) {
    *world.process.address.borrow_mut() = Some(address.to_owned());
}

fn refuse(world: &mut World) {
    world.verify = Answer::Body(401, String::new());
}

fn accept(world: &mut World) {
    let mut confirmed = claims();
    confirmed["token_type"] = json!("api_token");
    world.verify = Answer::json(&confirmed);
}

fn at(world: &mut World, seconds: u64) {
    world.now = Instant::from_secs(BEGIN + seconds);
    world.tick();
    world.settle();
}

/// Three failures from [`ME`] with tokens of these numbers and the next two, by the workers in turn.
fn lock_me_out(world: &mut World, number: usize) {
    refuse(world);
    for number in number..number + 3 {
        assert_eq!(world.ask_at(number % world.workers.len(), &api_token_of(number)), REJECTED);
    }
}

fn locked(seconds: u64) -> Ending {
    Ending::Denied(429, "too_many_failures", Some(seconds.to_string()))
}

/// Whether [`ME`] is locked out, tested by a token that the service would accept.
fn am_locked_out(world: &mut World) -> bool {
    accept(world);
    world.ask(&api_token_of(4000)).code() == "too_many_failures"
}

#[test]
fn every_worker_denies_a_locked_address_without_a_callout() {
    let mut world = world_with(3, json!({}));
    lock_me_out(&mut world, 10);
    accept(&mut world);
    for worker in [0, 1, 2] {
        assert_eq!(world.ask_at(worker, &api_token_of(20)), locked(300));
    }
    at(&mut world, 100);
    assert_eq!(world.ask(&api_token_of(20)), locked(200));
    assert_eq!(world.verifications, 3);
    at(&mut world, 299);
    assert_eq!(world.ask(&api_token_of(20)), locked(1));
    at(&mut world, 300);
    assert_eq!(world.ask(&api_token_of(20)).code(), "");
}

#[test]
fn a_lock_applies_to_its_address_only() {
    let mut world = world();
    lock_me_out(&mut world, 10);
    accept(&mut world);
    from(&world, THEM);
    assert_eq!(world.ask(&api_token_of(20)).code(), "");
    assert_eq!(world.ask(&api_token_of(10)), REJECTED, "a refusal that is known");
    from(&world, "192.0.2.1:1");
    assert_eq!(world.ask(&api_token_of(30)), locked(300), "another port is the same address");
}

#[test]
fn the_address_is_not_taken_from_client_headers() {
    let mut world = world();
    refuse(&mut world);
    for number in 0..5 {
        let mut request = api_token_of(number);
        request.extend(head(&[("x-forwarded-for", &format!("203.0.113.{number}"))]).pop());
        world.ask(&request);
    }
    assert_eq!(world.verifications, 3);
}

#[test]
fn valid_jwts_and_cached_tokens_of_a_locked_address_pass() {
    let mut world = world();
    assert_eq!(world.ask(&api_token_of(1)).code(), "");
    lock_me_out(&mut world, 10);
    for _ in 0..3 {
        assert_eq!(world.ask(&api_token_of(1)).code(), "");
        assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");
    }
    assert_eq!(world.ask(&head(&[])).code(), "missing_credentials");
}

#[test]
fn failures_of_a_locked_address_get_429_instead_of_401() {
    let mut world = world();
    lock_me_out(&mut world, 10);
    assert_eq!(world.ask(&bearer("a.b.c")), locked(300));
    let forged = world.send(&bearer(&jwt(2)));
    world.live(Duration::from_secs(6));
    assert_eq!(world.ending(forged).unwrap().code(), "too_many_failures");
    assert_eq!(world.ask(&head(&[("authorization", "Basic abc")])).code(), "too_many_failures");
    let denied = |reason| {
        let counter = |source| Counter::Request { outcome: Outcome::Deny, source, reason: Some(reason) };
        [Source::Jwt, Source::None].map(|source| world.process.count_of(counter(source))).iter().sum::<u64>()
    };
    assert_eq!((denied(Code::TooManyFailures), denied(Code::SignatureInvalid)), (3, 0));
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
}

#[test]
fn forged_jwts_count_like_refused_tokens() {
    let mut world = world_with(2, json!({}));
    at(&mut world, 10);
    let streams = [0, 1, 0].map(|worker| world.send_to(worker, &bearer(&jwt(2))));
    world.live(Duration::from_secs(6));
    for stream in streams {
        assert_eq!(world.ending(stream).unwrap().code(), "signature_invalid");
    }
    assert!(am_locked_out(&mut world));
}

#[test]
fn missing_and_formerly_good_credentials_do_not_count() {
    let mut world = world_with(1, json!({"revocation": {"path": "/auth/blacklist", "poll_interval": "1s"}}));
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": [{"jti": "gone", "exp": BEGIN + 3600}]}));
    world.live(Duration::from_secs(1));
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        bearer(&jwt_of(0, &claims))
    };
    for _ in 0..10 {
        for (request, code) in [
            (head(&[]), "missing_credentials"),
            (with("exp", json!(BEGIN - 1)), "token_expired"),
            (with("nbf", json!(BEGIN + 60)), "token_not_yet_valid"),
            (with("token_type", json!("refresh")), "token_type_not_accepted"),
            (with("jti", json!("gone")), "token_revoked"),
        ] {
            assert_eq!(world.ask(&request).code(), code);
        }
    }
    assert!(!am_locked_out(&mut world));
}

#[test]
fn neither_outages_nor_a_forbidding_service_count() {
    let mut world = world_with(1, json!({"circuit_breaker": {"failures": 1000}}));
    for answer in
        [Answer::Error(CalloutError::Reset), Answer::Body(500, String::new()), Answer::Body(403, String::new())]
    {
        world.verify = answer;
        for number in 0..10 {
            assert_ne!(world.ask(&api_token_of(number)).code(), "too_many_failures");
        }
    }
    assert!(!am_locked_out(&mut world));
}

#[test]
fn a_cached_refusal_counts_as_a_failure() {
    let mut world = world_with(2, json!({}));
    refuse(&mut world);
    for worker in [0, 1, 0] {
        assert_eq!(world.ask_at(worker, &api_token_of(1)), REJECTED);
    }
    assert_eq!(world.ask(&api_token_of(1)), locked(300));
    assert_eq!(world.verifications, 1);
}

#[test]
fn failures_far_apart_do_not_lock() {
    let mut world = world();
    refuse(&mut world);
    for (number, seconds) in [(1, 0), (2, 30), (3, 61), (4, 90), (5, 122)] {
        at(&mut world, seconds);
        assert_eq!(world.ask(&api_token_of(number)), REJECTED, "at {seconds}");
    }
}

#[test]
fn guesses_of_a_tokens_secret_do_not_lock_out_its_owner() {
    let mut world = world();
    let guess = |secret: char| head(&[("authorization", &format!("APIKey 5${}", secret.to_string().repeat(128)))]);
    refuse(&mut world);
    for (number, secret) in ('b'..='h').enumerate() {
        from(&world, &format!("203.0.113.{number}:1"));
        assert_eq!(world.ask(&guess(secret)), REJECTED, "one guess from each address");
    }
    assert_eq!(world.ask(&guess('z')).code(), "too_many_failures", "and no second one");
    let asked = world.verifications;
    accept(&mut world);
    from(&world, ME);
    assert_eq!(world.ask(&api_token_of(5)).code(), "");
    assert_eq!(world.verifications, asked + 1);
}

#[test]
fn an_address_with_failures_is_locked_out_of_a_locked_token_only() {
    let mut world = world();
    refuse(&mut world);
    world.ask(&api_token_of(1));
    for number in 0..3 {
        from(&world, &format!("203.0.113.{number}:1"));
        world.ask(&head(&[("authorization", &format!("APIKey 5${}", number.to_string().repeat(128)))]));
    }
    from(&world, ME);
    accept(&mut world);
    assert_eq!(world.ask(&api_token_of(5)).code(), "too_many_failures");
    assert_eq!(world.ask(&api_token_of(6)).code(), "");
}

fn guess_of(secret: char) -> Vec<(String, Vec<u8>)> {
    head(&[("authorization", &format!("APIKey 5${}", secret.to_string().repeat(128)))])
}

#[test]
fn guesses_without_an_address_do_not_lock() {
    let mut world = world();
    *world.process.address.borrow_mut() = None;
    refuse(&mut world);
    for secret in 'b'..='k' {
        assert_eq!(world.ask(&guess_of(secret)), REJECTED);
    }
    accept(&mut world);
    assert_eq!(world.ask(&api_token_of(5)).code(), "");
    from(&world, ME);
    assert_eq!(world.ask(&api_token_of(6)).code(), "");
}

#[test]
fn a_waiting_request_gets_its_verdict_despite_a_new_lock() {
    let mut world = world();
    let waits = world.send(&api_token_of(1));
    let call = world.pending.remove(0);
    for _ in 0..3 {
        assert_eq!(world.ask(&bearer("a.b.c")).code(), "token_malformed");
    }
    assert_eq!(world.ask(&bearer("a.b.c")), locked(300));
    let good = world.verify.clone();
    world.answer(&call, &good);
    assert_eq!(world.ending(waits).unwrap().code(), "");
}

#[test]
fn a_failure_counts_even_if_its_client_left() {
    let mut world = world_with(2, json!({}));
    refuse(&mut world);
    for number in 0..3 {
        let stream = world.send_to(number % 2, &api_token_of(number));
        world.end(number % 2, stream);
        world.settle();
    }
    assert!(am_locked_out(&mut world));
}

#[test]
fn known_clients_of_a_locked_address_are_served() {
    let mut world = world();
    accept(&mut world);
    assert_eq!(world.ask(&api_token_of(1)).code(), "");
    at(&mut world, 290);
    lock_me_out(&mut world, 10);
    accept(&mut world);
    assert_eq!(world.ask(&api_token_of(1)).code(), "", "and refreshed meanwhile");
    at(&mut world, 310);
    assert_eq!(world.ask(&api_token_of(1)).code(), "");
}

#[test]
fn a_locked_address_may_use_only_known_remote_jwts() {
    let mut world = world_with(1, json!({"jwt": {"verification": "remote"}}));
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");
    lock_me_out(&mut world, 10);
    let asked = world.verifications;
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");
    let mut unknown = claims();
    unknown["jti"] = json!("unknown");
    assert_eq!(world.ask(&bearer(&jwt_of(0, &unknown))), locked(300));
    assert_eq!(world.verifications, asked);
}

#[test]
fn a_locked_grpc_client_gets_resource_exhausted() {
    let mut world = world();
    lock_me_out(&mut world, 10);
    let mut headers = api_token_of(20);
    headers.push(("content-type".to_owned(), b"application/grpc".to_vec()));
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    let reception = world.workers[0].on_request(99, &head, &Cx::new(world.now, &world.process));
    let Step::Resolve(Resolution::Deny(response)) = reception.step else { panic!("not denied") };
    assert_eq!((response.status, response.grpc), (429, GrpcStatus::ResourceExhausted));
    assert_eq!(response.body, "too_many_failures");
    assert!(response.headers.contains(&("retry-after", "300".to_owned())));
}

#[test]
fn without_the_throttle_nothing_is_locked() {
    let mut world = World::new(json!({}));
    from(&world, ME);
    refuse(&mut world);
    for number in 0..50 {
        assert_eq!(world.ask(&api_token_of(number)), REJECTED);
    }
}

#[test]
fn a_clock_step_of_an_hour_ends_locks() {
    for hour in [-3600, 3600] {
        let mut world = world();
        at(&mut world, 7200);
        world.verify = Answer::Body(401, String::new());
        for number in 10..13 {
            world.ask(&api_token_of(number));
        }
        let mut long = claims();
        (long["exp"], long["token_type"]) = (json!(BEGIN + 36_000), json!("api_token"));
        world.verify = Answer::json(&long);
        assert_eq!(world.ask(&api_token_of(20)).code(), "too_many_failures");
        at(&mut world, 7201_u64.checked_add_signed(hour).unwrap());
        assert_eq!(world.ask(&api_token_of(20)).code(), "", "{hour}");
    }
}
