//! Readiness, metrics, and the commands.

use std::process::{Command, Output};

use auth_service::Options;
use reqwest::StatusCode;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Service, answer, options, start, start_with};

/// A service on a database in a folder.
async fn on_file() -> (tempfile::TempDir, String, Service) {
    let directory = tempfile::tempdir().unwrap();
    let db = directory.path().join("auth.db").to_str().unwrap().to_owned();
    let service = start_with(Options { db: db.clone(), ..options() }).await;
    (directory, db, service)
}

#[tokio::test]
async fn only_readiness_checks_the_database() {
    let (_directory, db, service) = on_file().await;
    assert_eq!(answer(service.get("/readiness")).await, (StatusCode::OK, json!({"status": "ready"})));
    Connection::open(db).unwrap().execute_batch("DROP TABLE meta").unwrap();
    let not_ready = json!({"status": "not_ready", "reason": "database"});
    assert_eq!(answer(service.get("/readiness")).await, (StatusCode::SERVICE_UNAVAILABLE, not_ready));
    assert_eq!(answer(service.get("/health")).await.0, 200);
}

#[tokio::test]
async fn metrics_count_requests_by_route() {
    let service = start().await;
    let (access, _) = service.login("alice").await;
    service.create_token(&access, json!({"name": "a"})).await;
    for path in ["/iam/tokens/1", "/iam/tokens/2", "/nothing/here", "/auth/verify"] {
        service.send(service.get(path)).await;
    }
    let text = service.send(service.get("/metrics")).await.text().await.unwrap();
    for line in [
        r#"auth_service_requests_total{route="/iam/tokens/{id}",status="401"} 2"#,
        r#"auth_service_requests_total{route="/auth/verify",status="401"} 1"#,
        r#"auth_service_requests_total{route="/auth/jwt/login",status="200"} 1"#,
        "auth_service_users 2",
        "auth_service_api_tokens 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is missing:\n{text}");
    }
    assert!(!text.contains("nothing"), "a path of the client's makes no series: {text}");
}

fn run(db: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_auth-service"))
        .args(["--db", db, "--token-hash", "pbkdf2", "tokens"])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn ids(lines: &str) -> Vec<i64> {
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_managed_from_the_command_line() {
    let (_directory, db, service) = on_file().await;
    let soon = time::OffsetDateTime::now_utc() + time::Duration::days(10);
    let soon = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    let token = text(run(&db, &["create", "--user", "alice", "--name", "a\u{1b}[31m", "--exp-date", &soon]));
    let token = json!({"token": token.trim_end()});
    assert_eq!(answer(service.verify_token(&token)).await.0, 200, "the running service knows it");
    text(run(&db, &["create", "--user", "root@admin.org", "--name", "b"]));

    assert_eq!(ids(&text(run(&db, &["--format", "json", "list"]))), [24126, 24127]);
    assert_eq!(ids(&text(run(&db, &["--format", "json", "expiring", "--within", "14d"]))), [24126]);
    assert_eq!(ids(&text(run(&db, &["--format", "json", "expiring", "--within", "9d"]))), [0_i64; 0]);
    let table = text(run(&db, &["list"]));
    assert!(table.contains("alice@example.com") && !table.contains('\u{1b}') && !table.contains("pbkdf2"), "{table}");

    assert_eq!(text(run(&db, &["revoke", "24126"])), "");
    assert_eq!(answer(service.verify_token(&token)).await.0, 401);
    assert_eq!(service.blacklist(None).await["purge"], json!([{"token_id": 24126}]));
    for (arguments, message) in [
        (vec!["revoke", "24126"], "there is no token 24126"),
        (vec!["create", "--user", "nobody", "--name", "c"], "there is no user nobody"),
        (vec!["create", "--user", "alice", "--name", ""], "name is empty"),
        (vec!["create", "--user", "alice", "--name", "c", "--exp-date", "2001-01-01T00:00:00Z"], "not in the future"),
    ] {
        let output = run(&db, &arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(message), "{arguments:?}: {error}");
    }
    let missing = run("/nowhere/auth.db", &["list"]);
    assert!(!missing.status.success() && !std::path::Path::new("/nowhere").exists());
}
