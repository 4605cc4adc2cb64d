//! Shadow mode under load: each verdict is counted as if enforced, no request is stopped, and none carries an identity
//! that isn't its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use wasm_tests::{
    Request, Stack,
    corpus::{keys::Signer, scripted},
    credentials::claims,
};

const CLIENTS: usize = 12;
const ROUNDS: usize = 40;

/// A request, the identity that reaches the upstream (`None`: none), and how the request is counted.
struct Sent {
    request: Request,
    user: Option<String>,
    counted: (&'static str, &'static str),
}

/// The claims of a user of its own.
fn of_user(user: usize, changes: &Value) -> Value {
    let mut claims = claims();
    (claims["user_id"], claims["email"]) = (json!(user), json!(format!("{user}@example.com")));
    claims["exp"] = json!(4_102_444_800_u64);
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

/// One request of each kind, for this client in this round.
fn requests(stack: &Stack, client: usize, round: usize) -> Vec<Sent> {
    let user = 1000 * (client + 1) + round;
    let signer = Signer::trusted();
    let jwt = |changes: Value| signer.claims(of_user(user, &changes).to_string());
    let get = |path: &str| stack.get(path).header("x-user-id", "1").header("x_is_admin", "true");
    let own = || Some(user.to_string());
    let sent = |request, user, outcome, reason| Sent { request, user, counted: (outcome, reason) };
    let shadow = "shadow_deny";
    vec![
        sent(get("/orders").bearer(&jwt(json!({}))), own(), "allow", "none"),
        sent(get("/orders"), None, shadow, "missing_credentials"),
        sent(
            get("/orders").bearer(&Signer::foreign().claims(of_user(1, &json!({})).to_string())),
            None,
            shadow,
            "signature_invalid",
        ),
        sent(get("/orders").bearer(&jwt(json!({"exp": 1_600_000_000}))), None, shadow, "token_expired"),
        sent(get("/orders").bearer(&jwt(json!({"token_type": "refresh"}))), None, shadow, "token_type_not_accepted"),
        sent(get("/admin").bearer(&jwt(json!({"is_admin": false}))), own(), shadow, "claims_not_sufficient"),
        sent(get("/admin").bearer(&jwt(json!({"is_admin": true}))), own(), "allow", "none"),
        sent(get("/closed").bearer(&jwt(json!({}))), None, shadow, "denied_by_rule"),
        sent(get("/public/..%2Forders").bearer(&jwt(json!({}))), None, shadow, "ambiguous_path"),
        sent(get("/orders").api_key(&scripted::token(user)), None, shadow, "token_rejected"),
        sent(get("/optional"), None, "public", "none"),
        sent(get("/optional").bearer("malformed"), None, shadow, "token_malformed"),
        sent(get("/public").bearer(&jwt(json!({}))), None, "public", "none"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_counts_each_verdict_and_stops_no_request() {
    let config = json!({
        "mode": "shadow",
        // A busy machine must not cause an outage.
        "auth_service": {"timeout": "20s"},
        "jwt": {"public_key": {"pem": [Signer::trusted().public_pem()], "min_refetch_interval": "100ms"}},
        "rules": [
            {"match": {"prefix": "/public"}, "public": true},
            {"match": {"prefix": "/closed"}, "deny": true},
            {"match": {"prefix": "/optional"}, "optional": true},
            {"match": {"prefix": "/admin"}, "require": {"is_admin": true}},
        ],
    });
    let stack = std::sync::Arc::new(Stack::builder().config(config).start().await.unwrap());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let stack = std::sync::Arc::clone(&stack);
        clients.spawn(async move {
            let mut counted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
            for round in 0..ROUNDS {
                for Sent { request, user, counted: kind } in requests(&stack, client, round) {
                    let answer = request.send().await.unwrap();
                    assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text());
                    let echo = answer.upstream().unwrap();
                    let is_kept = echo.all("x-user-id") == user.iter().map(String::as_str).collect::<Vec<_>>();
                    let email = user.map(|user| format!("{user}@example.com"));
                    assert!(is_kept && echo.header("x-user-email") == email, "{kind:?}: {:?}", echo.headers);
                    assert!(echo.all("x_is_admin").is_empty());
                    *counted.entry(kind).or_default() += 1;
                }
            }
            counted
        });
    }
    let mut expected: BTreeMap<_, u64> = BTreeMap::new();
    for counted in clients.join_all().await {
        for (kind, times) in counted {
            *expected.entry(kind).or_default() += times;
        }
    }
    for ((outcome, reason), times) in &expected {
        let labels = [("outcome", *outcome), ("reason", *reason)];
        let counted = stack.metric("auth_validation_requests_total", &labels).await.unwrap();
        assert_eq!(counted, *times, "{outcome} {reason}");
    }
    let all = stack.metric("auth_validation_requests_total", &[]).await.unwrap();
    assert_eq!(all, expected.values().sum::<u64>());
    assert!(all >= 5000, "{all}");
    assert_eq!(stack.metric("auth_validation_errors_total", &[]).await.unwrap(), 0, "nothing is denied in earnest");
}
