//! Credentials outside `Authorization`: a header, a cookie with its cross-site check, and a WebSocket's protocols.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Request, Stack,
    corpus::raw,
    upgrades::{allow_websockets, forward_to, upgrading_upstream, values},
};

async fn stack(changes: Value) -> Stack {
    let credentials = json!({"api_key_header": "X-API-Key", "cookie": "session", "websocket_protocol": true});
    let builder = Stack::builder().config(json!({"credentials": credentials})).config(changes);
    builder.envoy(allow_websockets).start().await.unwrap()
}

/// The result of a request: its status, or its status and code.
async fn seen(request: Request) -> String {
    let answer = request.send().await.unwrap();
    answer.code().map_or_else(|| answer.status.to_string(), |code| format!("{} {code}", answer.status))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_token_needs_no_scheme_in_a_header_of_its_own() {
    let stack = stack(json!({})).await;
    let (_, token) = stack.api_token("any").await.unwrap();
    for request in [stack.get("/orders"), stack.get("/orders").http2()] {
        let echo = request.header("x-api-key", &token).send().await.unwrap().upstream().unwrap();
        assert_eq!((echo.header("x-user-id").as_deref(), echo.header("x-api-key")), (Some("1"), Some(token.clone())));
    }
    assert_eq!(seen(stack.get("/orders").header("x_api_key", &token)).await, "401 missing_credentials");
    let with_scheme = stack.get("/orders").header("x-api-key", format!("APIKey {token}"));
    assert_eq!(seen(with_scheme).await, "401 malformed_credentials");
    let twice = stack.get("/orders").header("x-api-key", &token).header("x-api-key", &token);
    assert_eq!(seen(twice).await, "401 malformed_credentials");
    let twin = stack.get("/orders").api_key(&token).header("x_api_key", "1").header("x.api-key", "2");
    let echo = twin.send().await.unwrap().upstream().unwrap();
    assert_eq!((echo.all("x_api_key").len(), echo.all("x.api-key").len()), (0, 0), "no twin arrives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_counts_only_with_same_site_requests() {
    let stack = stack(json!({})).await;
    let jwt = stack.login().await.unwrap().access;
    let cookie = format!("theme=dark; session={jwt}; lang=en");
    let crossed = "403 cross_site_request";
    for (method, site, origin, expected) in [
        (Method::GET, Some("cross-site"), Some("https://evil.example"), "200"),
        (Method::HEAD, None, None, "200"),
        (Method::OPTIONS, None, Some("https://evil.example"), "200"),
        (Method::POST, None, None, crossed),
        (Method::POST, Some("same-origin"), None, "200"),
        (Method::POST, Some("none"), Some("https://evil.example"), "200"),
        (Method::POST, Some("same-site"), Some("http://api.example.com"), crossed),
        (Method::POST, Some("cross-site"), Some("http://api.example.com"), crossed),
        (Method::DELETE, None, Some("http://api.example.com"), "200"),
        (Method::DELETE, None, Some("http://API.example.com:8080"), "200"),
        (Method::DELETE, None, Some("https://api.example.com"), crossed),
        (Method::DELETE, None, Some("http://evil.example"), crossed),
        (Method::PUT, None, Some("null"), crossed),
    ] {
        for is_http2 in [false, true] {
            let mut request =
                stack.request(method.clone(), "/orders").host("api.example.com").header("cookie", &cookie);
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                request = value.into_iter().fold(request, |request, value| request.header(name, value));
            }
            let request = if is_http2 { request.http2() } else { request };
            let answer = request.send().await.unwrap();
            let is_head = method == Method::HEAD;
            let found = answer.code().filter(|_| !is_head).map(|code| format!("{} {code}", answer.status));
            let found = found.unwrap_or_else(|| answer.status.to_string());
            assert_eq!(found, expected, "{method} {site:?} {origin:?}, HTTP/2: {is_http2}");
        }
    }
    let echo = stack.get("/orders").header("cookie", &cookie).send().await.unwrap().upstream().unwrap();
    assert_eq!((echo.header("x-user-id").as_deref(), echo.header("cookie")), (Some("1"), Some(cookie)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_credentials_in_any_two_places_are_refused() {
    let stack = stack(json!({})).await;
    let jwt = stack.login().await.unwrap().access;
    let (_, token) = stack.api_token("any").await.unwrap();
    let protocols = format!("chat, {}", protocol(&jwt));
    let places = [
        ("authorization", format!("Bearer {jwt}")),
        ("authorization", "Basic dXNlcjpwYXNz".to_owned()),
        ("x-api-key", token),
        ("cookie", format!("session={jwt}")),
        ("sec-websocket-protocol", protocols),
    ];
    for (index, one) in places.iter().enumerate() {
        for other in &places[index..] {
            let upgrade = "GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
            let lines = format!("{}: {}\r\n{}: {}\r\n\r\n", one.0, one.1, other.0, other.1);
            let answer = raw(stack.gateway(), format!("{upgrade}{lines}").as_bytes()).await.unwrap();
            assert_eq!(answer.seen(), "401 malformed_credentials", "{} and {}", one.0, other.0);
        }
    }
    assert_eq!(stack.upstream_hits(), 0);
    let empty = stack.get("/orders").bearer(&jwt).header("cookie", "session=");
    assert_eq!(seen(empty).await, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credential_is_removed_and_other_cookies_stay() {
    let stack = stack(json!({"forward_credential": false})).await;
    let jwt = stack.login().await.unwrap().access;
    let (_, token) = stack.api_token("any").await.unwrap();
    for path in ["/orders", "/public/page"] {
        // The first request with the token waits for the service.
        for _ in 0..2 {
            let echo = stack.get(path).header("x-api-key", &token).send().await.unwrap().upstream().unwrap();
            assert_eq!(echo.header("x-api-key"), None, "{path}");
        }
        let cookie = format!("a=\"1 2\";session={jwt};  b=3 ; c");
        let echo = stack.get(path).header("cookie", cookie).send().await.unwrap().upstream().unwrap();
        assert_eq!(echo.all("cookie"), ["a=\"1 2\";  b=3 ; c"], "{path}");
        let echo = stack.get(path).header("cookie", format!("session={jwt}")).send().await.unwrap().upstream().unwrap();
        assert_eq!(echo.header("cookie"), None, "{path}");
    }
    assert_eq!(stack.scars(&jwt).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookies_jwt_is_forwarded_in_authorization() {
    let stack = stack(json!({"forward_credential": "jwt", "api_token": {"response_format": "jwt_body"}})).await;
    let jwt = stack.login().await.unwrap().access;
    for _ in 0..2 {
        let cookie = format!("a=1; session={jwt}");
        let echo = stack.get("/orders").header("cookie", cookie).send().await.unwrap().upstream().unwrap();
        assert_eq!(echo.header("authorization"), Some(format!("Bearer {jwt}")));
        assert_eq!(echo.header("cookie").as_deref(), Some("a=1"));
    }
}

fn protocol(jwt: &str) -> String {
    format!("base64url.bearer.authorization.k8s.io.{}", BASE64_URL_SAFE_NO_PAD.encode(jwt))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_websocket_protocol_is_not_forwarded() {
    let (port, mut told) = upgrading_upstream().await.unwrap();
    let builder =
        Stack::builder().config(json!({"credentials": {"websocket_protocol": true}})).envoy(move |bootstrap| {
            allow_websockets(bootstrap);
            forward_to(bootstrap, port).unwrap();
        });
    let stack = builder.start().await.unwrap();
    let token = protocol(&stack.login().await.unwrap().access);
    let handshake = |lines: &str| {
        format!(
            "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
        )
    };
    for (lines, arrives) in [
        (format!("Sec-WebSocket-Protocol: chat, {token}\r\n"), "chat"),
        (
            format!("Sec-WebSocket-Protocol: {token},chat,superchat\r\nOrigin: https://evil.example\r\n"),
            "chat, superchat",
        ),
        (format!("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: {token}\r\n"), "chat"),
    ] {
        let answer = raw(stack.gateway(), handshake(&lines).as_bytes()).await.unwrap();
        assert_eq!(answer.status, 101, "{lines}: {answer:?}");
        let head = told.recv().await.unwrap();
        assert_eq!(values(&head, "sec-websocket-protocol"), [arrives], "{lines}");
        assert_eq!((values(&head, "x-user-id"), head.contains("base64url")), (vec!["1"], false), "{head}");
    }
    for (lines, code) in [
        (format!("Sec-WebSocket-Protocol: {token}\r\n"), "401 malformed_credentials"),
        (format!("Sec-WebSocket-Protocol: chat, {token}, {token}\r\n"), "401 malformed_credentials"),
        (format!("Sec-WebSocket-Protocol: chat, {token}x\r\n"), "401 token_malformed"),
        ("Sec-WebSocket-Protocol: chat\r\n".to_owned(), "401 missing_credentials"),
    ] {
        let answer = raw(stack.gateway(), handshake(&lines).as_bytes()).await.unwrap();
        assert_eq!(answer.seen(), code, "{lines}");
    }
    let plain = format!("GET /public HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol: {token}, chat\r\n\r\n");
    raw(stack.gateway(), plain.as_bytes()).await.unwrap();
    let head = told.recv().await.unwrap();
    assert_eq!(values(&head, "sec-websocket-protocol"), ["chat"], "on a public rule, without an upgrade");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_cookie_headers_are_one_list() {
    let stack = stack(json!({"forward_credential": false})).await;
    let jwt = stack.login().await.unwrap().access;
    for (path, lines, arrives) in [
        ("/orders", "Cookie: a=1; session=JWT\r\nCookie: b=2\r\n", &["a=1; b=2"][..]),
        ("/orders", "Cookie: a=1\r\nCookie: session=JWT\r\n", &["a=1"]),
        ("/orders", "Cookie: session=JWT\r\nCookie: a=1\r\n", &["a=1"]),
        ("/orders", "Cookie: session=JWT\r\nCookie: session=\r\n", &[]),
        ("/orders", "Cookie: ; ;session=JWT; =; x\r\n", &["; ; =; x"]),
        ("/public/page", "Cookie: session=JWT\r\nCookie: a=1\r\nCookie: session=JWT\r\n", &["a=1"]),
    ] {
        let lines = lines.replace("JWT", &jwt);
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
        let answer = raw(stack.gateway(), head.as_bytes()).await.unwrap();
        assert_eq!(answer.upstream().unwrap().all("cookie"), arrives, "{path}");
    }
    // A server that joins them with a comma would see another session.
    let kept = self::stack(json!({})).await;
    let lines = format!("Cookie: session={jwt}\r\nCookie: a=1\r\n");
    let head = format!("GET /public/page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
    let answer = raw(kept.gateway(), head.as_bytes()).await.unwrap();
    assert_eq!(answer.upstream().unwrap().all("cookie"), [format!("session={jwt}; a=1")]);
    let twice = format!("GET /orders HTTP/1.1\r\nHost: x\r\nCookie: session={jwt}\r\nCookie: session={jwt}\r\n\r\n");
    assert_eq!(raw(stack.gateway(), twice.as_bytes()).await.unwrap().seen(), "401 malformed_credentials");
}
