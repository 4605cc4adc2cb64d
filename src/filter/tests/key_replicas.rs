//! Three replicas of the service, asked in turn, that change their key one by one.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{BEGIN, KEYS};
use super::{Answer, Ending, World, bearer, claims, jwt, jwt_of};

const SECOND: Duration = Duration::from_secs(1);

/// Workers that know the first key, and the replicas: which key each has, and which of them is asked next.
struct Replicas {
    world: World,
    keys: [usize; 3],
    next: usize,
}

impl Replicas {
    fn new(workers: usize, overrides: Value) -> Self {
        let mut replicas = Self { world: World::with_workers(workers, overrides), keys: [0; 3], next: 0 };
        replicas.world.tick();
        replicas.live(10 * SECOND);
        replicas
    }

    fn settle(&mut self) {
        while let Some(pending) = self.world.pending.first().cloned() {
            let key = KEYS[self.keys[self.next]];
            self.next = (self.next + 1) % 3;
            self.world.answer(&pending, &Answer::json(&json!({"public_key": key})));
        }
    }

    fn live(&mut self, time: Duration) {
        let end = self.world.now.after(time);
        while self.world.now < end {
            self.world.pass(Duration::from_millis(20));
            self.settle();
        }
    }

    /// The code of a request with a new token of this key; empty: it went on.
    fn ask(&mut self, worker: usize, key: usize) -> &'static str {
        let mut claims = claims();
        claims["exp"] = json!(BEGIN + 100_000);
        claims["jti"] = json!(format!("{}", self.world.now.as_nanos()));
        let stream = self.world.send_to(worker, &bearer(&jwt_of(key, &claims)));
        self.settle();
        while self.world.ending(stream).is_none() {
            self.live(Duration::from_millis(20));
        }
        self.world.ending(stream).unwrap().code()
    }
}

#[test]
fn tokens_of_both_keys_pass_while_three_replicas_rotate() {
    for (grace, pause) in [("5s", 100), ("5s", 2_600), ("5s", 7_000), ("0s", 7_000), ("1h", 7_000)] {
        for next in 0..3 {
            let key = json!({"jwt": {"public_key": {"grace": grace}}});
            let mut replicas = Replicas::new(2, key);
            for changed in 0..3 {
                replicas.keys[changed] = 1;
                replicas.next = next;
                for number in 0..6 {
                    // The replicas issue the tokens in turn.
                    let key = replicas.keys[number % 3];
                    let code = replicas.ask(number % 2, key);
                    assert_eq!(code, "", "key {key}, {} replicas changed, {grace}, {pause} ms, {next}", changed + 1);
                    replicas.live(Duration::from_millis(pause));
                }
            }
            replicas.live(10 * SECOND);
            if grace != "1h" {
                assert_eq!(replicas.ask(0, 0), "signature_invalid", "the key before is good for nothing any more");
            }
        }
    }
}

#[test]
fn the_first_token_of_a_new_key_triggers_a_fetch_and_passes() {
    for next in 0..3 {
        let mut replicas = Replicas::new(1, json!({}));
        (replicas.keys, replicas.next) = ([1, 0, 0], next);
        let before = replicas.world.key_fetches;
        let stream = replicas.world.send(&bearer(&jwt(1)));
        replicas.settle();
        assert_eq!(replicas.world.ending(stream).unwrap().code(), "");
        // The search ends once a new key has come.
        assert_eq!(replicas.world.key_fetches - before, (3 - next) % 3 + 1);
    }
}

#[test]
fn a_forged_token_is_refused_at_once_when_all_replicas_agree() {
    let mut replicas = Replicas::new(1, json!({}));
    let before = replicas.world.key_fetches;
    let stream = replicas.world.send(&bearer(&jwt(2)));
    replicas.settle();
    assert_eq!(replicas.world.ending(stream), Some(Ending::Denied(401, "signature_invalid", None)));
    assert_eq!(replicas.world.key_fetches - before, 3);
}

#[test]
fn a_fetched_key_does_not_refuse_tokens_of_a_third_key() {
    let mut replicas = Replicas::new(1, json!({}));
    replicas.keys = [1, 2, 0];
    replicas.next = 0;
    let streams = [1, 2].map(|key| replicas.world.send(&bearer(&jwt(key))));
    replicas.settle();
    assert_eq!(streams.map(|stream| replicas.world.ending(stream).is_some()), [true, false]);
    replicas.live(6 * SECOND);
    assert_eq!(streams.map(|stream| replicas.world.ending(stream).unwrap().code()), ["", ""]);
}

#[test]
fn a_failing_replica_turns_the_search_into_an_outage() {
    let mut replicas = Replicas::new(1, json!({"auth_service": {"cluster": "auth", "retries": 0}}));
    let stream = replicas.world.send(&bearer(&jwt(1)));
    let first = replicas.world.pending[0].clone();
    replicas.world.answer(&first, &Answer::json(&json!({"public_key": KEYS[0]})));
    let second = replicas.world.pending[0].clone();
    replicas.world.answer(&second, &Answer::Body(503, String::new()));
    let outcome = replicas.world.ending(stream);
    assert_eq!(outcome, Some(Ending::Denied(503, "public_key_unavailable", Some("5".to_owned()))));
}

#[test]
fn the_search_stops_when_its_clients_have_left() {
    let mut replicas = Replicas::new(1, json!({}));
    let before = replicas.world.key_fetches;
    let stream = replicas.world.send(&bearer(&jwt(2)));
    replicas.world.end(0, stream);
    replicas.settle();
    assert_eq!(replicas.world.key_fetches - before, 1);
}
