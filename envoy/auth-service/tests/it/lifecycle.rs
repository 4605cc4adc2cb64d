//! Starting, stopping, restarting, and unknown paths.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use auth_service::{Error, Options};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::{Service, answer, options, refusal, start, start_with};

#[tokio::test]
async fn health_answers_and_unknown_paths_get_404() {
    let service = start().await;
    assert_eq!(service.send(service.get("/health")).await.status(), 200);
    for path in ["/", "/auth", "/auth/verify/", "/iam/tokens/1/2"] {
        assert_eq!(refusal(service.get(path)).await.0, 404, "{path}");
    }
    for (method, path) in [
        (Method::POST, "/auth/verify"),
        (Method::GET, "/auth/jwt/login"),
        (Method::DELETE, "/iam/tokens"),
        (Method::PUT, "/iam/tokens/1"),
        (Method::POST, "/health"),
    ] {
        assert_eq!(refusal(service.request(method, path)).await.0, 405, "{path}");
    }
}

#[tokio::test]
async fn a_database_file_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("auth.db");
    let options = Options { db: file.to_str().unwrap().to_owned(), ..options() };
    let service = start_with(options.clone()).await;
    let (access, refresh) = service.login("alice").await;
    let (signed_out, _) = service.login("alice").await;
    let token = service.create_token(&access, json!({"name": "a"})).await;
    assert_eq!(service.send(service.post("/auth/jwt/logout").bearer_auth(&signed_out)).await.status(), 204);
    let feed = service.blacklist(None).await;
    let key = answer(service.get("/iam/public-key")).await.1;
    service.server.stop().await;

    let service = start_with(options).await;
    assert_eq!(answer(service.get("/iam/public-key")).await.1, key);
    assert_eq!(answer(service.verify_jwt(&access)).await.0, 200);
    assert_eq!(answer(service.post("/auth/jwt/refresh").bearer_auth(&refresh)).await.0, 200);
    assert_eq!(answer(service.verify_token(&token)).await.0, 200);
    assert_eq!(refusal(service.verify_jwt(&signed_out)).await.0, 401);
    assert_eq!(service.blacklist(None).await, feed);
    assert_eq!(service.blacklist(feed["cursor"].as_str()).await["revoked"], json!([]));
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// Two services that start at once on a new database, each with the first public key that it served.
async fn twins(options: Options) -> [(Service, Value); 2] {
    let start = async |options| {
        let service = start_with(options).await;
        let key = public_key(&service).await;
        (service, key)
    };
    let (one, other) = tokio::join!(start(options.clone()), start(options));
    [one, other]
}

async fn public_key(service: &Service) -> Value {
    answer(service.get("/iam/public-key")).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_share_one_database() {
    let directory = tempfile::tempdir().unwrap();
    let options = |number: i32| {
        let file = directory.path().join(format!("{number}.db"));
        Options { db: file.to_str().unwrap().to_owned(), ..options() }
    };
    // Without users to create, a service listens as soon as it has a key, while the other may still be making one.
    for number in 0..3 {
        let [(_one, key), (_other, same)] = twins(Options { users: Vec::new(), ..options(number) }).await;
        assert_eq!(key, same);
    }

    let [(one, _), (other, _)] = twins(Options { faults: true, ..options(3) }).await;
    let (access, refresh) = one.login("alice").await;
    let token = one.create_token(&access, json!({"name": "a"})).await;
    assert_eq!(answer(other.verify_jwt(&access)).await.0, 200);
    assert_eq!(answer(other.verify_token(&token)).await.0, 200);
    assert_eq!(answer(other.post("/auth/jwt/refresh").bearer_auth(&refresh)).await.0, 200);
    // Each service refuses what the other revoked, and accepts the other's cursor.
    let cursor = other.blacklist(None).await["cursor"].clone();
    assert_eq!(one.send(one.post("/auth/jwt/logout").bearer_auth(&access)).await.status(), 204);
    assert_eq!(refusal(other.verify_jwt(&access)).await.0, 401);
    assert_eq!(one.blacklist(cursor.as_str()).await, other.blacklist(cursor.as_str()).await);
    // A rotation changes the key of both.
    let rotated = answer(one.post("/faults/rotate")).await.1;
    assert_eq!(public_key(&other).await, rotated);
    let (of_other, _) = other.login("alice").await;
    assert_eq!(answer(one.verify_jwt(&of_other)).await.0, 200);
    assert_eq!(refusal(other.post("/auth/jwt/refresh").bearer_auth(&refresh)).await.0, 401);
}

#[tokio::test]
async fn stop_drops_connections_and_frees_the_port() {
    let options = Options { faults: true, ..options() };
    let service = start_with(options.clone()).await;
    let addr = service.server.addr();
    service.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 3_600_000})).await;
    let waiting = tokio::spawn(service.verify_jwt("a.b.c").send());
    while service.counters().await["verify_in_flight"] != 1 {
        tokio::task::yield_now().await;
    }
    service.server.stop().await;
    assert!(waiting.await.unwrap().is_err());
    assert!(Client::new().get(format!("http://{addr}/health")).send().await.unwrap_err().is_connect());

    let again = start_with(Options { listen: addr, ..options.clone() }).await;
    assert_eq!(again.server.addr(), addr);
    let taken = auth_service::start(Options { listen: addr, ..options }).await.unwrap_err();
    assert!(matches!(taken, Error::Listen { .. }), "{taken}");
}

#[tokio::test]
async fn an_unusable_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("auth.db");
    std::fs::write(
        &file,
        "this is not a database, and longer than a header of one would be: 100 bytes, that is, or more of them",
    )
    .unwrap();
    let start =
        |db: &std::path::Path| auth_service::start(Options { db: db.to_str().unwrap().to_owned(), ..options() });
    assert!(matches!(start(&file).await.unwrap_err(), Error::Store(_)));
    assert!(matches!(start(&directory.path().join("none/auth.db")).await.unwrap_err(), Error::Io(_)));
}

#[tokio::test]
async fn the_binary_says_where_it_listens_and_ends_on_sigterm() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_auth-service"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--user",
            "alice:secret",
            "--user",
            "name=bob,password=b,admin=true",
            "--token-hash",
            "pbkdf2",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let url = line.strip_prefix("listening on ").unwrap().trim_end();
    let login = Client::new().post(format!("{url}/auth/jwt/login")).json(&json!({"username": "bob", "password": "b"}));
    assert_eq!(answer(login).await.0, 200);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}
