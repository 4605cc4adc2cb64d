//! The reference and the corpus agree with the table of fields.

use std::collections::BTreeSet;

use super::table::{defaults, fields};
use super::*;
use crate::config::table::Kind;

const REFERENCE: &str = include_str!("../../../docs/reference.md");
const EVERY_FIELD: &str = include_str!("../../../wasm-tests/fuzz/corpus/configuration/every-field.json");

/// The paths of all fields that are written, as the reference has them: `rules[].match.path`.
fn written(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        // Their keys are names of headers, and of claims.
        Value::Object(fields_of) if path != "identity_headers" && !path.ends_with(".claims") => {
            for (name, value) in fields_of {
                written(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().for_each(|value| written(value, &format!("{path}[]"), found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn the_corpus_contains_each_field() {
    let mut found = BTreeSet::new();
    written(&serde_json::from_str(EVERY_FIELD).unwrap(), "", &mut found);
    for (path, field) in fields() {
        let has_fields = matches!(
            &field.kind,
            Kind::Object(_) | Kind::List(Kind::Object(_)) | Kind::ObjectOrObjects(_) | Kind::OrNull(Kind::Object(_))
        );
        assert!(has_fields || found.contains(&path), "every-field.json lacks {path}");
    }
}

#[test]
fn the_reference_documents_each_default_and_range() {
    for (path, field) in fields() {
        if matches!(&field.kind, Kind::Object(_) | Kind::List(Kind::Object(_))) {
            continue;
        }
        let row = REFERENCE.lines().find(|line| line.starts_with(&format!("| `{path}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/reference.md#configuration doesn't list {path}")).replace(',', "");
        let range = match &field.kind {
            Kind::Whole { least, most } => format!("{least} to {most}"),
            Kind::Duration { least, most } => format!("{least} to {most}"),
            _ => String::new(),
        };
        assert!(row.contains(&range), "{path}: {range}");
        let default = match defaults(field.given).into_iter().next() {
            Some(Value::String(text)) => format!("`{text}`"),
            Some(Value::Array(entries)) if !entries.is_empty() => {
                let entries: Vec<&str> = entries.iter().map(|entry| entry.as_str().unwrap()).collect();
                format!("`[{}]`", entries.join(" "))
            }
            Some(Value::Array(_)) | None => String::new(),
            Some(value) => format!("`{value}`"),
        };
        assert!(row.contains(&default), "{path}: {default}");
    }
}
