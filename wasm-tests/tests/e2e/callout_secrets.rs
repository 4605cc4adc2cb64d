//! A callout carries the credential that it asks about, only in `Authorization`, and the request's trace. It carries
//! nothing else that is confidential.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use wasm_tests::{
    Stack, auth_service_alone, connection_manager,
    corpus::{keys::Signer, raw, scripted},
    upgrades::allow_websockets,
};

use crate::{
    confidential::{CANARIES, Record, canary_claims},
    noting::{self, Head},
};

/// A service that knows no credential.
fn answer(path: &str) -> Response {
    match path {
        "/iam/public-key" => Json(json!({"public_key": Signer::trusted().public_pem()})).into_response(),
        "/auth/blacklist" => Json(json!({"cursor": "c", "revoked": []})).into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

fn config() -> Value {
    json!({
        "jwt": {"verification": "remote"},
        "api_token": {"header_types": ["apikey", "jwt", "other"]},
        "credentials": {"api_key_header": "X-API-Key", "cookie": "session", "websocket_protocol": true},
        "revocation": {"path": "/auth/blacklist", "poll_interval": "1s"},
    })
}

/// Confidential headers of a request that no callout may carry.
const BESIDE: [(&str, &str); 5] = [
    ("Cookie", "theme=canary-of-another-cookie"),
    ("Proxy-Authorization", "Basic canary-for-a-proxy"),
    ("X-User-Email", "canary-of-a-spoofed@header.example"),
    ("X_API_Key", "canary-in-another-spelling"),
    ("X-Tenant", "canary-of-a-header"),
];

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A JWT that is different for each number.
fn jwt(record: &mut Record, number: usize) -> String {
    let mut claims = canary_claims();
    claims["sub"] = json!(format!("canary-sub-{number}"));
    record.token(Signer::trusted().claims(claims.to_string()))
}

/// A credential in each place: the request's header lines, and the `Authorization` that the service must see.
fn credentials(record: &mut Record) -> Vec<(String, String)> {
    let [in_header, alone] = [1, 2].map(|number| record.token(scripted::token(number)));
    let [bearer, cookie, protocol] = [3, 4, 5].map(|number| jwt(record, number));
    let other = record.secret("Canary canary-of-another-scheme");
    let encoded = record.secret(BASE64_URL_SAFE_NO_PAD.encode(&protocol));
    let websocket = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Protocol: chat, base64url.bearer.authorization.k8s.io.{encoded}\r\n"
    );
    let close = |line: String| format!("Connection: close\r\n{line}\r\n");
    vec![
        (close(format!("Authorization: APIKey {in_header}")), format!("APIKey {in_header}")),
        (close(format!("X-API-Key: {alone}")), format!("APIKey {alone}")),
        (close(format!("Authorization: Bearer {bearer}")), format!("Bearer {bearer}")),
        (close(format!("Cookie: session={cookie}")), format!("Bearer {cookie}")),
        (websocket, format!("Bearer {protocol}")),
        (close(format!("Authorization: {other}")), other),
    ]
}

/// The parts of a callout outside `Authorization`.
fn beside_authorization(head: &Head) -> String {
    let headers = head.headers.iter().filter(|(name, _)| *name != "authorization");
    let lines = headers.map(|(name, value)| format!("{name}: {value}\n"));
    format!("{}?{}\n{}", head.path, head.query, lines.collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callout_carries_no_credential_but_the_one_that_it_asks_about() {
    let (port, heads) = noting::start(answer).await;
    let builder = Stack::builder().without_auth_service().config(config()).envoy(move |bootstrap| {
        auth_service_alone(bootstrap, port);
        allow_websockets(bootstrap);
        let manager = connection_manager(&mut bootstrap["static_resources"]["listeners"][0]);
        manager["preserve_external_request_id"] = json!(true);
    });
    let stack = builder.start().await.unwrap();
    let mut record = Record::default();
    CANARIES.into_iter().chain(BESIDE.map(|(_, value)| value)).for_each(|text| drop(record.secret(text)));
    let query = record.secret("canary-in-the-query");
    let beside: String = BESIDE.map(|(name, value)| format!("{name}: {value}\r\n")).concat();

    let credentials = credentials(&mut record);
    for (number, (lines, _)) in credentials.iter().enumerate() {
        let request = format!(
            "GET /orders?access_token={query} HTTP/1.1\r\nHost: x\r\ntraceparent: {PARENT}\r\ntracestate: v={number}\r\n\
             x-request-id: request-{number}\r\n{beside}{lines}\r\n"
        );
        let denied = raw(stack.gateway(), request.as_bytes()).await.unwrap();
        assert_eq!(denied.seen(), "401 token_rejected", "{lines}");
    }

    let heads = heads.lock().unwrap().clone();
    let (questions, others): (Vec<_>, Vec<_>) = heads.iter().partition(|head| head.path == "/auth/verify");
    assert_eq!(questions.len(), credentials.len(), "{questions:?}");
    for (number, (head, (_, shown))) in questions.iter().zip(&credentials).enumerate() {
        assert_eq!(head.headers["authorization"], *shown);
        assert_eq!(head.headers["x-request-id"], format!("request-{number}"));
        assert_eq!(head.headers["tracestate"], format!("v={number}"));
        assert!(head.headers["traceparent"].starts_with(&PARENT[..36]), "{head:?}");
    }
    assert!(others.len() >= 2, "the key and the list: {others:?}");
    assert!(others.iter().all(|head| !head.headers.contains_key("authorization")), "{others:?}");
    let written: Vec<_> = heads.iter().map(|head| ("a callout", beside_authorization(head))).collect();
    assert_eq!(record.found_in(&written), [""; 0]);
}
