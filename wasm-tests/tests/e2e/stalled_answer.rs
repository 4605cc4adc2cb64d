//! A service that sends only an answer's head: each such answer is handled as a timeout.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use wasm_tests::{
    Stack, auth_service_alone,
    corpus::{self, keys::Signer, scripted},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stalls_after_the_head_counts_as_down() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap() == 0 {
                        return;
                    }
                }
                if head.starts_with(b"GET /iam/public-key ") {
                    let body = json!({"public_key": Signer::trusted().public_pem()}).to_string();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    return;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
                let _ = stream.read_buf(&mut head).await;
            });
        }
    });
    let mut config = corpus::config();
    config["circuit_breaker"] = json!({"failures": 1000, "fallback": false});
    config["auth_service"]["timeout"] = json!("100ms");
    config["auth_service"]["retries"] = json!(0);
    config["cache"] = json!({"negative_ttl": "7s"});
    let stack = Stack::builder()
        .config(config)
        .without_auth_service()
        .envoy(move |bootstrap: &mut Value| {
            auth_service_alone(bootstrap, port);
        })
        .start()
        .await
        .unwrap();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for number in 0..100 {
        let answer = stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap();
        let key = format!("one by one: {:?} {:?}", answer.code(), answer.headers.get("retry-after"));
        *seen.entry(key).or_default() += 1;
    }
    for batch in 0..10 {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..30 {
            let request = stack.get("/orders").api_key(&scripted::token(1000 + batch * 30 + number));
            tasks.spawn(request.send());
        }
        while let Some(answer) = tasks.join_next().await {
            let answer = answer.unwrap().unwrap();
            let key = format!("at once: {:?} {:?}", answer.code(), answer.headers.get("retry-after"));
            *seen.entry(key).or_default() += 1;
        }
    }
    service.abort();
    assert_eq!(seen.len(), 2, "{seen:?}");
}
