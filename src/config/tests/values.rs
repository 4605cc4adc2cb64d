//! Values that a field can't have, alone or together with another field's.

use super::*;

/// What replaces a field, and the path that the error names.
const IMPOSSIBLE: &[(&str, &str)] = &[
    (r#""auth_service": {"cluster": ""}"#, "auth_service.cluster"),
    (r#""auth_service": {"cluster": "a b"}"#, "auth_service.cluster"),
    (r#""auth_service": {"cluster": "c", "authority": ""}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "a\r\nb"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "outbound|8080||"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "outbound|8080||*.example.com"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "inbound|8080||"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "outbound|x||auth"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "outbound|80||auth|"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "httproute/ns/auth/rule/0"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "--"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "outbound|80||auth"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "http://auth"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "auth/"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "u@auth"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "auth:"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "auth:65536"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "auth:+80"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": ":80"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "::1"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "[::1"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "[::1]80"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "authority": "[auth]"}"#, "auth_service.authority"),
    (r#""auth_service": {"cluster": "c", "verify_path": ""}"#, "auth_service.verify_path"),
    (r#""auth_service": {"cluster": "c", "verify_path": "verify"}"#, "auth_service.verify_path"),
    (r#""auth_service": {"cluster": "c", "verify_path": "/a b"}"#, "auth_service.verify_path"),
    (r#""auth_service": {"cluster": "c", "public_key_path": "/a#b"}"#, "auth_service.public_key_path"),
    (r#""jwt": {"token_types": []}"#, "jwt.token_types"),
    (r#""jwt": {"token_types": ["access", "access"]}"#, "jwt.token_types[1]"),
    (r#""jwt": {"issuers": ["a", ""]}"#, "jwt.issuers[1]"),
    (r#""jwt": {"audiences": [""]}"#, "jwt.audiences[0]"),
    (r#""jwt": {"public_key": {"pem": [""]}}"#, "jwt.public_key.pem[0]"),
    (r#""jwt": {"public_key": {"pem": ["-----BEGIN PUBLIC KEY-----"]}}"#, "jwt.public_key.pem[0]"),
    (r#""api_token": {"header_types": []}"#, "api_token.header_types"),
    (r#""api_token": {"header_types": ["jwt"]}"#, "api_token.header_types"),
    (
        r#""api_token": {"header_types": ["apikey", "other"], "response_format": "json_header"}"#,
        "api_token.header_types",
    ),
    (r#""api_token": {"header_types": ["jwt", "apikey", "jwt"]}"#, "api_token.header_types[2]"),
    (r#""rules": [{"match": {}}]"#, "rules[0].match"),
    (r#""rules": [{"match": {"path": ""}}]"#, "rules[0].match.path"),
    (r#""rules": [{"match": {"path": "a"}}]"#, "rules[0].match.path"),
    (r#""rules": [{"match": {"path": "/a%20b"}}]"#, "rules[0].match.path"),
    (r#""rules": [{"match": {"path": "/a b"}}]"#, "rules[0].match.path"),
    (r#""rules": [{"match": {"prefix": "/caf\u00e9"}}]"#, "rules[0].match.prefix"),
    (r#""rules": [{"match": {"prefix": "/a/../b"}}]"#, "rules[0].match.prefix"),
    (r#""rules": [{"match": {"regex": ""}}]"#, "rules[0].match.regex"),
    (r#""rules": [{"match": {"path": "/a", "methods": []}}]"#, "rules[0].match.methods"),
    (r#""rules": [{"match": {"path": "/a", "methods": ["GET", "get"]}}]"#, "rules[0].match.methods[1]"),
    (r#""rules": [{"match": {"path": "/a", "methods": ["GET", "GET"]}}]"#, "rules[0].match.methods[1]"),
    (r#""rules": [{"match": {"path": "/a", "hosts": []}}]"#, "rules[0].match.hosts"),
    (r#""rules": [{"match": {"path": "/a", "hosts": ["a.example:80"]}}]"#, "rules[0].match.hosts[0]"),
    (r#""rules": [{"match": {"path": "/a"}, "require": {}}]"#, "rules[0].require"),
    (r#""rules": [{"match": {"path": "/a"}, "require": {"token_types": []}}]"#, "rules[0].require.token_types"),
    (
        r#""rules": [{"match": {"path": "/a"}, "require": {"token_types": ["access", "refresh"]}}]"#,
        "rules[0].require.token_types[1]",
    ),
    (r#""identity_headers": {"X_Envoy_Attempt": "user_id"}"#, "identity_headers.X_Envoy_Attempt"),
    (r#""identity_headers": {"X-Forwarded-Proto": "user_id"}"#, "identity_headers.X-Forwarded-Proto"),
    (r#""responses": {"realm": ""}"#, "responses.realm"),
    (r#""responses": {"cors_origins": ["https://a.example", "*"]}"#, "responses.cors_origins[1]"),
    (r#""responses": {"cors_origins": ["https://a.example/"]}"#, "responses.cors_origins[0]"),
    (r#""responses": {"cors_origins": ["https://a.example:443"]}"#, "responses.cors_origins[0]"),
    (r#""responses": {"cors_origins": ["https://a.example:80", "http://a.example:80"]}"#, "responses.cors_origins[1]"),
    (r#""responses": {"realm": "a\"b"}"#, "responses.realm"),
    (r#""responses": {"realm": "a\\b"}"#, "responses.realm"),
    (r#""responses": {"realm": "a\r\nb"}"#, "responses.realm"),
];

#[test]
fn empty_and_impossible_values_are_named() {
    assert_paths(IMPOSSIBLE);
}

#[test]
fn durations_and_numbers_stay_in_their_ranges() {
    assert_paths(&[
        (r#""auth_service": {"cluster": "c", "timeout": "0s"}"#, "auth_service.timeout"),
        (r#""auth_service": {"cluster": "c", "timeout": "0.5ms"}"#, "auth_service.timeout"),
        (r#""auth_service": {"cluster": "c", "timeout": "61s"}"#, "auth_service.timeout"),
        (r#""auth_service": {"cluster": "c", "timeout": "1"}"#, "auth_service.timeout"),
        (r#""auth_service": {"cluster": "c", "timeout": ""}"#, "auth_service.timeout"),
        (r#""auth_service": {"cluster": "c", "timeout": "-1s"}"#, "auth_service.timeout"),
        (r#""auth_service": {"cluster": "c", "retries": 4}"#, "auth_service.retries"),
        (r#""auth_service": {"cluster": "c", "retries": -1}"#, "auth_service.retries"),
        (r#""auth_service": {"cluster": "c", "retries": 1.5}"#, "auth_service.retries"),
        (r#""auth_service": {"cluster": "c", "retries": 1e300}"#, "auth_service.retries"),
        (r#""jwt": {"clock_skew": "301s"}"#, "jwt.clock_skew"),
        (r#""jwt": {"clock_skew": "1 s"}"#, "jwt.clock_skew"),
        (r#""jwt": {"public_key": {"ttl": "999ms"}}"#, "jwt.public_key.ttl"),
        (r#""jwt": {"public_key": {"ttl": "8761h"}}"#, "jwt.public_key.ttl"),
        (r#""jwt": {"public_key": {"min_refetch_interval": "99ms"}}"#, "jwt.public_key.min_refetch_interval"),
        (r#""jwt": {"public_key": {"grace": "86401s"}}"#, "jwt.public_key.grace"),
        (r#""jwt": {"public_key": {"min_refetch_interval": "301s"}}"#, "jwt.public_key.min_refetch_interval"),
    ]);
}

#[test]
fn contradictions_are_named() {
    assert_paths(&[
        (r#""rules": [{"match": {"path": "/a"}, "public": true, "require": {"token_types": ["access"]}}]"#, "rules[0]"),
        (r#""rules": [{"match": {"path": "/a", "prefix": "/a"}}]"#, "rules[0].match"),
        (r#""rules": [{"match": {"path": "/a", "regex": "/a"}}]"#, "rules[0].match"),
        (r#""rules": [{"match": {"prefix": "/a", "regex": "/a"}}]"#, "rules[0].match"),
        (r#""forward_credential": "jwt""#, "forward_credential"),
        (r#""forward_credential": "jwt", "api_token": {"response_format": "json_header"}"#, "forward_credential"),
        (r#""jwt": {"token_types": ["access", "refresh"]}"#, "jwt.token_types[1]"),
    ]);
}

#[test]
fn a_bad_regex_is_named_with_its_rule() {
    let error =
        refused(r#""rules": [{"match": {"path": "/a"}}, {"match": {"prefix": "/b"}}, {"match": {"regex": "/c("}}]"#);
    assert!(error.to_string().starts_with("rules[2].match.regex: "), "{error}");
    assert_paths(&[
        (r#""rules": [{"match": {"regex": "a)|(?:b"}}]"#, "rules[0].match.regex"),
        (r#""rules": [{"match": {"regex": "(?:a{1000}){1000}"}}]"#, "rules[0].match.regex"),
    ]);
}

#[test]
fn identity_headers_have_usable_names_and_known_claims() {
    assert_paths(&[
        (r#""identity_headers": {"": "user_id"}"#, "identity_headers."),
        (r#""identity_headers": {"X A": "user_id"}"#, "identity_headers.X A"),
        (r#""identity_headers": {":path": "user_id"}"#, "identity_headers.:path"),
        (r#""identity_headers": {"X-\u00e9": "user_id"}"#, "identity_headers.X-\u{e9}"),
        (r#""identity_headers": {"X-A": "userid"}"#, "identity_headers.X-A"),
        (r#""identity_headers": {"X-A": ""}"#, "identity_headers.X-A"),
        (r#""identity_headers": {"X-A": "role_params"}"#, "identity_headers.X-A"),
        (r#""identity_headers": {"X-A": null}"#, "identity_headers.X-A"),
        (r#""identity_headers": {"Authorization": "jti"}"#, "identity_headers.Authorization"),
        (r#""identity_headers": {"Host": "jti"}"#, "identity_headers.Host"),
        (r#""identity_headers": {"Content_Length": "jti"}"#, "identity_headers.Content_Length"),
        (r#""identity_headers": {"Transfer-Encoding": "jti"}"#, "identity_headers.Transfer-Encoding"),
        (r#""identity_headers": {"tracestate": "jti"}"#, "identity_headers.tracestate"),
        (r#""identity_headers": {"Traceparent": "jti"}"#, "identity_headers.Traceparent"),
        (r#""identity_headers": {"b3": "jti"}"#, "identity_headers.b3"),
        (r#""identity_headers": {"X-B3-TraceId": "jti"}"#, "identity_headers.X-B3-TraceId"),
        (r#""identity_headers": {"X-Datadog-Origin": "jti"}"#, "identity_headers.X-Datadog-Origin"),
        (r#""identity_headers": {"X-Amzn-Trace-Id": "jti"}"#, "identity_headers.X-Amzn-Trace-Id"),
        (r#""identity_headers": {"sw8": "jti"}"#, "identity_headers.sw8"),
        (r#""identity_headers": {"Cookie": "jti"}"#, "identity_headers.Cookie"),
        (r#""identity_headers": {"X-Forwarded-For": "jti"}"#, "identity_headers.X-Forwarded-For"),
        (r#""identity_headers": {"X-Envoy-Original-Path": "jti"}"#, "identity_headers.X-Envoy-Original-Path"),
        (r#""identity_headers": {"X.Forwarded_Host": "jti"}"#, "identity_headers.X.Forwarded_Host"),
        (r#""identity_headers": {"X-Forwarded-Port": "jti"}"#, "identity_headers.X-Forwarded-Port"),
        (r#""identity_headers": {"X-Forwarded-Proto": "jti"}"#, "identity_headers.X-Forwarded-Proto"),
        (r#""identity_headers": {"X-Forwarded-Client-Cert": "jti"}"#, "identity_headers.X-Forwarded-Client-Cert"),
        (
            r#""identity_headers": {"X-Forwarded-Tls-Client-Cert": "jti"}"#,
            "identity_headers.X-Forwarded-Tls-Client-Cert",
        ),
        (r#""identity_headers": {"x.envoy.attempt": "jti"}"#, "identity_headers.x.envoy.attempt"),
    ]);
    for twins in
        [r#""X-A": "jti", "x-a": "jti""#, r#""X-A": "jti", "X_A": "email""#, r#""X-User-Id": null, "x!user_id": "jti""#]
    {
        let error = refused(&format!(r#""identity_headers": {{{twins}}}"#));
        assert!(error.path.starts_with("identity_headers.") && error.problem.contains("twice"), "{twins}: {error}");
    }
}

#[test]
fn headers_that_a_request_needs_are_not_stripped() {
    for name in
        ["Host", "AUTHORIZATION", "cookie", "Content-Length", "Transfer_Encoding", "Connection", "TE", "Upgrade"]
    {
        let error = refused(&format!(r#""strip_headers": ["X-A", "{name}"]"#));
        assert_eq!(error.path, "strip_headers[1]", "{name}: {error}");
    }
    assert_paths(&[
        (r#""strip_headers": [""]"#, "strip_headers[0]"),
        (r#""strip_headers": [":path"]"#, "strip_headers[0]"),
        (r#""strip_headers": ["X A"]"#, "strip_headers[0]"),
        (r#""strip_headers": ["X-\u00e9"]"#, "strip_headers[0]"),
        (r#""strip_headers": ["X-A", "X-B", "x.a"]"#, "strip_headers[2]"),
    ]);
}
