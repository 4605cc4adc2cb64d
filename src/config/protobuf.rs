//! A serialised `google.protobuf.Struct`: how Envoy hands over a `configuration` in YAML.
//!
//! ```proto
//! message Struct { map<string, Value> fields = 1; }
//! message ListValue { repeated Value values = 1; }
//! message Value { oneof kind {
//!   NullValue null_value = 1; double number_value = 2; string string_value = 3;
//!   bool bool_value = 4; Struct struct_value = 5; ListValue list_value = 6;
//! } }
//! ```

use super::document::{MAX_DEPTH, Value};
use crate::order;
use crate::table::Bytes;

/// Decodes a serialised `Struct`. `None`: the bytes are something else.
pub(super) fn decode(bytes: &[u8]) -> Option<Value> {
    object(bytes, 1)
}

/// Sorts the members by key: Envoy writes a map in an order that differs from run to run, and the errors would too.
fn object(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut members = Vec::new();
    for field in Fields(Bytes(bytes)) {
        if let (1, payload) = field? {
            members.push(member(payload.bytes()?, depth)?);
        }
    }
    order::sort_by(&mut members, &|(one, _), (other, _)| one < other);
    Some(Value::Object(members))
}

/// One entry of the map. A missing key is empty, and a missing value is null.
fn member(bytes: &[u8], depth: usize) -> Option<(String, Value)> {
    let (mut key, mut value) = (String::new(), Value::Null);
    for field in Fields(Bytes(bytes)) {
        match field? {
            (1, payload) => key = payload.text()?,
            (2, payload) => value = self::value(payload.bytes()?, depth)?,
            _ => {}
        }
    }
    Some((key, value))
}

fn value(bytes: &[u8], depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut found = None;
    for field in Fields(Bytes(bytes)) {
        let value = match field? {
            (1, Payload::Varint(_)) => Value::Null,
            (2, Payload::Fixed64(bits)) => Value::Number(f64::from_le_bytes(bits)),
            (3, payload) => Value::Text(payload.text()?),
            (4, Payload::Varint(flag)) => Value::Flag(flag != 0),
            (5, payload) => object(payload.bytes()?, depth + 1)?,
            (6, payload) => list(payload.bytes()?, depth + 1)?,
            (1..=6, _) => return None,
            _ => continue,
        };
        // If there are several, protobuf takes the last; but nobody writes several.
        if found.replace(value).is_some() {
            return None;
        }
    }
    Some(found.unwrap_or(Value::Null))
}

fn list(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut entries = Vec::new();
    for field in Fields(Bytes(bytes)) {
        if let (1, payload) = field? {
            entries.push(value(payload.bytes()?, depth)?);
        }
    }
    Some(Value::List(entries))
}

/// The fields of a message, by number. Bytes that aren't a field give one `None`, which is the last item.
struct Fields<'b>(Bytes<'b>);

enum Payload<'b> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'b [u8]),
    Fixed32,
}

impl<'b> Payload<'b> {
    fn bytes(self) -> Option<&'b [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn text(self) -> Option<String> {
        str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }
}

impl<'b> Fields<'b> {
    fn field(&mut self) -> Option<(u64, Payload<'b>)> {
        let tag = self.0.varint()?;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.0.varint()?),
            1 => Payload::Fixed64(self.0.bytes()?),
            2 => {
                let length = self.0.varint()?;
                Payload::Bytes(self.0.take(usize::try_from(length).ok()?)?)
            }
            5 => {
                self.0.take(4)?;
                Payload::Fixed32
            }
            _ => return None,
        };
        Some((tag >> 3, payload)).filter(|(number, _)| *number > 0)
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Option<(u64, Payload<'b>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = Bytes(&[]);
        }
        Some(field)
    }
}
