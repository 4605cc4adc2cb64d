//! Credentials in places other than `Authorization`, through the machine.

use serde_json::{Value, json};

use super::support::{code, no, with_key};
use super::world::{api_token_of, head};
use super::{Ending, World, bearer, jwt};
use crate::credential::Redacted;
use crate::decision::{Authorization, Forward};
use crate::extractor::{RequestHead, lend};
use crate::filter::{Resolution, Step};
use crate::host::Cx;
use crate::testing::base64url;

fn everywhere() -> Value {
    json!({"api_key_header": "X-API-Key", "cookie": "session", "websocket_protocol": true})
}

fn world(changes: Value) -> World {
    let mut config = json!({"credentials": everywhere()});
    config.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    with_key(1, config)
}

fn api_key(number: usize) -> Vec<(String, Vec<u8>)> {
    head(&[("x-api-key", &format!("{number}${}", "a".repeat(128)))])
}

fn cookie(jwt: &str) -> Vec<(String, Vec<u8>)> {
    head(&[("cookie", &format!("a=1; session={jwt}; b=2"))])
}

fn websocket(jwt: &str) -> Vec<(String, Vec<u8>)> {
    let protocols = format!("chat, base64url.bearer.authorization.k8s.io.{}", base64url(jwt));
    head(&[
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("origin", "https://app.example"),
        ("sec-websocket-protocol", &protocols),
    ])
}

#[test]
fn a_credential_in_any_place_gives_the_same_identity() {
    let mut world = world(json!({}));
    let by_header = world.ask(&bearer(&jwt(0)));
    assert!(matches!(by_header, Ending::Forwarded(_)));
    for headers in [cookie(&jwt(0)), websocket(&jwt(0)), api_key(7)] {
        assert_eq!(world.ask(&headers), by_header);
    }
    assert_eq!(world.ask(&head(&[("cookie", "a=1")])).code(), "missing_credentials");
}

#[test]
fn callouts_carry_the_credential_in_authorization() {
    let mut world = world(json!({"jwt": {"verification": "remote"}}));
    let token = format!("APIKey 7${}", "a".repeat(128));
    let bearer = format!("Bearer {}", jwt(0));
    for (headers, expected) in [(api_key(7), &token), (cookie(&jwt(0)), &bearer), (websocket(&jwt(0)), &bearer)] {
        let mut world = World::new(json!({"credentials": everywhere(), "jwt": {"verification": "remote"}}));
        world.send(&headers);
        let asked = &world.pending[0].request;
        assert_eq!((asked.authorization(), asked.headers.len()), (Some(expected.as_str()), 1));
    }
    world.ask(&cookie(&jwt(0)));
    world.ask(&websocket(&jwt(0)));
    world.ask(&super::bearer(&jwt(0)));
    assert_eq!(world.verifications, 1, "the same token in another place is the same credential");
    world.ask(&api_key(7));
    world.ask(&api_token_of(7));
    assert_eq!(world.verifications, 2);
}

#[test]
fn refusals_and_failures_count_for_every_place() {
    let mut world = world(json!({"failed_auth_throttle": {"attempts": 2}}));
    *world.process.address.borrow_mut() = Some("192.0.2.1:4711".to_owned());
    world.verify = no();
    assert_eq!(code(&mut world, 0, &api_key(7)), "token_rejected");
    assert_eq!(code(&mut world, 0, &api_token_of(7)), "token_rejected");
    assert_eq!(world.verifications, 1);
    assert_eq!(code(&mut world, 0, &api_key(8)), "too_many_failures");
    assert_eq!(code(&mut world, 0, &api_token_of(9)), "too_many_failures");
}

#[test]
fn a_cross_site_request_is_not_counted_as_a_failure() {
    let mut world = world(json!({"failed_auth_throttle": {"attempts": 1}}));
    *world.process.address.borrow_mut() = Some("192.0.2.1:4711".to_owned());
    let session = format!("session={}", jwt(0));
    let post = |site: &str| head(&[(":method", "POST"), ("cookie", &session), ("sec-fetch-site", site)]);
    for _ in 0..3 {
        assert_eq!(world.ask(&post("cross-site")), Ending::Denied(403, "cross_site_request", None));
    }
    assert_eq!(world.ask(&post("same-origin")).code(), "");
}

#[test]
fn an_optional_rule_denies_a_cookie_from_another_site() {
    let mut world = world(json!({"rules": [{"match": {"prefix": "/"}, "optional": true}]}));
    let session = format!("session={}", jwt(0));
    let authorization = format!("Bearer {}", jwt(0));
    let other_cookie = ("cookie", "a=1");
    for (method, credential, site, code) in [
        ("POST", ("cookie", session.as_str()), "cross-site", "cross_site_request"),
        ("DELETE", ("cookie", &session), "same-site", "cross_site_request"),
        ("POST", ("cookie", &session), "same-origin", ""),
        ("GET", ("cookie", &session), "cross-site", ""),
        ("POST", ("authorization", &authorization), "cross-site", ""),
        ("POST", other_cookie, "cross-site", ""),
    ] {
        let outcome = world.ask(&head(&[(":method", method), ("sec-fetch-site", site), credential]));
        assert_eq!(outcome.code(), code, "{method} {credential:?} {site}");
        if let Ending::Forwarded(set) = outcome {
            assert_eq!(set.is_empty(), credential == other_cookie, "{method} {credential:?} {site}");
        }
    }
}

/// How a request that needs no answer of the service is forwarded.
fn forwarded(world: &mut World, headers: &[(String, Vec<u8>)]) -> Forward {
    let head = RequestHead { headers: &lend(headers), has_body: false };
    let reception = world.workers[0].on_request(99, &head, &Cx::new(world.now, &world.process));
    match reception.step {
        Step::Resolve(Resolution::Forward(forward)) => forward,
        other => panic!("{other:?}"),
    }
}

/// The places for credentials, as the upstream sees them.
fn left(world: &mut World, headers: &[(String, Vec<u8>)]) -> (Authorization, Vec<(String, Option<String>)>) {
    let forward = forwarded(world, headers);
    let config = world.workers[0].config();
    let changes = forward.taken_off(&lend(headers), &config.credentials).into_iter();
    let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
    let changes = changes.map(|(name, value)| (name.to_owned(), value.map(text))).collect();
    (forward.authorization, changes)
}

#[test]
fn the_credential_is_forwarded_from_every_place_unless_removed() {
    let mut keeping = world(json!({}));
    keeping.ask(&api_key(7));
    for headers in [api_key(7), cookie(&jwt(0))] {
        assert_eq!(left(&mut keeping, &headers), (Authorization::Keep, vec![]));
    }
    let mut removing = world(json!({"forward_credential": false, "rules": [
        {"match": {"prefix": "/public"}, "public": true},
    ]}));
    removing.ask(&api_key(7));
    let none = ("x-api-key".to_owned(), None);
    let others = ("cookie".to_owned(), Some("a=1; b=2".to_owned()));
    assert_eq!(left(&mut removing, &api_key(7)), (Authorization::Remove, vec![none.clone()]));
    assert_eq!(left(&mut removing, &cookie(&jwt(0))), (Authorization::Remove, vec![none.clone(), others.clone()]));
    let mut public = cookie("anything");
    public[1].1 = b"/public".to_vec();
    assert_eq!(left(&mut removing, &public), (Authorization::Remove, vec![none, others]), "on a public rule too");
}

#[test]
fn a_jwt_from_another_place_is_forwarded_in_authorization() {
    let config = json!({"forward_credential": "jwt", "api_token": {"response_format": "jwt_body"}});
    let mut world = world(config);
    let replaced = Authorization::Replace(Redacted(format!("Bearer {}", jwt(0))));
    for round in 0..2 {
        assert_eq!(forwarded(&mut world, &cookie(&jwt(0))).authorization, replaced, "{round}");
        assert_eq!(forwarded(&mut world, &websocket(&jwt(0))).authorization, replaced, "{round}");
        assert_eq!(forwarded(&mut world, &bearer(&jwt(0))).authorization, Authorization::Keep, "{round}");
    }
}

#[test]
fn a_jwt_is_forwarded_as_bearer_whatever_letter_case_the_client_wrote() {
    let config = json!({"forward_credential": "jwt", "api_token": {"response_format": "jwt_body"}});
    let mut world = world(config);
    let replaced = Authorization::Replace(Redacted(format!("Bearer {}", jwt(0))));
    for scheme in ["bearer", "BEARER", "beaRer"] {
        let headers = head(&[("authorization", &format!("{scheme} {}", jwt(0)))]);
        for round in 0..2 {
            assert_eq!(forwarded(&mut world, &headers).authorization, replaced, "{scheme} {round}");
        }
    }
}

/// The request, to another path.
fn to(path: &str, mut headers: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    headers.iter_mut().find(|(name, _)| name == ":path").unwrap().1 = path.as_bytes().to_vec();
    headers
}

#[test]
fn a_rule_decides_on_forwarding_for_every_place() {
    let mut world = world(json!({
        "api_token": {"response_format": "jwt_body"},
        "rules": [
            {"match": {"path": "/off"}, "forward_credential": false},
            {"match": {"path": "/optional"}, "optional": true, "forward_credential": false},
            {"match": {"path": "/public"}, "public": true, "forward_credential": false},
            {"match": {"path": "/jwt"}, "forward_credential": "jwt"},
            {"match": {"path": "/optional_jwt"}, "optional": true, "forward_credential": "jwt"},
            {"match": {"path": "/shadow"}, "require": {"is_admin": true}, "mode": "shadow", "forward_credential": false},
            {"match": {"path": "/shadow_deny"}, "deny": true, "mode": "shadow"},
        ],
    }));
    let mut of_token = super::claims();
    of_token["token_type"] = json!("api_token");
    let of_token = super::jwt_of(0, &of_token);
    world.verify = super::Answer::Body(200, of_token.clone());
    world.ask(&api_key(7));
    let key_off = || vec![("x-api-key".to_owned(), None)];
    let both_off = || vec![("x-api-key".to_owned(), None), ("cookie".to_owned(), Some("a=1; b=2".to_owned()))];
    let replaced = |jwt: &str| Authorization::Replace(Redacted(format!("Bearer {jwt}")));
    for (path, of_key, of_cookie, of_bearer) in [
        ("/kept", (Authorization::Keep, vec![]), (Authorization::Keep, vec![]), Authorization::Keep),
        ("/off", (Authorization::Remove, key_off()), (Authorization::Remove, both_off()), Authorization::Remove),
        ("/optional", (Authorization::Remove, key_off()), (Authorization::Remove, both_off()), Authorization::Remove),
        ("/public", (Authorization::Remove, key_off()), (Authorization::Remove, both_off()), Authorization::Remove),
        ("/jwt", (replaced(&of_token), key_off()), (replaced(&jwt(0)), both_off()), Authorization::Keep),
        ("/optional_jwt", (replaced(&of_token), key_off()), (replaced(&jwt(0)), both_off()), Authorization::Keep),
        ("/shadow", (Authorization::Keep, vec![]), (Authorization::Keep, vec![]), Authorization::Keep),
        ("/shadow_deny", (Authorization::Keep, vec![]), (Authorization::Keep, vec![]), Authorization::Keep),
    ] {
        for round in 0..2 {
            assert_eq!(left(&mut world, &to(path, api_key(7))), of_key, "{path} {round}");
            assert_eq!(left(&mut world, &to(path, cookie(&jwt(0)))), of_cookie, "{path} {round}");
            assert_eq!(left(&mut world, &to(path, bearer(&jwt(0)))).0, of_bearer, "{path} {round}");
            let protocol = left(&mut world, &to(path, websocket(&jwt(0)))).0;
            assert_eq!(protocol, of_cookie.0, "{path} {round}");
        }
    }
}

#[test]
fn shadow_mode_gives_a_cross_site_request_no_identity() {
    let mut world = world(json!({"mode": "shadow", "rules": [
        {"match": {"path": "/a"}, "require": {"is_admin": true}},
        {"match": {"path": "/optional"}, "optional": true},
        {"match": {"path": "/public"}, "public": true},
    ]}));
    let session = format!("session={}", jwt(0));
    let own = ("origin", "http://gateway.example");
    for path in ["/", "/a", "/optional", "/public"] {
        for (method, lines, is_own) in [
            ("GET", vec![], true),
            ("POST", vec![], false),
            ("POST", vec![own], true),
            ("POST", vec![own, own], false),
            ("POST", vec![own, ("sec-fetch-site", "cross-site")], false),
            ("POST", vec![("sec-fetch-site", "none"), ("sec-fetch-site", "none")], false),
            ("POST", vec![own, ("sec-fetch-site", "")], false),
            ("POST", vec![("origin", "null")], false),
            ("POST", vec![("origin", "http://gateway.example.")], false),
            ("GET", vec![("upgrade", "websocket")], false),
            ("GET", vec![("upgrade", "h2c")], false),
            ("CONNECT", vec![(":protocol", "websocket")], false),
            ("TRACE", vec![], false),
            ("QUERY", vec![], false),
        ] {
            let mut headers = vec![(":method", method), (":path", path), (":scheme", "http"), ("cookie", &session)];
            headers.extend(&lines);
            let outcome = world.ask(&head(&headers));
            let Ending::Forwarded(set) = outcome else { panic!("{method} {lines:?}: {outcome:?}") };
            assert_eq!(!set.is_empty(), is_own && path != "/public", "{method} {path} {lines:?}");
        }
    }
}
