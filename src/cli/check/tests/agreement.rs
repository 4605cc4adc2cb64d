//! `authgate check` reports the filter's own errors about a bad configuration, in every form of file.

use prost::Message as _;
use prost_types::value::Kind as ProtoKind;
use prost_types::{ListValue, Struct, Value as Proto};
use serde_json::{Value, json};

use super::found;
use crate::config::Config;
use crate::config::mistakes::configurations;

/// The value as Envoy serialises it.
fn proto(value: &Value) -> Proto {
    let kind = match value {
        Value::Null => ProtoKind::NullValue(0),
        Value::Bool(flag) => ProtoKind::BoolValue(*flag),
        Value::Number(number) => ProtoKind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => ProtoKind::StringValue(text.clone()),
        Value::Array(entries) => ProtoKind::ListValue(ListValue { values: entries.iter().map(proto).collect() }),
        Value::Object(_) => ProtoKind::StructValue(structure(value)),
    };
    Proto { kind: Some(kind) }
}

fn structure(value: &Value) -> Struct {
    Struct { fields: value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), proto(value))).collect() }
}

/// The filter's errors about these bytes, sorted.
fn refused(bytes: &[u8]) -> Vec<String> {
    let mut errors: Vec<_> = match Config::from_bytes(bytes) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    errors.sort();
    errors
}

/// The errors that are reported for a file, sorted, without warnings.
fn checked(text: &str) -> Vec<String> {
    let (_, problems) = found(text);
    let errors = problems.iter().filter(|problem| problem["level"] == "error");
    let text = |problem: &Value, name: &str| problem[name].as_str().unwrap().to_owned();
    let mut errors: Vec<_> =
        errors.map(|error| format!("{}: {}", text(error, "field"), text(error, "problem"))).collect();
    errors.sort();
    errors
}

/// A filter with this configuration, as in Envoy's file.
fn wrapped(kind: &str, value: &Value) -> String {
    json!({"typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "authgate",
            "configuration": {"@type": format!("type.googleapis.com/google.protobuf.{kind}"), "value": value},
        },
    }})
    .to_string()
}

#[test]
fn the_filter_and_the_command_agree_on_bad_configurations() {
    let mut bad = 0;
    for config in configurations() {
        let errors = refused(config.to_string().as_bytes());
        assert_eq!(refused(&structure(&config).encode_to_vec()), errors, "{config}");
        assert_eq!(checked(&config.to_string()), errors, "{config}");
        assert_eq!(checked(&wrapped("Struct", &config)), errors, "{config}");
        assert_eq!(checked(&wrapped("StringValue", &json!(config.to_string()))), errors, "{config}");
        bad += usize::from(!errors.is_empty());
    }
    assert!(bad >= 100, "{bad}");
}
