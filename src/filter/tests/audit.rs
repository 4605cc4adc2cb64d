//! What the access log and the audit say about a request.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::support::{answer_question, confirmed, no, with_key};
use super::world::{BEGIN, head};
use super::{Answer, World, api_token, bearer, claims, jwt, jwt_of};
use crate::host::StreamId;

/// The lines since the last call.
fn lines(world: &World) -> Vec<Value> {
    let lines = std::mem::take(&mut *world.process.audited.borrow_mut());
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The one line since the last call.
fn line(world: &World) -> Value {
    let mut lines = lines(world);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

/// The fields of a request in the access log, without the prefix `authgate.`.
fn state(world: &World, stream: StreamId) -> Value {
    let mut state = json!({});
    world.reports[&stream].each(None, |name, value| {
        let name = name.strip_prefix("authgate.").unwrap();
        assert_eq!(state[name], Value::Null, "{name} twice");
        state[name] = json!(value);
    });
    state
}

fn state_of(world: &mut World, headers: &[(String, Vec<u8>)]) -> Value {
    let stream = world.send(headers);
    world.settle();
    state(world, stream)
}

fn first_of_sha256(token: &str) -> String {
    Sha256::digest(token).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// A request with these further headers.
fn with(mut request: Vec<(String, Vec<u8>)>, headers: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    request.retain(|(name, _)| !headers.iter().any(|(other, _)| other == name));
    request.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
    request
}

#[test]
fn the_access_log_has_every_requests_outcome_and_identity() {
    let config = json!({
        "rules": [
            {"name": "open", "match": {"path": "/open"}, "public": true},
            {"name": "shadow", "match": {"path": "/shadow"}, "mode": "shadow", "require": {"is_admin": true}},
            {"name": "admin", "match": {"path": "/admin"}, "require": {"is_admin": true}},
        ],
        "status_paths": {"health": "/health"},
    });
    let mut world = with_key(1, config);
    let known = |outcome: &str, source: &str, rule: &str| json!({"outcome": outcome, "source": source, "rule": rule, "user_id": "1", "client_id": "2"});
    let denied = |outcome: &str, reason: &str, source: &str, rule: &str| {
        let mut state = known(outcome, source, rule);
        state["reason"] = json!(reason);
        state
    };
    let unknown = |mut state: Value| {
        state.as_object_mut().unwrap().retain(|name, _| !name.ends_with("_id"));
        state
    };
    assert_eq!(state_of(&mut world, &bearer(&jwt(0))), known("allow", "jwt", "none"));
    assert_eq!(state_of(&mut world, &bearer(&jwt(0))), known("allow", "cache", "none"));
    assert_eq!(state_of(&mut world, &api_token()), known("allow", "callout", "none"));
    for (path, expected) in [
        ("/open", unknown(known("public", "none", "open"))),
        ("/health", unknown(known("public", "none", "none"))),
        ("/admin", denied("deny", "claims_not_sufficient", "cache", "admin")),
        ("/shadow", denied("shadow_deny", "claims_not_sufficient", "cache", "shadow")),
        ("/%", unknown(denied("deny", "ambiguous_path", "none", "none"))),
    ] {
        assert_eq!(state_of(&mut world, &with(bearer(&jwt(0)), &[(":path", path)])), expected, "{path}");
    }
    let mut expired = claims();
    expired["exp"] = json!(BEGIN - 1);
    let expected = unknown(denied("deny", "token_expired", "jwt", "none"));
    assert_eq!(state_of(&mut world, &bearer(&jwt_of(0, &expired))), expected, "nobody has verified it");
}

#[test]
fn a_waiting_request_is_logged_as_cancelled_until_its_verdict() {
    let mut world = with_key(1, json!({}));
    let stream = world.send(&api_token());
    assert_eq!(state(&world, stream), json!({"outcome": "cancelled", "source": "callout", "rule": "none"}));
    answer_question(&mut world, &no());
    let refused = json!({"outcome": "deny", "reason": "token_rejected", "source": "callout", "rule": "none"});
    assert_eq!(state(&world, stream), refused);
}

#[test]
fn a_denial_is_one_line_with_all_fields() {
    let config = json!({"rules": [{"name": "admin", "match": {"prefix": "/admin"}, "require": {"is_admin": true}}]});
    let mut world = with_key(1, config);
    *world.process.address.borrow_mut() = Some("[::ffff:192.0.2.1]:4711".to_owned());
    let request = [(":method", "POST"), (":path", "/admin/x\"?token=secret"), ("x-request-id", "r-1")];
    world.ask(&with(bearer(&jwt(0)), &request));
    let expected = json!({
        "authgate": "audit", "outcome": "deny", "reason": "claims_not_sufficient", "source": "jwt", "rule": "admin",
        "user_id": 1, "client_id": 2, "token_type": "access", "address": "192.0.2.1", "method": "POST",
        "path": "/admin/x\"", "request_id": "r-1", "credential": first_of_sha256(&jwt(0)),
    });
    assert_eq!(line(&world), expected);
    world.ask(&head(&[]));
    let expected = json!({
        "authgate": "audit", "outcome": "deny", "reason": "missing_credentials", "source": "none", "rule": "none",
        "user_id": null, "client_id": null, "token_type": null, "address": "192.0.2.1", "method": "GET", "path": "/",
        "request_id": null, "credential": null,
    });
    assert_eq!(line(&world), expected);
}

#[test]
fn a_request_that_waited_is_logged_as_it_arrived() {
    let mut world = with_key(1, json!({}));
    *world.process.address.borrow_mut() = Some("192.0.2.1:4711".to_owned());
    world.send(&with(api_token(), &[(":path", "/waits?q"), ("x-request-id", "r-2")]));
    *world.process.address.borrow_mut() = None;
    answer_question(&mut world, &no());
    let line = line(&world);
    let token = format!("7${}", "a".repeat(128));
    for (field, value) in [
        ("reason", "token_rejected"),
        ("address", "192.0.2.1"),
        ("path", "/waits"),
        ("request_id", "r-2"),
        ("credential", &first_of_sha256(&token)),
    ] {
        assert_eq!(line[field], value, "{field}");
    }
}

#[test]
fn the_configuration_decides_which_requests_are_logged() {
    for (audit, expected) in [
        (json!({"audit": "off"}), vec![]),
        (json!({}), vec!["deny", "error", "shadow_deny"]),
        (json!({"audit": "denials"}), vec!["deny", "error", "shadow_deny"]),
        (json!({"audit": "all"}), vec!["allow", "public", "public", "deny", "error", "shadow_deny", "cancelled"]),
    ] {
        let mut config = json!({
            "auth_service": {"cluster": "auth", "retries": 0},
            "rules": [
                {"match": {"path": "/open"}, "public": true},
                {"match": {"path": "/shadow"}, "mode": "shadow"},
            ],
            "status_paths": {"health": "/health"},
        });
        config.as_object_mut().unwrap().append(&mut audit.as_object().unwrap().clone());
        let mut world = with_key(1, config);
        world.ask(&bearer(&jwt(0)));
        world.ask(&head(&[(":path", "/open")]));
        world.ask(&head(&[(":path", "/health")]));
        world.ask(&head(&[]));
        world.verify = Answer::Body(500, String::new());
        world.ask(&api_token());
        world.ask(&head(&[(":path", "/shadow")]));
        let leaves = world.send(&super::world::api_token_of(8));
        world.end(0, leaves);
        let outcomes: Vec<_> = lines(&world).iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
        assert_eq!(outcomes, expected, "{audit}");
    }
}

#[test]
fn no_line_holds_a_token_or_the_digest_of_another_scheme() {
    let mut world = with_key(1, json!({"audit": "all", "api_token": {"header_types": ["apikey", "other"]}}));
    let secret = "c2VjcmV0LWluLWEtdG9rZW4";
    world.verify = Answer::json(&confirmed(json!({})));
    for value in ["Basic", "Bearer", "Bearer a", "APIKey 1$", "Digest x="] {
        let value = format!("{value} {secret}");
        world.ask(&head(&[("authorization", &value), (":path", &format!("/x?access_token={secret}"))]));
    }
    world.ask(&bearer(&jwt(0)));
    let all = lines(&world);
    assert_eq!(all.len(), 6);
    assert!(all.iter().take(5).all(|line| line["credential"].is_null()), "{all:?}");
    let text = format!("{all:?}");
    let texts = ["user@example.com", "common", secret, &jwt(0)];
    assert!(texts.iter().all(|claim| !text.contains(claim)), "{text}");
}

#[test]
fn a_flood_writes_a_hundred_lines_a_second_and_the_number_of_dropped_ones() {
    let mut world = with_key(1, json!({}));
    lines(&world);
    for _ in 0..250 {
        world.ask(&head(&[]));
    }
    assert_eq!(lines(&world).len(), 100);
    world.pass(Duration::from_secs(2));
    assert_eq!(line(&world), json!({"authgate": "audit", "left_out": 150}));
    world.pass(Duration::from_secs(5));
    assert_eq!(lines(&world), Vec::<Value>::new());
    world.ask(&head(&[]));
    assert_eq!(line(&world)["reason"], "missing_credentials");
}
