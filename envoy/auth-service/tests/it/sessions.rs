//! Signing in and out, refreshing, and the revocation feed.

use serde_json::{Value, json};

use crate::support::{answer, claims, mint, now, refusal, rs256, start, start_with, start_with_faults};

#[tokio::test]
async fn login_returns_two_tokens() {
    let service = start().await;
    let before = now();
    let (status, body) = answer(service.login_as("alice", "secret")).await;
    assert_eq!(status, 200);
    assert_eq!(body["expires_in"], 3600);
    for (name, lifetime) in [("access", 3600), ("refresh", 86_400)] {
        let jwt = body[name].as_str().unwrap();
        assert!(jwt.starts_with("eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9."), "{jwt}");
        let claims = claims(jwt);
        let exp = claims["exp"].as_i64().unwrap();
        assert!((before + lifetime..=now() + lifetime).contains(&exp), "{exp}");
        assert_eq!(
            claims,
            json!({
                "exp": exp, "jti": claims["jti"], "user_id": 1, "client_id": 1,
                "issued_by": {"user_id": 1, "user_type": "common"}, "token_type": name, "user_type": "common", "user_groups": [],
                "email": "alice@example.com", "username": "alice", "sso_entity": null, "is_admin": false, "client_name": "Client 1",
                "federation_id": null,
            })
        );
    }
    assert_ne!(claims(body["access"].as_str().unwrap())["jti"], claims(body["refresh"].as_str().unwrap())["jti"]);
}

#[tokio::test]
async fn a_user_with_everything_has_all_the_claims() {
    let service = start().await;
    let (status, body) = answer(service.login_as("root@admin.org", "toor")).await;
    assert_eq!(status, 200);
    let claims = claims(body["access"].as_str().unwrap());
    assert_eq!(
        claims,
        json!({
            "exp": claims["exp"], "jti": claims["jti"], "user_id": 2, "client_id": 2,
            "issued_by": {"user_id": 2, "user_type": "system_admin"}, "token_type": "access", "user_type": "system_admin",
            "user_groups": ["dev", "qa"], "email": "root@admin.org", "username": "root", "sso_entity": "https://idp", "is_admin": true,
            "client_name": "Acme", "federation_id": 5,
            "role_params": {
                "role": "viewer", "read_only": true, "federations": [], "alias": "", "resellers_wl": [], "resellers_bl": []
            },
        })
    );
}

#[tokio::test]
async fn login_refuses_bad_credentials() {
    let service = start().await;
    let wrong = (401, "Username or password is wrong".to_owned());
    assert_eq!(refusal(service.login_as("alice", "Secret")).await, wrong);
    assert_eq!(refusal(service.login_as("nobody", "secret")).await, wrong);
    assert_eq!(refusal(service.post("/auth/jwt/login").json(&json!({"username": "alice"}))).await.0, 400);
    let json = service.post("/auth/jwt/login").header("content-type", "application/json");
    assert_eq!(refusal(json.body("{")).await.0, 400);
    assert_eq!(refusal(service.post("/auth/jwt/login").body("{}")).await.0, 415);
}

#[tokio::test]
async fn refresh_keeps_the_refresh_token() {
    let service = start().await;
    let (access, refresh) = service.login("alice").await;
    for _ in 0..2 {
        let (status, body) = answer(service.post("/auth/jwt/refresh").bearer_auth(&refresh)).await;
        assert_eq!(status, 200);
        assert_eq!(body["expires_in"], 3600);
        assert_eq!(body.as_object().unwrap().len(), 2);
        let fresh = body["access"].as_str().unwrap();
        assert_ne!(claims(fresh)["jti"], claims(&access)["jti"]);
        assert_eq!(answer(service.verify_jwt(fresh)).await.0, 200);
    }
    let type_refused = (401, "Tokens of this type are not accepted here".to_owned());
    assert_eq!(refusal(service.post("/auth/jwt/refresh").bearer_auth(&access)).await, type_refused);
    assert_eq!(refusal(service.verify_jwt(&refresh)).await, type_refused);
    assert_eq!(refusal(service.get("/iam/tokens").bearer_auth(&refresh)).await, type_refused);
    assert_eq!(refusal(service.post("/auth/jwt/refresh")).await, (401, "Authorization is missing".to_owned()));
    assert_eq!(refusal(service.post("/auth/jwt/refresh").basic_auth("a", Some("b"))).await.0, 401);
}

#[tokio::test]
async fn logout_revokes_only_the_token() {
    let service = start().await;
    let (first, refresh) = service.login("alice").await;
    let (second, _) = service.login("alice").await;
    let empty = service.blacklist(None).await;
    assert_eq!(empty, json!({"cursor": empty["cursor"], "revoked": [], "users": [], "purge": []}));

    assert_eq!(service.send(service.post("/auth/jwt/logout").bearer_auth(&first)).await.status(), 204);
    let revoked = (401, "Token has been revoked".to_owned());
    assert_eq!(refusal(service.verify_jwt(&first)).await, revoked);
    assert_eq!(refusal(service.post("/auth/jwt/logout").bearer_auth(&first)).await, revoked);
    assert_eq!(refusal(service.get("/iam/tokens").bearer_auth(&first)).await, revoked);
    assert_eq!(answer(service.verify_jwt(&second)).await.0, 200);

    let entry = |jwt: &str| json!({"jti": claims(jwt)["jti"], "exp": claims(jwt)["exp"]});
    let feed = service.blacklist(empty["cursor"].as_str()).await;
    assert_eq!(feed, json!({"cursor": feed["cursor"], "revoked": [entry(&first)], "users": [], "purge": []}));

    assert_eq!(service.send(service.post("/auth/jwt/logout").bearer_auth(&refresh)).await.status(), 204);
    assert_eq!(refusal(service.post("/auth/jwt/refresh").bearer_auth(&refresh)).await, revoked);
    assert_eq!(service.blacklist(feed["cursor"].as_str()).await["revoked"], json!([entry(&refresh)]));
    assert_eq!(service.blacklist(None).await["revoked"], json!([entry(&first), entry(&refresh)]));
}

#[tokio::test]
async fn logout_everywhere_revokes_only_earlier_tokens() {
    let service = start().await;
    let (access, refresh) = service.login("alice").await;
    let (other, other_refresh) = service.login("alice").await;
    let (root, _) = service.login("root").await;
    let logout = service.post("/auth/jwt/logout?everywhere=true").bearer_auth(&access);
    assert_eq!(service.send(logout).await.status(), 204);

    for jwt in [&access, &other] {
        assert_eq!(refusal(service.verify_jwt(jwt)).await, (401, "Token has been revoked".to_owned()));
    }
    for jwt in [&refresh, &other_refresh] {
        assert_eq!(refusal(service.post("/auth/jwt/refresh").bearer_auth(jwt)).await.0, 401);
    }
    assert_eq!(answer(service.verify_jwt(&root)).await.0, 200);

    let feed = service.blacklist(None).await;
    let exp_before = feed["users"][0]["exp_before"].as_i64().unwrap();
    assert_eq!(feed["users"], json!([{"user_id": 1, "exp_before": exp_before}]));
    assert!(claims(&other)["exp"].as_i64().unwrap() < exp_before);

    let (access, refresh) = service.login("alice").await;
    assert!(claims(&access)["exp"].as_i64().unwrap() >= exp_before);
    assert_eq!(answer(service.verify_jwt(&access)).await.0, 200);
    assert_eq!(answer(service.post("/auth/jwt/refresh").bearer_auth(&refresh)).await.0, 200);
    assert_eq!(refusal(service.post("/auth/jwt/logout?everywhere=perhaps").bearer_auth(&access)).await.0, 400);
}

#[tokio::test]
async fn a_cursor_of_another_service_is_refused() {
    let (service, another) = (start().await, start().await);
    let cursor = service.blacklist(None).await["cursor"].as_str().unwrap().to_owned();
    assert_eq!(service.blacklist(Some(&cursor)).await["cursor"], cursor.as_str());
    let (epoch, place) = cursor.rsplit_once('-').unwrap();
    assert_eq!(place, "0");
    let foreign = another.blacklist(None).await["cursor"].as_str().unwrap().to_owned();
    for bad in [
        "",
        "0",
        "yesterday",
        &foreign,
        &format!("{epoch}-1"),
        &format!("{epoch}--1"),
        &format!("{epoch}-"),
        &format!("{cursor}x"),
    ] {
        let (status, _) = refusal(service.get(&format!("/auth/blacklist?since={bad}"))).await;
        assert_eq!(status, 400, "{bad}");
    }
}

#[tokio::test]
async fn expired_entries_leave_the_feed_and_the_cursor_continues() {
    let service = start_with_faults().await;
    let key = service.private_key().await;
    let exp = now() + 3;
    let short = json!({"exp": exp, "jti": "short", "user_id": 1, "client_id": 1, "token_type": "access"});
    let jwt = mint(&key, &rs256(), &short);
    assert_eq!(service.send(service.post("/auth/jwt/logout").bearer_auth(&jwt)).await.status(), 204);
    let feed = service.blacklist(None).await;
    assert_eq!(feed["revoked"], json!([{"jti": "short", "exp": exp}]));
    let later = loop {
        let later = service.blacklist(None).await;
        if later["revoked"] == json!([]) {
            break later;
        }
        tokio::task::yield_now().await;
    };
    assert!(now() >= exp);
    assert_eq!(later["cursor"], feed["cursor"]);
}

#[tokio::test]
async fn a_disabled_user_is_refused_everywhere() {
    let service = start_with_faults().await;
    let (access, refresh) = service.login("alice").await;
    let token = service.create_token(&access, json!({"name": "ci"})).await;
    let cursor = service.blacklist(None).await["cursor"].clone();
    let change = |disabled: bool| service.put("/faults/users/1").json(&json!({"disabled": disabled}));
    assert_eq!(service.send(change(true)).await.status(), 204);

    let disabled = (403, "User is disabled".to_owned());
    assert_eq!(refusal(service.verify_jwt(&access)).await, disabled);
    assert_eq!(refusal(service.verify_token(&token)).await, disabled);
    assert_eq!(refusal(service.post("/auth/jwt/refresh").bearer_auth(&refresh)).await, disabled);
    assert_eq!(refusal(service.get("/iam/tokens").bearer_auth(&access)).await, disabled);
    assert_eq!(refusal(service.login_as("alice", "secret")).await, disabled);
    assert_eq!(refusal(service.login_as("alice", "wrong")).await.0, 401);
    assert_eq!(service.blacklist(cursor.as_str()).await["purge"], json!([{"user_id": 1}]));

    assert_eq!(service.send(change(false)).await.status(), 204);
    assert_eq!(answer(service.verify_jwt(&access)).await.0, 200);
    assert_eq!(refusal(service.put("/faults/users/99").json(&json!({"disabled": true}))).await.0, 404);
}

#[tokio::test]
async fn the_users_of_a_disabled_client_are_refused_and_the_client_is_purged() {
    let service = start_with_faults().await;
    let (alice, _) = service.login("alice").await;
    let (root, _) = service.login("root").await;
    let cursor = service.blacklist(None).await["cursor"].clone();
    let change = |client: i64, disabled: bool| {
        service.put(&format!("/faults/clients/{client}")).json(&json!({"disabled": disabled}))
    };
    assert_eq!(service.send(change(1, true)).await.status(), 204);
    assert_eq!(refusal(service.verify_jwt(&alice)).await, (403, "User is disabled".to_owned()));
    assert_eq!(answer(service.verify_jwt(&root)).await.0, 200);
    assert_eq!(service.blacklist(cursor.as_str()).await["purge"], json!([{"client_id": 1}]));

    assert_eq!(service.send(change(1, false)).await.status(), 204);
    assert_eq!(answer(service.verify_jwt(&alice)).await.0, 200);
    assert_eq!(refusal(change(99, true)).await.0, 404);
}

#[tokio::test]
async fn lifetimes_are_configurable() {
    let service =
        start_with(auth_service::Options { access_ttl: 60, refresh_ttl: 120, ..crate::support::options() }).await;
    let (_, body): (_, Value) = answer(service.login_as("alice", "secret")).await;
    assert_eq!(body["expires_in"], 60);
    let exp = |name: &str| claims(body[name].as_str().unwrap())["exp"].as_i64().unwrap();
    assert!((1..=60).contains(&(exp("access") - now())));
    assert!((61..=120).contains(&(exp("refresh") - now())));
}
