//! Suspicious activity is counted and written into the audit, once, and locks out no client.

use serde_json::{Value, json};
use wasm_tests::{Stack, connection_manager};

/// The audit's lines about suspicious activity.
fn told(stack: &Stack) -> Vec<Value> {
    let log = stack.envoy_log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(&line[line.find(r#"{"authgate": "audit", "suspicious""#)?..]).ok());
    lines.collect()
}

async fn count(stack: &Stack, kind: &str) -> u64 {
    stack.metric("auth_suspicious_activity_total", &[("kind", kind)]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn suspicious_users_and_addresses_are_reported_once() {
    let rules = json!([{"name": "public", "match": {"path": "/public"}, "public": true}]);
    let builder = Stack::builder().config(json!({"rules": rules, "auth_service": {"timeout": "20s"}}));
    // All clients come through one proxy, and differ in the address that it adds.
    let builder = builder.envoy(|bootstrap| {
        let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
        manager["use_remote_address"] = json!(true);
        manager["xff_num_trusted_hops"] = json!(1);
    });
    let stack = builder.start().await.unwrap();
    let from =
        |number: usize| stack.get("/orders").header("x-forwarded-for", format!("198.51.100.{number}, 203.0.113.7"));

    for number in 0..8 {
        let token = stack.login().await.unwrap().access;
        let answer =
            from(number).header("x-forwarded-for", format!("192.0.2.{number}")).bearer(&token).send().await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        // These come from the cache.
        for other in 100..110 {
            let answer =
                from(other).header("x-forwarded-for", format!("192.0.2.{other}")).bearer(&token).send().await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(count(&stack, "many_addresses").await, u64::from(number >= 5), "{number}");
    }

    let token = stack.login().await.unwrap().access;
    for number in 0..30 {
        let answer = from(number).bearer("malformed").send().await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("token_malformed"));
        assert_eq!(count(&stack, "repeated_failures").await, u64::from(number >= 19), "{number}");
        let answer = from(number).send().await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("missing_credentials"), "it is no refusal");
    }
    assert_eq!(from(0).bearer(&token).send().await.unwrap().status, 200, "nobody is locked out");

    let told = told(&stack);
    let user = wasm_tests::credentials::claims_of(&token).unwrap()["user_id"].clone();
    let seen: Vec<_> = told.iter().map(|line| (&line["suspicious"], &line["user_id"], &line["address"])).collect();
    let expected = [
        (&json!("many_addresses"), &user, &json!("192.0.2.5")),
        (&json!("repeated_failures"), &Value::Null, &json!("203.0.113.7")),
    ];
    assert_eq!(seen, expected, "{told:?}");
}
