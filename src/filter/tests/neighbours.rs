//! Filters of one `vm_id`, at once or one after the other: what they share, and what they don't.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Headers, code, confirmed, down, no};
use super::world::{BEGIN, Ending, KEYS, api_token_of};
use super::{Answer, World, api_token, bearer, claims, jwt, jwt_of};
use crate::metrics::Gauge;

const SECOND: Duration = Duration::from_secs(1);

fn cached(ttl: &str, stale_ttl: &str) -> Value {
    json!({"cache": {"ttl": ttl, "stale_ttl": stale_ttl, "negative_ttl": "1s"}})
}

/// A worker for each of these configurations, which has the key.
fn side_by_side(configs: &[Value]) -> World {
    let mut world = World::with_workers(configs.len(), json!({}));
    for (worker, config) in configs.iter().enumerate() {
        world.update(worker, config);
    }
    world.tick();
    world.settle();
    world.tick();
    world
}

fn purge(world: &mut World, users: &[i64]) {
    let users: Vec<_> = users.iter().map(|user| json!({"user_id": user})).collect();
    world.feed = Answer::json(&json!({"cursor": "d", "purge": users}));
    world.live(30 * SECOND);
    world.feed = Answer::json(&json!({"cursor": "d"}));
}

#[test]
fn changed_cache_times_keep_known_clients_served_in_an_outage() {
    for after in [cached("20s", "1h"), cached("10s", "2h"), cached("5s", "30m")] {
        let mut world = side_by_side(&[cached("10s", "1h")]);
        assert_eq!(world.ask(&api_token()).code(), "");
        world.pass(60 * SECOND);
        world.verify = down();
        world.update(0, &after);
        assert_eq!(world.ask(&api_token()).code(), "", "{after}");
        assert_eq!(world.ask(&api_token_of(8)).code(), "auth_service_unavailable");
    }
}

#[test]
fn changed_cache_times_apply_to_verdicts_of_any_age() {
    let mut world = side_by_side(&[cached("100s", "100s")]);
    world.ask(&api_token());
    world.pass(50 * SECOND);
    world.update(0, &cached("40s", "20s"));
    world.verify = down();
    assert_eq!(world.ask(&api_token()).code(), "", "stale");
    assert_eq!(world.verifications, 1 + 2);
    world.pass(10 * SECOND);
    assert_eq!(world.ask(&api_token()).code(), "auth_service_unavailable");
    world.update(0, &cached("100s", "1h"));
    assert_eq!(world.ask(&api_token()).code(), "", "fresh again");
    world.pass(200 * SECOND);
    assert_eq!(world.ask(&api_token()).code(), "", "stale, for an hour");
}

#[test]
fn other_shared_state_survives_a_change_of_cache_times() {
    let with = |cache: Value| {
        json!({
            "cache": cache, "revocation": {"path": "/auth/blacklist"}, "circuit_breaker": {"failures": 1},
            "failed_auth_throttle": {"attempts": 1},
        })
    };
    let mut world = side_by_side(&[with(json!({"ttl": "100s"}))]);
    world.feed = Answer::json(&json!({"cursor": "d", "revoked": [{"jti": "j", "exp": BEGIN + 3600}]}));
    world.live(31 * SECOND);
    *world.process.address.borrow_mut() = Some("192.0.2.1:4711".to_owned());
    world.verify = no();
    assert_eq!(world.ask(&api_token_of(8)).code(), "token_rejected");
    *world.process.address.borrow_mut() = Some("192.0.2.2:4711".to_owned());
    world.verify = down();
    world.ask(&api_token_of(9));
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(2));

    world.update(0, &with(json!({"ttl": "200s", "stale_ttl": "2h"})));
    let asked = world.verifications;
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "token_revoked");
    assert_eq!(world.ask(&api_token()).code(), "auth_service_unavailable");
    assert_eq!(world.verifications, asked, "the breaker is open yet");
    *world.process.address.borrow_mut() = Some("192.0.2.1:4711".to_owned());
    assert_eq!(world.ask(&api_token_of(10)).code(), "too_many_failures");
}

#[test]
fn longer_cache_times_restore_no_verdict_that_may_have_been_void() {
    let with = |ttl: &str, stale_ttl: &str| {
        let mut config = cached(ttl, stale_ttl);
        config["revocation"] = json!({"path": "/auth/blacklist"});
        config
    };
    let mut world = side_by_side(&[with("60s", "60s")]);
    world.ask(&api_token());
    purge(&mut world, &[1]);
    // All earlier verdicts have expired, and other purges displace that one.
    world.live(125 * SECOND);
    purge(&mut world, &(1000..6000).collect::<Vec<_>>());
    assert!(!world.process.stored(".v.").is_empty(), "it isn't swept yet");
    world.update(0, &with("24h", "24h"));
    world.tick();
    world.verify = down();
    assert_eq!(code(&mut world, 0, &api_token()), "auth_service_unavailable");
}

#[test]
fn refusals_and_purges_hold_for_the_longer_cache_times() {
    let mut config = cached("60s", "60s");
    config["revocation"] = json!({"path": "/auth/blacklist"});
    let mut world = side_by_side(&[config.clone(), config.clone()]);
    // The second worker keeps verdicts that it has taken over.
    for number in [7, 8] {
        for worker in [0, 1] {
            assert_eq!(code(&mut world, worker, &api_token_of(number)), "");
        }
    }
    world.live(61 * SECOND);
    world.verify = no();
    assert_eq!(code(&mut world, 0, &api_token_of(8)), "token_rejected");
    world.verify = Answer::json(&confirmed(json!({"user_id": 2})));
    purge(&mut world, &[1, 2]);

    config["cache"] = json!({"ttl": "1h", "stale_ttl": "1h", "negative_ttl": "1s"});
    world.update(0, &config);
    world.verify = down();
    // Long enough for a sweep of records that are kept only for the former cache times.
    world.live(1500 * SECOND);
    for worker in [0, 1] {
        for number in [7, 8] {
            assert_eq!(
                code(&mut world, worker, &api_token_of(number)),
                "auth_service_unavailable",
                "{worker} {number}"
            );
        }
    }
}

#[test]
fn a_filter_without_a_cache_still_voids_its_neighbours_verdicts() {
    for refusal in [no(), Answer::Body(403, String::new())] {
        let mut world = side_by_side(&[cached("100s", "1h"), cached("0s", "1h")]);
        assert_eq!(code(&mut world, 0, &api_token()), "");
        world.verify = refusal;
        assert_ne!(code(&mut world, 1, &api_token()), "");
        world.verify = down();
        world.pass(2 * SECOND);
        assert_eq!(code(&mut world, 0, &api_token()), "auth_service_unavailable");
    }
}

#[test]
fn a_filter_with_shorter_times_sweeps_nothing_its_neighbours_use() {
    let mut world = side_by_side(&[cached("0s", "0s"), cached("1h", "1h")]);
    assert_eq!(code(&mut world, 1, &api_token()), "");
    world.tick_one(0);
    world.pass(700 * SECOND);
    world.update(1, &cached("1h", "1h"));
    assert_eq!(code(&mut world, 1, &api_token()), "");
    assert_eq!(world.verifications, 1);
}

#[test]
fn a_filter_ignores_verdicts_by_keys_it_does_not_accept() {
    let unpinned = json!({"api_token": {"response_format": "jwt_body"}});
    let pinned = json!({"api_token": {"response_format": "jwt_body"}, "jwt": {"public_key": {"pem": [KEYS[2]]}}});
    let mut world = side_by_side(&[unpinned, pinned]);
    world.verify = Answer::Body(200, jwt_of(0, &confirmed(json!({}))));
    assert_eq!(code(&mut world, 0, &api_token()), "");
    assert_eq!(code(&mut world, 1, &api_token()), "auth_service_unavailable", "no key of its fits");
    world.verify = Answer::Body(200, jwt_of(2, &confirmed(json!({}))));
    assert_eq!(code(&mut world, 1, &api_token_of(8)), "");
    assert_eq!(code(&mut world, 0, &api_token_of(8)), "auth_service_unavailable");
}

#[test]
fn an_unrelated_setting_drops_no_verdicts() {
    let service = |timeout: &str| json!({"cluster": "auth", "timeout": timeout});
    for (before, after) in [
        (json!({"auth_service": service("1s")}), json!({"auth_service": service("2s")})),
        (json!({"jwt": {"issuers": ["a", "b"]}}), json!({"jwt": {"issuers": ["b", "a"]}})),
        (json!({}), json!({"jwt": {"public_key": {"pem": [KEYS[0]]}}})),
        (json!({}), json!({"cache": {"negative_ttl": "1m", "max_entries": 5, "eviction": "lfu"}})),
        (json!({}), json!({"circuit_breaker": {"failures": 1, "fallback": false}})),
        (json!({}), json!({"identity_headers": {"X-Name": "user_id"}})),
        (json!({}), json!({"rules": [{"match": {"prefix": "/"}, "require": {"user_types": ["common"]}}]})),
    ] {
        let mut world = side_by_side(&[before]);
        assert_eq!(code(&mut world, 0, &api_token()), "");
        world.update(0, &after);
        assert_eq!(code(&mut world, 0, &api_token()), "");
        assert_eq!(world.verifications, 1, "{after}");
    }
}

/// The value of `x-name` that the upstream gets.
fn name(world: &mut World, worker: usize, headers: &Headers) -> Option<String> {
    let Ending::Forwarded(set) = world.ask_at(worker, headers) else { panic!("it is denied") };
    set.into_iter().find(|(name, _)| name == "x-name").map(|(_, value)| value)
}

#[test]
fn a_filter_uses_no_verdict_that_lacks_a_claim_it_needs() {
    let header = json!({"identity_headers": {"X-Name": "username"}});
    let rule = json!({"rules": [{"match": {"prefix": "/"}, "require": {"groups": ["ops"]}}]});
    let mut world = side_by_side(&[json!({}), header.clone(), rule, header]);
    world.verify = Answer::json(&confirmed(json!({"username": "ann", "user_groups": ["ops"]})));
    for round in 0..2 {
        assert_eq!(name(&mut world, 0, &api_token()), None);
        assert_eq!(name(&mut world, 1, &api_token()).as_deref(), Some("ann"), "{round}");
        assert_eq!(code(&mut world, 2, &api_token()), "", "{round}");
        assert_eq!(name(&mut world, 3, &api_token()).as_deref(), Some("ann"), "{round}");
        assert_eq!(world.verifications, 3, "those with the same needs share a verdict");
    }
}

#[test]
fn an_update_that_adds_a_header_or_a_rule_gets_the_claim() {
    let claims_of = |token_type: &str| json!({"token_type": token_type, "username": "ann", "user_groups": ["ops"]});
    let token = bearer(&jwt_of(0, &confirmed(claims_of("access"))));
    for credential in [api_token(), token] {
        let mut world = side_by_side(&[json!({})]);
        world.verify = Answer::json(&confirmed(claims_of("api_token")));
        assert_eq!(name(&mut world, 0, &credential), None);
        world.update(0, &json!({"identity_headers": {"X-Name": "username"}}));
        for _ in 0..2 {
            assert_eq!(name(&mut world, 0, &credential).as_deref(), Some("ann"));
        }
        world.update(0, &json!({"rules": [{"match": {"prefix": "/"}, "require": {"groups": ["ops"]}}]}));
        for _ in 0..2 {
            assert_eq!(code(&mut world, 0, &credential), "");
        }
    }
}

#[test]
fn the_leeway_of_one_filter_does_not_apply_to_another() {
    let with = |skew: &str| json!({"jwt": {"verification": "remote", "clock_skew": skew}});
    let mut world = side_by_side(&[with("5m"), with("0s")]);
    let mut early = claims();
    early["nbf"] = json!(BEGIN + 100);
    world.verify = Answer::json(&claims());
    let token = bearer(&jwt_of(0, &early));
    assert_eq!(code(&mut world, 0, &token), "");
    assert_eq!(code(&mut world, 1, &token), "token_not_yet_valid");
}
