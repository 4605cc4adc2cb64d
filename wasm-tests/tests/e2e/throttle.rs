//! Clients that guess are locked out by the address that Envoy trusts, which their headers can't change.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinSet,
};
use wasm_tests::{Builder, Response, Stack, connection_manager, corpus::scripted};

const ATTEMPTS: usize = 3;

fn throttled() -> Builder {
    Stack::builder().config(json!({
        // A busy machine must not cause an outage.
        "auth_service": {"timeout": "20s"},
        "failed_auth_throttle": {"attempts": ATTEMPTS, "window": "1h", "lockout": "1h"},
    }))
}

/// Behind one trusted proxy, which adds the client's address at the end of `X-Forwarded-For`.
fn behind_a_proxy() -> Builder {
    throttled().envoy(|bootstrap| {
        let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
        manager["use_remote_address"] = json!(true);
        manager["xff_num_trusted_hops"] = json!(1);
    })
}

/// Guesses a different token each time, with this `X-Forwarded-For`.
async fn guess(stack: &Stack, number: usize, forwarded_for: &str) -> Response {
    let token = scripted::token(1000 + number);
    stack.get("/orders").header("x-forwarded-for", forwarded_for).api_key(&token).send().await.unwrap()
}

fn is_refused(answer: &Response) -> bool {
    (answer.status, answer.code().as_deref()) == (401, Some("token_rejected"))
}

/// Whether the answer is a lockout with a `Retry-After`.
fn is_locked(answer: &Response) -> bool {
    let wait = answer.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    (answer.status, answer.code().as_deref()) == (429, Some("too_many_failures"))
        && wait.is_some_and(|seconds| (1..=3600).contains(&seconds))
}

async fn callouts(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_too_many_failures_is_locked_despite_its_headers() {
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
async fn a_client_cannot_lock_out_another_address() {
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
async fn known_credentials_pass_from_a_locked_address() {
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
async fn a_guessed_token_is_locked_for_guessers_and_not_for_its_owner() {
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
async fn the_shipped_configuration_uses_the_connections_address() {
    let stack = throttled().start().await.unwrap();
    for number in 0..ATTEMPTS {
        assert!(is_refused(&guess(&stack, number, &format!("198.51.100.{number}")).await));
    }
    let answer = guess(&stack, 10, "198.51.100.99").await;
    assert!(is_locked(&answer), "{} {}", answer.status, answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_answer_is_counted() {
    let stack = throttled().start().await.unwrap();
    stack.reset_counters().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 100})).await.unwrap();
    let mut attacker = stack.frames().await.unwrap();
    for round in 0..5 {
        let tokens: Vec<_> = (0..30).map(|number| scripted::token(2000 + 30 * round + number)).collect();
        let tokens: Vec<_> = tokens.iter().map(|token| format!("APIKey {token}")).collect();
        attacker.ask_and_leave(&tokens).await.unwrap();
        let answered = async {
            while stack.metric("auth_callouts_in_flight", &[]).await.unwrap() > 0 || callouts(&stack).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), answered).await.expect("all questions are answered");
    }
    assert_eq!(callouts(&stack).await, ATTEMPTS as u64);
    assert!(is_locked(&guess(&stack, 1, "192.0.2.1").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_requests_with_one_token_count_one_failure() {
    let stack = throttled().start().await.unwrap();
    stack.reset_counters().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 1000})).await.unwrap();
    let mut guesses = JoinSet::new();
    for _ in 0..20 {
        guesses.spawn(stack.get("/orders").api_key(&scripted::token(3000)).send());
    }
    for answer in guesses.join_all().await.into_iter().map(Result::unwrap) {
        assert!(is_refused(&answer), "{}", answer.text());
    }
    assert_eq!(callouts(&stack).await, 1);
    stack.fault(json!({"on": "verify"})).await.unwrap();
    for number in 1..ATTEMPTS {
        assert!(is_refused(&guess(&stack, number, "192.0.2.1").await), "{number}");
    }
    assert!(is_locked(&guess(&stack, ATTEMPTS, "192.0.2.1").await));
}

async fn at_once(workers: u32) {
    let stack = throttled().concurrency(workers).start().await.unwrap();
    stack.reset_counters().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 300})).await.unwrap();
    let mut guesses = JoinSet::new();
    for number in 0..80 {
        guesses.spawn(stack.get("/orders").api_key(&scripted::token(3000 + number)).send());
    }
    let answers: Vec<_> = guesses.join_all().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| is_refused(answer)).count(), ATTEMPTS);
    assert_eq!(answers.iter().filter(|answer| is_locked(answer)).count(), 80 - ATTEMPTS);
    assert_eq!(callouts(&stack).await, ATTEMPTS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_guesses_ask_no_more_questions_than_attempts() {
    at_once(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_guesses_at_all_workers_ask_no_more_questions_than_attempts() {
    at_once(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_good_tokens_of_one_address_all_pass() {
    let stack = throttled().start().await.unwrap();
    let mut tokens = Vec::new();
    for number in 0..4 * ATTEMPTS {
        tokens.push(stack.api_token(&number.to_string()).await.unwrap().1);
    }
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 50})).await.unwrap();
    let mut requests = JoinSet::new();
    for token in &tokens {
        requests.spawn(stack.get("/orders").api_key(token).send());
    }
    for answer in requests.join_all().await.into_iter().map(Result::unwrap) {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_numbers_displace_no_record() {
    let config = json!({"failed_auth_throttle": {"attempts": 40, "window": "1h", "lockout": "1h"}});
    let stack = throttled().config(config).start().await.unwrap();
    let mut connection = stack.connect().await.unwrap();
    let mut first_locked = None;
    for (place, number) in chosen_numbers().take(160).enumerate() {
        let answer = connection.get("/orders", &format!("APIKey {number}${place:0128x}")).await.unwrap();
        if is_locked(&answer) && first_locked.is_none() {
            first_locked = Some(place);
        }
    }
    assert_eq!(first_locked, Some(40));
}

/// Numbers whose records would share the row of 127.0.0.1 if rows weren't secret.
fn chosen_numbers() -> impl Iterator<Item = u32> {
    let row = |kind: &[u8], value: &[u8]| {
        let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(value).finalize();
        u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]) & 1023
    };
    let own = row(b"ipv4", &[127, 0, 0, 1]);
    (1..).filter(move |number: &u32| row(b"token", number.to_string().as_bytes()) == own)
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_without_an_address_do_not_lock() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("gateway.sock");
    let path = pipe.to_string_lossy().into_owned();
    let stack = throttled()
        .envoy(move |bootstrap| {
            let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
            let mut second = listeners[0].clone();
            second["name"] = json!("pipe");
            second["address"] = json!({"pipe": {"path": path}});
            listeners.push(second);
        })
        .start()
        .await
        .unwrap();
    let (id, token) = stack.api_token("the owner's").await.unwrap();
    let ask = async |token: &str| {
        let mut stream = UnixStream::connect(&pipe).await.unwrap();
        let request = format!(
            "GET /orders HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nAuthorization: APIKey {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    for number in 0..3 * ATTEMPTS {
        let answer = ask(&format!("{id}${number:0128x}")).await;
        assert!(answer.contains("token_rejected"), "{answer}");
    }
    let answer = ask(&token).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
