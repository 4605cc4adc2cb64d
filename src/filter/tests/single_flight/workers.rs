//! One question over several workers.

use super::*;

#[test]
fn four_workers_make_one_callout() {
    for (answer, code) in [(World::new(json!({})).verify, ""), (no(), "token_rejected")] {
        let mut world = with_key(4, json!({}));
        let streams: Vec<_> = (0..1000).map(|number| world.send_to(number % 4, &api_token())).collect();
        world.pass(SECOND / 10);
        assert_eq!((world.verifications, ended(&world, &streams)), (1, 0));
        answer_question(&mut world, &answer);
        all_end(&mut world, &streams, code);
        assert_eq!(world.verifications, 1);
        assert_eq!(world.process.stored(".l."), [], "no lease is left");
    }
}

#[test]
fn another_worker_asks_after_the_lease_of_a_dead_worker() {
    let mut world = with_key(4, json!({}));
    world.send(&api_token());
    let streams: Vec<_> = (1..40).map(|number| world.send_to(1 + number % 3, &api_token())).collect();
    world.restart(0);
    world.live(Duration::from_millis(2_900));
    assert_eq!((ended(&world, &streams), world.verifications), (0, 1), "two timeouts of 1 s and 1 s of slack");
    world.live(SECOND / 2);
    assert_eq!(world.verifications, 2, "one of three takes over");
    all_end(&mut world, &streams, "");
}

#[test]
fn requests_continue_without_the_clients_of_a_dead_worker() {
    let mut world = with_key(2, json!({}));
    world.send(&api_token());
    let left = world.send_to(1, &api_token());
    world.end(1, left);
    world.restart(0);
    world.live(4 * SECOND);
    assert_eq!(world.verifications, 1, "nobody wants to know any more");
    assert_eq!(world.workers[1].tick_period(), SECOND);
}

#[test]
fn two_workers_may_both_ask_without_harm() {
    for (first, second) in [("", ""), ("", "token_rejected"), ("token_rejected", ""), ("x", ""), ("", "x")] {
        let mut world = with_key(2, json!({}));
        let yes = world.verify.clone();
        let one = world.send(&api_token());
        world.pass(MOMENT);
        // The row has no room for a lease, or has lost it.
        forget_leases(&world);
        let other = world.send_to(1, &api_token());
        assert_eq!(questions(&world).len(), 2);
        for code in [first, second] {
            let answer = match code {
                "" => yes.clone(),
                "x" => down(),
                _ => no(),
            };
            answer_question(&mut world, &answer);
        }
        world.verify = yes;
        world.live(SECOND);
        let codes = [one, other].map(|stream| world.ending(stream).unwrap().code());
        let expected = match (first, second) {
            ("" | "x", "" | "x") => ["", ""],
            (_, "token_rejected") => ["", "token_rejected"],
            _ => ["token_rejected", ""],
        };
        assert_eq!(codes, expected, "{first:?} and {second:?}");
        // The result of the later question holds.
        for worker in [0, 1] {
            let stream = world.send_to(worker, &api_token());
            let code = world.ending(stream).unwrap().code();
            assert_eq!(code, if second == "token_rejected" { second } else { "" }, "{first:?} and {second:?}");
        }
        assert!(world.workers.iter().all(|worker| worker.waiting() == 0 && worker.callouts_in_flight() == 0));
        assert_eq!(world.process.gauges.borrow().get(&Gauge::CalloutsInFlight), Some(&0));
    }
}

#[test]
fn a_full_row_of_leases_only_causes_more_callouts() {
    let mut world = with_key(3, json!({}));
    let mut streams = vec![world.send(&api_token())];
    let (row, lease) = world.process.stored(".l.").remove(0);
    let others: Vec<u8> = (1..=8).flat_map(|number| [&[lease[0] ^ number], &lease[1..]].concat()).collect();
    world.process.set_shared_data(&row, &others, Write::Always).unwrap();
    for worker in [1, 2, 1, 2] {
        streams.push(world.send_to(worker, &api_token()));
    }
    assert_eq!(world.verifications, 3);
    world.settle();
    all_end(&mut world, &streams, "");
    assert_eq!(world.process.stored(&row)[0].1, others, "the others keep theirs");
}

#[test]
fn each_worker_asks_for_a_verdict_too_large_to_share() {
    // An identity that is larger than a slot.
    let mut world = with_key(4, json!({}));
    world.verify = Answer::json(&confirmed(json!({"email": "x".repeat(5_000)})));
    let streams: Vec<_> = (0..200).map(|number| world.send_to(number % 4, &api_token())).collect();
    for _ in 0..4 {
        world.pass(MOMENT);
        assert_eq!(questions(&world).len(), 1);
        world.settle();
    }
    all_end(&mut world, &streams, "");
    assert_eq!(world.verifications, 4);
}

#[test]
fn an_outage_ends_the_wait_at_other_workers() {
    for (status, code, asked) in
        [(401, "token_rejected", 1), (403, "forbidden_by_service", 1), (500, "auth_service_unavailable", 2)]
    {
        let mut world = with_key(4, json!({}));
        world.verify = Answer::Body(status, String::new());
        let streams: Vec<_> = (0..200).map(|number| world.send_to(number % 4, &api_token())).collect();
        world.settle();
        all_end(&mut world, &streams, code);
        assert_eq!(world.verifications, asked, "with the retry");
    }
}
