//! The pages that the filter serves itself, before any rule.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{confirmed, down};
use super::world::{BEGIN, KEYS, api_token_of, head};
use super::{Answer, Ending, World, api_token};
use crate::decision::Page;
use crate::extractor::{RequestHead, lend};
use crate::filter::{Resolution, Step};
use crate::host::Cx;

fn paths(changes: Value) -> Value {
    let mut config = json!({
        "status_paths": {"health": "/-/auth/health", "readiness": "/-/auth/ready"},
        "auth_service": {"cluster": "auth", "retries": 0},
        "circuit_breaker": {"failures": 2, "open_for": "60s"},
    });
    config.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    config
}

fn get(world: &mut World, path: &str) -> (u16, String) {
    match world.ask(&head(&[(":path", path)])) {
        Ending::Served(status, body) => (status, body),
        other => panic!("{path}: {other:?}"),
    }
}

fn health(world: &mut World) -> Value {
    let (status, body) = get(world, "/-/auth/health");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn a_filter_is_ready_once_it_has_the_key_and_the_list() {
    let mut world = World::new(paths(json!({"revocation": {"path": "/auth/blacklist"}})));
    let not_ready = |reason: &str| (503, format!(r#"{{"status": "not_ready", "reason": "{reason}"}}"#));
    let ready = (200, r#"{"status": "ready"}"#.to_owned());
    assert_eq!(get(&mut world, "/-/auth/ready"), not_ready("public_key_not_loaded"));
    world.feed = down();
    world.tick();
    world.settle();
    assert_eq!(get(&mut world, "/-/auth/ready"), not_ready("revocation_list_not_loaded"), "a poll that failed");
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": []}));
    world.live(Duration::from_secs(31));
    assert_eq!(get(&mut world, "/-/auth/ready"), ready);
    world.feed = down();
    world.key_fault = Some(down());
    world.live(Duration::from_secs(7200));
    assert_eq!(get(&mut world, "/-/auth/ready"), ready, "an outage doesn't end it");

    let pinned = json!({"jwt": {"public_key": {"pem": [KEYS[0]]}}});
    assert_eq!(get(&mut World::new(paths(pinned)), "/-/auth/ready"), ready, "with a pinned key, and no list");
}

#[test]
fn the_health_page_shows_each_dependency() {
    let mut world = World::new(paths(json!({"revocation": {"path": "/auth/blacklist"}})));
    let at = |seconds: u64| crate::time::UnixTime::from_secs(BEGIN + seconds).rfc3339();
    assert_eq!(
        health(&mut world),
        json!({"status": "degraded", "timestamp": at(0), "checks": {
            "auth_service": {"status": "up", "error": null},
            "public_key_cache": {"status": "empty", "age_seconds": null},
            "breaker": {"state": "closed"},
            "revocation": {"age_seconds": null, "size": 0},
        }})
    );
    let revoked = json!({"cursor": "c", "revoked": [{"jti": "x", "exp": BEGIN + 3600}]});
    world.feed = Answer::json(&revoked);
    world.tick();
    world.settle();
    world.now = world.now.after(Duration::from_secs(5));
    assert_eq!(
        health(&mut world),
        json!({"status": "healthy", "timestamp": at(5), "checks": {
            "auth_service": {"status": "up", "error": null},
            "public_key_cache": {"status": "cached", "age_seconds": 5},
            "breaker": {"state": "closed"},
            "revocation": {"age_seconds": 5, "size": 1},
        }})
    );
}

#[test]
fn the_health_page_says_degraded_in_an_outage() {
    let mut world = World::new(paths(json!({})));
    world.tick();
    world.settle();
    world.verify = down();
    let said = |world: &mut World| {
        let health = health(world);
        (health["status"].clone(), health["checks"]["auth_service"].clone(), health["checks"]["breaker"].clone())
    };
    world.ask(&api_token());
    let down = |error: &str| json!({"status": "down", "error": error});
    let closed = json!({"state": "closed"});
    assert_eq!(said(&mut world), (json!("degraded"), down("verification_failed"), closed.clone()));
    world.ask(&api_token_of(8));
    assert_eq!(said(&mut world), (json!("degraded"), down("circuit_breaker_open"), json!({"state": "open"})));
    world.verify = Answer::json(&confirmed(json!({})));
    world.pass(Duration::from_secs(61));
    world.ask(&api_token());
    assert_eq!(said(&mut world), (json!("healthy"), json!({"status": "up", "error": null}), closed.clone()));
    world.key_fault = Some(super::support::down());
    world.live(Duration::from_secs(3700));
    assert_eq!(said(&mut world), (json!("degraded"), down("public_key_not_fetched"), closed));
}

/// The status, and what is said about the service.
fn of_service(world: &mut World) -> (Value, Value) {
    let health = health(world);
    (health["status"].clone(), health["checks"]["auth_service"].clone())
}

fn up(status: &str) -> (Value, Value) {
    (json!(status), json!({"status": "up", "error": null}))
}

fn failing(error: &str) -> (Value, Value) {
    (json!("degraded"), json!({"status": "down", "error": error}))
}

/// The workers tick after this time, and their callouts are answered.
fn after(world: &mut World, seconds: u64) {
    world.now = world.now.after(Duration::from_secs(seconds));
    world.tick();
    world.settle();
}

#[test]
fn a_stale_list_alone_is_degraded() {
    let list = json!({"path": "/auth/blacklist", "poll_interval": "10s", "cluster": "lists"});
    let mut world = World::new(paths(json!({"revocation": list})));
    after(&mut world, 0);
    world.feed = down();
    after(&mut world, 19);
    assert_eq!(of_service(&mut world), up("healthy"), "another host's failed poll isn't the service's");
    after(&mut world, 1);
    assert_eq!(of_service(&mut world), up("degraded"), "no poll of two intervals succeeded");
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": []}));
    after(&mut world, 10);
    assert_eq!(of_service(&mut world), up("healthy"));
}

#[test]
fn a_failed_poll_of_the_services_list_is_the_services_error() {
    let list = json!({"path": "/auth/blacklist", "poll_interval": "10s"});
    let mut world = World::new(paths(json!({"revocation": list})));
    after(&mut world, 0);
    assert_eq!(of_service(&mut world), up("healthy"));
    world.feed = down();
    after(&mut world, 10);
    assert_eq!(of_service(&mut world), failing("revocation_list_not_read"));
    assert_eq!(health(&mut world)["checks"]["revocation"]["age_seconds"], 10, "since the last that succeeded");
    world.feed = Answer::json(&json!({"cursor": "c", "revoked": []}));
    after(&mut world, 10);
    assert_eq!(of_service(&mut world), up("healthy"));
}

#[test]
fn a_failed_fetch_is_the_services_error_only_if_it_serves_the_key() {
    for (cluster, expected) in [("auth", failing("public_key_not_fetched")), ("keys", up("healthy"))] {
        let source = json!({"ttl": "10s", "cluster": cluster});
        let mut world = World::new(paths(json!({"jwt": {"public_key": source}})));
        after(&mut world, 0);
        assert_eq!(of_service(&mut world), up("healthy"), "{cluster}");
        world.key_fault = Some(down());
        after(&mut world, 10);
        assert_eq!(of_service(&mut world), expected, "{cluster}");
    }
}

#[test]
fn a_missing_key_alone_is_degraded() {
    let mut world = World::new(paths(json!({"jwt": {"public_key": {"cluster": "keys"}}})));
    world.key_fault = Some(down());
    after(&mut world, 0);
    assert_eq!(of_service(&mut world), up("degraded"));
    world.key_fault = None;
    after(&mut world, 10);
    assert_eq!(of_service(&mut world), up("healthy"));
}

#[test]
fn the_service_is_down_until_a_probe_is_answered() {
    let mut world = World::new(paths(json!({})));
    after(&mut world, 0);
    world.verify = down();
    world.ask(&api_token_of(8));
    world.ask(&api_token_of(9));
    world.pass(Duration::from_secs(60));
    world.send(&api_token());
    let page = world.send(&head(&[(":path", "/-/auth/health")]));
    let Some(Ending::Served(200, body)) = world.ending(page) else { panic!("not served") };
    let checks = serde_json::from_str::<Value>(&body).unwrap()["checks"].clone();
    assert_eq!(checks["breaker"]["state"], "half_open");
    assert_eq!(checks["auth_service"], json!({"status": "down", "error": "circuit_breaker_open"}));
    world.verify = Answer::json(&confirmed(json!({})));
    world.settle();
    assert_eq!(of_service(&mut world), up("healthy"));
}

#[test]
fn a_pinned_key_counts_as_cached() {
    let mut world = World::new(paths(json!({"jwt": {"public_key": {"pem": [KEYS[0]]}}})));
    let health = health(&mut world);
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["checks"]["public_key_cache"], json!({"status": "cached", "age_seconds": null}));
}

#[test]
fn pages_are_served_to_get_and_head_on_their_exact_paths_before_rules() {
    let rules = json!({"rules": [
        {"match": {"prefix": "/"}, "require": {"token_types": ["api_token"]}},
        {"match": {"regex": ".*x"}, "public": true},
    ]});
    let mut world = World::new(paths(rules));
    world.tick();
    world.settle();
    for path in ["/-/auth/ready", "/-/auth/ready?x=%zz", "/-/auth/ready?"] {
        for method in ["GET", "HEAD", "get"] {
            let outcome = world.ask(&head(&[(":path", path), (":method", method), ("authorization", "x")]));
            assert!(matches!(outcome, Ending::Served(200, _)), "{method} {path}: {outcome:?}");
        }
    }
    for (method, path) in [
        ("POST", "/-/auth/ready"),
        ("OPTIONS", "/-/auth/ready"),
        ("", "/-/auth/ready"),
        ("GET", "/-/auth/ready/"),
        ("GET", "/-/auth/ready#x"),
        ("GET", "/-/auth/%72eady"),
        ("GET", "//-/auth/ready"),
        ("GET", "/-/auth/./ready"),
        ("GET", "/-/auth/ready;a"),
        ("GET", "/-/Auth/ready"),
        ("GET", ""),
    ] {
        let outcome = world.ask(&head(&[(":path", path), (":method", method)]));
        assert!(matches!(outcome, Ending::Denied(..)), "{method} {path}: {outcome:?}");
    }
    assert!(matches!(World::new(json!({})).ask(&head(&[(":path", "/-/auth/ready")])), Ending::Denied(..)), "off");
}

/// How a request is decided on at once.
fn decided(world: &mut World, headers: &[(&str, &str)]) -> Resolution {
    let headers = head(headers);
    let head = RequestHead { headers: &lend(&headers), has_body: false };
    match world.workers[0].on_request(99, &head, &Cx::new(world.now, &world.process)).step {
        Step::Resolve(resolution) => resolution,
        other => panic!("{other:?}"),
    }
}

/// The page that a request gets.
fn page(world: &mut World, headers: &[(&str, &str)]) -> Page {
    match decided(world, headers) {
        Resolution::Serve(page) => page,
        other => panic!("{other:?}"),
    }
}

#[test]
fn resource_metadata_is_served_and_named_in_the_challenge() {
    const PATH: &str = "/.well-known/oauth-protected-resource";
    for (resource, origin, path) in [
        ("https://api.example.com", "https://api.example.com", PATH),
        ("https://api.example.com/", "https://api.example.com", PATH),
        ("https://api.example.com:8443/v1/a", "https://api.example.com:8443", &format!("{PATH}/v1/a")),
    ] {
        let metadata = json!({
            "resource": resource, "authorization_servers": ["https://auth.example.com"],
            "scopes_supported": ["read", "write"],
        });
        let mut world = World::new(json!({"responses": {"resource_metadata": metadata}}));
        let (status, body) = get(&mut world, path);
        assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, metadata));
        let Resolution::Deny(denied) = decided(&mut world, &[]) else { panic!("not denied") };
        let challenge = denied.headers.iter().find(|(name, _)| *name == "www-authenticate").map(|(_, value)| value);
        let expected = format!("Bearer realm=\"authgate\", resource_metadata=\"{origin}{path}\"");
        assert_eq!(challenge, Some(&expected));
        assert!(matches!(world.ask(&head(&[(":path", path), (":method", "POST")])), Ending::Denied(..)));
    }
}

#[test]
fn resource_metadata_leave_out_empty_lists() {
    let metadata = json!({"resource": "https://a.example", "authorization_servers": [], "scopes_supported": []});
    let mut world = World::new(json!({"responses": {"resource_metadata": metadata}}));
    let (_, body) = get(&mut world, "/.well-known/oauth-protected-resource");
    assert_eq!(body, r#"{"resource":"https://a.example"}"#);
}

#[test]
fn resource_metadata_are_json_that_only_listed_origins_may_read() {
    let mut world = World::new(json!({"responses": {
        "resource_metadata": {"resource": "https://a.example"}, "cors_origins": ["https://app.example"],
    }}));
    let allowing = [
        ("access-control-allow-origin", "https://app.example".to_owned()),
        ("access-control-allow-credentials", "true".to_owned()),
        ("access-control-expose-headers", "www-authenticate, retry-after".to_owned()),
        ("vary", "origin".to_owned()),
    ];
    for method in ["GET", "HEAD"] {
        let mut of = |origin: &str| {
            let path = (":path", "/.well-known/oauth-protected-resource");
            let page = page(&mut world, &[path, (":method", method), ("origin", origin)]);
            assert_eq!((page.status, page.details), (200, "authgate_resource_metadata"), "{method} {origin}");
            let content_type = ("content-type", "application/json".to_owned());
            assert_eq!(page.headers.first(), Some(&content_type), "{method} {origin}");
            page.headers
        };
        assert_eq!(of("https://app.example")[1..], allowing, "{method}");
        for origin in ["https://other.example", "null", ""] {
            assert_eq!(of(origin)[1..], [("vary", "origin".to_owned())], "{method} {origin}: for shared caches");
        }
    }
}

#[test]
fn status_pages_are_json_that_nobody_keeps() {
    let mut world = World::new(paths(json!({})));
    for (path, status) in [("/-/auth/health", 200), ("/-/auth/ready", 503)] {
        let page = page(&mut world, &[(":path", path)]);
        assert_eq!((page.status, page.details), (status, "authgate_status"), "{path}");
        let expected = [("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())];
        assert_eq!(page.headers, expected, "{path}");
    }
}
