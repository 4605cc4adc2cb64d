//! The table of fields agrees with itself and with what reads it.

use super::*;
use crate::config::table::{CONFIGURATION, Field, Given, Kind};

/// Every field with its path.
fn every(fields: &'static [Field], path: &str, found: &mut Vec<(String, &'static Field)>) {
    for field in fields {
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        match &field.kind {
            Kind::List(of) => every(of.fields(), &format!("{path}[]"), found),
            kind => every(kind.fields(), &path, found),
        }
        found.push((path, field));
    }
}

pub(super) fn fields() -> Vec<(String, &'static Field)> {
    let mut found = Vec::new();
    every(CONFIGURATION, "", &mut found);
    found
}

pub(super) fn defaults(given: Given) -> Vec<Value> {
    match given {
        Given::Required | Given::Nothing => Vec::new(),
        Given::Flag(flag) => vec![json!(flag)],
        Given::Whole(number) => vec![json!(number)],
        Given::WholeBy(numbers) => numbers.iter().map(|number| json!(number)).collect(),
        Given::Text(text) => vec![json!(text)],
        Given::TextBy(texts) => texts.iter().map(|text| json!(text)).collect(),
        Given::Texts(texts) => vec![json!(texts)],
    }
}

/// The smallest configuration in which this field has this value.
pub(super) fn with(path: &str, value: Value) -> Value {
    let mut whole = json!({"auth_service": {"cluster": "auth"}});
    let mut place = &mut whole;
    for step in path.split('.') {
        place = match step.strip_suffix("[]") {
            Some(list) => {
                place[list] = json!([{"match": {"prefix": "/"}}]);
                &mut place[list][0]
            }
            // `resource_metadata` requires `resource`.
            None if step == "resource_metadata" => {
                place[step] = json!({"resource": "https://api.example.com"});
                &mut place[step]
            }
            None => &mut place[step],
        };
    }
    *place = value;
    if path.starts_with("rules[].match.") {
        whole["rules"][0]["match"].as_object_mut().unwrap().retain(|name, _| path.ends_with(&format!(".{name}")));
    }
    whole
}

#[test]
fn defaults_and_examples_are_accepted() {
    for (path, field) in fields() {
        let example = field.example.map(|example| serde_json::from_str(example).expect(example));
        // These lists must not be empty if they are written.
        let is_all = |value: &Value| matches!(field.kind, Kind::Distinct(_)) && *value == json!([]);
        for value in defaults(field.given).into_iter().filter(|value| !is_all(value)).chain(example) {
            let whole = with(&path, value);
            assert!(Config::from_bytes(whole.to_string().as_bytes()).is_ok(), "{whole}");
        }
    }
}

#[test]
fn writing_a_default_changes_nothing() {
    let least = format!("{:?}", Config::from_bytes(br#"{"auth_service": {"cluster": "auth"}}"#).unwrap());
    let is_absent = |path: &str| path.starts_with("rules") || path.starts_with("responses.resource_metadata.");
    for (path, field) in fields().iter().filter(|(path, _)| !is_absent(path)) {
        if let Some(default) = defaults(field.given).into_iter().next() {
            let written = Config::from_bytes(with(path, default).to_string().as_bytes()).unwrap();
            assert_eq!(format!("{written:?}"), least, "{path}");
        }
    }
}

#[test]
fn the_revocation_list_outlives_the_largest_skew() {
    let skew = fields().into_iter().find(|(path, _)| path == "jwt.clock_skew").unwrap();
    let Kind::Duration { most, .. } = &skew.1.kind else { panic!("a duration") };
    assert_eq!(value::parse_duration(most), Some(MAX_CLOCK_SKEW));
}

#[test]
fn each_field_is_described_in_one_phrase() {
    for (path, field) in fields() {
        assert!(!field.about.is_empty() && !field.about.ends_with('.') && !field.about.contains('\n'), "{path}");
        assert!(!field.about.contains("  "), "{path}");
    }
}
