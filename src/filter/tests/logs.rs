//! How often a worker writes the lines that clients cause, and that nothing shows a token.

use std::cell::RefCell;
use std::sync::Once;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use serde_json::json;

use super::support::{confirmed, down, with_key};
use super::world::{api_token_of, head, jwt, jwt_of};
use super::{Answer, World, api_token, bearer};
use crate::extractor::{RequestHead, lend};
use crate::filter::Action;
use crate::host::Cx;
use crate::introspection::CalloutResponse;
use crate::jwt::UntrustedJwt;

/// Keeps the lines of each thread, and so of each test, apart.
struct Lines;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// The lines from now on are kept, at every level that the filter uses.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(LevelFilter::Debug);
    });
    LINES.take();
}

/// What is logged while a worker answers this request.
fn logged(world: &mut World, worker: usize, headers: &[(String, Vec<u8>)]) -> Vec<String> {
    listen();
    world.ask_at(worker, headers);
    LINES.take()
}

#[test]
fn each_worker_logs_one_outage_a_second() {
    let mut world =
        with_key(2, json!({"auth_service": {"cluster": "auth", "retries": 0}, "circuit_breaker": {"failures": 100}}));
    world.verify = down();
    let line = ["auth service (cluster auth): the connection broke before the answer was complete"];
    assert_eq!(logged(&mut world, 0, &api_token_of(1)), line);
    world.pass(Duration::from_millis(999));
    assert_eq!(logged(&mut world, 0, &api_token_of(2)), [""; 0]);
    assert_eq!(logged(&mut world, 1, &api_token_of(3)), line);
    world.pass(Duration::from_millis(1));
    assert_eq!(logged(&mut world, 0, &api_token_of(4)), line);
}

#[test]
fn each_worker_logs_one_deprecated_token_a_second() {
    let mut world = with_key(2, json!({"api_token": {"accept_technical": true}}));
    world.verify = Answer::json(&confirmed(json!({"token_type": "technical"})));
    let line = ["a technical token of user 1 of client 2 was let in: this type is deprecated"];
    assert_eq!(logged(&mut world, 0, &api_token()), line);
    world.pass(Duration::from_millis(999));
    assert_eq!(logged(&mut world, 0, &api_token()), [""; 0]);
    assert_eq!(logged(&mut world, 1, &api_token()), line);
    world.pass(Duration::from_millis(1));
    assert_eq!(logged(&mut world, 0, &api_token()), line);
}

/// How many of eleven requests in the same moment are logged with this line.
fn logged_of_eleven(world: &mut World, headers: &[(String, Vec<u8>)], line: &str) -> usize {
    let lines: Vec<_> = (0..11).flat_map(|_| logged(world, 0, headers)).collect();
    assert!(lines.iter().all(|logged| logged == line), "{lines:?}");
    lines.len()
}

#[test]
fn a_worker_logs_ten_requests_a_second_that_shadow_mode_lets_pass() {
    let mut world = with_key(1, json!({"mode": "shadow", "audit": "off"}));
    let line = "shadow mode lets a request pass that would be denied: missing_credentials (rule none)";
    assert_eq!(logged_of_eleven(&mut world, &head(&[]), line), 10);
    world.pass(Duration::from_secs(1));
    assert_eq!(logged_of_eleven(&mut world, &head(&[]), line), 10);
}

#[test]
fn a_worker_logs_ten_malformed_credentials_a_second() {
    let mut world = with_key(1, json!({}));
    let malformed = head(&[("authorization", "Bearer x")]);
    let line = "a credential is malformed: neither a JWT (three segments separated by dots) nor an API token \
        (number$secret)";
    assert_eq!(logged_of_eleven(&mut world, &malformed, line), 10);
    world.pass(Duration::from_secs(1));
    assert_eq!(logged_of_eleven(&mut world, &malformed, line), 10);
}

/// Whether the debug form of a value shows this token, as text or as bytes.
fn shows(value: &impl std::fmt::Debug, token: &str) -> bool {
    let shown = format!("{value:?}");
    let bytes = format!("{:?}", &token.as_bytes()[..16]);
    shown.contains(token) || shown.contains(bytes.trim_matches(['[', ']']))
}

#[test]
fn no_debug_form_shows_a_token() {
    let service = jwt_of(0, &confirmed(json!({"jti": "of the service"})));
    let local = jwt(0);
    let in_lower_case = head(&[("authorization", &format!("bearer {local}"))]);
    let moved = json!({"forward_credential": "jwt", "api_token": {"response_format": "jwt_body"}});
    for (config, headers) in [
        (moved.clone(), api_token()),
        (moved.clone(), bearer(&local)),
        (moved, in_lower_case),
        (json!({"jwt": {"verification": "remote"}}), bearer(&local)),
    ] {
        // Without a key, it is held; with one, it is verified and kept.
        for mut world in [World::with_workers(1, config.clone()), with_key(1, config)] {
            world.verify = Answer::Body(200, service.clone());
            let lent = lend(&headers);
            let reception = world.workers[0].on_request(
                77,
                &RequestHead { headers: &lent, has_body: false },
                &Cx::new(world.now, &world.process),
            );
            let is_shown = |value: &dyn std::fmt::Debug| shows(&value, &local) || shows(&value, &service);
            assert!(!is_shown(&reception) && !is_shown(&world.workers[0]));
            while let Some(action) = world.workers[0].next_action() {
                assert!(!is_shown(&action), "{action:?}");
                if let Action::Callout { call, request } = action
                    && request.authorization().is_some()
                {
                    let answer =
                        CalloutResponse { status: 200, headers: Vec::new(), body: Some(service.clone().into_bytes()) };
                    assert!(!is_shown(&answer));
                    world.workers[0].on_answer(call, Ok(answer), &Cx::new(world.now, &world.process));
                    assert!(!is_shown(&world.workers[0]));
                }
            }
        }
    }
    assert!(!shows(&UntrustedJwt::parse(local.as_bytes()).unwrap(), &local));
}
