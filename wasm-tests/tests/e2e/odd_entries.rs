//! A revocation list with entries that the filter can't read.

use std::time::Duration;

use serde_json::{Value, json};
use wasm_tests::{Stack, credentials::claims_of};

use crate::feed;

const LIMIT: Duration = Duration::from_secs(30);

async fn polls(stack: &Stack, outcome: &str) -> u64 {
    stack.metric("auth_blacklist_polls_total", &[("outcome", outcome)]).await.unwrap()
}

/// Makes the service answer polls like this, and waits until one of them has had this outcome.
async fn says(stack: &Stack, answer: &Value, outcome: &str) {
    let before = polls(stack, outcome).await;
    stack.fault(json!({"on": "blacklist", "kind": "raw", "body": answer.to_string()})).await.unwrap();
    let ended = async {
        while polls(stack, outcome).await == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.unwrap();
}

async fn verifications(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_entries_are_logged_and_counted_and_keep_the_cache() {
    let stack = Stack::builder().config(feed::config()).start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    let claims = claims_of(&jwt).unwrap();
    let (_, token) = stack.api_token("kept").await.unwrap();
    let ask = async || stack.get("/orders").api_key(&token).send().await.unwrap().status;
    feed::is_read(&stack).await;
    assert_eq!(ask().await, 200);
    let before = verifications(&stack).await;

    // With misnamed fields nothing is revoked, and the poll doesn't count as a success.
    says(&stack, &json!({"cursor": "x", "revoked": [{"token_jti": "canary", "exp": claims["exp"]}]}), "failure").await;
    assert!(stack.envoy_log().contains("revoked[0]: missing field `jti`"), "{}", stack.envoy_log());
    assert_eq!(ask().await, 200);
    assert_eq!(verifications(&stack).await, before + 1, "verdicts are void for it");

    // The readable entries of such a list apply.
    let entry = json!({"jti": claims["jti"], "exp": claims["exp"]});
    says(&stack, &json!({"cursor": "x", "revoked": [entry, {"jti": "canary", "exp": "canary"}]}), "partial").await;
    assert!(stack.envoy_log().contains("revoked[1]: field `exp` has the wrong type"), "{}", stack.envoy_log());
    let refused = stack.get("/orders").bearer(&jwt).send().await.unwrap();
    assert_eq!((refused.status, refused.code().as_deref()), (401, Some("token_revoked")));
    assert_eq!(ask().await, 200);
    assert_eq!(verifications(&stack).await, before + 1, "once a minute at the most");
    assert!(!stack.envoy_log().contains("canary"));
}
