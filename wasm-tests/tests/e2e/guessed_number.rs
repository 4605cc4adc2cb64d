//! Many addresses guess the secret of one token at once.

use serde_json::json;
use tokio::task::JoinSet;
use wasm_tests::{Stack, connection_manager};

const ATTEMPTS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn each_address_gets_one_of_many_simultaneous_guesses() {
    let stack = Stack::builder()
        .config(json!({
            "auth_service": {"timeout": "20s"},
            "failed_auth_throttle": {"attempts": ATTEMPTS, "window": "1h", "lockout": "1h"},
        }))
        .envoy(|bootstrap| {
            let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
            manager["use_remote_address"] = json!(true);
            manager["xff_num_trusted_hops"] = json!(1);
        })
        .start()
        .await
        .unwrap();
    stack.reset_counters().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 1500})).await.unwrap();
    let mut guesses = JoinSet::new();
    for address in 0..10 {
        for secret in 0..ATTEMPTS {
            let token = format!("77${:0128x}", address * 100 + secret);
            let from = format!("203.0.113.{address}");
            guesses.spawn(stack.get("/orders").header("x-forwarded-for", from).api_key(&token).send());
        }
    }
    let answers = guesses.join_all().await;
    let count = |status| answers.iter().filter(|answer| answer.as_ref().unwrap().status == status).count();
    let refused = count(401);
    assert!((ATTEMPTS..=ATTEMPTS + 10).contains(&refused), "{refused} guesses");
    assert_eq!(count(429), answers.len() - refused);
}
