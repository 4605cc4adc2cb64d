//! From the head of a request to its rule.

use serde_json::json;

use super::world::head;
use super::{Ending, World, api_token, bearer, claims, jwt, jwt_of};
use crate::extractor::{RequestHead, lend};
use crate::filter::{Resolution, Step};
use crate::host::Cx;

fn with_key(overrides: serde_json::Value) -> World {
    let mut world = World::new(overrides);
    world.tick();
    world.settle();
    world
}

#[test]
fn a_valid_jwt_is_forwarded_with_its_identity() {
    let mut world = with_key(json!({}));
    let expected = [
        ("x-client-id", "2"),
        ("x-is-admin", "false"),
        ("x-user-email", "user@example.com"),
        ("x-user-id", "1"),
        ("x-user-type", "common"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    assert_eq!(world.ask(&bearer(&jwt(0))), Ending::Forwarded(expected));
    assert_eq!(world.verifications, 0, "nobody was asked");
}

#[test]
fn without_a_matching_rule_a_credential_is_required() {
    let mut world = with_key(json!({"rules": [{"match": {"path": "/health"}, "public": true}]}));
    assert_eq!(world.ask(&head(&[])), Ending::Denied(401, "missing_credentials", None));
    assert_eq!(world.ask(&head(&[(":path", "/health?x=1")])), Ending::Forwarded(vec![]));
    assert_eq!(world.ask(&head(&[(":path", "/x/../health")])).code(), "ambiguous_path");
}

#[test]
fn a_public_rule_ignores_the_credential() {
    let mut world = with_key(json!({"rules": [{"match": {"prefix": "/"}, "public": true}]}));
    assert_eq!(world.ask(&bearer("nonsense")), Ending::Forwarded(vec![]));
    assert_eq!(world.ask(&api_token()), Ending::Forwarded(vec![]));
    assert_eq!(world.verifications, 0);
}

#[test]
fn identity_headers_are_stripped_from_every_request() {
    let mut world = with_key(json!({
        "rules": [{"match": {"path": "/public"}, "public": true}],
        "identity_headers": {"X-User-Id": null, "X-Uid": "user_id"},
    }));
    for path in ["/public", "/private", "/a%2e"] {
        let headers =
            head(&[(":path", path), ("x-uid", "1"), ("x_uid", "1"), ("x-is_admin", "true"), ("x.user.id", "1")]);
        let head = RequestHead { headers: &lend(&headers), has_body: false };
        let reception = world.workers[0].on_request(900, &head, &Cx::new(world.now, &world.process));
        assert_eq!(reception.strip, ["x-uid", "x_uid", "x-is_admin", "x.user.id"], "{path}: {:?}", reception.step);
    }
}

#[test]
fn each_defect_of_a_jwt_has_its_code() {
    let mut world = with_key(json!({}));
    let with = |field: &str, value| {
        let mut claims = claims();
        claims[field] = value;
        jwt_of(0, &claims)
    };
    let begin = super::world::BEGIN;
    for (token, code) in [
        (with("exp", json!(begin)), "token_expired"),
        (with("nbf", json!(begin + 60)), "token_not_yet_valid"),
        (with("token_type", json!("refresh")), "token_type_not_accepted"),
        (with("token_type", json!("new")), "token_type_not_accepted"),
        (with("exp", json!("soon")), "token_malformed"),
        (with("email", json!("a\nb")), "token_malformed"),
        ("a.b.c".to_owned(), "token_malformed"),
        ("a.b".to_owned(), "token_malformed"),
    ] {
        assert_eq!(world.ask(&bearer(&token)), Ending::Denied(401, code, None), "{code}");
    }
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_configured() {
    let mut world = with_key(json!({"jwt": {"issuers": ["us"], "audiences": ["here", "there"]}}));
    let with = |iss, aud| {
        let mut claims = claims();
        claims["iss"] = iss;
        claims["aud"] = aud;
        jwt_of(0, &claims)
    };
    assert_eq!(world.ask(&bearer(&with(json!("us"), json!("here")))).code(), "");
    assert_eq!(world.ask(&bearer(&with(json!("us"), json!(["x", "there"])))).code(), "");
    let refused = Ending::Denied(403, "claims_not_sufficient", None);
    assert_eq!(world.ask(&bearer(&with(json!("them"), json!("here")))), refused);
    assert_eq!(world.ask(&bearer(&with(json!("us"), json!("elsewhere")))), refused);
    assert_eq!(world.ask(&bearer(&jwt(0))), refused);
}

#[test]
fn a_rule_can_require_a_token_type() {
    let mut world = with_key(json!({"rules": [
        {"match": {"prefix": "/webhooks"}, "require": {"token_types": ["api_token"]}},
    ]}));
    let on_webhooks = |credential: Vec<(String, Vec<u8>)>| {
        let mut headers = head(&[(":path", "/webhooks/1")]);
        headers.extend(credential.into_iter().filter(|(name, _)| name == "authorization"));
        headers
    };
    assert_eq!(world.ask(&on_webhooks(bearer(&jwt(0)))), Ending::Denied(403, "claims_not_sufficient", None));
    assert_eq!(world.ask(&on_webhooks(api_token())).code(), "");
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "", "elsewhere it is good");
}

#[test]
fn a_grpc_client_gets_a_grpc_denial() {
    let mut world = with_key(json!({}));
    let headers = head(&[("content-type", "application/grpc")]);
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    let reception = world.workers[0].on_request(1, &head, &Cx::new(world.now, &world.process));
    let Step::Resolve(Resolution::Deny(response)) = reception.step else { panic!("let in") };
    assert_eq!(response.grpc, crate::code::GrpcStatus::Unauthenticated);
    assert_eq!((response.status, response.body.as_str()), (401, "missing_credentials"));
}

#[test]
fn pinned_keys_verify_without_the_service() {
    let pem = include_str!("../testdata/key2.pem");
    let mut world = with_key(json!({"jwt": {"public_key": {"pem": [pem]}}}));
    world.live(std::time::Duration::from_secs(7200));
    assert_eq!(world.ask(&bearer(&jwt(0))), Ending::Denied(401, "token_expired", None));
    let mut claims = claims();
    claims["exp"] = json!(super::world::BEGIN + 9000);
    assert_eq!(world.ask(&bearer(&jwt_of(1, &claims))).code(), "");
    assert_eq!(world.ask(&bearer(&jwt_of(0, &claims))).code(), "signature_invalid");
    assert_eq!(world.key_fetches, 0);
}

#[test]
fn a_listed_origin_can_read_denials_and_send_preflights() {
    let mut world = with_key(json!({"responses": {"cors_origins": ["https://app.example.com"]}}));
    let preflight =
        |origin: &str| head(&[(":method", "OPTIONS"), ("origin", origin), ("access-control-request-method", "GET")]);
    assert_eq!(world.ask(&preflight("https://app.example.com")), Ending::Forwarded(vec![]));
    assert_eq!(world.ask(&preflight("https://evil.example.com")).code(), "missing_credentials");
    let not_preflight = head(&[(":method", "OPTIONS"), ("origin", "https://app.example.com")]);
    assert_eq!(world.ask(&not_preflight).code(), "missing_credentials");

    let mut denial = |origin: &str| {
        let headers = head(&[("origin", origin)]);
        match world.workers[0]
            .on_request(
                1,
                &RequestHead { headers: &lend(&headers), has_body: false },
                &Cx::new(world.now, &world.process),
            )
            .step
        {
            Step::Resolve(Resolution::Deny(response)) => response.headers,
            step => panic!("{step:?}"),
        }
    };
    let allowed = ("access-control-allow-origin", "https://app.example.com".to_owned());
    assert!(denial("https://app.example.com").contains(&allowed));
    let names: Vec<_> = denial("https://evil.example.com").iter().map(|(name, _)| *name).collect();
    assert!(!names.contains(&"access-control-allow-origin"));
}
