//! Unknown fields, values of the wrong type, and missing values.

use super::*;

#[test]
fn an_unknown_field_is_named() {
    assert_paths(&[
        (r#""x": 1"#, "x"),
        (r#""auth_service": {"cluster": "c", "clusters": []}"#, "auth_service.clusters"),
        (r#""jwt": {"token_type": []}"#, "jwt.token_type"),
        (r#""jwt": {"public_key": {"url": ""}}"#, "jwt.public_key.url"),
        (r#""api_token": {"formats": []}"#, "api_token.formats"),
        (r#""rules": [{"match": {"path": "/a"}, "Public": true}]"#, "rules[0].Public"),
        (
            r#""rules": [{"match": {"path": "/a"}}, {"match": {"prefix": "/b", "method": "GET"}}]"#,
            "rules[1].match.method",
        ),
        (r#""rules": [{"match": {"path": "/a"}, "require": {"types": []}}]"#, "rules[0].require.types"),
        (r#""cache": {"size": 1}"#, "cache.size"),
        (r#""circuit_breaker": {"failure": 5}"#, "circuit_breaker.failure"),
        (r#""revocation": {"interval": "30s"}"#, "revocation.interval"),
        (r#""failed_auth_throttle": {"limit": 5}"#, "failed_auth_throttle.limit"),
        (r#""responses": {"realms": ""}"#, "responses.realms"),
    ]);
}

/// What replaces a field, and the path that the error names.
const WRONG_TYPES: &[(&str, &str)] = &[
    (r#""auth_service": "c""#, "auth_service"),
    (r#""auth_service": ["c", "a"]"#, "auth_service"),
    (r#""auth_service": {"cluster": 1}"#, "auth_service.cluster"),
    (r#""auth_service": {"cluster": null}"#, "auth_service.cluster"),
    (r#""auth_service": {"cluster": "c", "scheme": "HTTPS"}"#, "auth_service.scheme"),
    (r#""auth_service": {"cluster": "c", "scheme": "h2c"}"#, "auth_service.scheme"),
    (r#""auth_service": {"cluster": "c", "scheme": true}"#, "auth_service.scheme"),
    (r#""auth_service": {"cluster": "c", "timeout": 1}"#, "auth_service.timeout"),
    (r#""auth_service": {"cluster": "c", "retries": "1"}"#, "auth_service.retries"),
    (r#""auth_service": {"cluster": "c", "retries": true}"#, "auth_service.retries"),
    (r#""auth_service": {"cluster": "c", "retries": null}"#, "auth_service.retries"),
    (r#""jwt": []"#, "jwt"),
    (r#""jwt": null"#, "jwt"),
    (r#""jwt": {"token_types": "access"}"#, "jwt.token_types"),
    (r#""jwt": {"token_types": ["access", 1]}"#, "jwt.token_types[1]"),
    (r#""jwt": {"token_types": ["access", "acess"]}"#, "jwt.token_types[1]"),
    (r#""jwt": {"issuers": "auth"}"#, "jwt.issuers"),
    (r#""jwt": {"audiences": [null]}"#, "jwt.audiences[0]"),
    (r#""jwt": {"clock_skew": 0}"#, "jwt.clock_skew"),
    (r#""jwt": {"public_key": []}"#, "jwt.public_key"),
    (r#""jwt": {"public_key": {"pem": "x"}}"#, "jwt.public_key.pem"),
    (r#""jwt": {"public_key": {"pem": [1]}}"#, "jwt.public_key.pem[0]"),
    (r#""api_token": {"response_format": "json"}"#, "api_token.response_format"),
    (r#""api_token": {"response_format": "JSON_BODY"}"#, "api_token.response_format"),
    (r#""api_token": {"header_types": ["apikey", "basic"]}"#, "api_token.header_types[1]"),
    (r#""profile": "staging""#, "profile"),
    (r#""profile": "Production""#, "profile"),
    (r#""profile": ["test"]"#, "profile"),
    (r#""profile": 1"#, "profile"),
    (r#""jwt": {"verification": "offline"}"#, "jwt.verification"),
    (r#""jwt": {"verification": true}"#, "jwt.verification"),
    (r#""cache": []"#, "cache"),
    (r#""cache": {"max_entries": "10"}"#, "cache.max_entries"),
    (r#""cache": {"ttl": 300}"#, "cache.ttl"),
    (r#""cache": {"negative_ttl": 10}"#, "cache.negative_ttl"),
    (r#""cache": {"stale_ttl": false}"#, "cache.stale_ttl"),
    (r#""cache": {"eviction": "fifo"}"#, "cache.eviction"),
    (r#""cache": {"eviction": 1}"#, "cache.eviction"),
    (r#""circuit_breaker": 5"#, "circuit_breaker"),
    (r#""circuit_breaker": [5, "60s"]"#, "circuit_breaker"),
    (r#""circuit_breaker": {"failures": "5"}"#, "circuit_breaker.failures"),
    (r#""circuit_breaker": {"open_for": 60}"#, "circuit_breaker.open_for"),
    (r#""revocation": "/auth/blacklist""#, "revocation"),
    (r#""revocation": ["/auth/blacklist", "30s"]"#, "revocation"),
    (r#""revocation": {"path": false}"#, "revocation.path"),
    (r#""revocation": {"path": {}}"#, "revocation.path"),
    (r#""revocation": {"poll_interval": 30}"#, "revocation.poll_interval"),
    (r#""failed_auth_throttle": false"#, "failed_auth_throttle"),
    (r#""failed_auth_throttle": [5, "60s", "300s"]"#, "failed_auth_throttle"),
    (r#""failed_auth_throttle": {"attempts": "5"}"#, "failed_auth_throttle.attempts"),
    (r#""failed_auth_throttle": {"window": 60}"#, "failed_auth_throttle.window"),
    (r#""failed_auth_throttle": {"lockout": 300}"#, "failed_auth_throttle.lockout"),
    (r#""rules": [{"match": {"path": "/a"}, "verification": "Remote"}]"#, "rules[0].verification"),
    (r#""rules": [{"match": {"path": "/a"}, "verification": false}]"#, "rules[0].verification"),
    (r#""rules": {}"#, "rules"),
    (r#""rules": null"#, "rules"),
    (r#""rules": ["/a"]"#, "rules[0]"),
    (r#""rules": [[{"path": "/a"}, true]]"#, "rules[0]"),
    (r#""rules": [{"match": {"path": "/a"}, "public": "true"}]"#, "rules[0].public"),
    (r#""rules": [{"match": {"path": "/a"}, "public": 1}]"#, "rules[0].public"),
    (r#""rules": [{"match": "/a"}]"#, "rules[0].match"),
    (r#""rules": [{"match": {"prefix": ["/a"]}}]"#, "rules[0].match.prefix"),
    (r#""rules": [{"match": {"methods": "GET"}}]"#, "rules[0].match.methods"),
    (r#""rules": [{"match": {"hosts": [1]}}]"#, "rules[0].match.hosts[0]"),
    (r#""rules": [{"match": {"path": "/a"}, "require": []}]"#, "rules[0].require"),
    (r#""identity_headers": ["X-User-Id"]"#, "identity_headers"),
    (r#""identity_headers": {"X-A": 1}"#, "identity_headers.X-A"),
    (r#""identity_headers": {"X-A": ["user_id"]}"#, "identity_headers.X-A"),
    (r#""strip_headers": "X-A""#, "strip_headers"),
    (r#""strip_headers": {"X-A": null}"#, "strip_headers"),
    (r#""strip_headers": ["X-A", 1]"#, "strip_headers[1]"),
    (r#""forward_credential": "yes""#, "forward_credential"),
    (r#""forward_credential": null"#, "forward_credential"),
    (r#""forward_credential": 1"#, "forward_credential"),
    (r#""responses": []"#, "responses"),
    (r#""responses": {"realm": 1}"#, "responses.realm"),
];

#[test]
fn a_value_of_the_wrong_type_is_named() {
    assert_paths(WRONG_TYPES);
}

/// In YAML, a key whose value was forgotten or commented out. It must not widen a rule or drop a requirement.
#[test]
fn a_null_value_is_named() {
    assert_paths(&[
        (r#""auth_service": {"cluster": "c", "authority": null}"#, "auth_service.authority"),
        (r#""auth_service": {"cluster": "c", "scheme": null}"#, "auth_service.scheme"),
        (r#""strip_headers": null"#, "strip_headers"),
        (r#""profile": null"#, "profile"),
        (r#""jwt": {"verification": null}"#, "jwt.verification"),
        (r#""jwt": {"public_key": {"ttl": null}}"#, "jwt.public_key.ttl"),
        (r#""jwt": {"public_key": {"grace": null}}"#, "jwt.public_key.grace"),
        (r#""jwt": {"public_key": {"min_refetch_interval": null}}"#, "jwt.public_key.min_refetch_interval"),
        (r#""auth_service": {"cluster": "c", "timeout": null}"#, "auth_service.timeout"),
        (r#""cache": null"#, "cache"),
        (r#""cache": {"max_entries": null}"#, "cache.max_entries"),
        (r#""cache": {"ttl": null}"#, "cache.ttl"),
        (r#""cache": {"negative_ttl": null}"#, "cache.negative_ttl"),
        (r#""cache": {"stale_ttl": null}"#, "cache.stale_ttl"),
        (r#""cache": {"eviction": null}"#, "cache.eviction"),
        (r#""circuit_breaker": null"#, "circuit_breaker"),
        (r#""circuit_breaker": {"failures": null}"#, "circuit_breaker.failures"),
        (r#""circuit_breaker": {"open_for": null}"#, "circuit_breaker.open_for"),
        (r#""revocation": null"#, "revocation"),
        (r#""revocation": {"poll_interval": null}"#, "revocation.poll_interval"),
        (r#""failed_auth_throttle": null"#, "failed_auth_throttle"),
        (r#""failed_auth_throttle": {"attempts": null}"#, "failed_auth_throttle.attempts"),
        (r#""failed_auth_throttle": {"window": null}"#, "failed_auth_throttle.window"),
        (r#""failed_auth_throttle": {"lockout": null}"#, "failed_auth_throttle.lockout"),
        (r#""rules": [{"match": {"prefix": "/a"}, "verification": null}]"#, "rules[0].verification"),
        (r#""rules": [{"match": {"prefix": "/a"}, "require": null}]"#, "rules[0].require"),
        (r#""rules": [{"match": {"prefix": "/a"}, "public": true, "require": null}]"#, "rules[0].require"),
        (r#""rules": [{"match": {"prefix": "/a"}, "require": {"token_types": null}}]"#, "rules[0].require.token_types"),
        (r#""rules": [{"match": {"path": null, "methods": ["GET"]}, "public": true}]"#, "rules[0].match.path"),
        (r#""rules": [{"match": {"prefix": null, "methods": ["GET"]}, "public": true}]"#, "rules[0].match.prefix"),
        (r#""rules": [{"match": {"regex": null, "hosts": ["a.example"]}, "public": true}]"#, "rules[0].match.regex"),
        (r#""rules": [{"match": {"prefix": "/a", "methods": null}, "public": true}]"#, "rules[0].match.methods"),
        (r#""rules": [{"match": {"prefix": "/a", "hosts": null}, "public": true}]"#, "rules[0].match.hosts"),
        (r#""responses": {"realm": null}"#, "responses.realm"),
    ]);
}

#[test]
fn a_missing_required_field_is_named() {
    for (text, path) in [
        ("{}", "auth_service"),
        (r#"{"auth_service": {}}"#, "auth_service.cluster"),
        (r#"{"auth_service": {"cluster": "c"}, "rules": [{"public": true}]}"#, "rules[0].match"),
    ] {
        assert_eq!(only(Config::from_bytes(text.as_bytes())).to_string(), format!("{path}: is required"));
    }
    let nameless = only(Config::from_bytes(br#"{"auth_service": {"cluster": "c"}, "": 1}"#));
    assert_eq!(nameless.path, "configuration");
    for empty in ["", " ", "\n\t\r\n"] {
        assert_eq!(only(Config::from_bytes(empty.as_bytes())).path, "auth_service.cluster");
    }
}

#[test]
fn a_word_is_a_string_and_not_an_object() {
    for (fields, path) in [
        (r#""api_token": {"response_format": {"json_body": null}}"#, "api_token.response_format"),
        (r#""api_token": {"header_types": [{"apikey": null}]}"#, "api_token.header_types[0]"),
        (r#""profile": {"test": null}"#, "profile"),
        (r#""jwt": {"verification": {"remote": null}}"#, "jwt.verification"),
        (r#""cache": {"eviction": {"lru": null}}"#, "cache.eviction"),
        (r#""rules": [{"match": {"path": "/a"}, "verification": {"local": null}}]"#, "rules[0].verification"),
        (r#""api_token": {"response_format": "jwt_body"}, "forward_credential": {"jwt": null}"#, "forward_credential"),
    ] {
        let error = Config::from_bytes(format!(r#"{{"auth_service": {{"cluster": "c"}}, {fields}}}"#).as_bytes());
        assert_eq!(only(error).path, path);
    }
}
