//! Entries of the revocation list that can't be read.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{confirmed, with_key};
use super::world::BEGIN;
use super::{Answer, World, api_token, bearer, jwt};
use crate::metrics::{BlacklistCheck, BlacklistPoll, Counter};

const INTERVAL: Duration = Duration::from_secs(8);

/// Two workers; from now on, the service answers each poll like this, every 6 s.
fn world(changes: &Value) -> World {
    let mut world = with_key(
        2,
        json!({
            "cache": {"ttl": "30m", "stale_ttl": "20m"},
            "revocation": {"path": "/auth/blacklist", "poll_interval": "8s"},
        }),
    );
    world.verify = Answer::json(&confirmed(json!({})));
    ask(&mut world);
    says(&mut world, changes);
    world
}

fn says(world: &mut World, changes: &Value) {
    let mut body = json!({"cursor": "c"});
    body.as_object_mut().unwrap().append(&mut changes.as_object().unwrap().clone());
    world.feed = Answer::json(&body);
}

/// Each worker lets an API token in.
fn ask(world: &mut World) {
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
}

fn polls(world: &World, outcome: BlacklistPoll) -> u64 {
    world.process.count_of(Counter::BlacklistPoll(outcome))
}

/// Fields by other names, and of other types.
fn only_odd() -> Value {
    json!({"revoked": [{"token_jti": "j", "exp": BEGIN + 3600}, {"jti": "j", "exp": "never"}]})
}

/// An entry that revokes a token, and one that can't be read and differs from poll to poll.
fn some_odd(number: usize) -> Value {
    json!({"revoked": [{"jti": "j", "exp": BEGIN + 3600}], "purge": [{"session": number}]})
}

#[test]
fn a_poll_without_a_readable_entry_fails_and_voids_all_verdicts_once() {
    let mut world = world(&only_odd());
    let read = polls(&world, BlacklistPoll::Success);
    world.live(INTERVAL);
    assert!(polls(&world, BlacklistPoll::Failure) >= 1);
    ask(&mut world);
    assert_eq!(world.verifications, 2, "the token is asked about again, by one worker");
    world.live(2 * INTERVAL);
    ask(&mut world);
    assert_eq!(world.verifications, 2);
    assert_eq!((polls(&world, BlacklistPoll::Success), polls(&world, BlacklistPoll::Partial)), (read, 0));
    assert!(world.process.count_of(Counter::BlacklistCheck(BlacklistCheck::Stale)) > 0, "the list is old");

    // The cursor has not moved: nothing was lost.
    says(&mut world, &json!({"revoked": [{"jti": "j", "exp": BEGIN + 3600}]}));
    world.live(INTERVAL);
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "token_revoked");
}

#[test]
fn a_poll_with_some_unreadable_entries_is_partial_and_applies_the_others() {
    let mut world = world(&some_odd(0));
    let read = polls(&world, BlacklistPoll::Success);
    world.live(INTERVAL);
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "token_revoked");
    world.live(2 * INTERVAL);
    assert!(polls(&world, BlacklistPoll::Partial) >= 3);
    assert_eq!((polls(&world, BlacklistPoll::Success), polls(&world, BlacklistPoll::Failure)), (read, 0));
    let stale = world.process.count_of(Counter::BlacklistCheck(BlacklistCheck::Stale));
    let mut other = super::claims();
    other["jti"] = json!("other");
    assert_eq!(world.ask(&bearer(&super::jwt_of(0, &other))).code(), "");
    assert_eq!(world.process.count_of(Counter::BlacklistCheck(BlacklistCheck::Stale)), stale + 1);
}

#[test]
fn unreadable_entries_void_all_verdicts_at_most_once_a_minute() {
    for is_all in [true, false] {
        let mut world = world(&json!({"revoked": []}));
        for number in 0..75 {
            let odd = json!({"purge": [{"session": number}], "users": [{"user_id": 5, "exp_before": 5}]});
            says(&mut world, &if is_all { json!({"purge": [{"session": number}]}) } else { odd });
            world.live(INTERVAL);
            ask(&mut world);
        }
        // Ten minutes.
        let again = world.verifications - 1;
        assert!((8..=10).contains(&again), "asked again {again} times, all unreadable: {is_all}");
    }
}

#[test]
fn a_second_unreadable_entry_takes_effect_after_the_minute() {
    let odd = |number: usize| json!({"purge": [{"session": number}, {"user_id": 5}]});
    let mut world = world(&odd(0));
    world.live(INTERVAL);
    ask(&mut world);
    says(&mut world, &odd(1));
    world.live(INTERVAL);
    says(&mut world, &json!({"purge": []}));
    world.live(2 * INTERVAL);
    ask(&mut world);
    assert_eq!(world.verifications, 2);
    world.live(Duration::from_secs(60));
    ask(&mut world);
    assert_eq!(world.verifications, 3);
    world.live(Duration::from_secs(120));
    ask(&mut world);
    assert_eq!(world.verifications, 3, "and then never again");
}
