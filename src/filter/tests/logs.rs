//! How often a worker writes the lines that clients cause.

use std::cell::RefCell;
use std::sync::Once;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use serde_json::json;

use super::support::{confirmed, down, with_key};
use super::world::api_token_of;
use super::{Answer, World, api_token};

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

/// Warnings and errors that are logged from now on are kept.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Lines).unwrap();
        log::set_max_level(LevelFilter::Warn);
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
