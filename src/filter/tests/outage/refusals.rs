//! Refusals, after which no earlier verdict stands in.

use super::*;

#[test]
fn a_refusal_ends_stale_verdicts_in_every_worker() {
    for (refusal, code) in [(401, "token_rejected"), (403, "forbidden_by_service")] {
        for refuses in [0, 1] {
            let mut world = world_with(2, json!({}));
            for worker in [0, 1] {
                assert_eq!(world.ask_at(worker, &api_token()).code(), "");
            }
            at(&mut world, 11);
            world.verify = status(refusal);
            assert_eq!(world.ask_at(refuses, &api_token()).code(), code);
            world.verify = DOWN;
            for seconds in [14, 40, 69] {
                at(&mut world, seconds);
                for worker in [0, 1] {
                    assert_eq!(world.ask_at(worker, &api_token()), unavailable(), "{refusal} at {refuses}");
                }
            }
        }
    }
}

#[test]
fn a_flood_of_garbage_tokens_displaces_no_refusal() {
    let mut world = world_with(2, json!({}));
    for worker in [0, 1] {
        world.ask_at(worker, &api_token());
    }
    at(&mut world, 11);
    world.verify = status(401);
    world.ask(&api_token());
    at(&mut world, 14);
    assert_eq!(world.ask(&api_token()).code(), "token_rejected", "once more, and there is no verdict to end any more");
    // They displace one another from the row that the first one's refusal is in.
    let mates: Vec<_> =
        (1000..).filter(|number| refusal_row(&world, *number) == refusal_row(&world, 7)).take(8).collect();
    for number in mates {
        world.ask(&api_token_of(number));
    }
    world.verify = DOWN;
    at(&mut world, 17);
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()), unavailable());
    }
}

#[test]
fn a_refused_refresh_ends_the_verdict_in_every_worker() {
    for (refusal, code) in [(401, "token_rejected"), (403, "forbidden_by_service")] {
        let mut world = world_with(2, json!({}));
        for worker in [0, 1] {
            world.ask_at(worker, &api_token());
        }
        at(&mut world, 9);
        world.verify = status(refusal);
        assert_eq!(world.ask_at(0, &api_token()).code(), "", "a hit, and the last one");
        assert_eq!(world.verifications, 2);
        world.verify = DOWN;
        for worker in [0, 1] {
            assert_eq!(world.ask_at(worker, &api_token()).code(), code);
        }
        at(&mut world, 15);
        for worker in [0, 1] {
            assert_eq!(world.ask_at(worker, &api_token()), unavailable());
        }
    }
}

#[test]
fn a_refusal_ends_the_stale_verdict_of_a_waiting_worker() {
    let mut world = world_with(2, json!({}));
    for worker in [0, 1] {
        world.ask_at(worker, &api_token());
    }
    at(&mut world, 11);
    // The first worker's lease runs out, so that there are two questions.
    let slow = world.send_to(0, &api_token());
    let slow_call = world.pending.remove(0);
    at(&mut world, 15);
    world.verify = status(401);
    assert_eq!(world.ask_at(1, &api_token()).code(), "token_rejected");
    world.verify = DOWN;
    world.answer(&slow_call, &DOWN);
    world.settle();
    assert_eq!(world.ending(slow), Some(unavailable()));
}

#[test]
fn a_token_that_is_accepted_again_can_be_served_stale_again() {
    let mut world = world_with(2, json!({}));
    world.ask(&api_token());
    at(&mut world, 11);
    world.verify = status(401);
    world.ask(&api_token());
    at(&mut world, 14);
    world.verify = Answer::json(&confirmed());
    assert_eq!(world.ask(&api_token()).code(), "");
    at(&mut world, 25);
    world.verify = DOWN;
    for worker in [0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
}

#[test]
fn no_signature_admits_a_refused_jwt_before_it_expires() {
    let mut other = claims();
    other["jti"] = json!("other");
    for cache in [json!({"ttl": "10s", "stale_ttl": "60s", "negative_ttl": "2s"}), json!({"ttl": "0s"})] {
        for (refusal, code) in [(401, "token_rejected"), (403, "forbidden_by_service")] {
            let jwt_settings = json!({"verification": "remote", "clock_skew": "1m"});
            let mut world = world_with(2, json!({"cache": cache, "jwt": jwt_settings}));
            world.verify = status(refusal);
            let token = bearer(&jwt(0));
            assert_eq!(world.ask_at(0, &token).code(), code);
            world.verify = DOWN;
            for seconds in [3, 80, 2000, 3599, 3600, 3659] {
                at(&mut world, seconds);
                for worker in [0, 1] {
                    assert_eq!(world.ask_at(worker, &token), unavailable(), "{cache} {refusal} {seconds}");
                }
                assert_eq!(world.ask_at(1, &bearer(&jwt_of(0, &other))).code(), "");
            }
            at(&mut world, 3660);
            assert_eq!(world.ask(&token).code(), "token_expired");
        }
    }
}

#[test]
fn a_refusal_ends_a_fallback_that_waits_for_a_key() {
    let mut world = World::with_workers(2, json!({"jwt": {"verification": "remote"}}));
    let token = bearer(&jwt(0));
    let waits = world.send_to(0, &token);
    for _ in 0..2 {
        let asked = world.pending.iter().find(|pending| pending.request.authorization().is_some()).unwrap().clone();
        world.answer(&asked, &DOWN);
    }
    assert_eq!(world.ending(waits), None, "it waits for the first key");
    let refused = world.send_to(1, &token);
    let asked = world.pending.iter().find(|pending| pending.request.authorization().is_some()).unwrap().clone();
    world.answer(&asked, &status(401));
    assert_eq!(world.ending(refused).unwrap().code(), "token_rejected");
    world.settle();
    assert_eq!(world.ending(waits), Some(unavailable()));
}

#[test]
fn a_refusal_made_with_a_fast_clock_holds_after_the_correction() {
    let mut world = remote_world(2);
    let token = bearer(&jwt_of(0, &{
        let mut long = claims();
        long["exp"] = json!(BEGIN + 36_000);
        long
    }));
    let tokens = [token, api_token()];
    for worker in [0, 1] {
        tokens.iter().for_each(|token| assert_eq!(world.ask_at(worker, token).code(), ""));
    }
    at(&mut world, 12);
    world.step(3600);
    world.verify = status(401);
    tokens.iter().for_each(|token| assert_eq!(world.ask_at(0, token).code(), "token_rejected"));
    world.step(-3600);
    at(&mut world, 24);
    world.verify = DOWN;
    for worker in [0, 1] {
        tokens.iter().for_each(|token| assert_eq!(world.ask_at(worker, token), unavailable()));
    }
    let mut long = confirmed();
    long["exp"] = json!(BEGIN + 36_000);
    world.verify = Answer::json(&long);
    let asked = world.verifications;
    for worker in [0, 1, 0, 1] {
        assert_eq!(world.ask_at(worker, &api_token()).code(), "");
    }
    assert_eq!(world.verifications, asked + 1, "a new verdict counts, and is kept");
}
