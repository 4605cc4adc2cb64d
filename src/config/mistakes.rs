//! Configurations with mistakes, and some without, for whatever has to agree with the parser: `authgate check`, the
//! JSON Schema, the built module.

mod values;

use serde_json::{Value, json};

use super::fields::CONFIGURATION;
use super::table::{Field, Given, Kind};

/// The minimal configuration.
fn minimal() -> Value {
    json!({"auth_service": {"cluster": "auth"}})
}

/// The minimal configuration with each of many values in each field, and the [`combinations`].
pub fn configurations() -> Vec<Value> {
    let mut all = combinations();
    each(CONFIGURATION, &minimal(), "", &mut all);
    all
}

/// Configurations with fields that depend on one another, and some with several mistakes.
pub fn combinations() -> Vec<Value> {
    let with = |changes: &&str| {
        let mut whole = minimal();
        let changes: Value = serde_json::from_str(changes).expect(changes);
        whole.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        whole
    };
    COMBINATIONS.iter().map(with).collect()
}

/// Puts values into these fields of the object at a JSON pointer.
fn each(fields: &'static [Field], base: &Value, at: &str, all: &mut Vec<Value>) {
    for field in fields {
        let with = |value: Value| {
            let mut whole = base.clone();
            let object = whole.pointer_mut(at).unwrap();
            // They exclude each other.
            if matches!(field.name, "path" | "regex") && object["prefix"].is_string() {
                object.as_object_mut().unwrap().remove("prefix");
            }
            object[field.name] = value;
            whole
        };
        all.extend(values::wrong().into_iter().chain(values::of(&field.kind, field.header_use)).map(with));
        let below = format!("{at}/{}", field.name);
        match &field.kind {
            Kind::List(Kind::Object(fields)) => {
                each(fields, &with(json!([{"match": {"prefix": "/"}}])), &format!("{below}/0"), all);
            }
            kind if !kind.fields().is_empty() => {
                let fields = kind.fields();
                let base = if base.pointer(&below).is_some() { base.clone() } else { with(least(fields)) };
                each(fields, &base, &below, all);
            }
            _ => {}
        }
    }
    let mut whole = base.clone();
    whole.pointer_mut(at).unwrap()["unknown_field"] = json!(1);
    all.push(whole);
}

/// The fields that have to be written.
fn least(fields: &[Field]) -> Value {
    let required = fields.iter().filter(|field| matches!(field.given, Given::Required));
    let written = required.map(|field| {
        let example = field.example.expect(field.name);
        (field.name.to_owned(), serde_json::from_str(example).expect(example))
    });
    Value::Object(written.collect())
}

/// Fields that depend on one another, over the minimal configuration, and several mistakes at once.
const COMBINATIONS: &[&str] = &[
    r#"{"forward_credential": "jwt", "api_token": {"response_format": "json_body"}}"#,
    r#"{"forward_credential": "jwt", "api_token": {"response_format": "json_header"}}"#,
    r#"{"forward_credential": "jwt", "api_token": {"response_format": "jwt_body"}}"#,
    r#"{"forward_credential": "jwt", "api_token": {"response_format": "jwt_header"}}"#,
    r#"{"rules": [{"match": {"path": "/a"}}, {"match": {"path": "/b"}, "forward_credential": "jwt"}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "forward_credential": "jwt"}], "api_token": {"response_format": "jwt_body"}}"#,
    r#"{"jwt": {"verification": "remote"}, "api_token": {"response_format": "json_header"}}"#,
    r#"{"jwt": {"verification": "local"}, "api_token": {"response_format": "json_header"}}"#,
    r#"{"jwt": {"verification": "remote"}, "api_token": {"response_format": "json_body"}}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "verification": "remote"}], "api_token": {"response_format": "json_header"}}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "verification": "local"}], "api_token": {"response_format": "json_header"}}"#,
    r#"{"api_token": {"header_types": ["apikey", "other"], "response_format": "json_header"}}"#,
    r#"{"api_token": {"header_types": ["apikey", "jwt"], "response_format": "json_header"}}"#,
    r#"{"api_token": {"answer_headers": {"client_id": "x-user-id"}}}"#,
    r#"{"credentials": {"api_key_header": "X-API-Key"}, "api_token": {"header_types": ["other"]}}"#,
    r#"{"credentials": {"api_key_header": "X-API-Key"}, "api_token": {"header_types": ["other", "apikey"]}}"#,
    r#"{"credentials": {"api_key_header": null}, "api_token": {"header_types": ["other"]}}"#,
    r#"{"credentials": {"api_key_header": "X-API-Key"}, "identity_headers": {"X_API_Key": "email"}}"#,
    r#"{"credentials": {"api_key_header": "X-API-Key"}, "strip_headers": ["x.api.key"]}"#,
    r#"{"credentials": {"websocket_protocol": true}, "identity_headers": {"Sec_WebSocket-Protocol": "email"}}"#,
    r#"{"credentials": {"websocket_protocol": true}, "strip_headers": ["sec-websocket-protocol"]}"#,
    r#"{"credentials": {"websocket_protocol": false}, "strip_headers": ["sec-websocket-protocol"]}"#,
    r#"{"identity_headers": {"X-A": "jti", "X_A": "email"}}"#,
    r#"{"strip_headers": ["X-A", "X-A"]}"#,
    r#"{"strip_headers": ["X-A", "x.a"]}"#,
    r#"{"strip_headers": ["X-A"], "auth_service": {"cluster": "c", "forward_headers": ["x_a"]}}"#,
    r#"{"auth_service": {"cluster": "c", "forward_headers": ["X-A", "X-A"]}}"#,
    r#"{"auth_service": {"cluster": "c", "forward_headers": ["X-A", "x-a"]}}"#,
    r#"{"auth_service": {"cluster": "a|b"}}"#,
    r#"{"auth_service": {"cluster": "a|b", "authority": "a"}}"#,
    r#"{"auth_service": {"cluster": "outbound|80|v1|auth.ns.svc.cluster.local"}}"#,
    r#"{"auth_service": {"cluster": "outbound|65536||auth"}}"#,
    r#"{"auth_service": {"cluster": "outbound|80||*.example.com"}}"#,
    r#"{"auth_service": {"cluster": "a b", "authority": "a"}}"#,
    r#"{"jwt": {"public_key": {"cluster": "a|b"}}}"#,
    r#"{"jwt": {"public_key": {"cluster": "a b", "authority": "a"}}}"#,
    r#"{"revocation": {"cluster": "a|b"}}"#,
    r#"{"revocation": {"cluster": "a|b", "authority": null}}"#,
    r#"{"revocation": {"cluster": "a|b", "authority": "a"}}"#,
    r#"{"revocation": {"cluster": "a b", "authority": "a"}}"#,
    r#"{"status_paths": {"health": "/a", "readiness": "/a"}}"#,
    r#"{"status_paths": {"health": "/.well-known/oauth-protected-resource"},
        "responses": {"resource_metadata": {"resource": "https://a.example/"}}}"#,
    r#"{"rules": [{"match": {"path": "/a", "prefix": "/a"}}]}"#,
    r#"{"rules": [{"match": {"path": "/a", "regex": "/a"}}]}"#,
    r#"{"rules": [{"match": {"prefix": "/a", "regex": "/a"}}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "public": true, "optional": true}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "public": true, "deny": true}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "public": true, "require": {"sso": true}}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "public": true, "verification": "local"}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "optional": true, "deny": true}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "optional": true, "require": {"sso": true}}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "deny": true, "require": {"sso": true}}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "deny": true, "verification": "local"}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "deny": true, "forward_credential": true}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "public": false, "optional": false, "deny": false, "require": {"sso": true},
        "verification": "local", "forward_credential": true}]}"#,
    r#"{"rules": [{"match": {"path": "/a"}, "name": "a"}, {"match": {"path": "/b"}, "name": "a"}]}"#,
    r#"{"rules": [{"match": {"path": "a"}, "public": true, "deny": true, "name": "none", "mode": "off", "x": 1}, {}],
        "jwt": {"issuers": "iam", "clock_skew": 5}, "cache": {"ttl": "1d"}, "strip_headers": ["Host", "X A"],
        "forward_credential": "jwt", "z": null}"#,
    r#"{"rules": [[], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [],
        [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [],
        [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [],
        [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], [], []]}"#,
];
