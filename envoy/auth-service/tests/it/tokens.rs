//! `/iam/tokens`.

use auth_service::Options;
use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Service, answer, claims, options, refusal, start, start_with};

async fn list(service: &Service, access: &str, query: &str) -> Value {
    let (status, body) = answer(service.get(&format!("/iam/tokens?{query}")).bearer_auth(access)).await;
    assert_eq!(status, 200, "{query}: {body}");
    body
}

fn names(page: &Value) -> Vec<&str> {
    page["results"].as_array().unwrap().iter().map(|token| token["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_token_is_shown_once() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    let body = json!({"name": "CI/CD", "description": "deployments", "exp_date": "2999-12-31T23:59:59+01:00"});
    let mut token = service.create_token(&access, body).await;
    let (id, secret) = token["token"].as_str().unwrap().split_once('$').unwrap();
    assert_eq!(id, token["id"].to_string());
    assert!(
        secret.len() == 128 && secret.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()),
        "{secret}"
    );
    assert_eq!(
        token,
        json!({
            "id": 24126, "name": "CI/CD", "description": "deployments", "token": token["token"], "exp_date": "2999-12-31T22:59:59Z",
            "created": token["created"], "user_id": 1, "user_email": "alice@example.com", "last_usage": null,
        })
    );

    assert_eq!(answer(service.verify_token(&token)).await.0, 200);
    token.as_object_mut().unwrap().remove("token");
    let (status, mut read) = answer(service.get("/iam/tokens/24126").bearer_auth(&access)).await;
    assert_eq!(status, 200);
    assert!(read["last_usage"].as_str().unwrap() >= read["created"].as_str().unwrap(), "{read}");
    let page = list(&service, &access, "").await;
    assert_eq!(page, json!({"count": 1, "next": null, "previous": null, "results": [read]}));
    read["last_usage"] = Value::Null;
    assert_eq!(read, token);
}

#[tokio::test]
async fn bad_tokens_are_not_created() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    for body in [
        json!({}),
        json!({"name": ""}),
        json!({"name": " "}),
        json!({"name": "x".repeat(256)}),
        json!({"name": 1}),
        json!({"name": "a", "exp_date": "2001-01-01T00:00:00Z"}),
        json!({"name": "a", "exp_date": "2999-01-01"}),
        json!({"name": "a", "expires": "2999-01-01T00:00:00Z"}),
    ] {
        let (status, details) = refusal(service.post("/iam/tokens").bearer_auth(&access).json(&body)).await;
        assert_eq!(status, 400, "{body} {details}");
    }
    assert_eq!(list(&service, &access, "").await["count"], 0);
    assert_eq!(refusal(service.post("/iam/tokens").json(&json!({"name": "a"}))).await.0, 401);
    assert_eq!(refusal(service.post("/iam/tokens").body("{")).await.0, 401);
}

#[tokio::test]
async fn a_token_has_one_spelling() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    let token = service.create_token(&access, json!({"name": "a"})).await;
    let token = token["token"].as_str().unwrap();
    let malformed = (401, "API token is malformed".to_owned());
    for spelling in [format!("0{token}"), format!("00{token}"), format!("+{token}")] {
        for (authorization, types) in [(format!("APIKey {spelling}"), "apikey"), (format!("Token {spelling}"), "other")]
        {
            let verify = service.verify(&authorization, types, "json_body");
            assert_eq!(refusal(verify).await, malformed, "{authorization}");
        }
    }
    assert_eq!(answer(service.verify(&format!("APIKey {token}"), "apikey", "json_body")).await.0, 200);
}

#[tokio::test]
async fn a_deleted_token_is_refused_and_purged() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    let token = service.create_token(&access, json!({"name": "a"})).await;
    let authorization = format!("APIKey {}", token["token"].as_str().unwrap());
    let jwt = service.send(service.verify(&authorization, "apikey", "jwt_body")).await.text().await.unwrap();
    let cursor = service.blacklist(None).await["cursor"].clone();

    let path = format!("/iam/tokens/{}", token["id"]);
    let delete = || service.request(Method::DELETE, &path).bearer_auth(&access);
    assert_eq!(answer(delete()).await, (StatusCode::NO_CONTENT, Value::Null));
    let unknown = (404, "There is no such token".to_owned());
    assert_eq!(refusal(delete()).await, unknown);
    assert_eq!(refusal(service.get(&path).bearer_auth(&access)).await, unknown);
    assert_eq!(refusal(service.verify_token(&token)).await, (401, "Token has been deleted".to_owned()));
    assert_eq!(refusal(service.verify_jwt(&jwt)).await, (401, "Token has been revoked".to_owned()));
    assert_eq!(service.blacklist(cursor.as_str()).await["purge"], json!([{"token_id": token["id"]}]));
    for path in ["/iam/tokens/1", "/iam/tokens/x", "/iam/tokens/99999999999999999999"] {
        assert_eq!(refusal(service.get(path).bearer_auth(&access)).await, unknown);
        assert_eq!(refusal(service.request(Method::DELETE, path).bearer_auth(&access)).await, unknown);
        assert_eq!(refusal(service.get(path)).await.0, 401);
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_and_an_expiry_limits_the_jwt() {
    let directory = tempfile::tempdir().unwrap();
    let db = directory.path().join("auth.db").to_str().unwrap().to_owned();
    let service = start_with(Options { db: db.clone(), ..options() }).await;
    let (access, _) = service.login("alice").await;
    let token = service.create_token(&access, json!({"name": "a", "exp_date": "2999-01-01T00:00:00Z"})).await;
    let database = Connection::open(&db).unwrap();
    let set_exp = |exp: i64| database.execute("UPDATE tokens SET exp_date = ?1", [exp]).unwrap();
    let authorization = format!("APIKey {}", token["token"].as_str().unwrap());
    let jwt_exp = async || {
        let response = service.send(service.verify(&authorization, "apikey", "jwt_body")).await;
        claims(&response.text().await.unwrap())["exp"].as_i64().unwrap()
    };

    let now = crate::support::now();
    assert_eq!(answer(service.verify_token(&token)).await.1["exp"], 32_472_144_000_i64);
    assert!((now + 3600..now + 3700).contains(&jwt_exp().await));
    set_exp(now + 1000);
    assert_eq!(answer(service.verify_token(&token)).await.1["exp"], now + 1000);
    assert_eq!(jwt_exp().await, now + 1000);
    set_exp(now);
    assert_eq!(refusal(service.verify_token(&token)).await, (401, "Token has expired".to_owned()));
}

#[tokio::test]
async fn tokens_are_listed_in_pages() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    for i in 0..5 {
        service.create_token(&access, json!({"name": format!("t{i}")})).await;
    }
    let first = list(&service, &access, "limit=2&name=T&ordering=-id").await;
    assert_eq!((names(&first), &first["count"], &first["previous"]), (vec!["t4", "t3"], &json!(5), &Value::Null));
    let follow = async |page: &Value, way: &str| {
        let address = page[way].as_str().unwrap();
        list(&service, &access, address.strip_prefix("/iam/tokens?").unwrap()).await
    };
    let second = follow(&first, "next").await;
    assert_eq!(names(&second), ["t2", "t1"]);
    let third = follow(&second, "next").await;
    assert_eq!((names(&third), &third["next"]), (vec!["t0"], &Value::Null));
    assert_eq!(follow(&third, "previous").await, second);
    assert_eq!(follow(&second, "previous").await, first);
    assert_eq!(names(&list(&service, &access, "offset=9").await), Vec::<&str>::new());
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "offset=-1",
        "ordering=name",
        "ordering=--id",
        "deleted=2",
        "expired=maybe",
    ] {
        assert_eq!(refusal(service.get(&format!("/iam/tokens?{query}")).bearer_auth(&access)).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn tokens_are_filtered_and_ordered() {
    let directory = tempfile::tempdir().unwrap();
    let db = directory.path().join("auth.db").to_str().unwrap().to_owned();
    let service = start_with(Options { db: db.clone(), ..options() }).await;
    let (access, _) = service.login("alice").await;
    let mut ids = Vec::new();
    for name in ["Alpha", "beta", "alphabet", "gone"] {
        ids.push(service.create_token(&access, json!({"name": name})).await["id"].as_i64().unwrap());
    }
    let database = Connection::open(&db).unwrap();
    for (id, created, exp_date, last_usage) in
        [(ids[0], 30, Some(100), None), (ids[1], 20, Some(32_472_144_000_i64), Some(7)), (ids[2], 10, None, Some(9))]
    {
        let sql = "UPDATE tokens SET created = ?2, exp_date = ?3, last_usage = ?4 WHERE id = ?1";
        database.execute(sql, (id, created, exp_date, last_usage)).unwrap();
    }
    let delete = service.request(Method::DELETE, &format!("/iam/tokens/{}", ids[3])).bearer_auth(&access);
    assert_eq!(service.send(delete).await.status(), 204);

    for (query, expected) in [
        ("", vec!["Alpha", "beta", "alphabet"]),
        ("deleted=true", vec!["gone"]),
        ("deleted=false", vec!["Alpha", "beta", "alphabet"]),
        ("expired=true", vec!["Alpha"]),
        ("expired=false", vec!["beta", "alphabet"]),
        ("name=alpha", vec!["Alpha", "alphabet"]),
        ("name=%25", vec![]),
        ("user_email=alice%40example.com", vec!["Alpha", "beta", "alphabet"]),
        ("user_email=root%40admin.org", vec![]),
        ("ordering=-id", vec!["alphabet", "beta", "Alpha"]),
        ("ordering=created", vec!["alphabet", "beta", "Alpha"]),
        ("ordering=-created", vec!["Alpha", "beta", "alphabet"]),
        ("ordering=exp_date", vec!["Alpha", "beta", "alphabet"]),
        ("ordering=-exp_date", vec!["beta", "Alpha", "alphabet"]),
        ("ordering=last_usage", vec!["beta", "alphabet", "Alpha"]),
        ("ordering=-last_usage", vec!["alphabet", "beta", "Alpha"]),
    ] {
        let page = list(&service, &access, query).await;
        assert_eq!(names(&page), expected, "{query}");
        assert_eq!(page["count"], expected.len(), "{query}");
    }
}

#[tokio::test]
async fn users_see_their_own_tokens_and_administrators_see_all() {
    let service = start().await;
    let ((alice, _), (root, _)) = (service.login("alice").await, service.login("root").await);
    service.create_token(&alice, json!({"name": "of alice"})).await;
    let of_root = service.create_token(&root, json!({"name": "of root"})).await;
    assert_eq!(names(&list(&service, &alice, "").await), ["of alice"]);
    assert_eq!(names(&list(&service, &root, "").await), ["of alice", "of root"]);
    assert_eq!(names(&list(&service, &root, "user_email=alice%40example.com").await), ["of alice"]);
    let path = format!("/iam/tokens/{}", of_root["id"]);
    assert_eq!(refusal(service.get(&path).bearer_auth(&alice)).await.0, 404);
    assert_eq!(refusal(service.request(Method::DELETE, &path).bearer_auth(&alice)).await.0, 404);
    assert_eq!(answer(service.get("/iam/tokens/24126").bearer_auth(&root)).await.1["user_email"], "alice@example.com");
    let delete = service.request(Method::DELETE, "/iam/tokens/24126").bearer_auth(&root);
    assert_eq!(service.send(delete).await.status(), 204);
    assert_eq!(
        refusal(service.get("/iam/tokens").header("authorization", format!("APIKey {}", of_root["token"]))).await.0,
        401
    );
}
