//! Clients can't displace records by the credentials that they choose: a secret picks the rows of the shared data.

use std::time::Duration;

use serde_json::json;

use super::support::{down, no};
use super::world::api_token_of;
use super::{World, bearer, jwt};
use crate::cache::Kind;
use crate::cache::refusals::ROWS;

#[test]
fn colliding_digests_displace_no_refusal() {
    let cache = json!({"ttl": "10s", "stale_ttl": "60s", "negative_ttl": "2s"});
    let mut world = World::new(json!({"jwt": {"verification": "remote"}, "cache": cache}));
    world.tick();
    world.settle();
    world.verify = no();
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "token_rejected");

    let bits = |digest: [u8; 32]| u32::from_le_bytes(*digest.first_chunk().unwrap()) % ROWS;
    let digest =
        |world: &World, kind, credential: &str| world.workers[0].parts.cache.digest(kind, credential.as_bytes()).0;
    let refused = bits(digest(&world, Kind::RemoteJwt, &jwt(0)));
    let token = |number: &usize| format!("{number}${}", "a".repeat(128));
    let alike = (1..).filter(|number| bits(digest(&world, Kind::ApiToken, &token(number))) == refused);
    for number in alike.take(8).collect::<Vec<usize>>() {
        assert_eq!(world.ask(&api_token_of(number)).code(), "token_rejected");
    }

    world.pass(Duration::from_secs(3));
    world.verify = down();
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "auth_service_unavailable");
}
