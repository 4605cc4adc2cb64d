//! API tokens: the service's verdicts and its outages.

use serde_json::json;

use super::world::{api_token_of, head};
use super::{Answer, Ending, World, api_token, claims};
use crate::introspection::CalloutError;

#[test]
fn the_services_answer_is_the_identity() {
    let mut world = World::new(json!({}));
    let stream = world.send(&api_token());
    assert_eq!(world.ending(stream), None);
    let asked = &world.pending[0].request;
    assert_eq!(asked.path, "/auth/verify?header_types=apikey&response_format=json_body");
    assert_eq!(asked.authorization(), Some(&*format!("APIKey 7${}", "a".repeat(128))));
    world.settle();
    let Some(Ending::Forwarded(headers)) = world.ending(stream) else { panic!("denied") };
    assert!(headers.contains(&("x-user-id".to_owned(), "1".to_owned())));
    assert_eq!((world.verifications, world.key_fetches), (1, 0));
}

#[test]
fn a_refusal_is_a_verdict_and_is_not_retried() {
    for (status, outcome) in
        [(401, Ending::Denied(401, "token_rejected", None)), (403, Ending::Denied(403, "forbidden_by_service", None))]
    {
        let mut world = World::new(json!({}));
        world.verify = Answer::Body(status, r#"{"error": "Invalid token", "details": "gone"}"#.to_owned());
        assert_eq!(world.ask(&api_token()), outcome);
        assert_eq!(world.verifications, 1);
    }
}

#[test]
fn any_other_answer_is_an_outage_and_is_retried_once() {
    let no_expiry = json!({"user_id": 1, "client_id": 2, "token_type": "api_token"});
    for fault in [
        Answer::Body(502, String::new()),
        Answer::Body(503, "upstream connect error".to_owned()),
        Answer::Body(504, String::new()),
        Answer::Error(CalloutError::NotSent),
        Answer::Error(CalloutError::Reset),
    ] {
        let mut world = World::new(json!({}));
        world.verify = fault.clone();
        assert_eq!((world.ask(&api_token()), world.verifications), (unavailable_for(1), 2), "{fault:?}");
    }
    for fault in [
        Answer::Body(500, String::new()),
        Answer::Body(404, String::new()),
        Answer::Body(302, String::new()),
        Answer::Body(204, String::new()),
        Answer::Body(0, String::new()),
        Answer::Body(200, String::new()),
        Answer::Body(200, "<html>".to_owned()),
        Answer::json(&no_expiry),
        Answer::TooLarge,
    ] {
        let mut world = World::new(json!({}));
        world.verify = fault.clone();
        assert_eq!((world.ask(&api_token()), world.verifications), (unavailable_for(10), 2), "{fault:?}");
    }
}

fn unavailable_for(seconds: u32) -> Ending {
    Ending::Denied(503, "auth_service_unavailable", Some(seconds.to_string()))
}

#[test]
fn the_retry_can_bring_the_verdict() {
    let mut world = World::new(json!({}));
    let stream = world.send(&api_token());
    let first = world.pending[0].clone();
    world.answer(&first, &Answer::Error(CalloutError::Reset));
    assert_eq!((world.ending(stream), world.verifications), (None, 2));
    world.settle();
    assert_eq!(world.ending(stream).unwrap().code(), "");
}

#[test]
fn the_number_of_retries_is_configurable() {
    for retries in [0, 3] {
        let mut world = World::new(json!({"auth_service": {"cluster": "auth", "retries": retries}}));
        world.verify = Answer::Body(500, String::new());
        assert_eq!(world.ask(&api_token()).code(), "auth_service_unavailable");
        assert_eq!(world.verifications, retries + 1);
    }
}

#[test]
fn a_confirmed_identity_still_passes_the_policy() {
    let mut world = World::new(json!({}));
    for (number, (field, value, code)) in (0..).zip([
        ("exp", json!(super::world::BEGIN - 1), "token_expired"),
        ("nbf", json!(super::world::BEGIN + 9), "token_not_yet_valid"),
        ("token_type", json!("refresh"), "token_type_not_accepted"),
        ("token_type", json!("password_reset"), "token_type_not_accepted"),
        ("email", json!("a\r\nx-user-id: 0"), "token_malformed"),
    ]) {
        let mut confirmed = claims();
        confirmed[field] = value;
        world.verify = Answer::json(&confirmed);
        assert_eq!(world.ask(&api_token_of(number)).code(), code, "{field}");
    }
}

#[test]
fn an_identity_in_headers_needs_its_two_ids() {
    let mut world = World::new(json!({"api_token": {"response_format": "json_header"}}));
    let answer = |user: &str| {
        Answer::Headers(vec![("x-user-id", user.into()), ("x-client-id", "2".into()), ("x-is-admin", "True".into())])
    };
    world.verify = answer("1");
    let expected = [("x-client-id", "2"), ("x-is-admin", "true"), ("x-user-id", "1")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    assert_eq!(world.ask(&api_token()), Ending::Forwarded(expected));
    world.verify = answer("one");
    assert_eq!(world.ask(&api_token_of(8)).code(), "auth_service_unavailable");
}

#[test]
fn other_schemes_are_asked_about_only_when_configured() {
    let basic = head(&[("authorization", "Basic dXNlcjpwYXNz")]);
    let mut world = World::new(json!({}));
    assert_eq!(world.ask(&basic), Ending::Denied(401, "unsupported_scheme", None));
    assert_eq!(world.verifications, 0);
    let mut world = World::new(json!({"api_token": {"header_types": ["apikey", "other"]}}));
    world.send(&basic);
    let asked = &world.pending[0].request;
    assert_eq!(asked.path, "/auth/verify?header_types=apikey,other&response_format=json_body");
    assert_eq!(asked.authorization(), Some("Basic dXNlcjpwYXNz"));
}
