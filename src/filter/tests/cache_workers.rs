//! The verification cache between workers: verdicts and refusals of one worker reach the others.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{at_once, code, confirmed, no, with_key};
use super::world::{BEGIN, KEYS, head};
use super::{Answer, World, api_token, bearer, jwt, jwt_of};
use crate::host::{SharedData as _, Write};
use crate::metrics::{Counter, Outcome, Source};

const SECOND: Duration = Duration::from_secs(1);

fn allowed(world: &World, source: Source) -> u64 {
    world.process.count_of(Counter::Request { outcome: Outcome::Allow, source, reason: None })
}

#[test]
fn a_newer_verdict_replaces_the_expired_entries_of_other_workers() {
    let mut world = World::with_workers(2, json!({}));
    world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 5})));
    world.ask(&api_token());
    assert_eq!(at_once(&mut world, 1, &api_token()), "");
    world.pass(6 * SECOND);
    world.verify = Answer::json(&confirmed(json!({"exp": BEGIN + 3600})));
    assert_eq!(world.ask(&api_token()).code(), "");
    assert_eq!(at_once(&mut world, 1, &api_token()), "");
    assert_eq!(world.verifications, 2);
}

#[test]
fn a_refusal_ends_the_verdict_in_every_worker_at_once() {
    for (answer, refused) in [(no(), "token_rejected"), (Answer::Body(403, String::new()), "forbidden_by_service")] {
        let mut world = World::with_workers(3, json!({}));
        world.ask(&api_token());
        assert_eq!(at_once(&mut world, 1, &api_token()), "");
        // Another token takes the same slot, so that the third worker has to ask.
        let (slot, record) = world.process.stored(".v.").remove(0);
        let other: Vec<u8> = record.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 20)).collect();
        world.process.set_shared_data(&slot, &other, Write::Always).unwrap();
        world.verify = answer;
        assert_eq!(code(&mut world, 2, &api_token()), refused);
        for worker in [0, 1, 2] {
            assert_ne!(at_once(&mut world, worker, &api_token()), "", "worker {worker}");
        }
        world.live(11 * SECOND);
        for worker in [0, 1, 2] {
            assert_eq!(code(&mut world, worker, &api_token()), refused, "worker {worker}, after negative_ttl");
        }
        assert_eq!(world.process.stored(&slot)[0].1, other, "the other token's slot is its own");
        world.verify = Answer::Body(500, String::new());
        world.live(11 * SECOND);
        for worker in [0, 1, 2] {
            let code = code(&mut world, worker, &api_token());
            assert_eq!(code, "auth_service_unavailable", "nor does it stand in, worker {worker}");
        }
    }
}

#[test]
fn a_refusal_clears_the_slot_for_later_workers() {
    let mut world = World::with_workers(2, json!({"cache": {"ttl": "10s"}}));
    world.ask(&api_token());
    world.pass(Duration::from_millis(9_500));
    world.verify = no();
    world.send(&api_token());
    world.settle();
    assert_eq!(world.process.stored(".v."), []);
    assert_eq!(at_once(&mut world, 1, &api_token()), "token_rejected");
}

#[test]
fn workers_share_the_verdict_on_a_token() {
    let mut world = World::with_workers(4, json!({}));
    let first = world.ask(&api_token());
    for worker in 0..4 {
        let stream = world.send_to(worker, &api_token());
        assert_eq!(world.ending(stream), Some(first.clone()), "worker {worker}");
    }
    assert_eq!(world.verifications, 1);
    world.restart(2);
    assert_eq!(at_once(&mut world, 2, &api_token()), "", "also to one that came later");
    assert_eq!(world.verifications, 1);
}

#[test]
fn a_locally_verified_jwt_is_cached_in_its_worker_only() {
    let mut world = with_key(4, json!({}));
    for _ in 0..3 {
        for worker in 0..4 {
            assert_eq!(at_once(&mut world, worker, &bearer(&jwt(0))), "", "worker {worker}");
        }
    }
    assert_eq!(world.process.signatures.get(), 4);
    assert_eq!((allowed(&world, Source::Jwt), allowed(&world, Source::Cache)), (4, 8));
    assert_eq!(world.process.stored(".v."), [], "nothing of it is shared");
}

#[test]
fn a_shared_entry_keeps_its_age() {
    let mut world = World::with_workers(2, json!({"cache": {"ttl": "10s"}}));
    world.ask(&api_token());
    world.pass(9 * SECOND);
    assert_eq!(at_once(&mut world, 1, &api_token()), "");
    world.pending.clear();
    world.pass(SECOND);
    assert_eq!(at_once(&mut world, 1, &api_token()), "waits");
}

#[test]
fn a_worker_without_the_new_key_accepts_the_verdict_of_another_worker() {
    let mut world = with_key(2, json!({}));
    world.live(10 * SECOND);
    world.serves = 1;
    let first = world.send(&bearer(&jwt(1)));
    while world.ending(first).is_none() {
        world.answer_next();
    }
    assert_eq!(at_once(&mut world, 1, &bearer(&jwt(1))), "");
    assert_eq!(at_once(&mut world, 0, &bearer(&jwt(1))), "");
}

#[test]
fn a_late_answer_does_not_undo_a_refusal() {
    let mut world = with_key(3, json!({}));
    let early = world.send(&api_token());
    let late = world.pending[0].clone();
    world.pass(4 * SECOND);
    let later = world.send_to(1, &api_token());
    let second = world.pending[1].clone();
    world.answer(&second, &no());
    assert_eq!(world.ending(later).unwrap().code(), "token_rejected");
    let yes = world.verify.clone();
    world.answer(&late, &yes);
    assert_ne!(world.ending(early).unwrap().code(), "");
    world.verify = no();
    for seconds in [0, 11] {
        world.live(seconds * SECOND);
        for worker in [0, 1, 2] {
            assert_eq!(code(&mut world, worker, &api_token()), "token_rejected", "worker {worker}");
        }
    }
}

#[test]
fn a_late_answer_does_not_replace_a_newer_verdict() {
    let mut world = with_key(2, json!({}));
    world.send(&api_token());
    let late = world.pending[0].clone();
    world.pass(4 * SECOND);
    world.send_to(1, &api_token());
    let second = world.pending[1].clone();
    let yes = world.verify.clone();
    world.answer(&second, &yes);
    world.answer(&late, &no());
    assert_eq!(at_once(&mut world, 1, &api_token()), "");
    assert_eq!(at_once(&mut world, 0, &api_token()), "");
}

#[test]
fn unreadable_slots_are_ignored() {
    let mut world = World::new(json!({}));
    world.ask(&api_token());
    let (slot, record) = world.process.stored(".v.").remove(0);
    let mut strangers: Vec<Vec<u8>> = (0..record.len()).step_by(3).map(|length| record[..length].to_vec()).collect();
    strangers.push(vec![0xff; record.len()]);
    // Version, key, time of verification, form, and claims.
    for at in [0, 1, 32, 41, 50, record.len() - 1] {
        let mut changed = record.clone();
        changed[at] ^= 0xff;
        strangers.push(changed);
    }
    let mut future = record.clone();
    future[33..41].copy_from_slice(&world.now.after(2 * SECOND).as_nanos().to_le_bytes());
    strangers.push(future);
    // Only the service vouches for an API token.
    let mut by_key = record.clone();
    by_key[41] |= 1;
    strangers.push(by_key);
    for stranger in strangers {
        world.restart(0);
        world.process.set_shared_data(&slot, &stranger, Write::Always).unwrap();
        assert_eq!(at_once(&mut world, 0, &api_token()), "waits", "{stranger:02x?}");
        world.process.stored(".l.").iter().for_each(|(key, _)| {
            world.process.set_shared_data(key, &[], Write::Always).unwrap();
        });
    }
    world.restart(0);
    world.process.set_shared_data(&slot, &record, Write::Always).unwrap();
    assert_eq!(at_once(&mut world, 0, &api_token()), "", "the record itself");
}

/// What becomes of a request at a filter with settings of its own, after the same request at another filter.
fn after_another(one: &Value, other: &Value, answer: &Answer) -> &'static str {
    let mut world = World::with_workers(2, one.clone());
    world.workers.extend(World::new(other.clone()).workers);
    world.verify = answer.clone();
    assert_eq!(world.ask(&api_token()).code(), "", "{one}");
    assert_eq!(at_once(&mut world, 1, &api_token()), "", "{one}: the same settings");
    at_once(&mut world, 2, &api_token())
}

#[test]
fn filters_with_different_settings_share_no_verdicts() {
    let service = |name: &str, value: &str| json!({"auth_service": {"cluster": "auth", name: value}});
    // The key's host stays the same.
    let of_service = |cluster: &str, authority: &str| {
        let key = json!({"cluster": "auth", "authority": "auth"});
        json!({"auth_service": {"cluster": cluster, "authority": authority}, "jwt": {"public_key": key}})
    };
    let of_key = |host: Value| json!({"jwt": {"public_key": host}});
    let jwt = |name: &str, values: &[&str]| json!({"jwt": {name: values}});
    let api_token = |name: &str, value: Value| json!({"api_token": {name: value}});
    let answer = Answer::json(&confirmed(json!({"iss": "one", "aud": "one"})));
    for (one, other) in [
        (json!({}), of_service("other", "auth")),
        (json!({}), of_service("auth", "other")),
        (json!({}), service("verify_path", "/other")),
        (json!({}), service("public_key_path", "/other")),
        (json!({}), of_key(json!({"cluster": "other", "authority": "auth"}))),
        (json!({}), of_key(json!({"authority": "other"}))),
        (json!({}), api_token("response_format", json!("json_header"))),
        (json!({}), api_token("response_format", json!("jwt_body"))),
        (json!({}), api_token("header_types", json!(["apikey", "other"]))),
        (json!({}), api_token("accept_technical", json!(true))),
        (json!({}), jwt("required_claims", &["email"])),
        (jwt("required_claims", &["email"]), jwt("required_claims", &["jti"])),
        (json!({}), jwt("issuers", &["one"])),
        (jwt("issuers", &["one"]), jwt("issuers", &["two"])),
        (jwt("issuers", &["one"]), jwt("issuers", &["one", "two"])),
        (jwt("audiences", &["one"]), jwt("audiences", &["two"])),
        (jwt("issuers", &["one"]), jwt("audiences", &["one"])),
        (json!({}), json!({"identity_headers": {"X-User-Name": "username"}})),
        (json!({}), json!({"rules": [{"match": {"prefix": "/x"}, "require": {"claims": {"tenant.id": [1]}}}]})),
    ] {
        assert_eq!(after_another(&one, &other, &answer), "waits", "{one} {other}");
    }
}

#[test]
fn filters_that_read_answered_jwts_differently_share_no_verdicts() {
    let format = |format: &str| json!({"api_token": {"response_format": format}});
    let pinned = |number: usize| {
        let key = json!({"public_key": {"pem": [KEYS[number]]}});
        json!({"api_token": {"response_format": "jwt_body"}, "jwt": key})
    };
    let mut forwarding = format("jwt_body");
    forwarding["forward_credential"] = json!("jwt");
    let answer = Answer::Body(200, jwt_of(0, &confirmed(json!({}))));
    for (one, other) in [
        (format("jwt_body"), format("jwt_header")),
        (format("jwt_body"), forwarding),
        (format("jwt_body"), pinned(0)),
        (pinned(0), pinned(1)),
    ] {
        assert_eq!(after_another(&one, &other, &answer), "waits", "{one} {other}");
    }
}

#[test]
fn filters_that_read_other_answer_headers_share_no_verdicts() {
    let reading = |headers: Value| json!({"api_token": {"response_format": "json_header", "answer_headers": headers}});
    let answer = Answer::Headers(vec![("x-user-id", "1".into()), ("x-client-id", "2".into())]);
    for claim in ["user_id", "client_id", "email", "user_type", "is_admin"] {
        let other = reading(json!({claim: "X-Other"}));
        assert_eq!(after_another(&reading(json!({})), &other, &answer), "waits", "{claim}");
    }
    let in_lower_case = reading(json!({"user_id": "x-user-id"}));
    assert_eq!(after_another(&reading(json!({})), &in_lower_case, &answer), "", "the same header");
}

#[test]
fn filters_share_verdicts_if_only_other_settings_differ() {
    let answer = Answer::json(&confirmed(json!({"iss": "one", "aud": "one"})));
    for (one, other) in [
        (json!({}), json!({"rules": [{"match": {"prefix": "/"}}], "cache": {"max_entries": 7}})),
        (json!({}), json!({"jwt": {"public_key": {"pem": [KEYS[0]]}}})),
        (json!({}), json!({"api_token": {"answer_headers": {"user_id": "X-Other"}}})),
        (json!({"jwt": {"issuers": ["one", "two"]}}), json!({"jwt": {"issuers": ["two", "one"]}})),
        (json!({"jwt": {"audiences": ["one", "two"]}}), json!({"jwt": {"audiences": ["two", "one"]}})),
        (json!({"jwt": {"required_claims": ["jti", "email"]}}), json!({"jwt": {"required_claims": ["email", "jti"]}})),
    ] {
        assert_eq!(after_another(&one, &other, &answer), "", "{one} {other}");
    }
}

#[test]
fn shared_data_holds_no_part_of_a_token() {
    let credential = format!("9${}", "0123456789abcdefghijklmnopqrstuv".repeat(4));
    let basic = "Basic YWxhZGRpbjpvcGVuIHNlc2FtZSBhbmQgbW9yZQ==";
    for changes in [json!({}), json!({"forward_credential": "jwt", "api_token": {"response_format": "jwt_body"}})] {
        let mut settings = json!({
            "rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}],
            "api_token": {"header_types": ["apikey", "other"]},
            "failed_auth_throttle": {"attempts": 3},
        });
        settings.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
        let mut world = with_key(2, settings);
        *world.process.address.borrow_mut() = Some("192.0.2.1:4711".to_owned());
        let mut tokens = vec![credential.clone(), jwt(0), jwt(2)];
        let mut requests = vec![
            head(&[("authorization", &format!("APIKey {credential}"))]),
            bearer(&jwt(0)),
            head(&[(":path", "/remote"), ("authorization", &format!("Bearer {}", jwt(0)))]),
            bearer(&jwt(2)),
        ];
        let answered = jwt_of(0, &confirmed(json!({})));
        if changes == json!({}) {
            tokens.push(basic.to_owned());
            requests.push(head(&[("authorization", basic)]));
        } else {
            world.verify = Answer::Body(200, answered.clone());
        }
        for answer in [world.verify.clone(), no(), Answer::Body(500, String::new())] {
            world.verify = answer;
            requests.iter().for_each(|request| _ = world.send(request));
            holds_none(&world, &tokens, &answered);
            requests.iter().for_each(|request| _ = code(&mut world, 1, request));
            holds_none(&world, &tokens, &answered);
            world.live(400 * SECOND);
        }
    }
}

/// The pieces that a JWT which the service answers with has in common with clients' tokens don't count.
fn holds_none(world: &World, tokens: &[String], answered: &str) {
    let pieces = tokens.iter().flat_map(|token| token.as_bytes().windows(16));
    let secret: HashSet<&[u8]> =
        pieces.filter(|piece| !answered.as_bytes().windows(16).any(|window| window == *piece)).collect();
    assert!(secret.len() > 300);
    for (key, value) in world.process.stored("") {
        let held = key.as_bytes().windows(16).chain(value.windows(16)).find(|window| secret.contains(window));
        assert_eq!(held.map(String::from_utf8_lossy), None, "{key}");
    }
}
