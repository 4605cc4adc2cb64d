//! The wall clock is set an hour forward or back: what claims say is judged by it, and nothing else changes.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{down, no};
use super::world::BEGIN;
use super::{Answer, World, api_token, claims};
use crate::host::StreamId;
use crate::host::{SharedData as _, Write};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: i64 = 3600;
const STEPS: [i64; 2] = [HOUR, -HOUR];

/// Workers that have the public key, and a service whose tokens don't expire meanwhile.
fn with_key(workers: usize, changes: Value) -> World {
    let mut world = World::with_workers(workers, changes);
    world.verify = yes();
    world.tick();
    world.settle();
    world.tick();
    world
}

fn yes() -> Answer {
    let mut confirmed = claims();
    (confirmed["exp"], confirmed["token_type"]) = (json!(BEGIN + 100_000), json!("api_token"));
    Answer::json(&confirmed)
}

fn code(world: &World, stream: StreamId) -> &'static str {
    world.ending(stream).map_or("waits", |outcome| outcome.code())
}

/// The code of a request that is answered at once.
fn at_once(world: &mut World, worker: usize) -> &'static str {
    let stream = world.send_to(worker, &api_token());
    code(world, stream)
}

/// The code of a request, while the service answers.
fn soon(world: &mut World, worker: usize) -> &'static str {
    let stream = world.send_to(worker, &api_token());
    for _ in 0..10 {
        if world.ending(stream).is_none() {
            world.live(SECOND / 50);
        }
    }
    code(world, stream)
}

#[test]
fn a_verdict_lives_as_long_as_without_a_clock_step() {
    for step in STEPS {
        let mut world = with_key(2, json!({"cache": {"ttl": "300s"}}));
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), ""));
        world.pass(100 * SECOND);
        world.step(step);
        world.verify = no();
        world.pass(150 * SECOND);
        (0..2).for_each(|worker| assert_eq!(at_once(&mut world, worker), "", "{step}"));
        world.pass(51 * SECOND);
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "token_rejected", "{step}"));
        // When the clock shows the old time again, or is set right.
        for back in [-step, 0] {
            world.step(back);
            world.pass(11 * SECOND);
            (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "token_rejected", "{step}"));
        }
    }
}

#[test]
fn an_answer_that_spans_a_clock_step_is_kept_as_long_as_any() {
    for step in [10, -10, -100, -200] {
        let mut world = with_key(2, json!({"cache": {"ttl": "300s"}}));
        let first = world.send(&api_token());
        world.step(step);
        world.pass(2 * SECOND);
        world.settle();
        assert_eq!(code(&world, first), "", "who waits gets in");
        world.verify = no();
        world.pass(260 * SECOND);
        (0..2).for_each(|worker| assert_eq!(at_once(&mut world, worker), "", "{step}, worker {worker}"));
        world.pass(41 * SECOND);
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "token_rejected", "{step}, worker {worker}"));
    }
}

#[test]
fn a_refusal_lives_as_long_as_without_a_clock_step() {
    for step in STEPS {
        let mut world = with_key(2, json!({"cache": {"negative_ttl": "10s"}}));
        world.verify = no();
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "token_rejected"));
        world.step(step);
        world.verify = yes();
        world.pass(9 * SECOND);
        (0..2).for_each(|worker| assert_eq!(at_once(&mut world, worker), "token_rejected", "{step}"));
        world.pass(2 * SECOND);
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "", "{step}, worker {worker}"));
        world.step(-step);
        (0..2).for_each(|worker| assert_eq!(at_once(&mut world, worker), "", "{step}, worker {worker}, set right"));
    }
}

#[test]
fn a_refusal_of_a_question_that_began_while_the_clock_was_slow_ends_the_verdict_before_it() {
    let mut world = with_key(2, json!({}));
    assert_eq!(soon(&mut world, 0), "");
    // The other worker doesn't know the token.
    for (slot, _) in world.process.stored(".v.") {
        world.process.set_shared_data(&slot, &[], Write::Always).unwrap();
    }
    // No tick sees it.
    world.step(-5);
    world.now = world.now.after(SECOND / 10);
    let stream = world.send_to(1, &api_token());
    world.step(5);
    world.now = world.now.after(SECOND / 10);
    world.verify = no();
    world.settle();
    assert_eq!(code(&world, stream), "token_rejected");
    (0..2).for_each(|worker| assert_eq!(at_once(&mut world, worker), "token_rejected", "worker {worker}"));
}

#[test]
fn a_purge_that_is_asked_for_while_the_clock_is_slow_ends_the_verdict_before_it() {
    let mut world = with_key(1, json!({"revocation": {"path": "/auth/blacklist"}}));
    let next_poll = |world: &mut World| {
        let before = world.polls;
        while world.polls == before {
            world.live(SECOND / 50);
        }
    };
    next_poll(&mut world);
    assert_eq!(soon(&mut world, 0), "");
    world.step(-1);
    world.feed = Answer::json(&json!({"cursor": "d", "purge": [{"user_id": 1}]}));
    next_poll(&mut world);
    world.feed = Answer::json(&json!({"cursor": "e", "revoked": []}));
    world.step(1);
    world.verify = no();
    assert_eq!(soon(&mut world, 0), "token_rejected");
}

#[test]
fn a_refusal_outlives_every_older_verdict() {
    for step in STEPS {
        let mut world = with_key(2, json!({"cache": {"ttl": "10s"}}));
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), ""));
        world.pass(11 * SECOND);
        world.step(step);
        world.verify = no();
        assert_eq!(soon(&mut world, 0), "token_rejected");
        world.verify = down();
        world.pass(11 * SECOND);
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "auth_service_unavailable", "{step}"));
        world.step(-step);
        (0..2).for_each(|worker| assert_ne!(soon(&mut world, worker), "", "{step}, set right"));
    }
}

#[test]
fn a_refusal_under_way_counts_after_a_clock_step() {
    for step in STEPS {
        let mut world = with_key(3, json!({"cache": {"ttl": "100s"}}));
        (0..3).for_each(|worker| assert_eq!(soon(&mut world, worker), ""));
        world.pass(95 * SECOND);
        // The refresh of an entry that is in use.
        assert_eq!(at_once(&mut world, 0), "");
        world.step(step);
        world.verify = no();
        world.settle();
        for worker in 0..3 {
            assert_eq!(soon(&mut world, worker), "token_rejected", "{step}, worker {worker}");
        }
        world.step(-step);
        for worker in 0..3 {
            assert_eq!(soon(&mut world, worker), "token_rejected", "{step}, set right, worker {worker}");
        }
    }
}

#[test]
fn a_callout_under_way_answers_every_waiting_request() {
    for step in STEPS {
        for (answer, expected) in [(yes(), ""), (no(), "token_rejected"), (down(), "auth_service_unavailable")] {
            let mut world = with_key(4, json!({}));
            let streams: Vec<_> = (0..100).map(|number| world.send_to(number % 4, &api_token())).collect();
            world.pass(SECOND / 10);
            world.step(step);
            world.pass(SECOND / 10);
            world.verify = answer;
            world.live(2 * SECOND);
            for stream in streams {
                assert_eq!(code(&world, stream), expected, "{step}");
            }
            assert!(world.verifications <= 8, "{} callouts", world.verifications);
            assert!(world.workers.iter().all(|worker| worker.waiting() == 0 && worker.callouts_in_flight() == 0));
        }
    }
}

#[test]
fn a_clock_step_does_not_extend_a_dead_workers_lease() {
    for step in STEPS {
        let mut world = with_key(2, json!({}));
        world.send(&api_token());
        world.pass(SECOND);
        let waits = world.send_to(1, &api_token());
        world.restart(0);
        world.step(step);
        world.live(4 * SECOND);
        assert_eq!((code(&world, waits), world.verifications), ("", 2), "{step}");
    }
}

#[test]
fn a_lease_is_respected_after_a_clock_step() {
    for step in STEPS {
        let mut world = with_key(2, json!({}));
        let first = world.send_to(0, &api_token());
        world.step(step);
        let second = world.send_to(1, &api_token());
        world.live(SECOND / 10);
        assert_eq!([first, second].map(|stream| code(&world, stream)), ["", ""], "{step}");
        assert_eq!(world.verifications, 1);
    }
}

#[test]
fn expiry_follows_the_current_clock() {
    let mut confirmed = claims();
    (confirmed["exp"], confirmed["token_type"]) = (json!(BEGIN + 100), json!("api_token"));
    let mut world = with_key(2, json!({}));
    world.verify = Answer::json(&confirmed);
    (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), ""));
    world.step(HOUR);
    (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "token_expired"));
    world.step(-HOUR);
    (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), ""));
    let waits = world.send(&super::world::api_token_of(8));
    world.step(HOUR);
    world.settle();
    assert_eq!(code(&world, waits), "token_expired", "also while it waits");
}

#[test]
fn a_stale_verdict_stands_in_as_long_as_without_a_clock_step() {
    for step in STEPS {
        let mut world =
            with_key(2, json!({"cache": {"ttl": "10s", "stale_ttl": "30m"}, "circuit_breaker": {"failures": 1000}}));
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), ""));
        world.pass(20 * SECOND);
        world.verify = down();
        world.step(step);
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "", "{step}: it stands in"));
        world.pass(1_785 * SECOND);
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "", "{step}: it stands in"));
        world.pass(10 * SECOND);
        (0..2).for_each(|worker| assert_eq!(soon(&mut world, worker), "auth_service_unavailable", "{step}"));
    }
}

#[test]
fn refreshes_and_sweeps_continue_after_a_clock_step() {
    for step in STEPS {
        let mut world = with_key(2, json!({"cache": {"ttl": "100s"}}));
        assert_eq!(soon(&mut world, 0), "");
        world.pass(95 * SECOND);
        assert_eq!(at_once(&mut world, 0), "");
        world.step(step);
        world.live(2 * SECOND);
        assert_eq!(soon(&mut world, 0), "");
        let before = world.verifications;
        world.pass(91 * SECOND);
        assert_eq!(at_once(&mut world, 0), "");
        assert_eq!(world.verifications, before + 1, "{step}: refreshed");
        world.settle();
        world.pass(5_000 * SECOND);
        assert_eq!(world.process.stored(".v."), [], "{step}: swept");
    }
}

#[test]
fn a_temporary_clock_step_admits_no_refused_token_and_leaves_no_request_waiting() {
    for step in STEPS {
        for (wrong, refused, right) in [(20, 10, 40), (20, 30, 40), (20, 50, 40), (20, 20, 40), (20, 40, 40)] {
            let mut world = with_key(3, json!({"cache": {"ttl": "10s", "negative_ttl": "1s", "stale_ttl": "2h"}}));
            let mut streams = Vec::new();
            for event in 0..60 {
                if event == refused {
                    // A worker that doesn't know the token asks, and from here on the service refuses.
                    world.live(SECOND / 10);
                    world.verify = no();
                    world.restart(2);
                    for (slot, _) in world.process.stored(".v.") {
                        world.process.set_shared_data(&slot, &[], Write::Always).unwrap();
                    }
                    assert_eq!(soon(&mut world, 2), "token_rejected");
                    streams.clear();
                }
                if event == wrong || event == right {
                    world.step(if event == wrong { step } else { -step });
                }
                streams.extend((0..3).map(|worker| world.send_to(worker, &api_token())));
                world.live(SECOND / 2);
            }
            world.live(4 * SECOND);
            for (number, stream) in streams.iter().enumerate() {
                assert_eq!(code(&world, *stream), "token_rejected", "{step}, {refused}, request {number}");
            }
            assert!(world.workers.iter().all(|worker| worker.waiting() == 0));
        }
    }
}
