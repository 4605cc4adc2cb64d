//! `authgate schema`: the JSON Schema of the configuration, made from the table of fields.

mod between;
mod patterns;

use std::io::Write;

use serde_json::{Map, Value, json};

use super::FINE;
use crate::claims::values::ScalarType;
use crate::claims::{ClaimName, ClaimPath};
use crate::config::table::{CONFIGURATION, Field, Given, HeaderUse, Kind, Text, defaults, names};
use patterns::TOKEN;

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
    schema.insert("allOf".to_owned(), between::conditions());
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
        schema.insert("not".to_owned(), between::at_most_one(&["path", "prefix", "regex"]));
    }
    if has("public") && has("match") {
        schema.insert("not".to_owned(), between::contradictions());
    }
    if has("cluster") && has("authority") {
        schema.extend(between::authority_of_cluster());
    }
    schema
}

fn property(field: &Field) -> Value {
    let mut schema = kind(&field.kind, field.header_use);
    match field.name {
        "match" => schema.insert("minProperties".to_owned(), json!(1)),
        "header_types" => schema.insert("contains".to_owned(), between::asked_about()),
        _ => None,
    };
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

/// - `of`: what the headers are for, if it holds their names.
fn kind(kind: &Kind, of: HeaderUse) -> Map<String, Value> {
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
        Kind::Text(Text::HeaderName) => header_name(of),
        Kind::Text(form) => text_of(*form),
        Kind::OrNull(inner) => json!({"anyOf": [self::kind(inner, of), {"type": "null"}]}),
        // A header is listed once.
        Kind::List(Kind::Text(Text::HeaderName)) => {
            json!({"type": "array", "items": header_name(of), "uniqueItems": true})
        }
        Kind::List(inner) => json!({"type": "array", "items": self::kind(inner, of)}),
        Kind::Distinct(inner) => {
            json!({"type": "array", "items": self::kind(inner, of), "minItems": 1, "uniqueItems": true})
        }
        Kind::ObjectOrObjects(fields) => {
            let mut one = object(fields);
            one.insert("minProperties".to_owned(), json!(1));
            json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
        }
        Kind::Integer => integer(),
        Kind::Claims => claims(),
        Kind::Headers(inner) => headers(inner, of),
    };
    if let Value::Object(schema) = schema { schema } else { Map::new() }
}

/// An integer that a double holds exactly.
fn integer() -> Value {
    json!({"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER})
}

/// Claims and the values of each. Those of a claim that the filter knows have its type.
fn claims() -> Value {
    let list = |of: Value| json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": of});
    let known = ClaimPath::NAMES.iter().map(|(path, name)| {
        let values = match path.scalar_type() {
            ScalarType::Number => integer(),
            ScalarType::Flag => json!({"type": "boolean"}),
            ScalarType::Text => json!({"type": "string"}),
        };
        ((*name).to_owned(), list(values))
    });
    // Not a list of types: in such a list, some validators take 1.0 for no integer.
    let any = json!({"anyOf": [{"type": "string"}, {"type": "boolean"}, integer()]});
    json!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": patterns::claim(), "maxLength": ClaimName::MAX_BYTES},
        "properties": known.collect::<Map<_, _>>(),
        "additionalProperties": list(any),
    })
}

/// Headers and what each holds. Null removes a header that is there by default.
fn headers(inner: &Kind, of: HeaderUse) -> Value {
    let value = if let Kind::OrNull(value) = inner { value } else { inner };
    let given = defaults();
    json!({
        "type": "object",
        "propertyNames": header_name(of),
        "patternProperties": {patterns::whole(&given): kind(inner, of)},
        "additionalProperties": kind(value, of),
    })
}

fn header_name(of: HeaderUse) -> Value {
    let refused = names(of);
    if refused.names.is_empty() {
        json!({"type": "string", "pattern": TOKEN})
    } else {
        json!({"type": "string", "pattern": TOKEN, "not": {"pattern": patterns::refused(&refused)}})
    }
}

/// A text, as far as a pattern can describe its form.
fn text_of(form: Text) -> Value {
    let pattern = match form {
        Text::Some | Text::Regex => return json!({"type": "string", "minLength": 1}),
        Text::Claim => {
            let names = ClaimPath::NAMES.map(|(_, name)| name);
            return json!({"type": "string", "enum": names});
        }
        Text::ClaimName => {
            return json!({"type": "string", "pattern": patterns::claim(), "maxLength": ClaimName::MAX_BYTES});
        }
        Text::Host => patterns::host(),
        Text::RuleName => patterns::rule_name(),
        Text::CookieName | Text::HeaderName => TOKEN.to_owned(),
        Text::OwnPath => r#"^/[!"$->@-~]*$"#.to_owned(),
        Text::Url => patterns::url_with_query(),
        Text::Resource => patterns::url_without_query(),
        Text::Scope => r"^[!#-\[\]-~]+$".to_owned(),
        Text::Cluster => "^(?![!-~]*://)[!-~]+$".to_owned(),
        Text::Authority => patterns::authority(),
        Text::ServicePath => "^/[!\"$-~]*$".to_owned(),
        Text::Realm => r"^[ !#-\[\]-~]+$".to_owned(),
        Text::Origin => patterns::ORIGIN.to_owned(),
        Text::RulePath => patterns::RULE_PATH.to_owned(),
        Text::Method => "^[A-Z-]+$".to_owned(),
        Text::Pem => patterns::pem(),
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
