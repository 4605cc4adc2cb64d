//! The access log and the audit alone show who was denied, where and why.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wasm_tests::{
    Builder, LogLevel, Request, Stack, connection_manager,
    corpus::scripted,
    credentials::{claims, forged},
};

/// The JSON lines of a log, each from its first brace on.
pub fn lines(log: &str, is_line: impl Fn(&Value) -> bool) -> Vec<Value> {
    let json = log.lines().filter_map(|line| serde_json::from_str(line.get(line.find('{')?..)?).ok());
    json.filter(is_line).collect()
}

/// The audit's lines so far. A line is written before its request is answered.
pub fn audit(stack: &Stack) -> Vec<Value> {
    lines(&stack.envoy_log(), |line| line["authgate"] == "audit")
}

/// The access log, once it has this many lines.
pub async fn access_log(stack: &Stack, expected: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let lines = lines(&stack.access_log(), |line| line.get("outcome").is_some());
        if lines.len() >= expected {
            return lines;
        }
        assert!(Instant::now() < deadline, "{} of {expected} lines: {}", lines.len(), stack.access_log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The digest by which the audit identifies a credential.
pub fn digest(token: &str) -> String {
    Sha256::digest(token).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// A gateway that logs like an operator's, and keeps the request ids that clients send.
pub fn builder() -> Builder {
    Stack::builder().log_level(LogLevel::Info).envoy(|bootstrap| {
        let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
        manager["preserve_external_request_id"] = json!(true);
    })
}

/// A denied request: its id, code, rule, user, and the digest of its credential.
type Denied = (&'static str, &'static str, &'static str, Option<i64>, Option<String>);

fn check(line: &Value, (id, reason, rule, user, credential): &Denied) {
    let outcome = if *reason == "auth_service_unavailable" { "error" } else { "deny" };
    for (field, value) in [
        ("outcome", json!(outcome)),
        ("reason", json!(reason)),
        ("rule", json!(rule)),
        ("user_id", json!(user)),
        ("address", json!("127.0.0.1")),
        ("method", json!("GET")),
        ("request_id", json!(id)),
        ("credential", json!(credential)),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
}

/// A rule for each way in which a request can end.
fn rules() -> Value {
    json!({
        "auth_service": {"retries": 0},
        "rules": [
            {"name": "open", "match": {"prefix": "/open"}, "public": true},
            {"name": "admin", "match": {"prefix": "/admin"}, "require": {"is_admin": true}},
            {"name": "shut", "match": {"prefix": "/shut"}, "deny": true},
            {"name": "trial", "match": {"prefix": "/trial"}, "mode": "shadow", "require": {"is_admin": true}},
        ],
    })
}

/// The line of this request.
fn find(lines: &[Value], id: &str) -> Value {
    lines.iter().find(|line| line["request_id"] == id).unwrap().clone()
}

/// Checks a denial in both logs.
fn check_denied(denied: &Denied, log: &[Value], audit: &[Value]) {
    let (id, reason, rule, user, _) = denied;
    check(&find(audit, id), denied);
    let line = find(log, id);
    assert_eq!((&line["reason"], &line["rule"]), (&json!(reason), &json!(rule)), "{line}");
    assert_eq!(line["details"], format!("authgate_{reason}"), "{line}");
    assert_eq!(line["user_id"], json!(user.map(|user| user.to_string())), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_show_who_was_denied_where_and_why() {
    let mut stack = builder().config(rules()).start().await.unwrap();
    let mut own = claims();
    own["is_admin"] = json!(false);
    let user = own["user_id"].as_i64().unwrap();
    let jwt = stack.mint_claims(&own).await.unwrap();
    own["exp"] = json!(1_600_000_000);
    let expired = stack.mint_claims(&own).await.unwrap();
    let (forged, guess) = (forged(&jwt).unwrap(), scripted::token(1000));
    let ask = async |request: Request, id: &str, expected: u16| {
        let answer = request.header("x-request-id", id).send().await.unwrap();
        assert_eq!(answer.status, expected, "{id}: {}", answer.text());
    };
    ask(stack.get("/orders?access_token=canary").bearer(&jwt), "good", 200).await;
    ask(stack.get("/orders").bearer(&jwt), "cached", 200).await;
    ask(stack.get("/open"), "open", 200).await;
    ask(stack.get("/trial").bearer(&jwt), "trial", 200).await;
    ask(stack.get("/orders?access_token=canary"), "missing", 401).await;
    ask(stack.get("/orders").bearer(&expired), "expired", 401).await;
    ask(stack.get("/orders").bearer(&forged), "forged", 401).await;
    ask(stack.get("/orders").api_key(&guess), "guess", 401).await;
    ask(stack.get("/orders").header("authorization", "Basic c2VjcmV0"), "basic", 401).await;
    ask(stack.get("/admin/x").bearer(&jwt), "admin", 403).await;
    ask(stack.get("/shut").bearer(&jwt), "shut", 403).await;
    ask(stack.get("/open/..%2fadmin").bearer(&jwt), "odd", 403).await;
    stack.stop_auth().await;
    ask(stack.get("/orders").api_key(&scripted::token(1001)), "outage", 503).await;

    let expected: [Denied; 9] = [
        ("missing", "missing_credentials", "none", None, None),
        ("expired", "token_expired", "none", None, Some(digest(&expired))),
        ("forged", "signature_invalid", "none", None, Some(digest(&forged))),
        ("guess", "token_rejected", "none", None, Some(digest(&guess))),
        ("basic", "unsupported_scheme", "none", None, None),
        ("admin", "claims_not_sufficient", "admin", Some(user), Some(digest(&jwt))),
        ("shut", "denied_by_rule", "shut", None, None),
        ("odd", "ambiguous_path", "none", None, None),
        ("outage", "auth_service_unavailable", "none", None, Some(digest(&scripted::token(1001)))),
    ];
    let (log, audit) = (access_log(&stack, 13).await, audit(&stack));
    assert_eq!(log.len(), 13, "{log:?}");
    assert_eq!(audit.len(), expected.len() + 1, "{audit:?}");
    expected.iter().for_each(|denied| check_denied(denied, &log, &audit));
    let trial = find(&audit, "trial");
    assert_eq!((&trial["outcome"], &trial["user_id"]), (&json!("shadow_deny"), &json!(user)), "{trial}");
    for (id, outcome, source, user) in [
        ("good", "allow", "jwt", Some(user)),
        ("cached", "allow", "cache", Some(user)),
        ("open", "public", "none", None),
        ("trial", "shadow_deny", "cache", Some(user)),
    ] {
        let line = find(&log, id);
        assert_eq!((&line["outcome"], &line["source"]), (&json!(outcome), &json!(source)), "{line}");
        assert_eq!(line["user_id"], json!(user.map(|user| user.to_string())), "{line}");
    }
    assert!(find(&log, "good")["path"] == "/orders" && find(&audit, "missing")["path"] == "/orders");
    for text in [stack.access_log(), stack.envoy_log()] {
        assert!(!text.contains("canary") && !text.contains("c2VjcmV0") && !text.contains(&jwt), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_show_that_a_client_left() {
    let stack = builder().config(json!({"auth_service": {"timeout": "60s"}})).start().await.unwrap();
    stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 60_000})).await.unwrap();
    let request = stack.get("/slow").api_key(&scripted::token(1000)).send();
    let left = tokio::time::timeout(Duration::from_millis(500), request).await;
    assert!(left.is_err(), "it was to wait");
    let log = access_log(&stack, 1).await;
    assert_eq!((&log[0]["outcome"], &log[0]["path"]), (&json!("cancelled"), &json!("/slow")), "{log:?}");
    assert_eq!(audit(&stack), Vec::<Value>::new());
}

/// The most lines of the audit that one worker wrote within a second. Envoy puts the time and the worker's thread
/// before each line.
fn most_in_a_second(log: &str) -> usize {
    let lines: Vec<_> = log.lines().filter(|line| line.contains(r#"{"authgate": "audit", "outcome""#)).collect();
    let parts = |line: &str| -> (String, f64) {
        let fields: Vec<_> = line.split(['[', ']']).filter(|field| !field.is_empty()).collect();
        let seconds = fields[0].rsplit(['-', ' ', ':']).take(3).enumerate();
        let seconds = seconds.map(|(place, text)| text.parse::<f64>().unwrap() * [1.0, 60.0, 3600.0][place]).sum();
        (fields[1].to_owned(), seconds)
    };
    let lines: Vec<_> = lines.into_iter().map(parts).collect();
    let within = |(worker, start): &(String, f64)| {
        lines.iter().filter(|(its, time)| its == worker && (*start..*start + 1.0).contains(time)).count()
    };
    lines.iter().map(within).max().unwrap_or_default()
}

/// The filter's series, without values. Ages are left out, because they appear only with the next tick.
async fn series(stack: &Stack) -> BTreeSet<String> {
    let metrics = stack.metrics().await.unwrap();
    let page = metrics.page();
    let ours = page.lines().filter(|line| line.starts_with("auth_") && !line.contains("_age_seconds"));
    ours.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_denials_is_logged_up_to_a_bound_and_makes_no_series() {
    const DENIALS: usize = 3000;
    let stack = builder().concurrency(2).start().await.unwrap();
    // Denials of each kind create all series before the flood. There are enough of them to be suspicious.
    let mut connections = Vec::new();
    for _ in 0..6 {
        let mut connection = stack.connect().await.unwrap();
        for authorization in ["Bearer malformed", "Basic c2VjcmV0"].repeat(2) {
            assert_eq!(connection.get("/before", authorization).await.unwrap().status, 401);
        }
        connections.push(connection);
    }
    let before = series(&stack).await;
    let mut flood = tokio::task::JoinSet::new();
    for (number, mut connection) in connections.into_iter().enumerate() {
        flood.spawn(async move {
            for request in 0..DENIALS / 6 {
                let authorization = ["Bearer malformed", "Basic c2VjcmV0"][request % 2];
                let path = format!("/flood/{number}/{request}");
                assert_eq!(connection.get(&path, authorization).await.unwrap().status, 401);
            }
        });
    }
    flood.join_all().await;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let audit = audit(&stack);
        let written = audit.iter().filter(|line| field_starts(line, "/flood/")).count();
        let left_out: u64 = audit.iter().filter_map(|line| line["left_out"].as_u64()).sum();
        if written as u64 + left_out == DENIALS as u64 {
            assert!(left_out > 0, "all were written");
            break;
        }
        assert!(Instant::now() < deadline, "{written} written, {left_out} left out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The filter's seconds can begin at any time, so any other second may overlap two of them.
    let most = most_in_a_second(&stack.envoy_log());
    assert!((1..=200).contains(&most), "{most} lines in a second");
    assert_eq!(series(&stack).await, before);
}

fn field_starts(line: &Value, start: &str) -> bool {
    line["path"].as_str().is_some_and(|path| path.starts_with(start))
}
