//! A configuration as it is written: the tree of its values, from JSON text or from a `google.protobuf.Struct`.

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
    /// `{…}` in the order in which it is written. A repeated key is kept, for the check to refuse.
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
    let mut reader = Reader { rest: text };
    let read = reader.value(0).and_then(|value| {
        reader.space();
        if reader.rest.is_empty() { Ok(value) } else { Err("nothing may follow the configuration") }
    });
    read.map_err(|problem| {
        let before = text.get(..text.len() - reader.rest.len()).unwrap_or_default();
        let line = before.split('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let is_yaml = line == 1 && column == 1 && text.starts_with(|first: char| first.is_ascii_alphabetic());
        let hint = if is_yaml { "; YAML is for a google.protobuf.Struct, not for a StringValue" } else { "" };
        format!("must be JSON (line {line}, column {column}: {problem}){hint}")
    })
}

const ENDS: &str = "it ends too early";

/// What is still to be read. After an error, it begins at what is wrong.
struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, &'static str> {
        if depth > MAX_DEPTH {
            return Err("this is nested too deep");
        }
        self.space();
        match self.rest.bytes().next() {
            None => Err(ENDS),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.list(depth + 1),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(_) if self.eat("true") => Ok(Value::Flag(true)),
            Some(_) if self.eat("false") => Ok(Value::Flag(false)),
            Some(_) if self.eat("null") => Ok(Value::Null),
            Some(b'\'') => Err("strings must be in double quotes"),
            Some(_) => Err("expected {, [, a string in double quotes, a number, true, false or null"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, &'static str> {
        let mut members = Vec::new();
        self.skip(1);
        self.space();
        if self.eat("}") {
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            let key = match self.rest.bytes().next() {
                None => return Err(ENDS),
                Some(b'"') => self.string()?,
                Some(_) => return Err("expected a field's name in double quotes"),
            };
            self.space();
            if !self.eat(":") {
                return Err("a colon is missing");
            }
            members.push((key, self.value(depth)?));
            self.space();
            if self.eat("}") {
                return Ok(Value::Object(members));
            }
            self.comma("a comma or } is missing")?;
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, &'static str> {
        let mut entries = Vec::new();
        self.skip(1);
        self.space();
        if self.eat("]") {
            return Ok(Value::List(entries));
        }
        loop {
            entries.push(self.value(depth)?);
            self.space();
            if self.eat("]") {
                return Ok(Value::List(entries));
            }
            self.comma("a comma or ] is missing")?;
        }
    }

    fn comma(&mut self, missing: &'static str) -> Result<(), &'static str> {
        if self.eat(",") {
            Ok(())
        } else if self.rest.is_empty() {
            Err(ENDS)
        } else {
            Err(missing)
        }
    }

    fn string(&mut self) -> Result<String, &'static str> {
        let mut text = String::new();
        self.skip(1);
        loop {
            match self.rest.chars().next() {
                None => return Err(ENDS),
                Some('"') => {
                    self.skip(1);
                    return Ok(text);
                }
                Some('\\') => text.push(self.escape()?),
                Some('\0'..='\x1f') => return Err("control characters in a string must be escaped, as in \\n"),
                Some(letter) => {
                    self.skip(letter.len_utf8());
                    text.push(letter);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, &'static str> {
        const UNKNOWN: &str = "this is not a JSON escape";
        let mut letters = self.rest.chars().skip(1);
        let letter = match letters.next().ok_or(ENDS)? {
            letter @ ('"' | '\\' | '/') => letter,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode().ok_or(UNKNOWN),
            _ => return Err(UNKNOWN),
        };
        self.skip(2);
        Ok(letter)
    }

    /// `\uXXXX`, or two of them for a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        fn unit(text: &str) -> Option<u32> {
            let digits = text.strip_prefix("\\u")?.get(..4)?;
            if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                u32::from_str_radix(digits, 16).ok()
            } else {
                None
            }
        }
        let high = unit(self.rest)?;
        if let Some(letter) = char::from_u32(high) {
            self.skip(6);
            return Some(letter);
        }
        let low = unit(self.rest.get(6..)?)?;
        if high >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
            return None;
        }
        self.skip(12);
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    fn number(&mut self) -> Result<f64, &'static str> {
        /// One digit more than a double can tell apart.
        const DIGITS: u64 = 100_000_000_000_000_000;
        let is_negative = self.eat("-");
        let (mut digits, mut exponent) = (0_u64, 0_i32);
        let leading_zero = self.rest.starts_with('0');
        let whole = self.digits(|digit| {
            if digits < DIGITS { digits = digits * 10 + digit } else { exponent = exponent.saturating_add(1) }
        });
        if whole == 0 || leading_zero && whole > 1 {
            return Err("this is not a JSON number");
        }
        if self.eat(".") {
            let fraction = self.digits(|digit| {
                if digits < DIGITS {
                    digits = digits * 10 + digit;
                    exponent = exponent.saturating_sub(1);
                }
            });
            if fraction == 0 {
                return Err("a digit is missing");
            }
        }
        if self.eat("e") || self.eat("E") {
            let is_negative = self.eat("-");
            if !is_negative {
                self.eat("+");
            }
            let mut written = 0_u64;
            if self.digits(|digit| written = written.saturating_mul(10).saturating_add(digit)) == 0 {
                return Err("a digit is missing");
            }
            let written = i32::try_from(written).unwrap_or(i32::MAX);
            exponent = exponent.saturating_add(if is_negative { -written } else { written });
        }
        let number = crate::json::scaled(digits, exponent);
        Ok(if is_negative { -number } else { number })
    }

    /// Passes the digits that come next to `each`, and counts them.
    fn digits(&mut self, mut each: impl FnMut(u64)) -> usize {
        let mut count = 0;
        while let Some(byte @ b'0'..=b'9') = self.rest.bytes().next() {
            each(u64::from(byte - b'0'));
            self.skip(1);
            count += 1;
        }
        count
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
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
            ("{} x", "line 1, column 4: nothing may follow the configuration"),
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
        let error = parse(b"auth_service:\n  cluster: c\n").unwrap_err();
        assert!(error.ends_with("; YAML is for a google.protobuf.Struct, not for a StringValue"), "{error}");
    }
}
