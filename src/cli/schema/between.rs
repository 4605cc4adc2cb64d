//! What one field allows of another. [`crate::config`] checks the same when it compiles a configuration.

use serde_json::{Value, json};

use super::patterns;
use crate::config::table::Refused;
use crate::config::{HeaderType, ResponseFormat, Verification};
use crate::credential::PROTOCOLS;

/// Matches an object that has the field at this path, with a value that matches the schema.
fn has(path: &str, schema: Value) -> Value {
    path.rsplit('.')
        .fold(schema, |schema, name| json!({"type": "object", "required": [name], "properties": {name: schema}}))
}

/// Matches an object that lacks the field at this path, or has a value that matches the schema.
fn may_have(path: &str, schema: Value) -> Value {
    path.rsplit('.').fold(schema, |schema, name| json!({"properties": {name: schema}}))
}

/// What the whole configuration has to match besides the schemas of its fields.
pub(super) fn conditions() -> Value {
    json!([forwarded_jwt(), answer_in_headers(), key_in_a_header(), token_in_a_protocol()])
}

/// Only some formats of answers contain the JWT that is forwarded.
fn forwarded_jwt() -> Value {
    let says = || has("forward_credential", json!({"const": "jwt"}));
    let formats: Vec<_> =
        ResponseFormat::ALL.into_iter().filter(|format| format.is_jwt()).map(ResponseFormat::name).collect();
    json!({
        "if": {"anyOf": [says(), has("rules", json!({"type": "array", "contains": says()}))]},
        "then": has("api_token.response_format", json!({"enum": formats})),
    })
}

/// `json_header` says neither of what type a token is nor when it expires.
fn answer_in_headers() -> Value {
    let others: Vec<_> =
        Verification::ALL.into_iter().filter(|by| *by != Verification::Remote).map(Verification::name).collect();
    let verification = || may_have("verification", json!({"enum": others}));
    let types: Vec<_> =
        HeaderType::ALL.into_iter().filter(|kind| *kind != HeaderType::Other).map(HeaderType::name).collect();
    json!({
        "if": has("api_token.response_format", json!({"const": ResponseFormat::JsonHeader.name()})),
        "then": {"properties": {
            "jwt": verification(),
            "rules": {"items": verification()},
            "api_token": may_have("header_types", json!({"items": {"enum": types}})),
        }},
    })
}

/// A header's API token is one about which the service is asked.
fn key_in_a_header() -> Value {
    json!({
        "if": has("credentials.api_key_header", json!({"type": "string"})),
        "then": may_have("api_token.header_types", json!({"contains": {"const": HeaderType::Apikey.name()}})),
    })
}

/// The header that holds a JWT is neither set nor stripped.
fn token_in_a_protocol() -> Value {
    let header = Refused { names: vec![PROTOCOLS.to_owned()], prefixes: Vec::new() };
    let another = json!({"not": {"pattern": patterns::refused(&header)}});
    json!({
        "if": has("credentials.websocket_protocol", json!({"const": true})),
        "then": {"properties": {"identity_headers": {"propertyNames": another}, "strip_headers": {"items": another}}},
    })
}

/// The kinds of credential of which the service has to be asked about one.
pub(super) fn asked_about() -> Value {
    json!({"enum": [HeaderType::Apikey.name(), HeaderType::Other.name()]})
}

/// A cluster whose name contains no host needs an authority: the condition, and what it requires.
pub(super) fn authority_of_cluster() -> [(String, Value); 2] {
    let unnamed = json!({"type": "string", "not": {"pattern": patterns::cluster_with_host()}});
    [("if".to_owned(), has("cluster", unnamed)), ("then".to_owned(), has("authority", json!({"type": "string"})))]
}

/// Matches an object with two of these fields.
pub(super) fn at_most_one(names: &[&str]) -> Value {
    let pairs = names
        .iter()
        .enumerate()
        .flat_map(|(index, one)| names.iter().skip(index + 1).map(move |other| json!({"required": [one, other]})));
    json!({"anyOf": pairs.collect::<Vec<_>>()})
}

/// Matches a rule that contradicts itself: two fields that exclude each other, or a field without effect.
pub(super) fn contradictions() -> Value {
    let says = |name: &str| match name {
        "public" | "optional" | "deny" => json!({"properties": {name: {"const": true}}, "required": [name]}),
        _ => json!({"required": [name]}),
    };
    let pairs = [
        ("public", "optional"),
        ("public", "deny"),
        ("public", "require"),
        ("optional", "deny"),
        ("optional", "require"),
        ("deny", "require"),
        ("public", "verification"),
        ("deny", "verification"),
        ("deny", "forward_credential"),
    ];
    json!({"anyOf": pairs.map(|(one, other)| json!({"allOf": [says(one), says(other)]}))})
}
