//! Refusals, records and guesses that must not displace, outlive or delay others.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::support::{answer_question, code_of, questions, refusal_row, with_key};
use super::world::{BEGIN, api_token_of, head};
use super::{Answer, World, api_token, bearer, claims, jwt, jwt_of};
use crate::cache::refusals::ROWS;
use crate::host::SharedData as _;
use crate::introspection::CalloutError;
use crate::metrics::Gauge;
use crate::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn at(world: &mut World, seconds: u64) {
    world.now = Instant::from_secs(BEGIN + seconds);
    world.tick();
    world.settle();
}

fn no() -> Answer {
    Answer::Body(401, String::new())
}

fn down() -> Answer {
    Answer::Error(CalloutError::NotConnected)
}

/// Forged JWTs whose refusal without scope lies in this row.
fn forged_in_row(world: &World, row: u64, exp: u64, count: usize) -> Vec<String> {
    let token = |number: u64| {
        let mut forged = claims();
        forged["exp"] = json!(exp);
        forged["jti"] = json!(format!("{number}"));
        jwt_of(2, &forged)
    };
    let row_of = |token: &String| {
        let digest: [u8; 32] = Sha256::new().chain_update([0]).chain_update(token).finalize().into();
        world.process.keyed_hash(&digest) % u64::from(ROWS)
    };
    (0..).map(token).filter(|token| row_of(token) == row).take(count).collect()
}

fn remote_world(workers: usize) -> World {
    let cache = json!({"ttl": "10s", "stale_ttl": "60s", "negative_ttl": "5s"});
    with_key(workers, json!({"jwt": {"verification": "remote"}, "cache": cache}))
}

#[test]
fn a_flood_of_forged_jwts_displaces_no_refusal() {
    let mut world = remote_world(2);
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
    at(&mut world, 11);
    world.verify = no();
    assert_eq!(world.ask(&api_token()).code(), "token_rejected", "this ends a verdict");
    let forged = forged_in_row(&world, refusal_row(&world, 7), BEGIN + 3600, 4);
    at(&mut world, 12);
    for token in forged {
        assert_eq!(world.ask(&bearer(&token)).code(), "token_rejected");
    }
    world.verify = down();
    at(&mut world, 18);
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "auth_service_unavailable", "worker {worker}");
    }
}

#[test]
fn expired_records_of_forged_jwts_make_room_for_a_refusal() {
    let mut world = remote_world(1);
    world.verify = no();
    let forged = forged_in_row(&world, refusal_row(&world, 7), BEGIN + 100_000_000, 4);
    for token in forged {
        assert_eq!(world.ask(&bearer(&token)).code(), "token_rejected");
    }
    // A day later, and after every sweep.
    for hour in 1..24 {
        at(&mut world, hour * 3600);
        world.live(5 * SECOND);
    }
    let asked = world.verifications;
    for _ in 0..5 {
        assert_eq!(world.ask(&api_token()).code(), "token_rejected");
    }
    assert_eq!(world.verifications - asked, 1, "the refusal is the answer for negative_ttl");
}

#[test]
fn a_refusal_by_another_filter_ends_a_waiting_fallback() {
    let mut world = World::with_workers(2, json!({"jwt": {"verification": "remote"}}));
    let other = json!({"jwt": {"verification": "remote"}, "api_token": {"header_types": ["jwt", "apikey"]}});
    world.update(1, &other);
    let token = bearer(&jwt(0));
    let waits = world.send_to(0, &token);
    for _ in 0..2 {
        answer_question(&mut world, &down());
    }
    assert_eq!(world.ending(waits), None, "it waits for the first key");
    let refused = world.send_to(1, &token);
    answer_question(&mut world, &no());
    assert_eq!(world.ending(refused).unwrap().code(), "token_rejected");
    world.settle();
    assert_eq!(code_of(&world, waits), "auth_service_unavailable");
}

fn from(world: &World, address: &str) {
    *world.process.address.borrow_mut() = Some(address.to_owned());
}

fn guess(number: usize, secret: char) -> Vec<(String, Vec<u8>)> {
    head(&[("authorization", &format!("APIKey {number}${}", secret.to_string().repeat(128)))])
}

/// Others guess token 5, so that a request of token 5 by a shared address waits. This doesn't affect the other clients
/// of that address.
#[test]
fn a_guess_of_one_number_does_not_delay_other_numbers() {
    let throttle = json!({"failed_auth_throttle": {"attempts": 3, "window": "60s", "lockout": "300s"}});
    let mut world = with_key(1, throttle);
    // Three guesses from elsewhere, which the service is slow to answer: as many as there are attempts.
    for (address, secret) in [("203.0.113.1:1", 'x'), ("203.0.113.2:1", 'y'), ("203.0.113.3:1", 'z')] {
        from(&world, address);
        world.send(&guess(5, secret));
    }
    assert_eq!(questions(&world).len(), 3);
    // The shared address: three questions, as many as it may put.
    from(&world, "192.0.2.1:4711");
    for number in 20..23 {
        world.send(&api_token_of(number));
    }
    assert_eq!(questions(&world).len(), 6);
    // These two have to wait.
    let owner = world.send(&guess(5, 'a'));
    let another = world.send(&api_token_of(30));
    assert_eq!(questions(&world).len(), 6);
    // Two of the shared address's questions are answered.
    for number in [20, 21] {
        let asked = questions(&world)
            .into_iter()
            .find(|asked| asked.request.authorization().unwrap().starts_with(&format!("APIKey {number}$")))
            .unwrap();
        let answer = world.verify.clone();
        world.answer(&asked, &answer);
    }
    world.pass(Duration::from_millis(100));
    assert_eq!(code_of(&world, owner), "waits");
    // The throttle's lease of the questions under way is over 3 s after they began, and so are these waits.
    world.pass(Duration::from_millis(2_850));
    let (asked, code) = (questions(&world).len(), code_of(&world, another));
    world.pass(Duration::from_millis(200));
    assert_eq!((asked, code, code_of(&world, another)), (5, "waits", "waits"), "the other token may be asked about");
}

#[test]
fn an_answer_that_stalls_is_an_outage_even_if_the_timer_is_early() {
    let mut world = World::new(json!({"auth_service": {"cluster": "auth", "retries": 0}}));
    world.tick();
    world.settle();
    for number in 0..10 {
        let _ = world.send(&api_token_of(number));
        let Some(asked) = world.pending.pop() else { continue };
        // Envoy's timers count from when its event loop woke up, which was before the filter read the clock.
        world.now = world.now.after(Duration::from_micros(999_700));
        world.answer(&asked, &Answer::Error(CalloutError::Broken));
    }
    world.tick();
    assert_eq!(world.process.gauge(Gauge::BreakerState), Some(2));
}
