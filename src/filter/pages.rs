//! The pages that the filter serves itself, before any rule: its status, and the metadata of the resource that it
//! protects.

use std::time::Duration;

use super::parts::Parts;
use crate::breaker::State;
use crate::decision::{Client, Page};
use crate::extractor::RequestHead;
use crate::host::Cx;
use crate::introspection::Destination;
use crate::turn::LastTurn;

/// The page that the request asks for, if any: by GET or HEAD, on exactly its path.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
pub(super) fn serve(head: &RequestHead<'_>, parts: &mut Parts, cx: &Cx<'_>) -> Option<Page> {
    let paths = &parts.config.status_paths;
    let metadata = parts.config.resource_metadata.as_ref();
    if paths.health.is_none() && paths.readiness.is_none() && metadata.is_none() {
        return None;
    }
    let method = head.value(":method");
    if !method.eq_ignore_ascii_case(b"GET") && !method.eq_ignore_ascii_case(b"HEAD") {
        return None;
    }
    let path = head.value(":path").split(|byte| *byte == b'?').next()?;
    let is_at = |known: Option<&String>| known.is_some_and(|known| known.as_bytes() == path);
    if is_at(paths.health.as_ref()) {
        Some(status_page(200, health(parts, cx)))
    } else if is_at(paths.readiness.as_ref()) {
        Some(readiness(parts, cx))
    } else {
        let metadata = metadata.filter(|metadata| is_at(Some(&metadata.path)))?;
        let mut headers = vec![("content-type", "application/json".to_owned())];
        let client = Client::of(head, &parts.config);
        headers.extend(client.cors_headers());
        if client.origin.is_none() && !parts.config.cors_origins.is_empty() {
            // A shared cache must not serve this answer to a listed origin.
            headers.push(("vary", "origin".to_owned()));
        }
        Some(Page { details: "authgate_resource_metadata", status: 200, headers, body: metadata.body.clone() })
    }
}

fn status_page(status: u16, body: String) -> Page {
    let headers = vec![("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())];
    Page { details: "authgate_status", status, headers, body }
}

/// Whether the filter knows what it needs to verify JWTs.
fn readiness(parts: &mut Parts, cx: &Cx<'_>) -> Page {
    parts.keys.synchronise(cx);
    let has_list = parts.revocation.as_ref().is_none_or(|revocation| revocation.status(cx).is_there);
    let reason = if !parts.keys.store().is_pinned() && parts.keys.store().fetched_at().is_none() {
        "public_key_not_loaded"
    } else if !has_list {
        "revocation_list_not_loaded"
    } else {
        return status_page(200, r#"{"status": "ready"}"#.to_owned());
    };
    status_page(503, format!(r#"{{"status": "not_ready", "reason": "{reason}"}}"#))
}

/// What is up. The status is 200 even in an outage: a restart of Envoy would lose what stands in for the service.
fn health(parts: &mut Parts, cx: &Cx<'_>) -> String {
    parts.keys.synchronise(cx);
    let breaker = parts.questions.breaker().peek(cx);
    let list = parts.revocation.as_ref().map(|revocation| revocation.status(cx));
    let service = (parts.config.auth_service.cluster.as_str(), parts.config.auth_service.authority.as_str());
    let serves = |to| parts.config.host(to) == service;
    let error = if breaker.state != State::Closed {
        Some("circuit_breaker_open")
    } else if breaker.has_failed {
        Some("verification_failed")
    } else if serves(Destination::PublicKey) && matches!(parts.keys.last_fetch(), LastTurn::Failed { .. }) {
        Some("public_key_not_fetched")
    } else if serves(Destination::Revocation) && list.is_some_and(|list| list.has_failed) {
        Some("revocation_list_not_read")
    } else {
        None
    };
    let (fetched, is_pinned) = (parts.keys.store().fetched_at(), parts.keys.store().is_pinned());
    let has_key = is_pinned || fetched.is_some();
    let is_degraded = error.is_some() || !has_key || list.is_some_and(|list| list.is_stale);
    let key_age = fetched.map(|at| cx.now.since(at));
    format!(
        r#"{{"status": "{}", "timestamp": "{}", "checks": {{"auth_service": {{"status": "{}", "error": {}}}, "public_key_cache": {{"status": "{}", "age_seconds": {}}}, "breaker": {{"state": "{}"}}, "revocation": {{"age_seconds": {}, "size": {}}}}}}}"#,
        if is_degraded { "degraded" } else { "healthy" },
        cx.wall.rfc3339(),
        if error.is_some() { "down" } else { "up" },
        error.map_or("null".to_owned(), |error| format!("\"{error}\"")),
        if has_key { "cached" } else { "empty" },
        seconds(key_age),
        breaker.state.name(),
        seconds(list.and_then(|list| list.age)),
        list.map_or(0, |list| list.size),
    )
}

fn seconds(age: Option<Duration>) -> String {
    age.map_or("null".to_owned(), |age| age.as_secs().to_string())
}
