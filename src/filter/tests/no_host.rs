//! A service without a host: other callouts don't show that it has one.

use std::time::Duration;

use serde_json::json;

use super::support::{code_of, with_key};
use super::world::jwt_of;
use super::{World, bearer, claims};
use crate::introspection::CalloutError;
use crate::metrics::Gauge;

/// A JWT of its own for each number, which the service is asked about.
fn known_user(number: usize) -> Vec<(String, Vec<u8>)> {
    let mut claims = claims();
    claims["jti"] = json!(number.to_string());
    bearer(&jwt_of(0, &claims))
}

#[test]
fn callouts_that_are_not_sent_yet_do_not_vouch_for_each_other() {
    let mut world = with_key(1, json!({"jwt": {"verification": "remote"}, "circuit_breaker": {"failures": 1000}}));
    let streams: Vec<_> = (0..8).map(|number| world.send(&known_user(number))).collect();
    world.is_host_gone = true;
    // One tick retries all of them.
    let now = world.now;
    for pending in std::mem::take(&mut world.pending) {
        let cx = crate::host::Cx::new(now, &world.process);
        world.workers[0].on_answer(pending.call(), Err(CalloutError::TimedOut), &cx);
    }
    world.tick();
    for stream in streams {
        assert_eq!(code_of(&world, stream), "", "by its signature");
    }
}

/// A worker whose poll of the revocation list, at this cluster, is under way.
fn polling(cluster: &str) -> World {
    let list = json!({"path": "/auth/blacklist", "poll_interval": "1s", "cluster": cluster, "authority": cluster});
    let breaker = json!({"failures": 3, "open_for": "60s"});
    let config = json!({"jwt": {"verification": "remote"}, "revocation": list, "circuit_breaker": breaker});
    let mut world = with_key(1, config);
    world.pass(Duration::from_secs(2));
    assert!(world.pending.iter().any(super::world::Pending::is_poll));
    world.is_host_gone = true;
    world
}

#[test]
fn a_poll_at_another_host_does_not_vouch_for_the_service() {
    let mut world = polling("feed");
    for number in 0..3 {
        let stream = world.send(&known_user(number));
        assert_eq!(code_of(&world, stream), "", "by its signature");
    }
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(2));
}

#[test]
fn a_poll_at_the_same_host_shows_that_it_is_there() {
    let mut world = polling("auth");
    let stream = world.send(&known_user(0));
    assert_eq!(code_of(&world, stream), "auth_service_unavailable");
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(0));
}
