//! `verification: remote`: the service has the last word on a JWT, unless it is down.

use http::Method;
use serde_json::json;
use wasm_tests::{Response, Stack};

/// JWTs are verified by the service under `/remote`, and by the filter elsewhere. Refusals aren't kept, so that no
/// answer depends on the timing of the next request.
async fn stack() -> Stack {
    let config = json!({
        "auth_service": {"timeout": "20s"},
        "cache": {"negative_ttl": "0s"},
        "circuit_breaker": {"open_for": "1s"},
        "rules": [{"match": {"prefix": "/remote"}, "verification": "remote"}],
    });
    Stack::builder().config(config).start().await.unwrap()
}

async fn log_out(stack: &Stack, jwt: &str) {
    let logout = stack.service_request(Method::POST, "/auth/jwt/logout").unwrap();
    assert_eq!(logout.bearer(jwt).send().await.unwrap().status, 204);
}

async fn callouts(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

async fn allowed_by(stack: &Stack, source: &str) -> u64 {
    let labels = [("outcome", "allow"), ("source", source)];
    stack.metric("auth_validation_requests_total", &labels).await.unwrap()
}

async fn ask(stack: &Stack, path: &str, jwt: &str) -> Response {
    stack.get(path).bearer(jwt).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_jwt_is_refused_on_remote_rules() {
    let stack = stack().await;
    let [good, revoked] = [stack.login().await.unwrap().access, stack.login().await.unwrap().access];
    log_out(&stack, &revoked).await;

    let refused = ask(&stack, "/remote/orders", &revoked).await;
    assert_eq!((refused.status, refused.code().as_deref()), (401, Some("token_rejected")));
    let passed = ask(&stack, "/remote/orders", &good).await;
    assert_eq!(passed.identity().unwrap()["x-user-id"], "1");
    assert_eq!(callouts(&stack).await, 2);
    assert_eq!(allowed_by(&stack, "callout").await, 1);

    // Without a feed only the service knows of the revocation. Local and remote verdicts don't affect each other.
    assert_eq!(ask(&stack, "/orders", &revoked).await.status, 200);
    assert_eq!(ask(&stack, "/remote/orders", &revoked).await.status, 401);
    assert_eq!(callouts(&stack).await, 3);
    // A verdict of the service is cached.
    assert_eq!(ask(&stack, "/remote/orders", &good).await.status, 200);
    assert_eq!(callouts(&stack).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signature_stands_in_during_an_outage_unless_refused_before() {
    let mut stack = stack().await;
    let [unknown, revoked] = [stack.login().await.unwrap().access, stack.login().await.unwrap().access];
    let forged = wasm_tests::credentials::forged(&unknown).unwrap();
    log_out(&stack, &revoked).await;
    assert_eq!(ask(&stack, "/remote/orders", &revoked).await.status, 401);
    // The filter has the key.
    let known = stack.login().await.unwrap().access;
    assert_eq!(ask(&stack, "/orders", &known).await.status, 200);

    stack.stop_auth().await;
    let passed = ask(&stack, "/remote/orders", &unknown).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(passed.identity().unwrap()["x-user-id"], "1");
    assert_eq!(allowed_by(&stack, "fallback").await, 1);
    let hits = stack.upstream_hits();
    let refused = ask(&stack, "/remote/orders", &revoked).await;
    assert_eq!((refused.status, refused.code().as_deref()), (503, Some("auth_service_unavailable")));
    assert_ne!(ask(&stack, "/remote/orders", &forged).await.status, 200);
    assert_eq!(stack.upstream_hits(), hits);

    // An identity by signature alone isn't cached as a verdict of the service.
    stack.start_auth().await.unwrap();
    let asked_again = async {
        loop {
            assert_eq!(ask(&stack, "/remote/orders", &unknown).await.status, 200);
            if allowed_by(&stack, "callout").await > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), asked_again).await.unwrap();
}
