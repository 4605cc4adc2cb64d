//! JWTs that the service verifies: `verification: remote`.

use serde_json::{Value, json};

use super::world::{BEGIN, api_token_of, head};
use super::{Answer, Ending, World, bearer, claims, jwt, jwt_of};
use crate::introspection::CalloutError;
use crate::metrics::{Counter, Outcome, Source};
use crate::time::Instant;

fn world_with(workers: usize, config: Value) -> World {
    let mut world = World::with_workers(workers, config);
    world.verify = Answer::json(&claims());
    world.tick();
    world.settle();
    world
}

fn world(workers: usize) -> World {
    world_with(workers, json!({"jwt": {"verification": "remote"}}))
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn to(path: &str, token: &str) -> Vec<(String, Vec<u8>)> {
    head(&[(":path", path), ("authorization", &format!("Bearer {token}"))])
}

fn allowed(world: &World, source: Source) -> u64 {
    world.process.count_of(Counter::Request { outcome: Outcome::Allow, source, reason: None })
}

#[test]
fn a_rule_overrides_the_verification_mode_either_way() {
    for (default, rule) in [("local", "remote"), ("remote", "local")] {
        let rules = json!([{"match": {"path": "/special"}, "verification": rule}, {"match": {"path": "/plain"}}]);
        let mut world = world_with(1, json!({"jwt": {"verification": default}, "rules": rules}));
        for (path, verification) in [("/special", rule), ("/plain", default), ("/", default)] {
            let asked = world.verifications;
            let token = jwt_of(0, &with("jti", json!(path)));
            assert_eq!(world.ask(&to(path, &token)).code(), "");
            assert_eq!(world.verifications - asked, usize::from(verification == "remote"), "{default} {path}");
        }
    }
}

#[test]
fn the_callout_carries_the_jwt_unchanged() {
    for (types, asked) in
        [(json!(["apikey"]), "apikey,jwt"), (json!(["jwt", "apikey"]), "jwt,apikey"), (json!(["other"]), "other,jwt")]
    {
        let mut world = world_with(1, json!({"jwt": {"verification": "remote"}, "api_token": {"header_types": types}}));
        let token = jwt(0);
        world.send(&head(&[("authorization", &format!("bEaReR {token}"))]));
        let request = &world.pending[0].request;
        assert_eq!(request.path, format!("/auth/verify?header_types={asked}&response_format=json_body"));
        assert_eq!(request.authorization(), Some(&*format!("Bearer {token}")));
    }
}

#[test]
fn a_jwt_that_cannot_be_valid_is_refused_without_a_callout() {
    let rules = json!([{"match": {"path": "/access"}, "require": {"token_types": ["access"]}}]);
    let settings = json!({"verification": "remote", "issuers": ["us"], "audiences": ["here"]});
    let mut world = world_with(1, json!({"jwt": settings, "rules": rules}));
    let of = |name: &str, value: Value| {
        let mut claims = with(name, value);
        for (name, value) in [("iss", "us"), ("aud", "here")] {
            claims.as_object_mut().unwrap().entry(name).or_insert(json!(value));
        }
        jwt_of(0, &claims)
    };
    for (token, code) in [
        ("a.b.c".to_owned(), "token_malformed"),
        (of("user_id", json!("one")), "token_malformed"),
        (of("exp", json!(BEGIN)), "token_expired"),
        (of("nbf", json!(BEGIN + 60)), "token_not_yet_valid"),
        (of("token_type", json!("refresh")), "token_type_not_accepted"),
        (of("iss", json!("them")), "claims_not_sufficient"),
        (of("aud", json!(["there"])), "claims_not_sufficient"),
    ] {
        assert_eq!(world.ask(&to("/access", &token)).code(), code);
    }
    assert_eq!(world.verifications, 0);
    let expired = Counter::Request {
        outcome: Outcome::Deny,
        source: Source::None,
        reason: Some(crate::code::Code::TokenExpired),
    };
    assert_eq!(world.process.count_of(expired), 1, "nor is it counted as one");
    assert_eq!(world.ask(&to("/access", &of("jti", json!("good")))).code(), "");
    assert_eq!(world.verifications, 1);
}

#[test]
fn the_identity_comes_from_the_answer_and_not_from_the_token() {
    let mut world = world(1);
    world.verify = Answer::json(&with("user_id", json!(5)));
    let Ending::Forwarded(headers) = world.ask(&bearer(&jwt_of(2, &with("is_admin", json!(true))))) else {
        panic!("denied")
    };
    assert!(headers.contains(&("x-user-id".to_owned(), "5".to_owned())));
    assert!(headers.contains(&("x-is-admin".to_owned(), "false".to_owned())));
}

#[test]
fn a_remote_jwt_must_have_an_accepted_token_type() {
    for (kind, code) in [
        ("access", ""),
        ("api_token", ""),
        ("technical", "token_type_not_accepted"),
        ("refresh", "token_type_not_accepted"),
        ("password_reset", "token_type_not_accepted"),
    ] {
        let mut world = world(1);
        world.verify = Answer::json(&with("token_type", json!(kind)));
        for _ in 0..2 {
            assert_eq!(world.ask(&bearer(&jwt(0))).code(), code, "{kind}");
        }
        assert_eq!(world.verifications, 1);
    }
}

#[test]
fn the_service_may_refuse_a_validly_signed_jwt() {
    for (status, code) in [(401, "token_rejected"), (403, "forbidden_by_service")] {
        let mut world = world(1);
        world.verify = Answer::Body(status, String::new());
        assert_eq!(world.ask(&bearer(&jwt(0))).code(), code);
        assert_eq!(world.verifications, 1);
    }
}

#[test]
fn workers_share_the_verdict_on_a_remote_jwt() {
    let mut world = world(2);
    for worker in [0, 0, 1, 1] {
        assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "");
    }
    assert_eq!((world.verifications, allowed(&world, Source::Callout), allowed(&world, Source::Cache)), (1, 1, 3));
}

#[test]
fn local_and_remote_verdicts_are_kept_apart() {
    let rules = json!([{"match": {"path": "/remote"}, "verification": "remote"}]);
    let (token, config) = (jwt(0), json!({"rules": rules}));
    let mut world = world_with(2, config.clone());
    assert_eq!(world.ask(&to("/", &token)).code(), "");
    world.verify = Answer::Body(401, String::new());
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &to("/remote", &token)).code(), "token_rejected", "a signature is no verdict");
        assert_eq!(world.ask_at(worker, &to("/", &token)).code(), "", "locally nobody has refused it");
    }

    let mut world = world_with(2, config);
    let forged = jwt_of(2, &claims());
    assert_eq!(world.ask(&to("/remote", &forged)).code(), "", "the service's own affair");
    world.live(std::time::Duration::from_secs(10));
    let stream = world.send(&to("/", &forged));
    world.live(std::time::Duration::from_secs(6));
    assert_eq!(world.ending(stream).unwrap().code(), "signature_invalid");
}

#[test]
fn a_jwt_in_the_answer_is_verified_with_the_key() {
    let settings = json!({"jwt": {"verification": "remote"}, "api_token": {"response_format": "jwt_body"}});
    let mut world = world_with(1, settings);
    world.verify = Answer::Body(200, jwt_of(0, &with("user_id", json!(5))));
    let Ending::Forwarded(headers) = world.ask(&bearer(&jwt(0))) else { panic!("denied") };
    assert!(headers.contains(&("x-user-id".to_owned(), "5".to_owned())));
    assert_eq!(allowed(&world, Source::Callout), 1);
    world.verify = Answer::Body(200, jwt_of(0, &with("token_type", json!("refresh"))));
    assert_eq!(world.ask(&bearer(&jwt_of(0, &with("jti", json!("x"))))).code(), "token_type_not_accepted");
}

#[test]
fn the_tokens_own_expiry_limits_the_verdict() {
    let token = bearer(&jwt_of(0, &with("exp", json!(BEGIN + 30))));
    let mut later = claims();
    later["exp"] = json!(BEGIN + 7200);
    for (format, answer) in [
        ("json_body", Answer::json(&later)),
        ("jwt_body", Answer::Body(200, jwt_of(0, &later))),
        // Signed with a key that has yet to be fetched.
        ("jwt_body", Answer::Body(200, jwt_of(1, &later))),
    ] {
        let settings = json!({"jwt": {"verification": "remote"}, "api_token": {"response_format": format}});
        let mut world = world_with(2, settings);
        world.now = Instant::from_secs(BEGIN + 10);
        (world.verify, world.serves) = (answer, 1);
        assert_eq!(world.ask(&token).code(), "", "{format}");
        world.now = Instant::from_secs(BEGIN + 29);
        assert_eq!(world.ask_at(1, &token).code(), "", "{format}");
        world.now = Instant::from_secs(BEGIN + 30);
        for worker in [0, 1] {
            assert_eq!(world.ask_at(worker, &token).code(), "token_expired", "{format}");
        }
        assert_eq!(world.verifications, 1);
    }
}

#[test]
fn remote_verification_does_not_change_api_tokens() {
    let mut world = world(1);
    world.send(&api_token_of(3));
    assert_eq!(world.pending[0].request.path, "/auth/verify?header_types=apikey&response_format=json_body");
}

#[test]
fn a_refused_jwt_is_denied_by_every_filter_until_it_is_confirmed() {
    let mut world = world(2);
    world.verify = Answer::Body(401, String::new());
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "token_rejected");
    // Another way of asking: none of its verdicts are the first filter's.
    let other = json!({"jwt": {"verification": "remote"}, "api_token": {"header_types": ["jwt", "apikey"]}});
    world.update(1, &other);
    world.verify = Answer::Error(CalloutError::NotConnected);
    assert_eq!(world.ask_at(1, &bearer(&jwt(0))).code(), "auth_service_unavailable");
    assert_eq!(
        world.ask_at(1, &bearer(&jwt_of(0, &with("jti", json!("k"))))).code(),
        "",
        "nobody has refused this one"
    );
    world.pass(std::time::Duration::from_secs(100));
    world.verify = Answer::json(&claims());
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "", "the service has changed its mind");
    world.verify = Answer::Error(CalloutError::NotConnected);
    assert_eq!(world.ask_at(1, &bearer(&jwt(0))).code(), "");
}

#[test]
fn a_jwt_refused_before_its_key_was_known_is_still_denied() {
    let mut world = world(2);
    // Another way of asking: the first filter's verdicts are none of its own.
    world.update(1, &json!({"jwt": {"verification": "remote"}, "api_token": {"header_types": ["jwt", "apikey"]}}));
    let of_new_key = |jti: &str| {
        let mut claims = with("exp", json!(BEGIN + 9000));
        claims["jti"] = json!(jti);
        jwt_of(1, &claims)
    };
    world.serves = 1;
    world.verify = Answer::Body(401, String::new());
    assert_eq!(world.ask(&bearer(&of_new_key("refused"))).code(), "token_rejected");
    world.live(std::time::Duration::from_secs(3700));
    world.verify = Answer::Error(CalloutError::NotConnected);
    assert_eq!(world.ask_at(1, &bearer(&of_new_key("other"))).code(), "", "the key is known now");
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &bearer(&of_new_key("refused"))).code(), "auth_service_unavailable");
    }
}
