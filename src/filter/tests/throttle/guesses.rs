//! What counts as a guess, and guesses that are under way at once.

use super::super::support::confirmed;
use super::*;

#[test]
fn simultaneous_guesses_ask_no_more_questions_than_attempts() {
    let mut world = world_with(2, json!({}));
    refuse(&mut world);
    let streams: Vec<_> = (0..40).map(|number| world.send_to(number % 2, &api_token_of(number))).collect();
    world.pass(Duration::from_millis(500));
    assert_eq!(world.verifications, 3);
    world.live(Duration::from_millis(200));
    let codes: Vec<_> = streams.iter().map(|stream| world.ending(*stream).unwrap().code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == "token_rejected").count(), 3);
    assert_eq!(codes.iter().filter(|code| **code == "too_many_failures").count(), 37);
    assert_eq!(world.verifications, 3);
}

#[test]
fn simultaneous_good_tokens_of_one_address_all_pass() {
    let mut world = world_with(2, json!({}));
    let streams: Vec<_> = (0..40).map(|number| world.send_to(number % 2, &api_token_of(number))).collect();
    world.live(Duration::from_secs(1));
    for stream in streams {
        assert_eq!(world.ending(stream).unwrap().code(), "");
    }
}

#[test]
fn a_request_behind_failing_guesses_gets_a_retry_after() {
    let mut world = world();
    for number in 0..3 {
        world.send(&api_token_of(number));
    }
    let waits = world.send(&api_token_of(3));
    world.pass(Duration::from_millis(2_900));
    assert_eq!(world.ending(waits), None);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.ending(waits), Some(locked(1)));
    assert_eq!((world.verifications, world.workers[0].waiting()), (3, 3));
}

#[test]
fn simultaneous_requests_with_one_good_token_ask_once() {
    let mut world = world_with(1, json!({"failed_auth_throttle": {"attempts": 1}}));
    let streams: Vec<_> = (0..20).map(|_| world.send(&api_token_of(1))).collect();
    world.live(Duration::from_millis(100));
    assert!(streams.iter().all(|stream| world.ending(*stream).unwrap().code().is_empty()));
    assert_eq!(world.verifications, 1);
}

#[test]
fn simultaneous_requests_with_one_bad_token_count_one_failure() {
    for is_left in [false, true] {
        let mut world = world_with(1, json!({"failed_auth_throttle": {"attempts": 2}}));
        refuse(&mut world);
        let streams: Vec<_> = (0..50).map(|_| world.send(&api_token_of(1))).collect();
        if is_left {
            world.end(0, streams[0]);
        }
        world.live(Duration::from_millis(100));
        assert!(streams[1..].iter().all(|stream| world.ending(*stream) == Some(REJECTED)));
        assert_eq!(world.verifications, 1);
        assert_eq!(world.ask(&api_token_of(2)), REJECTED, "it was one failure of two");
        assert_eq!(world.ask(&api_token_of(3)), locked(300));
    }
}

#[test]
fn a_shared_failure_counts_once_for_each_address() {
    let mut world = world_with(1, json!({"failed_auth_throttle": {"attempts": 2}}));
    refuse(&mut world);
    let mut streams = Vec::new();
    for address in [ME, THEM, ME, THEM, THEM] {
        from(&world, address);
        streams.push(world.send(&api_token_of(1)));
    }
    world.live(Duration::from_millis(100));
    assert!(streams.iter().all(|stream| world.ending(*stream) == Some(REJECTED)));
    assert_eq!(world.verifications, 1);
    for (address, number) in [(ME, 10), (THEM, 20)] {
        from(&world, address);
        assert_eq!(world.ask(&api_token_of(number)), REJECTED, "{address}: it was one failure of two");
        assert_eq!(world.ask(&api_token_of(number + 1)), locked(300), "{address}");
    }
}

#[test]
fn one_token_at_all_workers_is_one_guess() {
    let mut world = world_with(5, json!({"failed_auth_throttle": {"attempts": 1}}));
    let first = world.send_to(0, &api_token_of(1));
    world.restart(0);
    let streams: Vec<_> = (0..5).map(|worker| world.send_to(worker, &api_token_of(1))).collect();
    world.live(Duration::from_secs(4));
    assert_eq!(world.ending(first), None, "its worker died");
    assert!(streams.iter().all(|stream| world.ending(*stream).unwrap().code().is_empty()));
    assert_eq!(world.verifications, 2);
}

#[test]
fn guesses_of_a_dead_worker_expire() {
    let mut world = world_with(2, json!({}));
    for number in 0..3 {
        world.send_to(0, &api_token_of(number));
    }
    world.restart(0);
    world.live(Duration::from_secs(12));
    assert_eq!(world.ask(&api_token_of(9)).code(), "");
}

#[test]
fn a_question_without_a_callout_stops_counting() {
    let mut world = world_with(1, json!({"circuit_breaker": {"failures": 1}}));
    world.verify = Answer::Error(CalloutError::Reset);
    for number in 0..10 {
        assert_eq!(world.ask(&api_token_of(number)).code(), "auth_service_unavailable");
    }
}

#[test]
fn a_recently_good_credential_does_not_wait_for_guesses() {
    let mut world = world();
    accept(&mut world);
    assert_eq!(world.ask(&api_token_of(7)).code(), "");
    at(&mut world, 400);
    for number in 0..3 {
        world.send(&api_token_of(number));
    }
    let known = world.send(&api_token_of(7));
    assert_eq!(world.verifications, 5);
    world.settle();
    assert_eq!(world.ending(known).unwrap().code(), "");
}

#[test]
fn a_good_credential_with_unusable_claims_is_not_a_failure() {
    let mut world = world_with(1, json!({}));
    *world.process.address.borrow_mut() = Some(ME.to_owned());
    let mut odd = claims();
    odd["email"] = json!(" user@example.com");
    world.verify = Answer::json(&confirmed(json!({"email": " user@example.com"})));
    for _ in 0..3 {
        assert_eq!(world.ask(&bearer(&jwt_of(0, &odd))).code(), "token_malformed");
        assert_eq!(world.ask(&api_token_of(8)).code(), "token_malformed");
    }
    world.verify = Answer::json(&confirmed(json!({})));
    assert_eq!(world.ask(&api_token_of(9)).code(), "");
}

#[test]
fn guesses_of_a_filter_that_is_replaced_are_no_longer_under_way() {
    let mut world = world_with(2, json!({"auth_service": {"cluster": "auth", "timeout": "20s"}}));
    for number in 0..3 {
        world.send(&api_token_of(number));
    }
    let waits = world.send_to(1, &api_token_of(3));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.ending(waits), None, "as many are under way as there are attempts");
    let cx = Cx::new(world.now, &world.process);
    world.workers[0].on_retirement(&cx);
    world.restart(0);
    world.live(Duration::from_secs(1));
    assert_eq!(world.ending(waits).map(|ending| ending.code()), Some(""));
}
