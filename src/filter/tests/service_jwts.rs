//! A JWT that the service answers with is verified like any other; one that can't be is the service's fault.

use std::time::Duration;

use serde_json::json;

use super::support::{confirmed, in_format};
use super::world::api_token_of;
use super::{Answer, Ending, World, api_token, jwt_of};
use crate::credential::Redacted;
use crate::decision::Authorization;
use crate::filter::{Action, Resolution};
use crate::host::Cx;

fn body(number: usize) -> Answer {
    Answer::Body(200, jwt_of(number, &confirmed(json!({}))))
}

fn world() -> World {
    World::new(json!({"api_token": {"response_format": "jwt_body"}, "circuit_breaker": {"failures": 1000}}))
}

#[test]
fn an_answered_jwt_is_verified_and_waits_for_the_first_key() {
    let mut world = world();
    world.verify = body(0);
    let stream = world.send(&api_token());
    world.answer_next();
    assert_eq!((world.ending(stream), world.key_fetches), (None, 1));
    world.settle();
    assert!(matches!(world.ending(stream), Some(Ending::Forwarded(_))));
    assert_eq!(world.ask(&api_token()).code(), "", "with the key at hand");
    assert_eq!(world.key_fetches, 1);
}

#[test]
fn the_jwt_is_read_from_a_header_with_that_format() {
    let mut world = World::new(json!({"api_token": {"response_format": "jwt_header"}}));
    world.verify = in_format("jwt_header", &jwt_of(0, &confirmed(json!({}))));
    assert_eq!(world.ask(&api_token()).code(), "");
    world.verify = Answer::Headers(vec![]);
    assert_eq!(world.ask(&api_token_of(8)).code(), "auth_service_unavailable");
}

#[test]
fn an_unusable_answered_jwt_is_an_outage() {
    let mut world = world();
    world.verify = body(0);
    world.ask(&api_token());
    for (number, unusable) in (10..).zip([
        Answer::Body(200, "a.b.c".to_owned()),
        Answer::Body(200, "no JWT".to_owned()),
        Answer::Body(200, jwt_of(0, &confirmed(json!({"exp": 1})))),
        Answer::TooLarge,
    ]) {
        world.verify = unusable.clone();
        assert_eq!(world.ask(&api_token_of(number)).code(), "auth_service_unavailable", "{unusable:?}");
    }
    world.verify = body(2);
    let stream = world.send(&api_token_of(20));
    world.live(Duration::from_secs(6));
    assert_eq!(world.ending(stream).unwrap().code(), "auth_service_unavailable", "signed by somebody else");
}

#[test]
fn an_answered_jwt_has_the_required_claims() {
    for format in ["jwt_body", "jwt_header"] {
        let mut world = World::new(json!({
            "api_token": {"response_format": format}, "jwt": {"required_claims": ["email", "tenant.id"]},
        }));
        world.tick();
        world.settle();
        for (number, changes, code) in [
            (1, json!({"tenant": {"id": 5}}), ""),
            (2, json!({}), "auth_service_unavailable"),
            (3, json!({"tenant": {"id": null}}), "auth_service_unavailable"),
            (4, json!({"tenant": {"id": 5}, "email": null}), "auth_service_unavailable"),
        ] {
            world.verify = in_format(format, &jwt_of(0, &confirmed(changes.clone())));
            assert_eq!(world.ask(&api_token_of(number)).code(), code, "{format} {changes}");
        }
    }
}

#[test]
fn an_answered_refresh_token_is_not_accepted() {
    let mut world = world();
    world.verify = Answer::Body(200, jwt_of(0, &confirmed(json!({"token_type": "refresh"}))));
    assert_eq!(world.ask(&api_token()).code(), "token_type_not_accepted");
}

#[test]
fn the_answered_jwt_can_replace_the_credential_upstream() {
    let mut world = World::new(json!({"api_token": {"response_format": "jwt_body"}, "forward_credential": "jwt"}));
    world.tick();
    world.settle();
    world.verify = body(0);
    world.send(&api_token());
    let pending = world.pending.remove(0);
    let Answer::Body(_, token) = body(0) else { panic!() };
    let response = crate::introspection::CalloutResponse {
        status: 200,
        headers: vec![],
        body: Some(format!("{token}\n").into_bytes()),
    };
    world.workers[0].on_answer(pending.call(), Ok(response), &Cx::new(world.now, &world.process));
    let Some(Action::Resolve { resolution: Resolution::Forward(forward), .. }) = world.workers[0].next_action() else {
        panic!("not forwarded")
    };
    assert_eq!(forward.authorization, Authorization::Replace(Redacted(format!("Bearer {token}"))));
}
