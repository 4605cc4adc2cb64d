//! Answers, refusals and purges that arrive late or out of order.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{
    answer_question, at_once, code, code_of, confirmed, down, forget_leases, no, questions, refusal_row, with_key,
};
use super::world::{BEGIN, Pending, api_token_of};
use super::{Answer, World, api_token, bearer, claims, jwt, jwt_of};
use crate::config::Config;
use crate::filter::Filter;
use crate::metrics::{Counter, Outcome, Source};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(20);
const ALLOWED_BY_FALLBACK: Counter =
    Counter::Request { outcome: Outcome::Allow, source: Source::Fallback, reason: None };
const FEED: &str = "/auth/blacklist";

fn filter(overrides: Value) -> Filter {
    let mut config = json!({"auth_service": {"cluster": "auth"}});
    config.as_object_mut().unwrap().append(&mut overrides.as_object().unwrap().clone());
    Filter::new(Config::from_bytes(config.to_string().as_bytes()).unwrap())
}

/// Time passes, and everything is answered at once; the feed like a service that heeds its cursor.
fn live_with_feed(world: &mut World, time: Duration, full: Option<&Answer>, polls: &mut Vec<String>) {
    let end = world.now.after(time);
    while world.now < end {
        world.pass(MOMENT);
        while let Some(pending) = world.pending.first().cloned() {
            if pending.is_poll() {
                polls.push(pending.request.path.clone());
                let answer = match full {
                    None => down(),
                    Some(_) if pending.request.path.contains("since=") => {
                        Answer::json(&json!({"cursor": "d", "revoked": []}))
                    }
                    Some(full) => full.clone(),
                };
                world.answer(&pending, &answer);
            } else {
                world.answer_next();
            }
        }
    }
}

#[test]
fn garbage_tokens_displace_no_refusal_of_another_workers_verdict() {
    let mut world = with_key(2, json!({}));
    world.verify = Answer::json(&confirmed(json!({"email": "x".repeat(5_000)})));
    assert_eq!(code(&mut world, 1, &api_token()), "");
    world.verify = no();
    assert_eq!(code(&mut world, 0, &api_token()), "token_rejected", "the first worker has to ask");
    let mates: Vec<_> =
        (1000..).filter(|number| refusal_row(&world, *number) == refusal_row(&world, 7)).take(5).collect();
    for number in mates {
        world.pass(MOMENT);
        assert_eq!(code(&mut world, 0, &api_token_of(number)), "token_rejected");
    }
    assert_ne!(at_once(&mut world, 1, &api_token()), "", "refused, and nobody has asked since");
}

#[test]
fn the_whole_list_is_read_after_a_clock_step_and_a_failed_poll() {
    for fails in [false, true] {
        let mut world = World::new(json!({"revocation": {"path": FEED}}));
        let full = Answer::json(&json!({"cursor": "c", "revoked": [{"jti": "j", "exp": BEGIN + 3600}]}));
        let mut polls = Vec::new();
        live_with_feed(&mut world, 2 * SECOND, Some(&full), &mut polls);
        let stream = world.send(&bearer(&jwt(0)));
        assert_eq!(code_of(&world, stream), "token_revoked");
        // The clock is two hours fast for a while: the sweep drops what has expired by it.
        world.step(7200);
        live_with_feed(&mut world, 10 * SECOND, Some(&full), &mut polls);
        world.step(-7200);
        live_with_feed(&mut world, 2 * SECOND, (!fails).then_some(&full), &mut polls);
        live_with_feed(&mut world, 120 * SECOND, Some(&full), &mut polls);
        let stream = world.send(&bearer(&jwt(0)));
        live_with_feed(&mut world, SECOND, Some(&full), &mut polls);
        assert_eq!(code_of(&world, stream), "token_revoked", "{fails}: {polls:?}");
    }
}

#[test]
fn a_purge_voids_an_answered_jwt_that_waits_for_a_key() {
    let mut world = with_key(
        1,
        json!({"api_token": {"response_format": "jwt_body"}, "revocation": {"path": FEED, "poll_interval": "1s"}}),
    );
    world.live(SECOND);
    world.serves = 1;
    let stream = world.send(&api_token());
    answer_question(&mut world, &Answer::Body(200, jwt_of(1, &confirmed(json!({})))));
    assert_eq!(code_of(&world, stream), "waits", "for the new key");
    // The token is deleted: the gateway learns it from the feed.
    world.verify = no();
    world.feed = Answer::json(&json!({"cursor": "d", "purge": [{"token_id": 7}]}));
    world.live(2 * SECOND);
    assert_eq!(code_of(&world, stream), "waits", "for the new key still");
    world.feed = Answer::json(&json!({"cursor": "e", "revoked": []}));
    world.live(10 * SECOND);
    assert_eq!(code_of(&world, stream), "token_rejected", "it was asked about again");
}

#[test]
fn a_list_at_another_path_is_read_from_the_start() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.live(2 * SECOND);
    world.workers = vec![filter(json!({"revocation": {"path": "/auth/blacklist/v2"}}))];
    while !world.pending.iter().any(Pending::is_poll) {
        world.pass(SECOND);
    }
    assert_eq!(world.pending[0].request.path, "/auth/blacklist/v2");
}

/// Two workers ask about one token. The second's question is answered first, by `answer`; the first's breaks, and its
/// retry, half a second after that answer, is answered by `retry`.
fn a_retry_comes_last(answer: &Answer, code: &str, retry: &Answer, retry_code: &str) {
    let mut world = with_key(2, json!({}));
    let one = world.send(&api_token());
    // The row of leases had no room.
    forget_leases(&world);
    world.pass(SECOND / 2);
    let other = world.send_to(1, &api_token());
    let [first, second] = &questions(&world)[..] else { panic!("two questions") };
    world.answer(second, answer);
    assert_eq!(code_of(&world, other), code);
    world.pass(SECOND / 2);
    world.answer(first, &down());
    world.pass(SECOND / 2);
    answer_question(&mut world, retry);
    assert_eq!(code_of(&world, one), retry_code);
    for worker in [0, 1] {
        assert_eq!(at_once(&mut world, worker, &api_token()), retry_code, "worker {worker}");
    }
}

#[test]
fn a_401_dates_from_the_start_of_its_callout() {
    a_retry_comes_last(&Answer::json(&confirmed(json!({}))), "", &no(), "token_rejected");
}

#[test]
fn a_200_dates_from_the_start_of_its_callout() {
    a_retry_comes_last(&no(), "token_rejected", &Answer::json(&confirmed(json!({}))), "");
}

#[test]
fn a_late_200_does_not_extend_a_refusal() {
    let mut world = with_key(2, json!({"cache": {"negative_ttl": "2s"}}));
    let yes = world.verify.clone();
    let late = world.send(&api_token());
    forget_leases(&world);
    let other = world.send_to(1, &api_token());
    let [first, second] = &questions(&world)[..] else { panic!("two questions") };
    world.answer(second, &no());
    assert_eq!(code_of(&world, other), "token_rejected");
    world.pass(SECOND);
    world.answer(first, &yes);
    assert_eq!(code_of(&world, late), "token_rejected", "its callout isn't later than the one that brought the 401");
    world.pass(SECOND + MOMENT);
    assert_eq!(at_once(&mut world, 0, &api_token()), "waits", "the 401 has ended");
}

#[test]
fn cached_jwts_wait_for_the_first_list_of_a_new_feed() {
    let mut world = with_key(1, json!({}));
    assert_eq!(code(&mut world, 0, &bearer(&jwt(0))), "");
    world.workers = vec![filter(json!({"revocation": {"path": FEED}}))];
    world.tick();
    assert_eq!(at_once(&mut world, 0, &bearer(&jwt(0))), "waits");
}

#[test]
fn a_clock_step_admits_no_jwt_before_the_first_list() {
    let mut world = World::new(json!({"revocation": {"path": FEED}}));
    world.tick();
    let stream = world.send(&bearer(&jwt(0)));
    let key = world.pending.iter().find(|pending| !pending.is_poll()).unwrap().clone();
    world.answer(&key, &Answer::json(&json!({"public_key": super::world::KEYS[0]})));
    world.pass(MOMENT);
    assert_eq!(code_of(&world, stream), "waits");
    world.step(-5);
    world.pass(MOMENT);
    assert_eq!(code_of(&world, stream), "waits", "for the list, which is on its way");
}

#[test]
fn a_jwt_of_a_new_key_is_verified_after_a_clock_step() {
    let mut world = with_key(1, json!({}));
    world.live(10 * SECOND);
    world.serves = 1;
    let stream = world.send(&bearer(&jwt(1)));
    world.step(-5);
    world.live(15 * SECOND);
    assert_eq!(code_of(&world, stream), "");
}

#[test]
fn a_jwt_answer_from_before_a_purge_is_requested_again() {
    let mut world = with_key(
        1,
        json!({"api_token": {"response_format": "jwt_body"}, "revocation": {"path": FEED, "poll_interval": "1s"}}),
    );
    let stream = world.send(&api_token());
    world.feed = Answer::json(&json!({"cursor": "d", "purge": [{"token_id": 7}]}));
    while world.process.stored(".r.").is_empty() {
        world.pass(MOMENT);
        if let Some(poll) = world.pending.iter().find(|pending| pending.is_poll()).cloned() {
            let feed = world.feed.clone();
            world.answer(&poll, &feed);
        }
    }
    // What was asked within a second of the purge may have been asked before it, by another worker's clock.
    world.pass(2 * SECOND);
    let answer = Answer::Body(200, jwt_of(0, &confirmed(json!({}))));
    answer_question(&mut world, &answer);
    assert_eq!(code_of(&world, stream), "waits", "for an answer that is newer than the purge");
    answer_question(&mut world, &answer);
    assert_eq!(code_of(&world, stream), "");
}

#[test]
fn a_queued_request_is_denied_by_a_refusal_that_arrives_meanwhile() {
    let mut world = with_key(2, json!({}));
    let yes = world.verify.clone();
    world.verify = Answer::Body(403, String::new());
    let crowd: Vec<_> = (0..100).map(|_| world.send(&api_token())).collect();
    // The row of leases had no room.
    forget_leases(&world);
    world.pass(SECOND / 2);
    let other = world.send_to(1, &api_token());
    let [first, second] = &questions(&world)[..] else { panic!("two questions") };
    world.answer(first, &yes);
    let (let_in, waiting): (Vec<_>, Vec<_>) = crowd.into_iter().partition(|stream| code_of(&world, *stream).is_empty());
    assert!(!let_in.is_empty() && !waiting.is_empty(), "{} of them were let in", let_in.len());
    let no = world.verify.clone();
    world.answer(second, &no);
    assert_eq!(code_of(&world, other), "forbidden_by_service");
    world.live(5 * SECOND);
    let codes: Vec<_> = waiting.iter().map(|stream| code_of(&world, *stream)).collect();
    assert!(codes.iter().all(|code| *code == "forbidden_by_service"), "{codes:?}");
}

#[test]
fn no_client_signature_stands_in_for_an_answered_jwt_that_fits_no_key() {
    for (key_fails, reason) in [(true, "public_key_unavailable"), (false, "auth_service_unavailable")] {
        let mut world =
            with_key(1, json!({"jwt": {"verification": "remote"}, "api_token": {"response_format": "jwt_body"}}));
        world.verify = Answer::Body(200, jwt_of(1, &claims()));
        world.key_fault = key_fails.then(down);
        assert_eq!(code(&mut world, 0, &bearer(&jwt(0))), reason, "the key endpoint fails: {key_fails}");
        let asked = world.verifications;
        assert_eq!(code(&mut world, 0, &bearer(&jwt(0))), reason);
        assert_eq!(world.verifications - asked, usize::from(key_fails), "what the key was to blame for is asked again");
        assert_eq!(world.process.count_of(ALLOWED_BY_FALLBACK), 0);
    }
}

#[test]
fn an_unusable_answer_does_not_admit_a_refused_jwt() {
    let mut world = with_key(
        1,
        json!({"jwt": {"verification": "remote"}, "api_token": {"response_format": "jwt_body"},
            "cache": {"negative_ttl": "1s"}}),
    );
    world.verify = no();
    assert_eq!(code(&mut world, 0, &bearer(&jwt(0))), "token_rejected");
    world.live(2 * SECOND);
    world.verify = Answer::Body(200, jwt_of(1, &claims()));
    world.key_fault = Some(down());
    assert_eq!(code(&mut world, 0, &bearer(&jwt(0))), "public_key_unavailable");
}
