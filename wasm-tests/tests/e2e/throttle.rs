//! Clients that guess are turned away by the address that Envoy trusts, which none of their headers changes.

use serde_json::json;
use wasm_tests::{Builder, Response, Stack, connection_manager, corpus::scripted};

const ATTEMPTS: usize = 3;

fn throttled() -> Builder {
    Stack::builder().config(json!({
        // A busy machine is no outage.
        "auth_service": {"timeout": "20s"},
        "failed_auth_throttle": {"attempts": ATTEMPTS, "window": "1h", "lockout": "1h"},
    }))
}

/// Behind one proxy, whose own `X-Forwarded-For` is the last address in the header.
fn behind_a_proxy() -> Builder {
    throttled().envoy(|bootstrap| {
        let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
        manager["use_remote_address"] = json!(true);
        manager["xff_num_trusted_hops"] = json!(1);
    })
}

/// Guesses a token, a different one each time, with this `X-Forwarded-For`.
async fn guess(stack: &Stack, number: usize, forwarded_for: &str) -> Response {
    let token = scripted::token(1000 + number);
    stack.get("/orders").header("x-forwarded-for", forwarded_for).api_key(&token).send().await.unwrap()
}

fn is_refused(answer: &Response) -> bool {
    (answer.status, answer.code().as_deref()) == (401, Some("token_rejected"))
}

/// Turned away with a time to come back.
fn is_locked(answer: &Response) -> bool {
    let wait = answer.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    (answer.status, answer.code().as_deref()) == (429, Some("too_many_failures"))
        && wait.is_some_and(|seconds| (1..=3600).contains(&seconds))
}

async fn callouts(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_fails_too_often_is_locked_whatever_it_claims_to_be() {
    let stack = behind_a_proxy().start().await.unwrap();
    for number in 0..ATTEMPTS {
        let answer = guess(&stack, number, &format!("198.51.100.{number}, 203.0.113.7")).await;
        assert!(is_refused(&answer), "{number}: {}", answer.text());
    }
    let before = callouts(&stack).await;
    for claimed in ["198.51.100.99, 203.0.113.7", "127.0.0.1, 203.0.113.7", "203.0.113.8,203.0.113.7", "203.0.113.7"] {
        let answer = guess(&stack, 10, claimed).await;
        assert!(is_locked(&answer), "{claimed}: {} {}", answer.status, answer.text());
    }
    assert_eq!(callouts(&stack).await, before, "the service has rest");
    // Another client of the same proxy.
    assert!(is_refused(&guess(&stack, 11, "203.0.113.8").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_lock_another_out_by_its_address() {
    let stack = behind_a_proxy().start().await.unwrap();
    for number in 0..2 * ATTEMPTS {
        guess(&stack, number, "192.0.2.5, 203.0.113.7").await;
    }
    assert!(is_locked(&guess(&stack, 20, "192.0.2.5, 203.0.113.7").await));
    let (_, token) = stack.api_token("the victim's").await.unwrap();
    let answer = stack.get("/orders").header("x-forwarded-for", "192.0.2.5").api_key(&token).send().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    for number in 21..21 + ATTEMPTS {
        assert!(is_refused(&guess(&stack, number, "192.0.2.5").await), "it has all of its own attempts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shares_a_locked_address_gets_in_with_what_needs_no_guess() {
    let stack = behind_a_proxy().start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    let (_, known) = stack.api_token("known").await.unwrap();
    let from = |path: &str| stack.get(path).header("x-forwarded-for", "203.0.113.7");
    assert_eq!(from("/orders").api_key(&known).send().await.unwrap().status, 200);
    for number in 0..ATTEMPTS {
        assert!(is_refused(&guess(&stack, number, "203.0.113.7").await));
    }
    assert!(is_locked(&guess(&stack, 10, "203.0.113.7").await));
    for answer in [from("/orders").bearer(&jwt), from("/orders").api_key(&known), from("/public/page")] {
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let forged = wasm_tests::credentials::forged(&jwt).unwrap();
    assert!(is_locked(&from("/orders").bearer(&forged).send().await.unwrap()));
    let without = from("/orders").send().await.unwrap();
    assert_eq!(without.code().as_deref(), Some("missing_credentials"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guessed_token_id_is_locked_for_those_who_guess_and_not_for_its_owner() {
    let stack = behind_a_proxy().start().await.unwrap();
    let (id, token) = stack.api_token("the owner's").await.unwrap();
    let guess = async |address: usize, secret: char| {
        let token = format!("{id}${}", secret.to_string().repeat(128));
        let from = format!("203.0.113.{address}");
        stack.get("/orders").header("x-forwarded-for", from).api_key(&token).send().await.unwrap()
    };
    // One guess from each address.
    for (address, secret) in (1..=ATTEMPTS).zip('a'..) {
        assert!(is_refused(&guess(address, secret).await));
    }
    assert!(is_locked(&guess(1, 'x').await), "one of them guesses again");
    let owner = stack.get("/orders").header("x-forwarded-for", "192.0.2.5").api_key(&token);
    assert_eq!(owner.send().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_shipped_the_address_is_that_of_the_connection() {
    let stack = throttled().start().await.unwrap();
    for number in 0..ATTEMPTS {
        assert!(is_refused(&guess(&stack, number, &format!("198.51.100.{number}")).await));
    }
    let answer = guess(&stack, 10, "198.51.100.99").await;
    assert!(is_locked(&answer), "{} {}", answer.status, answer.text());
}
