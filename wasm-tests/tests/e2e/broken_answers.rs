//! Answers over HTTP/1.1 that break off, or that Envoy rejects, affect only the credential they are about.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::{Value, json};
use wasm_tests::{
    Stack, auth_service_alone,
    corpus::{
        self,
        answers::{self, Answer},
        scripted::{self, Scripted},
    },
};

/// `is_one`: the cluster has only this host, and Envoy neither checks nor ejects it.
fn patch(bootstrap: &mut Value, service: SocketAddr, is_one: bool) {
    if is_one {
        auth_service_alone(bootstrap, service.port());
    } else {
        let endpoint = "/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";
        bootstrap.pointer_mut(endpoint).unwrap()["socket_address"]["port_value"] = service.port().into();
    }
}

async fn opens_no_breaker(bytes: Vec<u8>, times: usize, is_one: bool) {
    let mut script: BTreeMap<usize, Answer> = (0..times).map(|number| (number, Answer(bytes.clone()))).collect();
    script.insert(1_000_000, answers::good("json_body"));
    let service = Scripted::start(script).await.unwrap();
    let address = service.address();
    let mut config = corpus::config();
    config["circuit_breaker"] = json!({"failures": 3});
    config["auth_service"]["timeout"] = json!("20s");
    let builder = Stack::builder().config(config).without_auth_service();
    let stack = builder.envoy(move |bootstrap| patch(bootstrap, address, is_one)).start().await.unwrap();
    for number in 0..times {
        let answer = stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap();
        assert_eq!(answer.code().as_deref(), Some("auth_service_unavailable"));
    }
    let other = stack.get("/orders").api_key(&scripted::token(1_000_000)).send().await.unwrap();
    assert_eq!(other.status, 200, "{}\n{}", other.text(), stack.envoy_log());
}

macro_rules! attacks {
    ($($name:ident: $bytes:expr,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            opens_no_breaker($bytes.to_vec(), 6, true).await;
        }
    )*};
}

attacks! {
    a_size_of_a_chunk_that_is_no_number: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    an_end_within_a_chunk: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"user_id\": 1",
    trailers_of_100_kb: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: ".to_vec(), b"x".repeat(100_000), b"\r\n\r\n".to_vec()].concat(),
    forty_megabytes: [b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n".to_vec(), b" ".repeat(40_000_000)].concat(),
}

fn two_hundred() -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-A: b\r\n".repeat(200), b"Content-Length: 0\r\n\r\n".to_vec()].concat()
}

/// As shipped: with a second priority, whose host doesn't listen.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_headers_do_not_crash_envoy_with_a_dead_second_priority() {
    opens_no_breaker(two_hundred(), 60, false).await;
}
