//! Four ways to guard a path, side by side on one gateway: only API tokens, verified by the service, converted to a JWT
//! for one upstream, and by claims. Each lets a request in and refuses another.

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Echo, Request, Stack,
    credentials::{claims, claims_of, forged},
    merge,
};

fn config() -> Value {
    json!({
        // With this format the service's answer is a JWT, which `forward_credential: jwt` needs.
        "api_token": {"response_format": "jwt_body"},
        "identity_headers": {"X-Role": "role_params.role"},
        "rules": [
            {"name": "webhooks", "match": {"prefix": "/webhooks"}, "require": {"schemes": ["apikey"]}},
            {"name": "payments", "match": {"prefix": "/payments"}, "verification": "remote"},
            {"name": "legacy", "match": {"prefix": "/legacy"}, "forward_credential": "jwt"},
            {"name": "partners", "match": {"prefix": "/partners"},
                "require": {"claims": {"tenant": ["acme"]}, "groups": ["Users"]}},
        ],
    })
}

/// Sends a request that claims to be another user's, and returns what the upstream saw.
async fn passes(request: Request) -> Echo {
    let answer = request.header("x-user-id", "0").header("x-role", "owner").send().await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.upstream().unwrap()
}

async fn is_denied(request: Request, code: &str) {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.code().as_deref(), Some(code), "{} {}", answer.status, answer.text());
}

/// `Authorization`, `X-User-Id`, `X-User-Email` and `X-Role`, as the upstream sees them.
fn seen(echo: &Echo) -> [Option<String>; 4] {
    ["authorization", "x-user-id", "x-user-email", "x-role"].map(|name| echo.header(name))
}

fn expected(authorization: String, user: &str, email: &str, role: Option<&str>) -> [Option<String>; 4] {
    [Some(authorization), Some(user.to_owned()), Some(email.to_owned()), role.map(str::to_owned)]
}

/// A JWT of user 7 that the service has signed.
async fn partner(stack: &Stack, changes: Value) -> String {
    let mut claims = claims();
    merge(&mut claims, &changes);
    stack.mint_claims(&claims).await.unwrap()
}

async fn asked(stack: &Stack) -> u64 {
    stack.counters().await.unwrap()["verify"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_schemes_stand_side_by_side_on_one_gateway() {
    const ADMIN: &str = "admin@example.com";
    let stack = Stack::builder().config(config()).start().await.unwrap();
    let (_, token) = stack.api_token("any").await.unwrap();
    let unknown = wasm_tests::corpus::scripted::token(1);
    let [jwt, revoked] = [stack.login().await.unwrap().access, stack.login().await.unwrap().access];
    let (by_token, by_jwt) = (format!("APIKey {token}"), format!("Bearer {jwt}"));

    // Only API tokens. The upstream gets them as they came.
    let echo = passes(stack.get("/webhooks/paid").api_key(&token)).await;
    assert_eq!(seen(&echo), expected(by_token.clone(), "1", ADMIN, None));
    is_denied(stack.get("/webhooks/paid").bearer(&jwt), "claims_not_sufficient").await;
    is_denied(stack.get("/webhooks/paid").api_key(&unknown), "token_rejected").await;

    // The service verifies each credential: it alone knows who has signed out.
    let logout = stack.service_request(Method::POST, "/auth/jwt/logout").unwrap().bearer(&revoked);
    assert_eq!(logout.send().await.unwrap().status, 204);
    let before = asked(&stack).await;
    let echo = passes(stack.get("/payments").bearer(&jwt)).await;
    assert_eq!(seen(&echo), expected(by_jwt.clone(), "1", ADMIN, None));
    is_denied(stack.get("/payments").bearer(&revoked), "token_rejected").await;
    assert_eq!(asked(&stack).await, before + 2);

    // Converted for one upstream, although the verdict on this token was known before.
    let echo = passes(stack.get("/legacy").api_key(&token)).await;
    let converted = echo.header("authorization").unwrap();
    let inside = claims_of(converted.strip_prefix("Bearer ").unwrap()).unwrap();
    assert_eq!((&inside["token_type"], &inside["user_id"]), (&json!("api_token"), &json!(1)));
    assert_eq!(seen(&echo), expected(converted, "1", ADMIN, None));
    let echo = passes(stack.get("/legacy").bearer(&jwt)).await;
    assert_eq!(seen(&echo), expected(by_jwt.clone(), "1", ADMIN, None));
    is_denied(stack.get("/legacy").api_key(&unknown), "token_rejected").await;
    is_denied(stack.get("/legacy").bearer(&forged(&jwt).unwrap()), "signature_invalid").await;

    // By claims: one that the filter doesn't know, and a group.
    let acme = partner(&stack, json!({"tenant": "acme"})).await;
    let echo = passes(stack.get("/partners").bearer(&acme)).await;
    assert_eq!(seen(&echo), expected(format!("Bearer {acme}"), "7", "seven@example.com", Some("viewer")));
    for changes in [json!({"tenant": "other"}), json!({"tenant": "acme", "user_groups": []})] {
        let other = partner(&stack, changes).await;
        is_denied(stack.get("/partners").bearer(&other), "claims_not_sufficient").await;
    }
    is_denied(stack.get("/partners").api_key(&token), "claims_not_sufficient").await;

    // Where no rule says otherwise, every valid credential passes, unchanged.
    for (request, authorization) in [
        (stack.get("/orders").api_key(&token), by_token),
        (stack.get("/orders").bearer(&jwt), by_jwt),
        (stack.get("/orders").bearer(&revoked), format!("Bearer {revoked}")),
    ] {
        assert_eq!(seen(&passes(request).await), expected(authorization, "1", ADMIN, None));
    }
    assert_eq!(stack.upstream_hits(), 8, "nothing that was denied has reached the upstream");
}
