//! Filters of one `vm_id` that ask different services: what one service says or fails to say is nothing to the others.

use serde_json::{Value, json};

use super::support::{at_once, confirmed, down, no};
use super::world::api_token_of;
use super::{Answer, World, bearer, jwt};

/// Settings of filters that ask another service than `auth` at `/auth/verify`.
fn others() -> [Value; 3] {
    [
        json!({"cluster": "other", "authority": "auth"}),
        json!({"cluster": "auth", "authority": "other"}),
        json!({"cluster": "auth", "verify_path": "/other"}),
    ]
}

/// Two workers that ask one service, and a third that asks another.
fn world(settings: Value, other: &Value) -> World {
    let mut world = World::with_workers(2, settings.clone());
    let mut elsewhere = settings;
    elsewhere["auth_service"] = other.clone();
    world.workers.extend(World::new(elsewhere).workers);
    world.tick();
    world.settle();
    world
}

#[test]
fn an_outage_of_one_service_does_not_stop_questions_to_another() {
    for other in others() {
        let mut world = world(json!({"circuit_breaker": {"failures": 1}}), &other);
        world.verify = down();
        assert_eq!(world.ask(&api_token_of(1)).code(), "auth_service_unavailable", "{other}");
        world.verify = Answer::json(&confirmed(json!({})));
        assert_eq!(at_once(&mut world, 1, &api_token_of(2)), "auth_service_unavailable", "{other}: the same service");
        assert_eq!(world.ask_at(2, &api_token_of(2)).code(), "", "{other}");
    }
}

#[test]
fn a_jwt_that_one_service_refused_may_stand_in_for_another() {
    for other in others() {
        let mut world = world(json!({"jwt": {"verification": "remote"}}), &other);
        world.verify = no();
        assert_eq!(world.ask(&bearer(&jwt(0))).code(), "token_rejected", "{other}");
        world.verify = down();
        assert_eq!(world.ask_at(1, &bearer(&jwt(0))).code(), "token_rejected", "{other}: the same service");
        assert_eq!(world.ask_at(2, &bearer(&jwt(0))).code(), "", "{other}");
    }
}
