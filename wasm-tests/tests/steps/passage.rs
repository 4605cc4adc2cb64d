//! Whether a request and its body may go on, as the callbacks tell the host. Envoy lets nothing go on after an answer of
//! the filter, whatever they tell it, so tests in Envoy can't show this.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{answer, api_token, host::Host, start};

const IN_FLIGHT: &str = "auth_callouts_in_flight";

fn head<'a>(path: &'a str, authorization: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut headers =
        vec![(":authority", "api.example.com"), (":path", path), (":method", "GET"), (":scheme", "https")];
    if !authorization.is_empty() {
        headers.push(("authorization", authorization));
    }
    headers
}

/// Begins a request whose answer is known at once. Returns its status, and whether head and body may go on.
fn at_once(host: &mut Host, path: &str) -> Result<(Option<i32>, bool, bool)> {
    let (stream, head_passes) = host.begin(&head(path, ""))?;
    let body_passes = host.body(stream)?;
    host.end(stream)?;
    Ok((host.denied(), head_passes, body_passes))
}

#[test]
fn what_is_answered_at_once_never_goes_on() -> Result<()> {
    let mut host = start(&json!({"status_paths": {"health": "/healthz"}}))?;
    assert_eq!(at_once(&mut host, "/public/a")?, (None, true, true));
    assert_eq!(at_once(&mut host, "/")?, (Some(401), false, false));
    assert_eq!(at_once(&mut host, "/healthz")?, (Some(200), false, false));
    Ok(())
}

#[test]
fn what_is_held_goes_on_by_its_verdict_alone() -> Result<()> {
    for (status, passes) in [("200", true), ("401", false), ("500", false)] {
        let mut host = start(&json!({"auth_service": {"cluster": "auth_service", "retries": 0}}))?;
        host.pass_a_second();
        host.tick()?;
        assert_eq!(host.metric(IN_FLIGHT), 0);
        let token = api_token(1);
        let (stream, head_passes) = host.begin(&head("/", &token))?;
        ensure!(!head_passes && !host.body(stream)?, "it has no verdict yet");
        assert_eq!(host.metric(IN_FLIGHT), 1, "without a tick");
        for callout in host.callouts() {
            host.answer_with(&callout, status, &answer(&callout))?;
        }
        assert_eq!(host.body(stream)?, passes, "{status}");
        assert_eq!(host.denied().is_some(), !passes, "{status}");
        assert_eq!(host.metric(IN_FLIGHT), 0, "without a tick");
        host.end(stream)?;
    }
    Ok(())
}

#[test]
fn clients_that_leave_while_they_wait_leave_nothing_behind() -> Result<()> {
    const CANCELLED: &str = "auth_validation_requests_total.outcome=cancelled";
    let mut host = start(&json!({}))?;
    let token = api_token(1);
    let mut pages = Vec::new();
    for round in 1..=4 {
        for _ in 0..1_000 {
            let (stream, passes) = host.begin(&head("/", &token))?;
            ensure!(!passes, "it is held");
            host.end(stream)?;
        }
        host.pass_a_second();
        host.tick()?;
        assert_eq!(host.metric(CANCELLED), 1_000 * round);
        pages.push(host.pages()?);
    }
    assert_eq!(pages.first(), pages.last(), "{pages:?}");
    Ok(())
}

/// Envoy's codecs refuse such a name. Another host may not.
const NO_TEXT: &[u8] = b"x-\xff";

#[test]
fn a_trailer_whose_name_is_no_text_does_not_go_on() -> Result<()> {
    let mut host = start(&json!({}))?;
    for (name, passing) in [(&b"x-b"[..], 1), (NO_TEXT, 0)] {
        let (stream, head_passes) = host.begin(&head("/public/a", ""))?;
        ensure!(head_passes && host.body(stream)?, "it is public");
        assert_eq!(host.trailer(stream, name)?, passing);
        host.end(stream)?;
    }
    Ok(())
}

#[test]
fn an_answer_with_a_name_that_is_no_text_is_no_verdict() -> Result<()> {
    for (name, status) in [(&b"x-b"[..], None), (NO_TEXT, Some(503))] {
        let mut host = start(&json!({"auth_service": {"cluster": "auth_service", "retries": 0}}))?;
        let token = api_token(1);
        let (stream, _) = host.begin(&head("/", &token))?;
        for callout in host.callouts() {
            host.answer_under(name, &callout, "200", &answer(&callout))?;
        }
        // After an answer that broke off, requests go on in the next tick.
        host.tick()?;
        assert_eq!(host.denied(), status);
        host.end(stream)?;
    }
    Ok(())
}
