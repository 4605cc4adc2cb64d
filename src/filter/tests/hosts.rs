//! Which host a callout goes to, and which headers of the request it carries.

use serde_json::{Value, json};

use super::support::questions;
use super::world::{api_token_of, head};
use super::{Answer, World, api_token, bearer, claims, jwt};
use crate::introspection::Destination;

fn elsewhere() -> Value {
    json!({
        "jwt": {"public_key": {"cluster": "keys", "authority": "keys.internal:8443"}},
        "revocation": {"path": "/auth/blacklist", "cluster": "lists"},
    })
}

/// Cluster and `:authority` of every callout.
fn asked(world: &World) -> Vec<(String, String, String)> {
    let of = |request: &crate::introspection::CalloutRequest| {
        let (cluster, authority) = world.workers[0].config().host(request.to);
        let path = request.path.split('?').next().unwrap_or_default();
        (path.to_owned(), cluster.to_owned(), authority.to_owned())
    };
    let mut asked: Vec<_> = world.pending.iter().map(|pending| of(&pending.request)).collect();
    asked.sort();
    asked
}

fn row(path: &str, cluster: &str, authority: &str) -> (String, String, String) {
    (path.to_owned(), cluster.to_owned(), authority.to_owned())
}

#[test]
fn the_key_and_the_list_may_be_served_by_other_hosts() {
    let mut world = World::new(elsewhere());
    world.tick();
    world.send(&api_token());
    assert_eq!(
        asked(&world),
        [
            row("/auth/blacklist", "lists", "lists"),
            row("/auth/verify", "auth", "auth"),
            row("/iam/public-key", "keys", "keys.internal:8443"),
        ]
    );
    world.settle();
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "");
}

#[test]
fn by_default_the_service_serves_the_key_and_the_list() {
    let mut world = World::new(json!({
        "auth_service": {"cluster": "auth", "authority": "auth.internal"},
        "jwt": {"public_key": {"cluster": null, "authority": null}},
        "revocation": {"path": "/auth/blacklist", "authority": "lists.internal"},
    }));
    world.tick();
    let key = row("/iam/public-key", "auth", "auth.internal");
    assert_eq!(asked(&world), [row("/auth/blacklist", "auth", "lists.internal"), key]);
    assert_eq!(world.workers[0].config().host(Destination::AuthService), ("auth", "auth.internal"));
}

#[test]
fn filters_with_different_hosts_share_neither_keys_nor_lists() {
    let mut world = World::with_workers(2, json!({"revocation": {"path": "/auth/blacklist"}}));
    world.update(1, &elsewhere());
    world.tick();
    let polls_and_keys = world.pending.len();
    assert_eq!(polls_and_keys, 4, "each asks for itself: {:?}", world.pending);
    // The list of the first filter's host revokes the token.
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": [{"jti": "j", "exp": claims()["exp"]}]}));
    while world.pending.iter().any(|pending| pending.worker() == 0) {
        let pending = world.pending.iter().find(|pending| pending.worker() == 0).cloned().unwrap();
        let answer = if pending.is_poll() {
            world.feed.clone()
        } else {
            Answer::json(&json!({"public_key": super::world::KEYS[0]}))
        };
        world.answer(&pending, &answer);
    }
    world.feed = Answer::json(&json!({"cursor": "d", "revoked": []}));
    world.settle();
    world.tick();
    assert_eq!(world.ask_at(0, &bearer(&jwt(0))).code(), "token_revoked");
    assert_eq!(world.ask_at(1, &bearer(&jwt(0))).code(), "");
}

/// The headers that the question copies from a request with these headers.
fn copied(config: Value, lines: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut world = World::new(config);
    let mut headers = api_token();
    headers.extend(head(lines).into_iter().filter(|(name, _)| !name.starts_with(':')));
    world.send(&headers);
    questions(&world)[0].request.forwarded.clone()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_callout_carries_the_requests_trace() {
    let lines = [("x-request-id", "r-1"), ("traceparent", "00-1-2-01"), ("tracestate", "a=1,b=2"), ("x-other", "1")];
    assert_eq!(copied(json!({}), &lines), pairs(&lines[..3]));
    assert_eq!(copied(json!({"auth_service": {"cluster": "auth", "forward_headers": []}}), &lines), []);
    let named = json!({"auth_service": {"cluster": "auth", "forward_headers": ["X-Other"]}});
    assert_eq!(copied(named, &lines), pairs(&lines[3..]));
    let stripped = json!({"strip_headers": ["Tracestate", "x_request_id"]});
    assert_eq!(copied(stripped, &lines), pairs(&lines[1..2]), "what no client may send isn't copied");
}

#[test]
fn only_a_single_plain_value_is_copied() {
    let long = "a".repeat(256);
    assert_eq!(copied(json!({}), &[("x-request-id", &long)]), pairs(&[("x-request-id", &long)]));
    let longer = "a".repeat(257);
    for bad in ["", "a b", "a\tb", "\u{e4}", "a\r\nb: c", &longer] {
        assert_eq!(copied(json!({}), &[("x-request-id", bad)]), [], "{bad:?}");
    }
    assert_eq!(copied(json!({}), &[("x-request-id", "a"), ("x-request-id", "a")]), [], "twice");
}

#[test]
fn copied_headers_do_not_split_the_cache() {
    let mut world = World::new(json!({}));
    let with_id = |id: &str| {
        let mut headers = api_token_of(7);
        headers.push(("x-request-id".to_owned(), id.as_bytes().to_vec()));
        headers
    };
    assert_eq!(world.ask(&with_id("a")).code(), "");
    assert_eq!(world.ask(&with_id("b")).code(), "");
    assert_eq!(world.verifications, 1);
}
