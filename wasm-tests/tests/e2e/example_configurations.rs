//! The configurations of `examples/configurations`, with which docs/configurations.md begins, in Envoy: a few requests
//! through each.

use std::fs;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use wasm_tests::{
    Builder, Request, Stack,
    corpus::{keys::Signer, tokens},
    credentials::claims,
    merge, workspace,
};

use crate::{noting, other_hosts::add_cluster};

/// A gateway with one of the configurations. Only the timeout is changed, because the machine may be busy.
async fn with(name: &str) -> Stack {
    builder(name).start().await.unwrap()
}

fn builder(name: &str) -> Builder {
    let file = workspace().join("examples/configurations").join(name);
    let mut config: Value = serde_norway::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    merge(&mut config, &json!({"auth_service": {"timeout": "5s"}}));
    Stack::builder().replace_config(config)
}

/// A JWT signed by the service, with these changes to the usual claims.
async fn jwt(stack: &Stack, changes: Value) -> String {
    let mut claims = claims();
    merge(&mut claims, &changes);
    stack.mint_claims(&claims).await.unwrap()
}

/// `200 as <user>`, `200 as nobody`, or the status and the code of the denial.
async fn outcome(request: Request) -> String {
    let response = request.send().await.unwrap();
    if response.status != 200 {
        return format!("{} {}", response.status, response.code().unwrap_or_default());
    }
    let user = response.upstream().unwrap().header("x-user-id");
    format!("200 as {}", user.unwrap_or_else(|| "nobody".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_public_paths_need_no_credential() {
    let stack = with("private-with-public-paths.yaml").await;
    let jwt = jwt(&stack, json!({})).await;
    for (path, without, with) in [
        ("/orders", "401 missing_credentials", "200 as 7"),
        ("/health", "200 as nobody", "200 as nobody"),
        ("/assets/logo.svg", "200 as nobody", "200 as nobody"),
        ("/shop/cart", "200 as nobody", "200 as 7"),
        ("/internal/metrics", "403 denied_by_rule", "403 denied_by_rule"),
        ("/assets/..%2Finternal", "403 ambiguous_path", "403 ambiguous_path"),
    ] {
        assert_eq!(outcome(stack.get(path)).await, without, "{path}");
        assert_eq!(outcome(stack.get(path).bearer(&jwt)).await, with, "{path}");
    }
    assert_eq!(outcome(stack.get("/shop/cart").bearer("a.b.c")).await, "401 token_malformed");
    assert_eq!(outcome(stack.post("/assets/logo.svg")).await, "401 missing_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_take_api_tokens_alone() {
    let stack = with("webhooks.yaml").await;
    let jwt = jwt(&stack, json!({})).await;
    let (_, token) = stack.api_token("hook").await.unwrap();
    for request in [stack.post("/webhooks/paid"), stack.get("/webhooks/paid")] {
        assert_eq!(outcome(request.bearer(&jwt)).await, "403 claims_not_sufficient");
    }
    for request in
        [stack.post("/webhooks/paid").api_key(&token), stack.post("/webhooks/paid").header("x-api-key", &token)]
    {
        let upstream = request.send().await.unwrap().upstream().unwrap();
        assert_eq!(upstream.header("x-user-id").as_deref(), Some("1"));
        assert_eq!((upstream.header("authorization"), upstream.header("x-api-key")), (None, None));
    }
    let twice = stack.post("/webhooks/paid").api_key(&token).header("x-api-key", &token);
    assert_eq!(outcome(twice).await, "401 malformed_credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_panel_admits_administrators_who_signed_in_by_sso() {
    let stack = with("admin-panel.yaml").await;
    let admin = json!({"user_type": "system_admin", "sso_entity": "idp", "is_admin": true});
    let admin = jwt(&stack, admin).await;
    let support = jwt(&stack, json!({"user_groups": ["support"], "sso_entity": "idp"})).await;
    let by_password = jwt(&stack, json!({"user_type": "system_admin", "is_admin": true})).await;
    let user = jwt(&stack, json!({})).await;
    for (token, get, delete) in [
        (&admin, "200 as 7", "200 as 7"),
        (&support, "200 as 7", "403 claims_not_sufficient"),
        (&by_password, "401 insufficient_user_authentication", "401 insufficient_user_authentication"),
        (&user, "403 claims_not_sufficient", "403 claims_not_sufficient"),
    ] {
        assert_eq!(outcome(stack.get("/admin/users").bearer(token)).await, get);
        assert_eq!(outcome(stack.request(Method::DELETE, "/admin/users").bearer(token)).await, delete);
    }
    let cookie = format!("theme=dark; session={admin}");
    let from = |site: &str| {
        let request = stack.request(Method::DELETE, "/admin/users").header("cookie", &cookie);
        request.header("sec-fetch-site", site)
    };
    assert_eq!(outcome(from("same-origin")).await, "200 as 7");
    assert_eq!(outcome(from("cross-site")).await, "403 cross_site_request");
    let without_jti = jwt(&stack, json!({"jti": null})).await;
    assert_eq!(outcome(stack.get("/").bearer(&without_jti)).await, "401 token_malformed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_verifies_every_credential() {
    let mut stack = with("remote.yaml").await;
    let known = stack.login().await.unwrap().access;
    let unknown = stack.login().await.unwrap().access;
    assert_eq!(outcome(stack.get("/orders").bearer(&known)).await, "200 as 1");
    stack.stop_auth().await;
    assert_eq!(outcome(stack.get("/orders").bearer(&known)).await, "200 as 1");
    assert_eq!(outcome(stack.get("/orders").bearer(&unknown)).await, "503 auth_service_unavailable");
}

/// A host with a key of its own, and with a list of its own.
fn keys_and_list(path: &str) -> Response {
    match path {
        "/iam/public-key" => Json(json!({"public_key": Signer::trusted().public_pem()})).into_response(),
        "/auth/blacklist" => {
            Json(json!({"cursor": "c", "revoked": [{"jti": "revoked", "exp": 4_102_444_800_u64}]})).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The authentication service has another key, and revokes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_and_the_list_come_from_another_host() {
    let (port, _) = noting::start(keys_and_list).await;
    let builder = builder("key-from-another-host.yaml");
    let stack = builder.envoy(move |bootstrap| add_cluster(bootstrap, "key_service", port)).start().await.unwrap();
    let of = |jti: &str| {
        let mut claims = tokens::base();
        claims["jti"] = json!(jti);
        Signer::trusted().claims(claims.to_string())
    };
    assert_eq!(outcome(stack.get("/orders").bearer(&of("good"))).await, "200 as 7");
    assert_eq!(outcome(stack.get("/orders").bearer(&of("revoked"))).await, "401 token_revoked");
    let of_the_service = stack.login().await.unwrap().access;
    assert_eq!(outcome(stack.get("/orders").bearer(&of_the_service)).await, "401 signature_invalid");
    let (_, token) = stack.api_token("any").await.unwrap();
    assert_eq!(outcome(stack.get("/orders").api_key(&token)).await, "200 as 1", "the service verifies");
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_denies_no_request() {
    let stack = with("migration-in-shadow.yaml").await;
    let user = jwt(&stack, json!({})).await;
    let reseller = jwt(&stack, json!({"user_type": "reseller"})).await;
    for (path, token, expected) in [
        ("/orders", None, "200 as nobody"),
        ("/orders", Some("a.b.c"), "200 as nobody"),
        ("/orders", Some(&*user), "200 as 7"),
        ("/reports", None, "401 missing_credentials"),
        ("/reports", Some(&*user), "403 claims_not_sufficient"),
        ("/reports", Some(&*reseller), "200 as 7"),
    ] {
        let mut request = stack.get(path).header("x-user-id", "1");
        if let Some(token) = token {
            request = request.bearer(token);
        }
        assert_eq!(outcome(request).await, expected, "{path}");
    }
    let shadowed = [("outcome", "shadow_deny"), ("reason", "missing_credentials")];
    assert_eq!(stack.metric("auth_validation_requests_total", &shadowed).await.unwrap(), 1);
}
