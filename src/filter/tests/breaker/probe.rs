//! The probe that decides whether the breaker closes.

use super::*;

#[test]
fn all_workers_send_one_probe_and_the_others_get_a_retry_after() {
    let mut world = world(3);
    open(&mut world);
    at(&mut world, 59);
    send_to_all(&mut world, 0);
    assert!(asked(&world).is_empty());
    at(&mut world, 60);
    let streams = send_to_all(&mut world, 0);
    assert_eq!(asked(&world), [0]);
    assert_eq!(world.ending(streams[0]), None, "it is the probe's");
    assert_eq!(world.ending(streams[1]), Some(unavailable(2)), "when the probe counts as lost");
    assert_eq!(world.ending(streams[2]), Some(unavailable(2)));
}

#[test]
fn an_answered_probe_closes_the_breaker_for_all_workers() {
    for answer in [up(), status(401), status(403), status(404)] {
        let mut world = world(3);
        open(&mut world);
        at(&mut world, 60);
        send_to_all(&mut world, 0);
        world.verify = answer.clone();
        world.settle();
        world.verify = up();
        for worker in [2, 1, 0] {
            assert_eq!(world.ask_at(worker, &api_token_of(10 + worker)).code(), "", "{answer:?}");
        }
        assert_eq!(world.verifications, 3 + 1 + 3, "{answer:?}");
    }
}

#[test]
fn a_failed_probe_opens_the_breaker_again_and_is_not_retried() {
    let mut world = world_with(2, json!({"auth_service": {"cluster": "auth", "retries": 2}}));
    world.verify = DOWN;
    world.ask(&api_token_of(1));
    assert_eq!(world.verifications, 3);
    at(&mut world, 60);
    assert_eq!(world.ask(&api_token_of(1)), unavailable(60));
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token_of(2)), unavailable(60));
    }
    assert_eq!(world.verifications, 4);
    at(&mut world, 119);
    assert_eq!(world.ask_at(1, &api_token_of(2)), unavailable(1));
    at(&mut world, 120);
    world.verify = up();
    assert_eq!(world.ask_at(1, &api_token_of(2)).code(), "");
}

#[test]
fn a_client_with_a_stale_verdict_probes_in_the_background() {
    let mut world = world(2);
    for worker in [0, 1] {
        world.ask_at(worker, &api_token_of(1));
    }
    at(&mut world, 11);
    open(&mut world);
    at(&mut world, 71);
    for worker in [1, 0, 1] {
        let stream = world.send_to(worker, &api_token_of(1));
        assert_eq!(world.ending(stream).map(|outcome| outcome.code()), Some(""), "nor does anybody while it is out");
    }
    assert_eq!(asked(&world), [1]);
    world.verify = up();
    world.settle();
    assert_eq!(world.ask_at(0, &api_token_of(2)).code(), "", "it is closed");
    assert_eq!((allowed(&world, Source::Stale), world.verifications), (3, 1 + 3 + 1 + 1));
    let stream = world.send_to(0, &api_token_of(1));
    assert_eq!(world.ending(stream).unwrap().code(), "");
    assert_eq!(allowed(&world, Source::Cache), 1 + 1, "the probe's answer was kept");
}

#[test]
fn a_refused_background_probe_ends_the_stale_verdict() {
    let mut world = world(2);
    world.ask(&api_token_of(1));
    at(&mut world, 11);
    open(&mut world);
    at(&mut world, 71);
    world.verify = status(401);
    assert_eq!(world.ask(&api_token_of(1)).code(), "", "the last one");
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token_of(1)).code(), "token_rejected");
    }
}

#[test]
fn a_refresh_can_be_the_probe() {
    let mut world = world_with(1, json!({"cache": {"ttl": "100s", "stale_ttl": "30m"}}));
    world.ask(&api_token_of(1));
    at(&mut world, 30);
    open(&mut world);
    at(&mut world, 95);
    let stream = world.send(&api_token_of(1));
    assert_eq!((world.ending(stream).unwrap().code(), asked(&world)), ("", vec![0]));
    world.verify = up();
    world.settle();
    assert_eq!(world.ask(&api_token_of(2)).code(), "");
}

#[test]
fn the_probe_counts_even_if_its_client_leaves() {
    for (answer, code) in [(up(), ""), (DOWN, "auth_service_unavailable")] {
        let mut world = world(2);
        open(&mut world);
        at(&mut world, 60);
        let stream = world.send(&api_token_of(1));
        world.end(0, stream);
        world.verify = answer;
        world.settle();
        world.verify = up();
        assert_eq!(world.ask_at(1, &api_token_of(2)).code(), code);
    }
}

#[test]
fn another_worker_probes_after_the_lease_of_a_silent_worker() {
    let mut world = world(3);
    open(&mut world);
    at(&mut world, 60);
    world.send_to(0, &api_token_of(1));
    let lost = world.pending.remove(0);
    at(&mut world, 61);
    assert_eq!(world.ask_at(1, &api_token_of(2)), unavailable(1));
    at(&mut world, 62);
    let streams = [1, 2].map(|worker| world.send_to(worker, &api_token_of(worker)));
    assert_eq!(asked(&world), [1]);
    world.answer(&lost, &DOWN);
    assert_eq!(world.ending(streams[0]), None, "the lost one decides nothing any more");
    world.verify = up();
    world.settle();
    assert_eq!(world.ending(streams[0]).unwrap().code(), "");
    assert_eq!(world.ask_at(2, &api_token_of(9)).code(), "");
}
