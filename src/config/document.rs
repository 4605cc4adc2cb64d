//! A configuration as it is written: the tree of its values, from JSON text or from a `google.protobuf.Struct`.

use crate::json::{Fault, Reader};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// In YAML, also a key without a value.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// Envoy's `Struct` keeps every number as a double, so `1.0` and `1` are the same.
    Number(f64),
    /// A string.
    Text(String),
    /// `[…]`.
    List(Vec<Value>),
    /// `{…}`: in the order of the JSON, or sorted by keys if it was a `Struct`. A repeated key is kept, for the check
    /// to refuse.
    Object(Vec<(String, Value)>),
}

/// How deep objects and lists may be nested: far deeper than any field is.
pub(super) const MAX_DEPTH: usize = 32;

/// Reads JSON (RFC 8259).
///
/// # Errors
/// Where the text stops being JSON, and what is wrong there.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, String> {
    let text = str::from_utf8(bytes).map_err(|_| "must be JSON or a google.protobuf.Struct".to_owned())?;
    Reader::lenient(text, MAX_DEPTH).whole(value).map_err(|Fault { problem, line, column }| {
        let may_begin_yaml = |first: char| first.is_ascii_alphabetic() || first == '-' || first == '#';
        let is_yaml = text.trim_ascii_start().starts_with(may_begin_yaml);
        let hint = if is_yaml { "; YAML is for a google.protobuf.Struct, not for a StringValue" } else { "" };
        format!("must be JSON (line {line}, column {column}: {problem}){hint}")
    })
}

fn value(reader: &mut Reader<'_>) -> Option<Value> {
    Some(match reader.peek() {
        Some(b'{') => {
            let mut members = Vec::new();
            reader.object(&mut |reader, name| {
                members.push((name.to_owned(), value(reader)?));
                Some(())
            })?;
            Value::Object(members)
        }
        Some(b'[') => {
            let mut entries = Vec::new();
            reader.list(&mut |reader| {
                entries.push(value(reader)?);
                Some(())
            })?;
            Value::List(entries)
        }
        Some(b'"') => Value::Text(reader.string()?.into()),
        Some(b't' | b'f') => Value::Flag(reader.flag()?),
        _ if reader.null() => Value::Null,
        _ => Value::Number(reader.number()?.as_f64()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_serde(value: &serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(flag) => Value::Flag(*flag),
            serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap()),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(entries) => Value::List(entries.iter().map(of_serde).collect()),
            serde_json::Value::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), of_serde(value))).collect())
            }
        }
    }

    #[test]
    fn values_agree_with_another_json_parser() {
        for text in [
            "null",
            " true\n",
            "false",
            "0",
            "-0",
            "-1",
            "300",
            "1.5",
            "1.0",
            "0.001",
            "1e3",
            "1E+2",
            "25e-1",
            "4294967295",
            "4294967296",
            "1e-400",
            "999999.0000",
            "\"\"",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1,2 , 3]",
            r#""a\"\\\/\b\f\n\r\té\u00e9\ud83d\ude00""#,
            r#"{"a":{"b":[true,null,{"c":"d"}]},"e":-2.5e1}"#,
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(of_serde(&serde_json::from_str(text).unwrap())), "{text}");
        }
        let twice = vec![("a".to_owned(), Value::Null), ("a".to_owned(), Value::Flag(true))];
        assert_eq!(parse(br#"{"a":null,"\u0061":true}"#), Ok(Value::Object(twice)));
        let many: Vec<_> = (0..1000).map(|number| format!("\"{number}\":null")).collect();
        assert!(parse(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
    }

    #[test]
    fn invalid_json_is_refused_at_the_first_wrong_character() {
        for (text, problem) in [
            ("{", "line 1, column 2: it ends too early"),
            ("{\n \"a\": 'x'}", "line 2, column 7: strings must be in double quotes"),
            ("{a: 1}", "line 1, column 2: expected a field's name in double quotes"),
            ("{\"a\": 1,}", "line 1, column 9: expected a field's name in double quotes"),
            ("{\"a\" 1}", "line 1, column 6: a colon is missing"),
            ("{\"é\": 1 \"b\": 2}", "line 1, column 9: a comma or } is missing"),
            ("[1 2]", "line 1, column 4: a comma or ] is missing"),
            ("[1,", "line 1, column 4: it ends too early"),
            ("{} x", "line 1, column 4: it should end here"),
            ("\"a\nb\"", "line 1, column 3: control characters in a string must be escaped, as in \\n"),
            ("auth_service:\n", "line 1, column 1: expected {, [, a string"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        for text in [
            "",
            "nul",
            "NaN",
            "01",
            "-",
            "1.",
            ".5",
            "+1",
            "1e",
            "1e+",
            "--1",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\\ud800\"",
            "\"\\ud800\\ud800\"",
            "\"\\udc00\\udc00\"",
            "\"",
            "\"\\",
            "\u{feff}{}",
            "// x\n{}",
            "truex",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(parse(nested(100_000).as_bytes()).unwrap_err().contains("nested too deep"));
    }

    #[test]
    fn yaml_in_a_string_is_refused_with_advice() {
        for text in ["auth_service:\n  cluster: c\n", "---\nauth_service: {}", "# x\nauth_service: {}", "\n- a: 1"] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.ends_with("; YAML is for a google.protobuf.Struct, not for a StringValue"), "{error}");
        }
        for text in ["{auth_service: {}}", "\u{feff}{}", "// c\n{}", "<html>"] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(!error.contains("YAML"), "{error}");
        }
    }
}
