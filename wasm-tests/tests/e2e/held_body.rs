//! A request whose head is held must not pass with its body or trailers, in any mode of Envoy.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use wasm_tests::{Stack, connection_manager, plugin};

/// Sends the parts of a request with pauses between them, and reads the answer.
async fn in_parts(stack: &Stack, parts: &[&[u8]]) -> String {
    let mut client = TcpStream::connect(stack.gateway()).await.unwrap();
    for part in parts {
        client.write_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_arrives_while_the_head_is_held_is_forwarded() {
    for stop_iteration in [false, true] {
        let builder = Stack::builder().envoy(move |bootstrap| {
            let plugin = plugin(&mut bootstrap["static_resources"]["listeners"][0]);
            plugin["allow_on_headers_stop_iteration"] = json!(stop_iteration);
        });
        let stack = builder.start().await.unwrap();
        let rejected = json!({"on": "verify", "kind": "status", "status": 401, "delay_ms": 1500});
        stack.fault(rejected).await.unwrap();
        let token = "a".repeat(128);
        let head = format!(
            "POST /orders HTTP/1.1\r\nHost: a\r\nAuthorization: APIKey 1${token}\r\nContent-Length: 4\r\n\
            Connection: close\r\n\r\n"
        );
        let answer = in_parts(&stack, &[head.as_bytes(), b"bo", b"dy"]).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "stop_iteration {stop_iteration}: {answer}");
        assert_eq!(stack.upstream_hits(), 0, "stop_iteration {stop_iteration}");

        let (_, valid) = stack.api_token("any").await.unwrap();
        stack.fault(json!({"on": "verify", "kind": "delay", "delay_ms": 1500})).await.unwrap();
        let answer = stack.post("/orders").api_key(&valid).body("body").send().await.unwrap();
        assert_eq!((answer.status, answer.upstream().unwrap().body_bytes), (200, 4));
    }
}

/// A mock upstream that reports the bytes it got, because no library's server shows trailers.
async fn telling_upstream() -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut seen = Vec::new();
            while !seen.windows(5).any(|end| end == b"0\r\n\r\n") && !seen.ends_with(b"end: 1\r\n\r\n") {
                let mut part = [0; 4096];
                match connection.read(&mut part).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => seen.extend_from_slice(&part[..count]),
                }
            }
            tell.send(String::from_utf8_lossy(&seen).into_owned()).unwrap();
            drop(connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
        }
    });
    (port, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_headers_are_stripped_from_trailers_too() {
    let (port, mut told) = telling_upstream().await;
    let builder = Stack::builder().envoy(move |bootstrap| {
        let listener = &mut bootstrap["static_resources"]["listeners"][0];
        connection_manager(listener)["http_protocol_options"] = json!({"enable_trailers": true});
        let upstream = &mut bootstrap["static_resources"]["clusters"][0];
        upstream["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] =
            port.into();
        upstream["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {"enable_trailers": true}},
            },
        });
    });
    let stack = builder.start().await.unwrap();
    let jwt = stack.login().await.unwrap().access;
    for credential in ["X-Nothing: 1".to_owned(), format!("Authorization: Bearer {jwt}")] {
        let path = if credential.starts_with('X') { "/public/page" } else { "/orders" };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\n{credential}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
            4\r\nbody\r\n0\r\nX-User-Id: 666\r\nx_is-admin: true\r\nx.user!type: x\r\n\
            AUTHORIZATION: Bearer forged\r\nX-Authorization: 2\r\nend: 1\r\n\r\n"
        );
        let answer = in_parts(&stack, &[request.as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = told.recv().await.unwrap().to_ascii_lowercase();
        assert!(seen.contains("end: 1"), "no trailers arrived: {seen}");
        assert!(!seen.contains(": 666") && !seen.contains("x_is-admin") && !seen.contains("x.user!type"), "{seen}");
        assert!(!seen.contains("forged") && seen.contains("x-authorization"), "{seen}");
    }
}
