//! Configurations that are accepted, and the errors of those that aren't.

mod accepted;
mod bytes;
mod credentials;
mod fields;
mod messages;
mod profiles;
mod reference;
mod resilience;
mod rules;
mod table;
mod unreadable;
mod values;
mod verification;

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

fn from_struct(value: &Value) -> Result<Config, ConfigErrors> {
    Config::from_bytes(&proto_struct(value).encode_to_vec())
}

/// The only error.
#[track_caller]
fn only(refused: Result<Config, ConfigErrors>) -> ConfigError {
    let errors = refused.unwrap_err();
    let all: Vec<&ConfigError> = errors.iter().collect();
    assert_eq!(all.len(), 1, "{errors}");
    all[0].clone()
}

/// The only error of `changes` over the least configuration, the same in both forms.
#[track_caller]
fn refused(changes: &str) -> ConfigError {
    let changes = changes.trim();
    let text = if changes.contains("auth_service") {
        format!("{{{changes}}}")
    } else {
        format!(r#"{{"auth_service": {{"cluster": "auth"}}, {changes}}}"#)
    };
    let error = only(Config::from_bytes(text.as_bytes()));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(only(from_struct(&value)), error, "{text}");
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

/// A configuration with nearly every field.
fn example() -> Value {
    json!({
        "profile": "production",
        "auth_service": {
            "cluster": "auth_service", "authority": "auth.internal", "scheme": "https", "verify_path": "/auth/verify",
            "public_key_path": "/iam/public-key", "timeout": "1s", "retries": 1,
        },
        "jwt": {
            "verification": "local",
            "token_types": ["access", "api_token"], "issuers": ["auth"], "audiences": [], "clock_skew": "0s",
            "public_key": {"ttl": "1h", "min_refetch_interval": "5s", "grace": "5s", "pem": [RSA_2048]},
        },
        "api_token": {"response_format": "jwt_header", "header_types": ["apikey", "other"]},
        "cache": {
            "max_entries": 10000, "ttl": "300s", "negative_ttl": "10s", "stale_ttl": "1h", "eviction": "lru",
        },
        "circuit_breaker": {"failures": 5, "open_for": "60s"},
        "revocation": {"path": null, "poll_interval": "30s"},
        "failed_auth_throttle": {"attempts": 0, "window": "60s", "lockout": "300s"},
        "rules": [
            {"match": {"path": "/health"}, "public": true},
            {"match": {"prefix": "/webhooks"}, "require": {"token_types": ["api_token"]}},
            {"match": {"prefix": "/admin"}, "verification": "remote"},
            {"match": {"regex": "/v[0-9]+/.*", "methods": ["GET", "HEAD"], "hosts": ["*.example.com"]}},
        ],
        "identity_headers": {"X-User-Id": "user_id", "X-User-Email": null, "X-Role": "role_params.role"},
        "strip_headers": ["X-Remote-User"],
        "forward_credential": "jwt",
        "responses": {"realm": "my gateway"},
    })
}
