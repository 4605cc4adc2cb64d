//! Answers that no HTTP library would send: a mock writes them as raw bytes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wasm_tests::Stack;

/// A server that answers every connection with these bytes and closes it.
async fn mock(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if connection.read(&mut request).await.is_ok() {
                // The gateway may already have closed the connection.
                drop(connection.write_all(answer).await);
            }
        }
    });
    port
}

/// An API token is denied as unverifiable, and so is a JWT, because there is no key. The worker keeps serving.
async fn is_an_outage(answer: &'static [u8]) {
    let port = mock(answer).await;
    let builder = Stack::builder().without_auth_service().envoy(move |bootstrap| {
        let endpoint = "/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";
        bootstrap.pointer_mut(endpoint).unwrap()["socket_address"]["port_value"] = port.into();
    });
    let stack = builder.start().await.unwrap();
    let token = format!("1${}", "a".repeat(128));
    let denied = stack.get("/orders").api_key(&token).send().await.unwrap();
    let shown = String::from_utf8_lossy(answer);
    assert_eq!((denied.status, denied.code().as_deref()), (503, Some("auth_service_unavailable")), "{shown}");
    assert_eq!(stack.get("/public/page").send().await.unwrap().status, 200, "{shown}");
    assert_eq!(stack.upstream_hits(), 1);
    let log = stack.envoy_log();
    assert!(!log.contains("panicked") && !log.contains("Wasm VM failed"), "{shown}:\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_header_name_that_is_not_utf8_is_an_outage() {
    is_an_outage(b"HTTP/1.1 200 OK\r\nX-\xff\xfe: 1\r\nContent-Length: 2\r\n\r\n{}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_header_values_that_are_not_utf8_is_an_outage() {
    is_an_outage(b"HTTP/1.1 200 OK\r\nX-User-Id: \xff\r\nAuthorization: Bearer \xff\r\nContent-Length: 2\r\n\r\n{}")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_an_invalid_status_is_an_outage() {
    is_an_outage(b"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\n{}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_http_is_an_outage() {
    is_an_outage(b"\x00\x01\x02\xff\xfe").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_within_the_headers_is_an_outage() {
    is_an_outage(b"HTTP/1.1 200 OK\r\nContent-Le").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_within_a_chunk_is_an_outage() {
    is_an_outage(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"user_id\": 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_informational_answer_without_a_final_one_is_an_outage() {
    is_an_outage(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
}
