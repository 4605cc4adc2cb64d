//! The service is also an upstream, over HTTP/2. A request that a broken answer lets go on must not be sent on the same
//! connection within the answer's callback: Envoy 1.40 crashes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::server;
use http::{HeaderValue, Request, Response};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use wasm_tests::{
    Stack, auth_service_alone, connection_manager, corpus,
    corpus::{keys::Signer, scripted, tokens},
    speak_http2,
};

/// Answers the first question about each token with an identity, and later ones with a head of 70 KiB.
async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(BTreeMap::<Vec<u8>, usize>::new()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&seen)));
        }
    });
    address
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<BTreeMap<Vec<u8>, usize>>>) -> Result<(), h2::Error> {
    let mut connection = server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        tokio::spawn(answer(request, respond, Arc::clone(&seen)));
    }
    Ok(())
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: server::SendResponse<Bytes>,
    seen: Arc<Mutex<BTreeMap<Vec<u8>, usize>>>,
) -> Result<(), h2::Error> {
    let mut is_broken = false;
    let body = match request.uri().path() {
        "/iam/public-key" => json!({"public_key": Signer::trusted().public_pem()}).to_string(),
        "/auth/verify" => {
            let token = request.headers()["authorization"].as_bytes().to_vec();
            let times = seen.lock().unwrap().entry(token).and_modify(|times| *times += 1).or_default().to_owned();
            is_broken = times > 0;
            let mut claims = tokens::base();
            claims["token_type"] = json!("api_token");
            claims.to_string()
        }
        _ => "the service's own page".to_owned(),
    };
    let mut head = Response::new(());
    if is_broken {
        head.headers_mut().insert("x-large", HeaderValue::from_str(&"x".repeat(70 * 1024)).unwrap());
    }
    respond.send_response(head, false)?.send_data(Bytes::from(body), true)
}

/// A gateway that sends `/iam` to the service.
async fn gateway(config: serde_json::Value) -> Stack {
    let address = start().await;
    let builder = Stack::builder().without_auth_service().replace_config(config).envoy(move |bootstrap| {
        speak_http2(auth_service_alone(bootstrap, address.port()));
        let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
        let routes = manager.pointer_mut("/route_config/virtual_hosts/0/routes").unwrap().as_array_mut().unwrap();
        routes.insert(0, json!({"match": {"prefix": "/iam"}, "route": {"cluster": "auth_service", "timeout": "15s"}}));
    });
    builder.start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_verdict_reaches_the_service_whose_answer_was_reset() {
    let mut config = corpus::config();
    config["auth_service"] = json!({"cluster": "auth_service", "timeout": "20s", "retries": 0});
    config["cache"] = json!({"ttl": "1s", "negative_ttl": "1s", "stale_ttl": "1h"});
    let stack = gateway(config).await;
    for turn in 0..3 {
        let answer = stack.get("/iam/tokens").api_key(&scripted::token(1)).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{turn}: {error:#}\n{}", stack.envoy_log()));
        assert_eq!(answer.status, 200, "{turn}: {}", answer.text());
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}
