//! Configurations that are taken, and what is said of those that aren't.

use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as ProtoValue};
use serde_json::{Value, json};

use super::*;
use crate::testing::config;

const RSA_2048: &str = include_str!("../public_key/testdata/rsa_2048.pem");

fn proto_value(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(list) => Kind::ListValue(ListValue { values: list.iter().map(proto_value).collect() }),
        Value::Object(_) => Kind::StructValue(proto_struct(value)),
    };
    ProtoValue { kind: Some(kind) }
}

fn proto_struct(value: &Value) -> Struct {
    let object = value.as_object().unwrap();
    Struct { fields: object.iter().map(|(key, value)| (key.clone(), proto_value(value))).collect() }
}

fn from_struct(value: &Value) -> Result<Config, ConfigError> {
    Config::from_bytes(&proto_struct(value).encode_to_vec())
}

/// The refusal of `changes` over the least configuration, the same in both forms.
fn refused(changes: &str) -> ConfigError {
    let changes = changes.trim();
    let text = if changes.contains("auth_service") {
        format!("{{{changes}}}")
    } else {
        format!(r#"{{"auth_service": {{"cluster": "auth"}}, {changes}}}"#)
    };
    let error = Config::from_bytes(text.as_bytes()).expect_err(&text);
    let value: Value = serde_json::from_str(&text).unwrap();
    let of_struct = from_struct(&value).expect_err(&text);
    assert_eq!(of_struct.path, error.path, "{text}: {of_struct}");
    error
}

#[track_caller]
fn assert_paths(table: &[(&str, &str)]) {
    for (changes, path) in table {
        let error = refused(changes);
        assert_eq!(error.path, *path, "{changes}: {error}");
        assert!(!error.problem.is_empty(), "{changes}");
        assert_eq!(error.to_string(), format!("{path}: {}", error.problem));
    }
}

/// The contract's example, as far as it is built.
fn example() -> Value {
    json!({
        "auth_service": {
            "cluster": "auth_service", "authority": "auth.internal", "verify_path": "/auth/verify",
            "public_key_path": "/iam/public-key", "timeout": "1s", "retries": 1,
        },
        "jwt": {
            "token_types": ["access", "api_token"], "issuers": ["auth"], "audiences": [], "clock_skew": "0s",
            "public_key": {"ttl": "1h", "min_refetch_interval": "5s", "pem": [RSA_2048]},
        },
        "api_token": {"response_format": "jwt_header", "header_types": ["apikey", "other"]},
        "rules": [
            {"match": {"path": "/health"}, "public": true},
            {"match": {"prefix": "/webhooks"}, "require": {"token_types": ["api_token"]}},
            {"match": {"regex": "/v[0-9]+/.*", "methods": ["GET", "HEAD"], "hosts": ["*.example.com"]}},
        ],
        "identity_headers": {"X-User-Id": "user_id", "X-User-Email": null, "X-Role": "role_params.role"},
        "forward_credential": "jwt",
        "responses": {"realm": "my gateway"},
    })
}

#[test]
fn the_example_is_the_same_as_json_and_as_a_struct() {
    let from_json = Config::from_bytes(example().to_string().as_bytes()).unwrap();
    let from_struct = from_struct(&example()).unwrap();
    assert_eq!(format!("{from_json:?}"), format!("{from_struct:?}"));

    assert_eq!(
        from_json.auth_service,
        AuthService {
            cluster: "auth_service".to_owned(),
            authority: "auth.internal".to_owned(),
            verify_path: "/auth/verify".to_owned(),
            public_key_path: "/iam/public-key".to_owned(),
            timeout: Duration::from_secs(1),
            retries: 1,
        }
    );
    assert_eq!(from_json.jwt.issuers, ["auth"]);
    assert_eq!(from_json.jwt.public_key.pem, [PublicKey::from_pem(RSA_2048).unwrap()]);
    assert_eq!(from_json.api_token.response_format, ResponseFormat::JwtHeader);
    assert_eq!(from_json.api_token.header_types, [HeaderType::Apikey, HeaderType::Other]);
    assert_eq!(from_json.rules.iter().map(|rule| rule.public).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(from_json.rules[1].require.token_types, Some(vec![TokenType::ApiToken]));
    assert_eq!(from_json.forward_credential, ForwardCredential::VerifiedJwt);
    assert_eq!(from_json.realm, "my gateway");
    let names: Vec<&str> = from_json.identity_headers.iter().map(|header| header.name.as_ref()).collect();
    assert_eq!(names, ["x-user-id", "x-client-id", "x-user-type", "x-is-admin", "x-role"]);
}

#[test]
fn only_the_cluster_is_required() {
    let config = config(json!({}));
    assert_eq!(
        config.auth_service,
        AuthService {
            cluster: "auth_service".to_owned(),
            authority: "auth_service".to_owned(),
            verify_path: "/auth/verify".to_owned(),
            public_key_path: "/iam/public-key".to_owned(),
            timeout: Duration::from_secs(1),
            retries: 1,
        }
    );
    assert_eq!(config.jwt.token_types, [TokenType::Access, TokenType::ApiToken]);
    assert_eq!((config.jwt.issuers, config.jwt.audiences), (vec![], vec![]));
    assert_eq!(config.jwt.clock_skew, Duration::ZERO);
    assert_eq!(config.jwt.public_key.ttl, Duration::from_secs(3600));
    assert_eq!(config.jwt.public_key.min_refetch_interval, Duration::from_secs(5));
    assert_eq!(config.jwt.public_key.pem, []);
    let api_token = ApiToken { response_format: ResponseFormat::JsonBody, header_types: vec![HeaderType::Apikey] };
    assert_eq!(config.api_token, api_token);
    assert!(config.rules.is_empty());
    let headers: Vec<(String, String)> =
        config.identity_headers.iter().map(|header| (header.name.to_string(), header.claim.to_string())).collect();
    let expected = [
        ("x-user-id", "user_id"),
        ("x-client-id", "client_id"),
        ("x-user-email", "email"),
        ("x-user-type", "user_type"),
        ("x-is-admin", "is_admin"),
    ];
    assert_eq!(headers, expected.map(|(name, claim)| (name.to_owned(), claim.to_owned())));
    assert_eq!(config.forward_credential, ForwardCredential::Keep);
    assert_eq!(config.realm, "authgate");
    let empty =
        json!({"jwt": {"public_key": {}}, "api_token": {}, "responses": {}, "rules": [], "identity_headers": {}});
    assert_eq!(format!("{:?}", self::config(empty)), format!("{:?}", self::config(json!({}))));
}

#[test]
fn values_at_their_limits_are_taken() {
    for changes in [
        json!({"auth_service": {"cluster": "c", "timeout": "1ms", "retries": 0}}),
        json!({"auth_service": {"cluster": "c", "timeout": "60s", "retries": 3}}),
        json!({"auth_service": {"cluster": "c", "timeout": "1m", "retries": 3.0}}),
        json!({"jwt": {"clock_skew": "5m", "public_key": {"ttl": "1s", "min_refetch_interval": "100ms"}}}),
        json!({"jwt": {"token_types": ["technical", "password_reset"], "public_key": {"ttl": "8760h"}}}),
        json!({"forward_credential": false}),
        json!({"responses": {"realm": "a'b c,d=e"}}),
    ] {
        config(changes);
    }
}

#[test]
fn a_field_that_nobody_knows_is_named() {
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
        (r#""responses": {"realms": ""}"#, "responses.realms"),
    ]);
}

#[test]
fn a_field_of_the_contract_that_does_nothing_yet_is_unknown() {
    assert_paths(&[
        (r#""credentials": {"header": "authorization"}"#, "credentials"),
        (r#""status_paths": {}"#, "status_paths"),
        (r#""rules": [{"match": {"path": "/a"}, "mode": "shadow"}]"#, "rules[0].mode"),
        (r#""rules": [{"match": {"path": "/a"}, "require": {"is_admin": true}}]"#, "rules[0].require.is_admin"),
    ]);
}

#[test]
fn a_value_of_the_wrong_type_is_named() {
    assert_paths(&[
        (r#""auth_service": "c""#, "auth_service"),
        (r#""auth_service": ["c", "a"]"#, "auth_service"),
        (r#""auth_service": {"cluster": 1}"#, "auth_service.cluster"),
        (r#""auth_service": {"cluster": null}"#, "auth_service.cluster"),
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
        (r#""forward_credential": "yes""#, "forward_credential"),
        (r#""forward_credential": null"#, "forward_credential"),
        (r#""forward_credential": 1"#, "forward_credential"),
        (r#""responses": []"#, "responses"),
        (r#""responses": {"realm": 1}"#, "responses.realm"),
    ]);
}

/// In YAML, a key whose value was forgotten or commented out. It must not widen a rule or drop a requirement.
#[test]
fn a_value_that_is_missing_behind_its_key_is_named() {
    assert_paths(&[
        (r#""auth_service": {"cluster": "c", "authority": null}"#, "auth_service.authority"),
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
fn what_is_required_is_named_when_it_is_missing() {
    for (text, problem) in [
        ("{}", "auth_service"),
        (r#"{"auth_service": {}}"#, "cluster"),
        (r#"{"auth_service": {"cluster": "c"}, "rules": [{"public": true}]}"#, "match"),
    ] {
        let error = Config::from_bytes(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
    let nameless = Config::from_bytes(br#"{"auth_service": {"cluster": "c"}, "": 1}"#).unwrap_err();
    assert_eq!(nameless.path, "configuration");
    for empty in ["", " ", "\n\t\r\n"] {
        assert_eq!(Config::from_bytes(empty.as_bytes()).unwrap_err().path, "auth_service.cluster");
    }
}

#[test]
fn empty_and_impossible_values_are_named() {
    assert_paths(&[
        (r#""auth_service": {"cluster": ""}"#, "auth_service.cluster"),
        (r#""auth_service": {"cluster": "a b"}"#, "auth_service.cluster"),
        (r#""auth_service": {"cluster": "c", "authority": ""}"#, "auth_service.authority"),
        (r#""auth_service": {"cluster": "c", "authority": "a\r\nb"}"#, "auth_service.authority"),
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
        (r#""responses": {"realm": "a\"b"}"#, "responses.realm"),
        (r#""responses": {"realm": "a\\b"}"#, "responses.realm"),
        (r#""responses": {"realm": "a\r\nb"}"#, "responses.realm"),
    ]);
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
        (r#""identity_headers": {"Cookie": "jti"}"#, "identity_headers.Cookie"),
        (r#""identity_headers": {"X-Forwarded-For": "jti"}"#, "identity_headers.X-Forwarded-For"),
        (r#""identity_headers": {"X-Envoy-Original-Path": "jti"}"#, "identity_headers.X-Envoy-Original-Path"),
    ]);
    for twins in
        [r#""X-A": "jti", "x-a": "jti""#, r#""X-A": "jti", "X_A": "email""#, r#""X-User-Id": null, "x_user_id": "jti""#]
    {
        let error = refused(&format!(r#""identity_headers": {{{twins}}}"#));
        assert!(error.path.starts_with("identity_headers.") && error.problem.contains("twice"), "{twins}: {error}");
    }
}

#[test]
fn a_twin_of_a_default_replaces_it() {
    let config = config(json!({"identity_headers": {"x_user_id": "token_id", "X-CLIENT-ID": "client_id"}}));
    let names: Vec<&str> = config.identity_headers.iter().map(|header| header.name.as_ref()).collect();
    assert_eq!(names, ["x_user_id", "x-client-id", "x-user-email", "x-user-type", "x-is-admin"]);
}

#[test]
fn a_json_field_that_stands_there_twice_is_refused() {
    for (text, path) in [
        (r#"{"auth_service": {"cluster": "a"}, "auth_service": {"cluster": "b"}}"#, "configuration"),
        (r#"{"auth_service": {"cluster": "a", "cluster": "b"}}"#, "auth_service"),
        (r#"{"auth_service": {"cluster": "a", "clust\u0065r": "b"}}"#, "auth_service"),
        (r#"{"auth_service": {"cluster": "a"}, "rules": [{"match": {"path": "/a", "path": "/b"}}]}"#, "rules[0].match"),
        (r#"{"auth_service": {"cluster": "a"}, "identity_headers": {"X-A": "jti", "X-A": "jti"}}"#, "identity_headers"),
    ] {
        let error = Config::from_bytes(text.as_bytes()).unwrap_err();
        assert_eq!(error.path, path, "{text}: {error}");
        assert!(error.problem.contains("duplicate"), "{text}: {error}");
    }
}

#[test]
fn what_is_neither_json_nor_a_struct_is_refused() {
    let good = r#"{"auth_service": {"cluster": "c"}}"#;
    assert!(Config::from_bytes(format!("\n {good} \n").as_bytes()).is_ok());
    for bytes in [
        format!("{good}x").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("[{good}]").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        good.replace('"', "'").into_bytes(),
        b"auth_service:\n  cluster: c\n".to_vec(),
        b"auth_service.cluster".to_vec(),
        b"null".to_vec(),
        b"1".to_vec(),
        b"[]".to_vec(),
        br#"[{"cluster": "c"}]"#.to_vec(),
        b"\0".to_vec(),
        vec![0xff; 64],
        good.replace("\"c\"", "\"\u{1}\"").into_bytes(),
        good.as_bytes()[..good.len() - 1].to_vec(),
        [good.as_bytes(), b"\0"].concat(),
    ] {
        assert!(Config::from_bytes(&bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes));
    }
    let whole = proto_struct(&example()).encode_to_vec();
    assert!(Config::from_bytes(&whole).is_ok());
    assert!(Config::from_bytes(&whole[..whole.len() - 1]).is_err(), "cut short");
}

#[test]
fn the_size_is_bounded() {
    let good = r#"{"auth_service": {"cluster": "c"}}"#;
    let padded = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.len()));
    assert!(Config::from_bytes(padded(1024 * 1024).as_bytes()).is_ok());
    assert_eq!(Config::from_bytes(padded(1024 * 1024 + 1).as_bytes()).unwrap_err().path, "configuration");
    let deep = format!(r#"{{"rules": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(Config::from_bytes(deep.as_bytes()).is_err());
}

#[test]
fn a_word_is_a_string_and_no_object_with_that_key() {
    for (fields, path) in [
        (r#""api_token": {"response_format": {"json_body": null}}"#, "api_token.response_format"),
        (r#""api_token": {"header_types": [{"apikey": null}]}"#, "api_token.header_types[0]"),
        (r#""api_token": {"response_format": "jwt_body"}, "forward_credential": {"jwt": null}"#, "forward_credential"),
    ] {
        let error = Config::from_bytes(format!(r#"{{"auth_service": {{"cluster": "c"}}, {fields}}}"#).as_bytes());
        assert_eq!(error.unwrap_err().path, path);
    }
}
