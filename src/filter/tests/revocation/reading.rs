//! How the list is read: one worker polls, and failures are reported.

use super::*;

#[test]
fn one_worker_polls_at_start_and_at_least_once_an_interval() {
    let mut world = World::with_workers(4, json!({"revocation": {"path": "/auth/blacklist", "poll_interval": "8s"}}));
    world.tick();
    assert_eq!((world.polls, poll(&world).request.path), (1, "/auth/blacklist".to_owned()));
    world.settle();
    for interval in 2..12 {
        world.live(INTERVAL);
        assert!((interval..=interval * 4 / 3 + 1).contains(&world.polls), "{} in {interval} intervals", world.polls);
    }
    while !world.pending.iter().any(Pending::is_poll) {
        world.pass(Duration::from_secs(1));
    }
    assert_eq!(poll(&world).request.path, "/auth/blacklist?since=c");
    assert_eq!(polls(&world, true), u64::try_from(world.polls).unwrap() - 1);
}

#[test]
fn failed_polls_keep_the_list_and_mark_it_stale_after_two_intervals() {
    for fault in [DOWN, Answer::Body(503, String::new()), Answer::Body(200, "<html>".to_owned()), Answer::TooLarge] {
        let mut world = world(2);
        publish(&mut world, &revoke_j());
        let (good, read) = (token_of("jti", json!("good")), polls(&world, true));
        world.feed = fault.clone();
        world.live(INTERVAL);
        assert!(polls(&world, false) >= 1, "{fault:?}");
        world.ask(&good);
        assert_eq!((checks(&world, BlacklistCheck::Clear), checks(&world, BlacklistCheck::Stale)), (1, 0));
        world.live(2 * INTERVAL);
        for worker in [0, 1] {
            assert_eq!(world.ask_at(worker, &good).code(), "", "{fault:?}");
            assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "token_revoked", "{fault:?}");
        }
        assert_eq!((checks(&world, BlacklistCheck::Stale), polls(&world, true)), (2, read));
        assert_eq!(world.process.gauge(Gauge::BlacklistSize), Some(1));
        world.feed = Answer::json(&json!({"cursor": "d", "revoked": []}));
        world.live(INTERVAL);
        world.ask(&good);
        assert_eq!(checks(&world, BlacklistCheck::Clear), 2, "{fault:?}");
    }
}

#[test]
fn an_answer_without_a_list_is_a_failed_poll() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist", "poll_interval": "8s"}}));
    world.feed = Answer::json(&json!({"cursor": "1", "tokens": [{"jti": "j", "exp": BEGIN + 3600}]}));
    world.live(INTERVAL);
    assert_eq!(polls(&world, true), 0);
    assert!(polls(&world, false) > 0);
    world.ask(&bearer(&jwt(0)));
    assert_eq!(checks(&world, BlacklistCheck::Stale), 1);
    publish(&mut world, &revoke_j());
    assert_eq!(world.ask(&bearer(&jwt(0))).code(), "token_revoked");
}

#[test]
fn a_retried_poll_is_counted_once() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.feed = DOWN;
    world.tick();
    world.settle();
    assert_eq!((world.polls, polls(&world, false)), (2, 1));
}

#[test]
fn the_list_is_stale_before_its_first_poll() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.feed = DOWN;
    world.tick();
    let stream = world.send(&bearer(&jwt(0)));
    world.live(Duration::from_millis(40));
    assert_eq!(world.ending(stream).unwrap().code(), "");
    assert_eq!(checks(&world, BlacklistCheck::Stale), 1);
}

#[test]
fn a_refused_cursor_makes_the_next_poll_read_the_whole_list() {
    let mut world = world(1);
    publish(&mut world, &json!({"revoked": [{"jti": "another", "exp": BEGIN + 3600}]}));
    world.feed = Answer::Body(400, String::new());
    while !world.pending.iter().any(Pending::is_poll) {
        world.pass(Duration::from_secs(1));
    }
    let refused = poll(&world);
    assert!(refused.request.path.contains("?since="));
    world.answer(&refused, &Answer::Body(400, String::new()));
    let anew = poll(&world);
    assert_eq!(anew.request.path, "/auth/blacklist");
    let mut list = revoke_j();
    list["cursor"] = json!("new");
    world.answer(&anew, &Answer::json(&list));
    for token in [bearer(&jwt(0)), token_of("jti", json!("another"))] {
        assert_eq!(world.ask(&token).code(), "token_revoked", "what was known stays");
    }
    assert_eq!((world.process.gauge(Gauge::BlacklistSize), polls(&world, false)), (Some(2), 0));
}

#[test]
fn another_worker_polls_after_the_lease_of_a_silent_worker() {
    let mut world = World::with_workers(2, json!({"revocation": {"path": "/auth/blacklist"}}));
    world.tick();
    let lost = poll(&world);
    world.pending.retain(|pending| !pending.is_poll());
    world.pass(Duration::from_secs(2));
    assert_eq!(world.polls, 1);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.polls, 2);
    world.settle();
    let mut late = revoke_j();
    late["cursor"] = json!("late");
    world.answer(&lost, &Answer::json(&late));
    assert_eq!(world.ask_at(1, &bearer(&jwt(0))).code(), "token_revoked", "what it brings late holds all the same");
}

#[test]
fn a_later_worker_has_the_list_at_once() {
    let mut world = world(1);
    publish(&mut world, &revoke_j());
    world.workers.push(Filter::new(world.workers[0].config().clone()));
    world.tick();
    assert_eq!(world.ask_at(1, &bearer(&jwt(0))).code(), "token_revoked");
}

#[test]
fn the_list_is_checked_without_a_cache() {
    let mut world = world_with(2, json!({"cache": {"ttl": "0s"}}));
    publish(&mut world, &revoke_j());
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &bearer(&jwt(0))).code(), "token_revoked");
        assert_eq!(world.ask_at(worker, &api_token()).code(), "token_revoked");
    }
}

#[test]
fn only_the_list_may_be_large() {
    let mut world = World::new(json!({"revocation": {"path": "/auth/blacklist"}}));
    world.send(&api_token_of(1));
    world.tick();
    let limits: Vec<_> = world
        .pending
        .iter()
        .map(|call| (call.request.path.as_str(), world.workers[0].body_limit(call.call())))
        .collect();
    assert_eq!(limits.len(), 3);
    for (path, limit) in limits {
        let expected = if path.starts_with("/auth/blacklist") { MAX_FEED_BODY } else { MAX_BODY };
        assert_eq!(limit, expected, "{path}");
    }
}

#[test]
fn polls_continue_after_a_clock_step_of_an_hour() {
    for hour in [-3600, 3600] {
        let mut world = world(2);
        at(&mut world, 7200);
        at(&mut world, 7201);
        assert!(!world.pending.iter().any(Pending::is_poll));
        world.step(hour);
        world.tick();
        let path = if hour < 0 { "/auth/blacklist" } else { "/auth/blacklist?since=c" };
        assert_eq!(poll(&world).request.path, path, "at once");
        world.settle();
        let polls = world.polls;
        world.live(2 * INTERVAL);
        assert!((2..=4).contains(&(world.polls - polls)), "as often as ever");
    }
}
