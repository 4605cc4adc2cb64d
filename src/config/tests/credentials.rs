//! Where identities and credentials are read from.

use super::*;

#[test]
fn configured_answer_headers_override_the_defaults() {
    let names = json!({"user_id": "X-Platform-User-ID"});
    let config = config(json!({"api_token": {"answer_headers": names}}));
    let expected = AnswerHeaders { user_id: "X-Platform-User-ID".to_owned(), ..AnswerHeaders::default() };
    assert_eq!(config.api_token.answer_headers, expected);
}

#[test]
fn two_claims_from_one_header_are_refused() {
    assert_paths(&[
        (r#""api_token": {"answer_headers": {"client_id": "x-user-id"}}"#, "api_token.answer_headers.client_id"),
        (r#""api_token": {"answer_headers": {"user_id": ""}}"#, "api_token.answer_headers.user_id"),
        (r#""api_token": {"answer_headers": {"email": "a b"}}"#, "api_token.answer_headers.email"),
        (r#""api_token": {"answer_headers": {"email": null}}"#, "api_token.answer_headers.email"),
        (r#""api_token": {"answer_headers": {"token_type": "X-Type"}}"#, "api_token.answer_headers.token_type"),
        (r#""api_token": {"answer_headers": ["X-Type"]}"#, "api_token.answer_headers"),
    ]);
}

#[test]
fn by_default_credentials_are_read_from_authorization_only() {
    let of = |credentials: Value| config(json!({"credentials": credentials})).credentials;
    assert_eq!(of(json!({})), Credentials::default());
    assert_eq!(of(json!({"api_key_header": null, "cookie": null})), Credentials::default());
    let all = of(json!({"api_key_header": "X-API-Key", "cookie": "__Host-session", "websocket_protocol": true}));
    assert_eq!(all.headers().collect::<Vec<_>>(), ["x-api-key", "cookie", "sec-websocket-protocol"]);
}

#[test]
fn a_header_with_credentials_is_not_copied_to_callouts_by_default() {
    let of = |credentials: Value| config(json!({"credentials": credentials})).auth_service.forward_headers;
    assert_eq!(of(json!({"api_key_header": "X-Request-Id"})), ["traceparent", "tracestate"]);
    assert_paths(&[(
        r#""credentials": {"api_key_header": "X-Key"}, "auth_service": {"cluster": "a", "forward_headers": ["x_key"]}"#,
        "auth_service.forward_headers[0]",
    )]);
}

#[test]
fn a_header_for_credentials_has_no_second_use() {
    for name in [
        "",
        "X API Key",
        "Authorization",
        "Cookie",
        "Host",
        "Connection",
        "X-Envoy-Token",
        "X-Forwarded-For",
        "Sec_WebSocket-Protocol",
        "X_User_Id",
        "x-is-admin",
        "Transfer-Encoding",
    ] {
        let changes = format!(r#""credentials": {{"api_key_header": "{name}"}}"#);
        assert_paths(&[(changes.as_str(), "credentials.api_key_header")]);
    }
    assert_paths(&[
        (
            r#""credentials": {"api_key_header": "X-API-Key"}, "identity_headers": {"X_API_Key": "email"}"#,
            "identity_headers.X_API_Key",
        ),
        (
            r#""credentials": {"websocket_protocol": true}, "identity_headers": {"Sec-WebSocket-Protocol": "email"}"#,
            "identity_headers.Sec-WebSocket-Protocol",
        ),
        (
            r#""credentials": {"api_key_header": "X-API-Key"}, "strip_headers": ["X-A", "x.api.key"]"#,
            "strip_headers[1]",
        ),
        (
            r#""credentials": {"api_key_header": "X-API-Key"}, "api_token": {"header_types": ["other"]}"#,
            "credentials.api_key_header",
        ),
        (r#""credentials": {"cookie": ""}"#, "credentials.cookie"),
        (r#""credentials": {"cookie": "a=b"}"#, "credentials.cookie"),
        (r#""credentials": {"cookie": "a b"}"#, "credentials.cookie"),
        (r#""credentials": {"websocket_protocol": null}"#, "credentials.websocket_protocol"),
        (r#""credentials": {"header": "X-API-Key"}"#, "credentials.header"),
    ]);
}

#[test]
fn a_header_with_a_meaning_in_callouts_is_not_copied() {
    for name in [
        "",
        "a b",
        "Authorization",
        "Cookie",
        "Host",
        "Connection",
        "Transfer-Encoding",
        "Upgrade",
        "Accept",
        "User-Agent",
        "X-Envoy-Max-Retries",
        "X_User_Id",
        "x-is-admin",
        "Proxy-Authorization",
        "Content-Length",
    ] {
        let changes = format!(r#""auth_service": {{"cluster": "a", "forward_headers": ["x-a", "{name}"]}}"#);
        assert_paths(&[(changes.as_str(), "auth_service.forward_headers[1]")]);
    }
    assert_paths(&[
        (r#""auth_service": {"cluster": "a", "forward_headers": ["x-a", "X-A"]}"#, "auth_service.forward_headers[1]"),
        (
            r#""auth_service": {"cluster": "a", "forward_headers": ["X-Mine"]}, "strip_headers": ["x_mine"]"#,
            "auth_service.forward_headers[0]",
        ),
        (
            r#""auth_service": {"cluster": "a", "forward_headers": ["X-API-Key"]},
               "credentials": {"api_key_header": "X-API-Key"}"#,
            "auth_service.forward_headers[0]",
        ),
    ]);
}

#[test]
fn a_cluster_whose_name_is_no_host_needs_an_authority() {
    let of = |changes: Value| {
        let config = config(changes);
        let revocation = config.revocation.unwrap().host;
        (config.jwt.public_key.host, revocation)
    };
    let host = |cluster: &str, authority: &str| ServiceHost { cluster: cluster.into(), authority: authority.into() };
    let (key, list) = of(json!({
        "jwt": {"public_key": {"cluster": "outbound|80||keys.ns.svc.cluster.local"}},
        "revocation": {"path": "/l", "cluster": "lists", "authority": "lists.internal"},
    }));
    assert_eq!(key, host("outbound|80||keys.ns.svc.cluster.local", "keys.ns.svc.cluster.local"));
    assert_eq!(list, host("lists", "lists.internal"));
    assert_paths(&[
        (r#""jwt": {"public_key": {"cluster": "a|b"}}"#, "jwt.public_key.authority"),
        (r#""revocation": {"cluster": "a|b"}"#, "revocation.authority"),
        (r#""revocation": {"cluster": ""}"#, "revocation.cluster"),
        (r#""jwt": {"public_key": {"authority": "http://a"}}"#, "jwt.public_key.authority"),
    ]);
}

#[test]
fn pages_of_the_filter_need_distinct_paths_and_https_urls() {
    assert_paths(&[
        (r#""status_paths": {"health": "health"}"#, "status_paths.health"),
        (r#""status_paths": {"health": "/health?x"}"#, "status_paths.health"),
        (r#""status_paths": {"health": "/a b"}"#, "status_paths.health"),
        (r#""status_paths": {"health": "/a", "readiness": "/a"}"#, "status_paths.readiness"),
        (r#""status_paths": {"liveness": "/a"}"#, "status_paths.liveness"),
        (
            r#""status_paths": {"readiness": "/.well-known/oauth-protected-resource/a"},
               "responses": {"resource_metadata": {"resource": "https://a.example/a"}}"#,
            "status_paths.readiness",
        ),
        (
            r#""status_paths": {"health": "/.well-known/oauth-protected-resource"},
               "responses": {"resource_metadata": {"resource": "https://a.example/"}}"#,
            "status_paths.health",
        ),
        (r#""responses": {"sign_in_url": "http://a.example"}"#, "responses.sign_in_url"),
        (r#""responses": {"sign_in_url": "javascript:alert(1)"}"#, "responses.sign_in_url"),
        (r#""responses": {"sign_in_url": "https://a.example/\"><script>"}"#, "responses.sign_in_url"),
        (r#""responses": {"sign_in_url": "https://a@b.example"}"#, "responses.sign_in_url"),
        (r#""responses": {"sign_in_url": "https://"}"#, "responses.sign_in_url"),
        (r#""responses": {"resource_metadata": {}}"#, "responses.resource_metadata.resource"),
        (
            r#""responses": {"resource_metadata": {"resource": "https://a.example?x"}}"#,
            "responses.resource_metadata.resource",
        ),
        (
            r#""responses": {"resource_metadata": {"resource": "https://a.example", "scopes_supported": ["a b"]}}"#,
            "responses.resource_metadata.scopes_supported[0]",
        ),
        (
            r#""responses": {"resource_metadata": {"resource": "https://a.example", "authorization_servers": ["a"]}}"#,
            "responses.resource_metadata.authorization_servers[0]",
        ),
    ]);
}
