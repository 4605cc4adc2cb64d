//! `authgate schema`: the JSON Schema of the configuration, made from the table of fields.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::FINE;
use crate::config::table::{CONFIGURATION, Field, Given, Kind, Text};

/// A header's name, `token` of RFC 9110 section 5.6.2.
const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// The path of a claim: names separated by dots.
const CLAIM: &str = r"^[^.]+(\.[^.]+)*$";

/// 2^53 - 1.
const MAX_INTEGER: i64 = 9_007_199_254_740_991;

/// Prints the schema, and returns the exit status.
///
/// # Errors
/// When the output can't be written to.
pub fn run(out: &mut impl Write) -> Result<u8, String> {
    writeln!(out, "{}", text()).map_err(|error| error.to_string())?;
    Ok(FINE)
}

/// The schema, in the form in which it is checked in.
fn text() -> String {
    let mut schema = object(CONFIGURATION);
    // Draft 7, which most editors support.
    schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".to_owned(), json!("authgate"));
    schema.insert("description".to_owned(), json!("The configuration of authgate: docs/reference.md#configuration"));
    format!("{:#}", Value::Object(schema))
}

/// An object with these fields and no others.
fn object(fields: &[Field]) -> Map<String, Value> {
    let properties: Map<_, _> = fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    let required: Vec<_> =
        fields.iter().filter(|field| matches!(field.given, Given::Required)).map(|field| field.name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    let has = |name: &str| fields.iter().any(|field| field.name == name);
    if has("prefix") && has("regex") {
        schema.insert("not".to_owned(), at_most_one(&["path", "prefix", "regex"]));
    }
    if has("public") && has("match") {
        schema.insert("not".to_owned(), contradictions());
    }
    schema
}

/// Matches an object with two of these fields.
fn at_most_one(names: &[&str]) -> Value {
    let pairs = names
        .iter()
        .enumerate()
        .flat_map(|(index, one)| names.iter().skip(index + 1).map(move |other| json!({"required": [one, other]})));
    json!({"anyOf": pairs.collect::<Vec<_>>()})
}

/// Matches a rule that contradicts itself: two fields that exclude each other, or a field without effect.
fn contradictions() -> Value {
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

fn property(field: &Field) -> Value {
    let mut schema = kind(&field.kind);
    if field.name == "match" {
        schema.insert("minProperties".to_owned(), json!(1));
    }
    let (default, others) = default(field.given);
    let mut about = field.about.to_owned();
    if let Kind::Duration { least, most } = &field.kind {
        about.push_str(&format!("; {least} to {most}"));
    }
    if let Some(others) = others {
        about.push_str(&format!(" (in the profiles development and test: {others})"));
    }
    schema.insert("description".to_owned(), json!(about));
    // An empty list may be the default of a field that can't be written as an empty list.
    let is_writable = |default: &Value| !(matches!(field.kind, Kind::Distinct(_)) && *default == json!([]));
    if let Some(default) = default.filter(is_writable) {
        schema.insert("default".to_owned(), default);
    }
    if let Some(example) = field.example.and_then(|example| serde_json::from_str::<Value>(example).ok()) {
        schema.insert("examples".to_owned(), json!([example]));
    }
    Value::Object(schema)
}

/// The default of the profile `production`, and those of the others where they differ.
fn default(given: Given) -> (Option<Value>, Option<String>) {
    let others = |production: Value, development: Value, test: Value| {
        let differ = (development != production || test != production).then(|| format!("{development}, {test}"));
        (Some(production), differ.map(|text| text.replace('"', "")))
    };
    match given {
        Given::Required | Given::Nothing => (None, None),
        Given::Flag(flag) => (Some(json!(flag)), None),
        Given::Whole(number) => (Some(json!(number)), None),
        Given::WholeBy([production, development, test]) => others(json!(production), json!(development), json!(test)),
        Given::Text(text) => (Some(json!(text)), None),
        Given::TextBy([production, development, test]) => others(json!(production), json!(development), json!(test)),
        Given::Texts(texts) => (Some(json!(texts)), None),
    }
}

fn kind(kind: &Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Object(fields) => return object(fields),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Whole { least, most } => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Duration { .. } => json!({"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,3})?(ms|s|m|h)$"}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::FlagOr(words) => {
            let words: Vec<_> =
                [json!(true), json!(false)].into_iter().chain(words.iter().map(|word| json!(word))).collect();
            json!({"enum": words})
        }
        Kind::Text(form) => text_of(*form),
        Kind::OrNull(of) => json!({"anyOf": [self::kind(of), {"type": "null"}]}),
        Kind::List(of) => json!({"type": "array", "items": self::kind(of)}),
        Kind::Distinct(of) => json!({"type": "array", "items": self::kind(of), "minItems": 1, "uniqueItems": true}),
        Kind::ObjectOrObjects(fields) => {
            let mut one = object(fields);
            one.insert("minProperties".to_owned(), json!(1));
            json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
        }
        // What a double holds exactly.
        Kind::Integer => json!({"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}),
        Kind::Claims => json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": CLAIM},
            "additionalProperties": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": true,
                "items": {"type": ["string", "integer", "boolean"]},
            },
        }),
        Kind::Headers(of) => {
            json!({"type": "object", "propertyNames": {"pattern": TOKEN}, "additionalProperties": self::kind(of)})
        }
    };
    if let Value::Object(schema) = schema { schema } else { Map::new() }
}

/// A text, as far as a pattern can describe its form.
fn text_of(form: Text) -> Value {
    let pattern = match form {
        Text::Some | Text::Regex | Text::Claim | Text::Host => return json!({"type": "string", "minLength": 1}),
        Text::ClaimName => CLAIM,
        Text::RuleName => "^(?!none$)[A-Za-z][A-Za-z0-9_-]{0,63}$",
        Text::CookieName => TOKEN,
        Text::OwnPath => r#"^/[!"$->@-~]*$"#,
        Text::Url => r#"^https://[!"$-~]+$"#,
        Text::Resource => r#"^https://[!"$->@-~]+$"#,
        Text::Scope => r"^[!#-\[\]-~]+$",
        Text::Cluster => "^(?![!-~]*://)[!-~]+$",
        Text::Authority => r"^[0-9A-Za-z._:\[\]-]+$",
        Text::ServicePath => "^/[!\"$-~]*$",
        Text::Realm => r"^[ !#-\[\]-~]+$",
        Text::Origin => r"^[0-9a-z.:_\[\]-]+://[0-9a-z.:_\[\]-]+$",
        Text::HeaderName => TOKEN,
        Text::RulePath => r"^/[!-~]*$",
        Text::Method => "^[A-Z-]+$",
        Text::Pem => r"^\s*-----BEGIN PUBLIC KEY-----",
    };
    json!({"type": "string", "pattern": pattern})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_schema_is_current() {
        let is_current = include_str!("../../docs/authgate.schema.json") == format!("{}\n", text());
        assert!(is_current, "run: cargo run --bin authgate -- schema > docs/authgate.schema.json");
    }
}
