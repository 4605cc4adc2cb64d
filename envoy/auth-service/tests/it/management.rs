//! Changing tokens and passwords, and revoking as an administrator.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{answer, claims, refusal, start};

#[tokio::test]
async fn changing_a_token_purges_its_verdicts() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    let token = service.create_token(&access, json!({"name": "a", "exp_date": "2999-01-01T00:00:00Z"})).await;
    let path = format!("/iam/tokens/{}", token["id"]);
    let change = |body: Value| service.request(Method::PATCH, &path).bearer_auth(&access).json(&body);
    let cursor = service.blacklist(None).await["cursor"].as_str().unwrap().to_owned();

    let (status, changed) = answer(change(json!({"name": "b", "exp_date": null}))).await;
    assert_eq!((status, &changed["name"], &changed["exp_date"]), (StatusCode::OK, &json!("b"), &Value::Null));
    assert_eq!(service.blacklist(Some(&cursor)).await["purge"], json!([{"token_id": token["id"]}]));
    let (_, changed) = answer(change(json!({"description": "d"}))).await;
    assert_eq!((&changed["name"], &changed["description"]), (&json!("b"), &json!("d")), "the rest stays");
    assert_eq!(answer(service.get(&path).bearer_auth(&access)).await.1, changed);

    for body in [
        json!({"name": ""}),
        json!({"name": null, "exp_date": "tomorrow"}),
        json!({"exp_date": "2001-01-01T00:00:00Z"}),
        json!({"id": 1}),
        json!([]),
    ] {
        assert_eq!(refusal(change(body.clone())).await.0, 400, "{body}");
    }
    assert_eq!(refusal(service.request(Method::PATCH, &path).json(&json!({}))).await.0, 401);
    let (root, _) = service.login("root").await;
    let others = service.create_token(&root, json!({"name": "of root"})).await;
    let others = format!("/iam/tokens/{}", others["id"]);
    let foreign = service.request(Method::PATCH, &others).bearer_auth(&access).json(&json!({"name": "mine"}));
    assert_eq!(refusal(foreign).await.0, 404);
    assert_eq!(answer(service.get(&others).bearer_auth(&root)).await.1["name"], "of root");
}

#[tokio::test]
async fn a_new_password_revokes_the_users_tokens() {
    let service = start().await;
    let (access, refresh) = service.login("alice").await;
    let change = |old: &str, new: &str| {
        service.post("/auth/password").bearer_auth(&access).json(&json!({"old_password": old, "new_password": new}))
    };
    assert_eq!(refusal(change("wrong", "new")).await.0, 401);
    assert_eq!(refusal(change("secret", "")).await.0, 400);
    assert_eq!(answer(service.login_as("alice", "secret")).await.0, 200, "nothing has changed");

    let cursor = service.blacklist(None).await["cursor"].as_str().unwrap().to_owned();
    assert_eq!(answer(change("secret", "new")).await.0, 204);
    let users = service.blacklist(Some(&cursor)).await["users"].clone();
    assert_eq!(users[0]["user_id"], 1);
    assert!(users[0]["exp_before"].as_i64() > claims(&access)["exp"].as_i64());
    assert_eq!(refusal(service.verify_jwt(&access)).await.0, 401);
    assert_eq!(refusal(service.post("/auth/jwt/refresh").bearer_auth(&refresh)).await.0, 401);
    assert_eq!(refusal(service.login_as("alice", "secret")).await.0, 401);
    let (status, body) = answer(service.login_as("alice", "new")).await;
    assert_eq!(status, 200);
    assert_eq!(answer(service.verify_jwt(body["access"].as_str().unwrap())).await.0, 200);
}

#[tokio::test]
async fn an_administrator_revokes_jwts_users_and_tokens() {
    let service = start().await;
    let (root, _) = service.login("root").await;
    let (first, _) = service.login("alice").await;
    let (second, _) = service.login("alice").await;
    let token = service.create_token(&first, json!({"name": "a"})).await;
    let revoke = |by: &str, body: Value| service.post("/iam/revocations").bearer_auth(by).json(&body);

    let jti = json!({"jti": claims(&first)["jti"], "exp": claims(&first)["exp"]});
    assert_eq!(refusal(revoke(&second, jti.clone())).await.0, 403, "alice is no administrator");
    assert_eq!(answer(service.verify_jwt(&first)).await.0, 200);
    assert_eq!(answer(revoke(&root, jti)).await.0, 204);
    assert_eq!(refusal(service.verify_jwt(&first)).await.0, 401);
    assert_eq!(answer(service.verify_jwt(&second)).await.0, 200);

    assert_eq!(answer(revoke(&root, json!({"token_id": token["id"]}))).await.0, 204);
    assert_eq!(refusal(service.verify_token(&token)).await.0, 401);
    assert_eq!(answer(revoke(&root, json!({"user_id": 1}))).await.0, 204);
    assert_eq!(refusal(service.verify_jwt(&second)).await.0, 401);
    let feed = service.blacklist(None).await;
    assert_eq!(
        (&feed["revoked"][0]["jti"], &feed["purge"]),
        (&claims(&first)["jti"], &json!([{"token_id": token["id"]}]))
    );

    for (body, status) in [
        (json!({}), 400),
        (json!({"jti": "a"}), 400),
        (json!({"jti": "", "exp": 1}), 400),
        (json!({"user_id": 1, "token_id": 1}), 400),
        (json!({"user": 1}), 400),
        (json!({"user_id": 99}), 404),
        (json!({"token_id": 99}), 404),
    ] {
        assert_eq!(refusal(revoke(&root, body.clone())).await.0, status, "{body}");
    }
}
