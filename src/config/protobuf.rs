//! A serialised `google.protobuf.Struct`: how Envoy hands over a `configuration` in YAML.

use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use serde_json::{Map, Value as Json};

/// Decodes a serialised `Struct`. `None`: the bytes are something else.
pub(super) fn decode(bytes: &[u8]) -> Option<Json> {
    Struct::decode(bytes).ok().map(object)
}

fn object(value: Struct) -> Json {
    Json::Object(value.fields.into_iter().map(|(key, value)| (key, json(value))).collect::<Map<_, _>>())
}

fn json(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(flag)) => Json::Bool(flag),
        Some(Kind::NumberValue(number)) => Json::from(number),
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(list)) => Json::Array(list.values.into_iter().map(json).collect()),
        Some(Kind::StructValue(inner)) => object(inner),
    }
}
