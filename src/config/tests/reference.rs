//! The reference keeps up with the fields.

use std::collections::BTreeSet;

use super::*;

const REFERENCE: &str = include_str!("../../../docs/reference.md");
const EVERY_FIELD: &str = include_str!("../../../wasm-tests/fuzz/corpus/configuration/every-field.json");

/// The paths of all fields that are written, as the reference has them: `rules[].match.path`.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        // Its keys are names of headers.
        Value::Object(fields_of) if path != "identity_headers" => {
            for (name, value) in fields_of {
                fields(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().for_each(|value| fields(value, &format!("{path}[]"), found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn it_has_a_row_for_each_field() {
    let mut found = BTreeSet::new();
    for configuration in [serde_json::from_str(EVERY_FIELD).unwrap(), example()] {
        fields(&configuration, "", &mut found);
    }
    let missing: Vec<_> = found.iter().filter(|field| !REFERENCE.contains(&format!("\n| `{field}` |"))).collect();
    assert!(missing.is_empty(), "fields that docs/reference.md#configuration doesn't list: {missing:?}");
}
