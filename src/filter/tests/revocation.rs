//! The revocation list and purges: how they reach every worker, and what they end there.

mod reading;

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{BEGIN, Pending, api_token_of, head};
use super::{Answer, Ending, World, api_token, bearer, claims, jwt, jwt_of};
use crate::filter::Filter;
use crate::introspection::{CalloutError, MAX_BODY};
use crate::metrics::{BlacklistCheck, BlacklistPoll, Counter, Gauge, Outcome, Source};
use crate::revocation::feed::MAX_FEED_BODY;
use crate::time::Instant;

const DOWN: Answer = Answer::Error(CalloutError::Reset);
const INTERVAL: Duration = Duration::from_secs(8);

/// Verdicts are good for 100 s, and stale ones for 20 min more; the list is read every 8 s.
fn world_with(workers: usize, changes: Value) -> World {
    let mut config = json!({
        "cache": {"ttl": "100s", "stale_ttl": "20m"},
        "revocation": {"path": "/auth/blacklist", "poll_interval": "8s"},
    });
    config.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    let mut world = World::with_workers(workers, config);
    world.verify = Answer::json(&confirmed());
    world.tick();
    world.settle();
    world.tick();
    world
}

fn world(workers: usize) -> World {
    world_with(workers, json!({}))
}

fn confirmed() -> Value {
    let mut claims = claims();
    claims["token_type"] = json!("api_token");
    claims
}

/// The service says this, and an interval passes.
fn publish(world: &mut World, changes: &Value) {
    let mut body = json!({"cursor": "c", "revoked": []});
    body.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    world.feed = Answer::json(&body);
    world.live(INTERVAL);
    world.feed = Answer::json(&json!({"cursor": "d", "revoked": []}));
}

fn at(world: &mut World, seconds: u64) {
    world.now = Instant::from_secs(BEGIN + seconds);
    world.tick();
    world.settle();
    world.tick();
}

fn token_of(claim: &str, value: Value) -> Vec<(String, Vec<u8>)> {
    let mut claims = claims();
    claims[claim] = value;
    bearer(&jwt_of(0, &claims))
}

fn revoke_j() -> Value {
    json!({"revoked": [{"jti": "j", "exp": BEGIN + 3600}]})
}

fn checks(world: &World, result: BlacklistCheck) -> u64 {
    world.process.count_of(Counter::BlacklistCheck(result))
}

fn polls(world: &World, success: bool) -> u64 {
    let outcome = if success { BlacklistPoll::Success } else { BlacklistPoll::Failure };
    world.process.count_of(Counter::BlacklistPoll(outcome))
}

fn poll(world: &World) -> Pending {
    world.pending.iter().find(|pending| pending.is_poll()).unwrap().clone()
}

#[test]
fn every_worker_refuses_a_revoked_token_until_it_expires() {
    let mut world = world(3);
    let token = bearer(&jwt(0));
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &token).code(), "");
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
    publish(&mut world, &revoke_j());
    for seconds in [9, 90, 1000, 3599] {
        at(&mut world, seconds);
        for worker in [0, 1, 2] {
            assert_eq!(world.ask_at(worker, &token), Ending::Denied(401, "token_revoked", None));
            assert_eq!(world.ask_at(worker, &api_token()).code(), "token_revoked");
            assert_eq!(world.ask_at(worker, &token_of("jti", json!("other"))).code(), "");
        }
    }
    at(&mut world, 3600);
    assert_eq!(world.ask(&token).code(), "token_expired");
    assert_eq!(world.process.counted_requests(), world.process.requests.get());
}

#[test]
fn a_cache_hit_checks_the_list_without_a_callout() {
    let mut world = world(1);
    world.ask(&api_token());
    publish(&mut world, &revoke_j());
    assert_eq!(world.ask(&api_token()).code(), "token_revoked");
    let from_cache = Counter::Request {
        outcome: Outcome::Deny,
        source: Source::Cache,
        reason: Some(crate::code::Code::TokenRevoked),
    };
    assert_eq!((world.verifications, world.process.count_of(from_cache)), (1, 1));
}

#[test]
fn signing_out_everywhere_revokes_the_users_earlier_tokens() {
    let mut world = world(2);
    let (old, new) = (token_of("exp", json!(BEGIN + 3599)), token_of("exp", json!(BEGIN + 3600)));
    let other = token_of("user_id", json!(2));
    for token in [&old, &new, &other] {
        assert_eq!(world.ask(token).code(), "");
    }
    publish(&mut world, &json!({"users": [{"user_id": 1, "exp_before": BEGIN + 3600}]}));
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &old).code(), "token_revoked");
        assert_eq!(world.ask_at(worker, &new).code(), "");
        assert_eq!(world.ask_at(worker, &other).code(), "");
    }
}

#[test]
fn a_revoked_token_is_not_served_stale() {
    let mut world =
        world_with(2, json!({"circuit_breaker": {"failures": 5}, "cache": {"ttl": "10s", "stale_ttl": "20m"}}));
    for worker in [0, 1] {
        world.ask_at(worker, &api_token());
    }
    world.verify = DOWN;
    at(&mut world, 11);
    assert_eq!(world.ask(&api_token()).code(), "");
    publish(&mut world, &revoke_j());
    for worker in [0, 1, 0, 1, 0] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "token_revoked");
    }
    assert!(world.verifications < 1 + 2 * 6, "the breaker has opened");
}

#[test]
fn no_signature_admits_a_revoked_jwt_in_an_outage() {
    let mut world = world_with(2, json!({"jwt": {"verification": "remote"}}));
    world.verify = DOWN;
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");
    publish(&mut world, &revoke_j());
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "token_revoked");
    }
}

#[test]
fn a_token_revoked_while_its_request_waits_is_refused() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    let for_key = world.send(&bearer(&jwt(0)));
    let for_answer = world.send(&api_token());
    world.verify = Answer::json(&confirmed());
    world.tick();
    let poll = poll(&world);
    let mut list = revoke_j();
    list["cursor"] = json!("c");
    world.answer(&poll, &Answer::json(&list));
    assert_eq!((world.ending(for_key), world.ending(for_answer)), (None, None));
    world.settle();
    for stream in [for_key, for_answer] {
        assert_eq!(world.ending(stream).unwrap().code(), "token_revoked");
    }
    assert_eq!(checks(&world, BlacklistCheck::Revoked), 2);
}

#[test]
fn a_token_is_revoked_by_its_own_jti_and_not_the_answers() {
    let mut world = world_with(1, json!({"jwt": {"verification": "remote"}}));
    let mut nameless = claims();
    nameless.as_object_mut().unwrap().remove("jti");
    world.verify = Answer::json(&nameless);
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");
    publish(&mut world, &revoke_j());
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "token_revoked");
}

#[test]
fn a_purge_makes_every_worker_ask_again_at_once() {
    for purge in [json!({"user_id": 1}), json!({"client_id": 2}), json!({"token_id": 7})] {
        let mut world = world(3);
        for worker in [0, 1, 2] {
            world.ask_at(worker, &api_token());
        }
        publish(&mut world, &json!({"purge": [purge]}));
        assert_eq!(world.verifications, 1);
        for worker in [0, 1, 2, 0, 1, 2] {
            assert_eq!(world.ask_at(worker, &api_token()).code(), "", "{purge}: no denial by itself");
        }
        assert_eq!(world.verifications, 2, "{purge}: the new verdict is everybody's again");
        publish(&mut world, &json!({"purge": [purge]}));
        world.verify = Answer::Body(401, String::new());
        for worker in [2, 1, 0] {
            assert_eq!(world.ask_at(worker, &api_token()).code(), "token_rejected", "{purge}");
        }
        assert_eq!(world.verifications, 3, "{purge}");
    }
}

#[test]
fn a_purge_by_token_works_with_every_response_format() {
    let mut world = world_with(2, json!({"api_token": {"response_format": "json_header"}}));
    world.verify = Answer::Headers(vec![("x-user-id", "1".into()), ("x-client-id", "2".into())]);
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
    publish(&mut world, &json!({"purge": [{"token_id": 7}]}));
    world.verify = Answer::Body(401, String::new());
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "token_rejected");
    }
}

#[test]
fn a_purge_leaves_others_alone() {
    let mut world = world(1);
    world.ask(&api_token());
    publish(&mut world, &json!({"purge": [{"user_id": 2}, {"client_id": 1}, {"token_id": 1}]}));
    assert_eq!((world.ask(&api_token()).code(), world.verifications), ("", 1));
}

#[test]
fn a_purged_verdict_does_not_stand_in_during_an_outage() {
    let mut world = world(2);
    for worker in [0, 1] {
        world.ask_at(worker, &api_token());
        assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "");
    }
    publish(&mut world, &json!({"purge": [{"user_id": 1}]}));
    world.verify = DOWN;
    for worker in [0, 1, 0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "auth_service_unavailable");
        assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "", "a signature can be verified again");
    }
}

#[test]
fn a_verdict_purged_after_its_ttl_is_not_served_stale() {
    for (failures, waits) in [(1000, true), (1, false)] {
        let mut world = world_with(2, json!({"circuit_breaker": {"failures": failures, "open_for": "1h"}}));
        for worker in [0, 1] {
            world.ask_at(worker, &api_token());
        }
        at(&mut world, 110);
        world.verify = DOWN;
        for worker in [0, 1] {
            assert_eq!(world.ask_at(worker, &api_token()).code(), "");
        }
        publish(&mut world, &json!({"purge": [{"user_id": 1}]}));
        let asked = world.verifications;
        for worker in [0, 1] {
            assert_eq!(world.ask_at(worker, &api_token()).code(), "auth_service_unavailable");
        }
        assert_eq!(world.verifications > asked, waits);
    }
}

#[test]
fn metrics_show_the_size_of_the_list_and_its_refusals() {
    let mut world = world(2);
    assert_eq!(world.process.gauge(Gauge::BlacklistSize), Some(0));
    let users = json!([{"user_id": 5, "exp_before": BEGIN + 3600}]);
    publish(&mut world, &json!({"revoked": [{"jti": "j", "exp": BEGIN + 3600}], "users": users}));
    assert_eq!(world.process.gauge(Gauge::BlacklistSize), Some(2));
    world.ask(&bearer(&jwt(0)));
    world.ask(&token_of("jti", json!("good")));
    world.ask(&token_of("jti", json!("good")));
    world.ask(&head(&[]));
    let counted = [BlacklistCheck::Revoked, BlacklistCheck::Clear, BlacklistCheck::Stale].map(|it| checks(&world, it));
    assert_eq!(counted, [1, 2, 0]);
}

#[test]
fn a_clock_step_of_an_hour_admits_no_revoked_token() {
    let long = json!(BEGIN + 36_000);
    let mut world = world(2);
    at(&mut world, 7200);
    let mut known = confirmed();
    known["exp"] = long.clone();
    world.verify = Answer::json(&known);
    let token = token_of("exp", long.clone());
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &token).code(), "");
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
    publish(&mut world, &json!({"revoked": [{"jti": "j", "exp": long}]}));
    for step in [-3600, 3600, 3600, -3600] {
        world.step(step);
        for worker in [0, 1] {
            assert_eq!(world.ask_at(worker, &token).code(), "token_revoked", "{step}");
            assert_eq!(world.ask_at(worker, &api_token()).code(), "token_revoked", "{step}");
        }
        world.live(Duration::from_secs(1));
    }
}

#[test]
fn a_purge_made_with_a_fast_clock_holds_after_the_correction() {
    let mut world = world(2);
    let mut known = confirmed();
    known["exp"] = json!(BEGIN + 36_000);
    world.verify = Answer::json(&known);
    for worker in [0, 1] {
        world.ask_at(worker, &api_token());
    }
    world.step(3600);
    publish(&mut world, &json!({"purge": [{"user_id": 1}]}));
    world.step(-3600);
    world.verify = Answer::Body(401, String::new());
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "token_rejected");
    }
}

#[test]
fn a_cached_verdict_is_checked_again_only_when_the_list_changes() {
    let mut world = world(2);
    let reads = |world: &mut World, headers: &[(String, Vec<u8>)]| {
        let before = world.process.reads.get();
        assert_eq!(world.ask(headers).code(), "");
        world.process.reads.get() - before
    };
    for (headers, least) in [(bearer(&jwt(0)), 1), (api_token(), 2)] {
        world.ask(&headers);
        let first = reads(&mut world, &headers);
        assert_eq!(reads(&mut world, &headers), least, "the version; of what the service vouches for, a refusal too");
        publish(&mut world, &json!({"revoked": [{"jti": format!("another, {least}"), "exp": BEGIN + 3600}]}));
        assert_eq!(reads(&mut world, &headers), first, "all of it again");
        assert_eq!(reads(&mut world, &headers), least);
    }
    // The other worker polls, or this one.
    publish(&mut world, &json!({"revoked": [{"jti": "j", "exp": BEGIN + 3600}]}));
    for headers in [bearer(&jwt(0)), api_token()] {
        assert_eq!(world.ask(&headers).code(), "token_revoked");
        assert_eq!(world.ask(&headers).code(), "token_revoked", "once more");
    }
}
