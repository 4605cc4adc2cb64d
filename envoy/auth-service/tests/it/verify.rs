//! `/auth/verify`.

use auth_service::{Options, TokenHash};
use reqwest::StatusCode;
use rsa::RsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};

use crate::support::{answer, claims, mint, now, options, refusal, rs256, start, start_with, start_with_faults};

#[tokio::test]
async fn an_api_token_is_verified_in_all_four_formats() {
    let service = start().await;
    let (access, _) = service.login("root").await;
    let token = service.create_token(&access, json!({"name": "ci"})).await;
    let authorization = format!("APIKey {}", token["token"].as_str().unwrap());

    let before = now();
    let (status, body) = answer(service.verify(&authorization, "apikey", "json_body")).await;
    assert_eq!(status, 200);
    let mut expected = claims(&access);
    expected["token_type"] = json!("api_token");
    expected["token_id"] = token["id"].clone();
    expected["exp"] = body["exp"].clone();
    expected["jti"] = body["jti"].clone();
    assert_eq!(body, expected);
    assert!((before + 3600..=now() + 3600).contains(&body["exp"].as_i64().unwrap()));
    assert_ne!(answer(service.verify(&authorization, "apikey", "json_body")).await.1["jti"], body["jti"]);

    let response = service.send(service.verify(&authorization, "apikey", "json_header")).await;
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("x-user-id", "2"),
        ("x-client-id", "2"),
        ("x-user-email", "root@admin.org"),
        ("x-user-type", "system_admin"),
        ("x-is-admin", "true"),
        ("x-platform-user-id", "2"),
        ("x-platform-client-id", "2"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    let header = response.headers()["authorization"].to_str().unwrap().to_owned();
    assert_eq!(claims(header.strip_prefix("Bearer ").unwrap())["token_id"], token["id"]);
    assert_eq!(response.text().await.unwrap(), "");

    let response = service.send(service.verify(&authorization, "apikey", "jwt_body")).await;
    assert_eq!(response.headers()["content-type"], "text/plain");
    let jwt = response.text().await.unwrap();
    assert_eq!(claims(&jwt)["token_id"], token["id"]);
    let (status, verified) = answer(service.verify_jwt(&jwt)).await;
    assert_eq!((status, verified), (StatusCode::OK, claims(&jwt)));

    let response = service.send(service.verify(&authorization, "apikey", "jwt_header")).await;
    let header = response.headers()["authorization"].to_str().unwrap().to_owned();
    assert_eq!(response.text().await.unwrap(), "");
    assert_eq!(claims(header.strip_prefix("Bearer ").unwrap())["token_type"], "api_token");
}

#[tokio::test]
async fn a_jwt_is_verified_in_all_four_formats() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    let authorization = format!("Bearer {access}");
    assert_eq!(answer(service.verify(&authorization, "jwt", "json_body")).await, (StatusCode::OK, claims(&access)));
    let response = service.send(service.verify(&authorization, "jwt", "json_header")).await;
    assert_eq!(response.headers()["x-user-email"], "alice@example.com");
    assert_eq!(response.headers()["x-is-admin"], "false");
    let response = service.send(service.verify(&authorization, "jwt", "jwt_body")).await;
    assert_eq!(response.text().await.unwrap(), access);
    let response = service.send(service.verify(&authorization, "jwt", "jwt_header")).await;
    assert_eq!(response.headers()["authorization"], authorization.as_str());
}

#[tokio::test]
async fn without_a_format_body_and_headers_hold_the_identity() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    let authorization = format!("Bearer {access}");
    let request = service.get("/auth/verify?header_types=jwt").header("authorization", &authorization);
    let response = service.send(request).await;
    assert_eq!(response.headers()["x-user-email"], "alice@example.com");
    assert_eq!(response.headers()["x-platform-user-id"], response.headers()["x-user-id"]);
    assert_eq!(response.headers()["authorization"], authorization.as_str());
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body, claims(&access));
}

#[tokio::test]
async fn header_types_select_the_credentials_to_verify() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    let token = service.create_token(&access, json!({"name": "ci"})).await;
    let (api, jwt) = (format!("APIKey {}", token["token"].as_str().unwrap()), format!("Bearer {access}"));
    let odd = format!("Token {access}");
    for (authorization, types, expected) in [
        (&api, "apikey", 200),
        (&api, "apikey,jwt", 200),
        (&api, "jwt", 401),
        (&api, "other", 200),
        (&jwt, "jwt", 200),
        (&jwt, "apikey", 401),
        (&jwt, "apikey,jwt,other", 200),
        (&odd, "apikey,jwt", 401),
        (&odd, "other", 200),
        (&jwt, "jwt,basic", 400),
        (&jwt, "", 400),
    ] {
        assert_eq!(answer(service.verify(authorization, types, "json_body")).await.0, expected, "{types}");
    }
    assert_eq!(refusal(service.verify(&jwt, "jwt", "xml")).await.0, 400);
    assert_eq!(answer(service.get("/auth/verify").header("authorization", &jwt)).await.1, claims(&access));
    assert_eq!(answer(service.get("/auth/verify").header("authorization", &api)).await.1["token_id"], token["id"]);
}

#[tokio::test]
async fn an_invalid_api_token_is_refused() {
    let service = start_with_faults().await;
    let (access, _) = service.login("alice").await;
    let token = service.create_token(&access, json!({"name": "ci"})).await;
    let token = token["token"].as_str().unwrap();
    let (id, secret) = token.split_once('$').unwrap();
    for (token, details) in [
        (format!("{id}${}", secret.chars().rev().collect::<String>()), "API token is unknown"),
        (format!("99999${secret}"), "API token is unknown"),
        (token[1..token.len() - 1].to_owned(), "API token is malformed"),
        (access.clone(), "API token is malformed"),
    ] {
        assert_eq!(
            refusal(service.verify(&format!("APIKey {token}"), "apikey", "json_body")).await,
            (401, details.to_owned())
        );
    }
    assert_eq!(refusal(service.get("/auth/verify")).await, (401, "Authorization is missing".to_owned()));
    let twice = service.verify_jwt(&access).header("authorization", format!("Bearer {access}"));
    assert_eq!(refusal(twice).await, (401, "Authorization is given more than once".to_owned()));
    assert_eq!(service.send(service.get("/auth/verify")).await.headers()["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn an_invalid_jwt_is_refused() {
    let service = start_with_faults().await;
    let (access, _) = service.login("alice").await;
    let good = claims(&access);
    let key = service.private_key().await;
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        mint(&key, &rs256(), &claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        mint(&key, &rs256(), &claims)
    };
    let (message, _) = access.rsplit_once('.').unwrap();
    let foreign = start_with_faults().await.private_key().await;
    for (jwt, details) in [
        (with("exp", json!(now())), "Token has expired"),
        (with("exp", json!("soon")), "Token is malformed"),
        (without("exp"), "Token is malformed"),
        (without("user_id"), "Token is malformed"),
        (without("client_id"), "Token is malformed"),
        (without("token_type"), "Token is malformed"),
        (with("token_type", json!("password_reset")), "Tokens of this type are not accepted here"),
        (mint(&foreign, &rs256(), &good), "Token has an invalid signature"),
        (format!("{message}."), "Token has an invalid signature"),
        (mint(&key, &json!({"typ": "JWT", "alg": "none"}), &good), "Token is not signed with RS256"),
        (mint(&key, &json!({"typ": "JWT", "alg": "HS256"}), &good), "Token is not signed with RS256"),
        (message.to_owned(), "Token is malformed"),
        ("a.b.c".to_owned(), "Token is malformed"),
        (String::new(), "Authorization has a type that header_types does not list"),
    ] {
        assert_eq!(refusal(service.verify_jwt(&jwt)).await, (401, details.to_owned()), "{jwt}");
    }
    let odd = mint(
        &key,
        &rs256(),
        &json!({"exp": now() + 60, "user_id": 7, "client_id": 8, "token_type": "access", "iss": "x"}),
    );
    assert_eq!(answer(service.verify_jwt(&odd)).await, (StatusCode::OK, claims(&odd)));
}

#[tokio::test]
async fn the_public_key_is_rsa_2048() {
    let service = start().await;
    let (status, body) = answer(service.get("/iam/public-key")).await;
    assert_eq!(status, 200);
    let pem = body["public_key"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("-----END PUBLIC KEY-----\n"), "{pem}");
    assert_eq!(RsaPublicKey::from_public_key_pem(pem).unwrap().size(), 256);
    assert_eq!(body.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn argon2id_and_pbkdf2_hashes_both_verify() {
    let directory = tempfile::tempdir().unwrap();
    let db = directory.path().join("auth.db").to_str().unwrap().to_owned();
    let service = start_with(Options { db: db.clone(), ..options() }).await;
    let (access, _) = service.login("alice").await;
    let first = service.create_token(&access, json!({"name": "pbkdf2"})).await;
    service.server.stop().await;

    let service = start_with(Options { db: db.clone(), token_hash: TokenHash::Argon2id, ..options() }).await;
    let second = service.create_token(&access, json!({"name": "argon2id"})).await;
    for token in [&first, &second] {
        assert_eq!(answer(service.verify_token(token)).await.1["token_id"], token["id"]);
    }
    let stored = rusqlite::Connection::open(&db).unwrap();
    let mut hashes = stored.prepare("SELECT hash FROM tokens ORDER BY id").unwrap();
    let hashes: Vec<String> = hashes.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(hashes[0].starts_with("$pbkdf2-sha256$i=100000,"), "{hashes:?}");
    assert!(hashes[1].starts_with("$argon2id$v=19$m=65536,t=3,p=4$"), "{hashes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_simultaneous_requests_are_answered() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    let token = service.create_token(&access, json!({"name": "ci"})).await;
    let requests: Vec<_> = (0..20)
        .map(|i| {
            let request = if i % 2 == 0 { service.verify_token(&token) } else { service.verify_jwt(&access) };
            tokio::spawn(answer(request))
        })
        .collect();
    for request in requests {
        let (status, claims) = request.await.unwrap();
        assert_eq!((status.as_u16(), &claims["user_id"]), (200, &json!(1)));
    }
}
