//! One HTTP/2 connection whose requests are reset as soon as they are sent, each with its own token: their questions
//! must not delay those of other connections.

use std::time::{Duration, Instant};

use serde_json::json;
use wasm_tests::{Builder, Frames, Stack, corpus::scripted};

/// A test fails if a state takes longer than this.
const LIMIT: Duration = Duration::from_secs(60);

/// An unknown token with this number.
fn guess(number: usize) -> String {
    format!("APIKey {}", scripted::token(1000 + number))
}

fn guesses(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(guess).collect()
}

async fn counter(stack: &Stack, name: &str) -> u64 {
    stack.counters().await.unwrap()[name].as_u64().unwrap()
}

/// Delays every answer by this many milliseconds.
async fn slow(stack: &Stack, millis: u64) {
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": millis})).await.unwrap();
}

/// A gateway whose cluster has room for few questions. A busy machine doesn't cause an outage.
fn small_cluster() -> Builder {
    let limits = json!([{"max_requests": 32, "max_pending_requests": 32, "max_connections": 32}]);
    patient().envoy(move |bootstrap| {
        bootstrap["static_resources"]["clusters"][1]["circuit_breakers"]["thresholds"] = limits;
    })
}

fn patient() -> Builder {
    Stack::builder().config(json!({"auth_service": {"timeout": "20s"}})).envoy(|bootstrap| {
        let cluster = bootstrap["static_resources"]["clusters"][1].as_object_mut().unwrap();
        cluster["connect_timeout"] = json!("20s");
        cluster.remove("health_checks");
        cluster.remove("outlier_detection");
    })
}

/// Requests on other connections are let in, each within the time limit.
async fn others_are_served(stack: &Stack, tokens: &[String], limit: Duration) {
    for token in tokens {
        let begin = Instant::now();
        let answer = stack.get("/orders").api_key(token).send().await.unwrap();
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), stack.envoy_log());
        assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    }
}

async fn tokens(stack: &Stack, count: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    for number in 0..count {
        tokens.push(stack.api_token(&number.to_string()).await.unwrap().1);
    }
    tokens
}

/// Waits until the state is reached.
async fn until(what: &str, state: impl AsyncFn() -> bool) {
    let looking = async {
        while !state().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, looking).await.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"));
}

async fn wait_for_questions(stack: &Stack) {
    until("the service is asked", async || counter(stack, "verify").await > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_reset_at_once_ask_few_questions_and_do_not_slow_others() {
    let stack = small_cluster().start().await.unwrap();
    let tokens = tokens(&stack, 2).await;
    stack.reset_counters().await.unwrap();
    slow(&stack, 2000).await;
    let mut attacker: Frames = stack.frames().await.unwrap();
    attacker.ask_and_leave(&guesses(0..229)).await.unwrap();
    wait_for_questions(&stack).await;
    others_are_served(&stack, &tokens, Duration::from_secs(10)).await;
    let asked = counter(&stack, "verify").await;
    assert!(asked <= 8 + 2, "{asked} questions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_reset_together_ask_few_questions() {
    let stack = small_cluster().start().await.unwrap();
    let tokens = tokens(&stack, 3).await;
    stack.reset_counters().await.unwrap();
    slow(&stack, 1000).await;
    let mut attacker = stack.frames().await.unwrap();
    for round in 0..4 {
        let streams = attacker.ask(&guesses(100 * round..100 * round + 100)).await.unwrap();
        wait_for_questions(&stack).await;
        attacker.leave(&streams).await.unwrap();
    }
    others_are_served(&stack, &tokens, Duration::from_secs(10)).await;
    let peak = counter(&stack, "verify_peak_in_flight").await;
    assert!(peak <= 9, "{peak} questions at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_service_answers_others_while_a_client_resets_requests() {
    let stack = patient().start().await.unwrap();
    let (id, _) = stack.api_token("the victim's").await.unwrap();
    let tokens = tokens(&stack, 3).await;
    // How long the service takes for one question on this machine.
    let begin = Instant::now();
    let (_, first) = stack.api_token("the first").await.unwrap();
    others_are_served(&stack, &[first], Duration::from_secs(20)).await;
    let one = begin.elapsed();
    stack.reset_counters().await.unwrap();
    let mut attacker = stack.frames().await.unwrap();
    // The service knows their number, so each of them costs it a hash.
    let secrets: Vec<_> = (0..229).map(|number| format!("APIKey {id}${number:0128x}")).collect();
    attacker.ask_and_leave(&secrets).await.unwrap();
    wait_for_questions(&stack).await;
    others_are_served(&stack, &tokens, one * 12 + Duration::from_secs(1)).await;
    let asked = counter(&stack, "verify").await;
    assert!(asked <= 8 + 3, "{asked} questions");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_of_a_shared_connection_is_answered() {
    let stack = small_cluster().start().await.unwrap();
    slow(&stack, 50).await;
    let mut proxy = stack.frames().await.unwrap();
    proxy.ask(&guesses(0..100)).await.unwrap();
    let denied = async || {
        let labels = [("outcome", "deny"), ("reason", "token_rejected")];
        stack.metric("auth_validation_requests_total", &labels).await.unwrap()
    };
    until("all are denied", async || {
        let errors = stack.metric("auth_validation_requests_total", &[("outcome", "error")]).await.unwrap();
        assert_eq!(errors, 0, "refused");
        denied().await >= 100
    })
    .await;
}
