//! What the profiles, which are sets of defaults, mean for requests.

use std::time::Duration;

use serde_json::json;

use super::world::{BEGIN, api_token_of};
use super::{Answer, World, api_token, bearer, claims, jwt, jwt_of};
use crate::introspection::CalloutError;
use crate::metrics::{Counter, Outcome, Source};
use crate::time::Instant;

const DOWN: Answer = Answer::Error(CalloutError::Reset);

fn world(profile: &str) -> World {
    let revocation = json!({"path": "/auth/blacklist"});
    let mut world = World::with_workers(2, json!({"profile": profile, "revocation": revocation}));
    world.verify = up();
    world.tick();
    world.settle();
    world.tick();
    world
}

fn up() -> Answer {
    let mut confirmed = claims();
    (confirmed["token_type"], confirmed["exp"]) = (json!("api_token"), json!(BEGIN + 36_000));
    Answer::json(&confirmed)
}

fn rejected() -> Answer {
    Answer::Body(401, String::new())
}

fn at(world: &mut World, millis: u64) {
    world.now = Instant::from_nanos((BEGIN * 1000 + millis) * 1_000_000);
    world.tick();
    world.settle();
}

fn allowed(world: &World, source: Source) -> u64 {
    world.process.count_of(Counter::Request { outcome: Outcome::Allow, source, reason: None })
}

/// The settings of a profile, in ms.
struct Table {
    profile: &'static str,
    ttl: u64,
    negative_ttl: u64,
    stale_ttl: u64,
    open_for: u64,
    poll_interval: u64,
    key_ttl: u64,
}

const TABLES: [Table; 2] = [
    Table {
        profile: "production",
        ttl: 300_000,
        negative_ttl: 10_000,
        stale_ttl: 3_600_000,
        open_for: 60_000,
        poll_interval: 30_000,
        key_ttl: 3_600_000,
    },
    Table {
        profile: "development",
        ttl: 10_000,
        negative_ttl: 1_000,
        stale_ttl: 60_000,
        open_for: 5_000,
        poll_interval: 2_000,
        key_ttl: 60_000,
    },
];

#[test]
fn a_verdict_is_asked_for_again_after_the_profiles_ttl() {
    for Table { profile, ttl, .. } in TABLES {
        let mut world = world(profile);
        world.ask(&api_token());
        world.verify = DOWN;
        at(&mut world, ttl - 1);
        world.ask_at(1, &api_token());
        assert_eq!((allowed(&world, Source::Cache), allowed(&world, Source::Stale)), (1, 0), "{profile}");
        at(&mut world, ttl);
        world.ask_at(1, &api_token());
        assert_eq!((allowed(&world, Source::Cache), allowed(&world, Source::Stale)), (1, 1), "{profile}");
    }
}

#[test]
fn a_refusal_is_asked_for_again_after_the_profiles_negative_ttl() {
    for Table { profile, negative_ttl, .. } in TABLES {
        let mut world = world(profile);
        world.verify = rejected();
        world.ask(&api_token());
        world.verify = up();
        at(&mut world, negative_ttl - 1);
        assert_eq!(world.ask_at(1, &api_token()).code(), "token_rejected", "{profile}");
        at(&mut world, negative_ttl);
        assert_eq!(world.ask_at(1, &api_token()).code(), "", "{profile}");
    }
}

#[test]
fn a_known_client_outlasts_an_outage_of_the_profiles_stale_ttl() {
    for Table { profile, ttl, stale_ttl, .. } in TABLES {
        let mut world = world(profile);
        world.ask(&api_token());
        world.verify = DOWN;
        at(&mut world, ttl + stale_ttl - 1);
        assert_eq!(world.ask_at(1, &api_token()).code(), "", "{profile}");
        at(&mut world, ttl + stale_ttl);
        assert_eq!(world.ask_at(1, &api_token()).code(), "auth_service_unavailable", "{profile}");
    }
}

#[test]
fn the_breaker_opens_after_five_failures_for_the_profiles_open_for() {
    for Table { profile, open_for, .. } in TABLES {
        let mut world = world(profile);
        world.verify = DOWN;
        for number in 0..5 {
            world.ask(&api_token_of(number));
        }
        assert_eq!(world.verifications, 5, "{profile}: a retry counts as well");
        world.verify = up();
        at(&mut world, open_for - 1);
        assert_eq!(world.ask(&api_token_of(9)).code(), "auth_service_unavailable", "{profile}");
        at(&mut world, open_for);
        assert_eq!(world.ask(&api_token_of(9)).code(), "", "{profile}");
    }
}

#[test]
fn a_revocation_is_known_within_the_profiles_poll_interval() {
    let tables = TABLES.iter().map(|table| (table.profile, table.poll_interval));
    for (profile, poll_interval) in tables.chain([("test", 1_000)]) {
        let mut world = world(profile);
        assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");
        world.feed = Answer::json(&json!({"cursor": "c", "revoked": [{"jti": "j", "exp": BEGIN + 3600}]}));
        world.live(Duration::from_millis(poll_interval / 2));
        assert_eq!(world.polls, 1, "{profile}");
        world.live(Duration::from_millis(poll_interval / 2));
        for worker in [0, 1] {
            assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "token_revoked", "{profile}");
        }
    }
}

#[test]
fn the_key_is_fetched_again_after_the_profiles_ttl() {
    let tables = TABLES.iter().map(|table| (table.profile, table.key_ttl));
    for (profile, key_ttl) in tables.chain([("test", 60_000)]) {
        let mut world = world(profile);
        at(&mut world, key_ttl - 1);
        assert_eq!(world.key_fetches, 1, "{profile}");
        at(&mut world, key_ttl);
        assert_eq!(world.key_fetches, 2, "{profile}");
    }
}

#[test]
fn the_test_profile_asks_for_every_request_and_caches_nothing() {
    let mut world = world("test");
    for (count, worker) in [(1, 0), (2, 0), (3, 1)] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
        assert_eq!(world.verifications, count);
    }
    world.verify = rejected();
    assert_eq!(world.ask(&api_token()).code(), "token_rejected", "at once");
    world.verify = up();
    assert_eq!(world.ask(&api_token()).code(), "", "no refusal is remembered either");
    world.verify = DOWN;
    assert_eq!(world.ask(&api_token()).code(), "auth_service_unavailable", "nor does anything stand in");
    assert_eq!(allowed(&world, Source::Cache) + allowed(&world, Source::Stale), 0);
    for number in 0..400 {
        world.ask(&api_token_of(number));
    }
    assert_eq!(world.verifications, 5 + 2 * 401, "and a failing service is asked on and on");
    world.verify = up();
    assert_eq!(world.ask(&api_token()).code(), "");
}

#[test]
fn the_test_profile_verifies_every_signature() {
    let mut world = world("test");
    for _ in 0..3 {
        assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");
    }
    assert_eq!(allowed(&world, Source::Jwt), 3);
    world.serves = 1;
    at(&mut world, 61_000);
    // The grace of the key before is over.
    at(&mut world, 67_000);
    let stream = world.send(&bearer(&jwt(0)));
    world.live(Duration::from_secs(3));
    assert_eq!(world.ending(stream).unwrap().code(), "signature_invalid", "a key that is gone is gone");
    let mut expired = claims();
    expired["exp"] = json!(BEGIN);
    assert_eq!(world.ask(&bearer(&jwt_of(1, &expired))).code(), "token_expired");
}
