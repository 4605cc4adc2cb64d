//! A configuration update under traffic: no request is lost, none passes unauthenticated, and an invalid configuration
//! changes nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use wasm_tests::{Discovery, Stack, plugin};

/// A stack whose listener comes from a file.
async fn start() -> (Stack, Discovery) {
    start_with(json!({})).await
}

async fn start_with(config: Value) -> (Stack, Discovery) {
    Discovery::start(Stack::builder().concurrency(2).config(config)).await.unwrap()
}

/// How many updates Envoy has accepted and rejected.
async fn updates(stack: &Stack) -> (u64, u64) {
    let page = stack.admin("/stats?filter=listener_manager.lds.update_").await.unwrap().text();
    let value = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("listener_manager.lds.{name}: ")));
        line.unwrap().parse().unwrap()
    };
    (value("update_success"), value("update_rejected"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_loses_no_request_and_admits_none_unauthenticated() {
    let (stack, mut discovery) = start().await;
    let jwt = stack.login().await.unwrap().access;
    let stack = Arc::new(stack);
    let done = Arc::new(AtomicBool::new(false));
    let (known, unknown) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));

    let mut clients = tokio::task::JoinSet::new();
    for number in 0..4 {
        let (stack, done, jwt) = (Arc::clone(&stack), Arc::clone(&done), jwt.clone());
        let (known, unknown) = (Arc::clone(&known), Arc::clone(&unknown));
        clients.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                if number == 0 {
                    let answer = stack.get("/orders").send().await.unwrap();
                    assert_eq!(answer.code().as_deref(), Some("missing_credentials"), "{}", answer.text());
                    unknown.fetch_add(1, Ordering::SeqCst);
                } else {
                    let answer = stack.get("/orders").bearer(&jwt).send().await.unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    known.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
    let flowed = async |since: u64| {
        while known.load(Ordering::SeqCst) < since + 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for update in 1..=3 {
        flowed(known.load(Ordering::SeqCst)).await;
        let header = format!("X-Update-{update}");
        plugin(&mut discovery.listener)["configuration"]["value"]["identity_headers"] = json!({header: "user_id"});
        discovery.publish(&format!("good {update}")).unwrap();
        while updates(&stack).await.0 < update + 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // The last configuration applies to every new connection.
    let mut echo = stack.get("/orders").bearer(&jwt).send().await.unwrap().upstream().unwrap();
    while echo.header("x-update-3").as_deref() != Some("1") {
        assert!(clients.try_join_next().is_none(), "a client failed");
        echo = stack.get("/orders").bearer(&jwt).send().await.unwrap().upstream().unwrap();
    }
    flowed(known.load(Ordering::SeqCst)).await;
    done.store(true, Ordering::SeqCst);
    clients.join_all().await;
    assert!(stack.upstream_hits() > known.load(Ordering::SeqCst));
    assert!(unknown.load(Ordering::SeqCst) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_refused_and_the_old_one_stays() {
    let (stack, mut discovery) = start().await;
    let jwt = stack.login().await.unwrap().access;
    let config = &mut plugin(&mut discovery.listener)["configuration"]["value"];
    config["identity_headers"] = json!({"X-New": "user_id"});
    config["jwt"]["clock_skew"] = json!("soon");
    discovery.publish("bad").unwrap();
    while updates(&stack).await.1 == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let log = stack.envoy_log();
    assert!(log.contains("jwt.clock_skew: is \"soon\", but a duration"), "{log}");
    let answer = stack.get("/orders").bearer(&jwt).send().await.unwrap();
    assert_eq!(answer.upstream().unwrap().header("x-new"), None);
    assert_eq!(stack.get("/orders").send().await.unwrap().status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_cache_times_keep_known_clients_served_in_an_outage() {
    let (mut stack, mut discovery) = start_with(json!({
        "auth_service": {"timeout": "20s", "retries": 0},
        "cache": {"ttl": "1s", "stale_ttl": "1h"},
        "circuit_breaker": {"failures": 1, "open_for": "1h"},
        "revocation": {"path": "/auth/blacklist", "poll_interval": "1s"},
    }))
    .await;
    let revoked = stack.login().await.unwrap().access;
    let (_, known) = stack.api_token("known").await.unwrap();
    let (_, unknown) = stack.api_token("unknown").await.unwrap();
    assert_eq!(stack.get("/orders").api_key(&known).send().await.unwrap().status, 200);
    let logout = stack.service_request(http::Method::POST, "/auth/jwt/logout").unwrap().bearer(&revoked);
    assert_eq!(logout.send().await.unwrap().status, 204);
    let code = async |stack: &Stack| stack.get("/orders").bearer(&revoked).send().await.unwrap().code();
    while code(&stack).await.as_deref() != Some("token_revoked") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stack.stop_auth().await;
    assert_eq!(stack.get("/orders").api_key(&unknown).send().await.unwrap().status, 503);
    while stack.metric("auth_breaker_state", &[]).await.unwrap() != 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let config = &mut plugin(&mut discovery.listener)["configuration"]["value"];
    config["cache"] = json!({"ttl": "2s", "stale_ttl": "2h"});
    config["identity_headers"] = json!({"X-Update": "user_id"});
    discovery.publish("2").unwrap();
    // Neither configuration denies a known client as if the service were down.
    let mut updated = false;
    while !updated {
        let answer = stack.get("/orders").api_key(&known).send().await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        updated = answer.upstream().unwrap().header("x-update").is_some();
    }
    assert_eq!(code(&stack).await.as_deref(), Some("token_revoked"));
    assert_eq!(stack.metric("auth_breaker_state", &[]).await.unwrap(), 2);
    for _ in 0..20 {
        assert_eq!(stack.get("/orders").api_key(&known).send().await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_the_seal_key_again_warns_again() {
    let (stack, mut discovery) = start().await;
    let warnings = |stack: &Stack| stack.envoy_log().matches("shared data are not sealed").count();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    for (update, (key, expected)) in
        [(None, 1), (Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), 1), (None, 2), (None, 2)].iter().enumerate()
    {
        if update > 0 {
            let before = updates(&stack).await.0;
            let variables = &mut plugin(&mut discovery.listener)["vm_config"]["environment_variables"];
            *variables = json!({"key_values": {"NUMBER": update.to_string()}});
            if let Some(key) = key {
                variables["key_values"]["AUTHGATE_SEAL_KEY"] = json!(key);
            }
            discovery.publish(&(update + 1).to_string()).unwrap();
            while updates(&stack).await.0 == before {
                assert!(std::time::Instant::now() < deadline, "update {update} isn't taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        // The first tick comes 10 ms after a worker has its configuration.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(warnings(&stack), *expected, "update {update}");
    }
}
