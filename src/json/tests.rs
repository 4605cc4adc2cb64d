//! What is JSON here, and what is said of other texts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::*;

fn check(json: &[u8]) -> Result<(), JsonError> {
    // `parse` takes only an object.
    let nested = [b"{\"\":", json, b"}"].concat();
    read_all(&nested).map(drop)
}

fn read_all(json: &[u8]) -> Result<Value, JsonError> {
    parse(json, |reader| reader.value())
}

fn number(json: &str) -> Result<i64, JsonError> {
    parse(json.as_bytes(), |reader| {
        let mut number = None;
        reader.object(&mut |reader, name| {
            match name {
                "number" => number = Some(reader.integer()?),
                _ => reader.skip()?,
            }
            Some(())
        })?;
        reader.required(number, "missing field `number`")
    })
}

#[test]
fn repeated_keys_are_refused_at_every_depth_and_after_unescaping() {
    for json in [
        r#"{"a":1,"a":1}"#,
        r#"{"exp":1,"\u0065xp":2}"#,
        r#"{"x":{"a":1,"a":2}}"#,
        r#"{"x":[{"b":1},{"a":1,"a":2}]}"#,
        r#"{"":1,"":2}"#,
    ] {
        let error = check(json.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("a key is given twice"), "{json}: {error}");
    }
    assert_eq!(check(br#"{"x":{"a":1},"y":{"a":1},"A":0,"a":0}"#), Ok(()));
}

#[test]
fn errors_quote_nothing_of_what_they_are_about() {
    for json in
        [r#"{"number":"s3cret"}"#, r#"{"number":73.31}"#, r#"{"s3cret":1,"s3cret":1}"#, r#"{"s3cret":1}"#, "s3cret"]
    {
        let error = number(json).unwrap_err().to_string();
        assert!(!error.contains("s3cret") && !error.contains("73"), "{json}: {error}");
    }
    assert_eq!(number("{}").unwrap_err().to_string(), "missing field `number` at line 1, column 3");
}

#[test]
fn a_text_that_is_no_object_is_recognised_by_its_beginning() {
    for (text, told) in [
        (&b""[..], "it is empty"),
        (b" \r\n", "it is empty"),
        (b"\x1f\x8b\x08\x00", "it is compressed (gzip)"),
        (b"\n<!doctype html>", "it must be a JSON object; it begins with `<`"),
        (b"[1]", "it must be a JSON object; it begins with `[`"),
        (b"\"s3cret\"", "it must be a JSON object; it begins with a quotation mark"),
        (b"eyJhbGciOiJSUzI1NiJ9.e30.", "it must be a JSON object; it begins with a letter or a digit"),
        (b"7$s3cret", "it must be a JSON object; it begins with a letter or a digit"),
        (b"-----BEGIN PUBLIC KEY-----", "it must be a JSON object; it begins with a punctuation mark"),
        (b"\xef\xbb\xbf{}", "it must be a JSON object; it begins with a byte that isn't visible ASCII"),
    ] {
        let error = parse(text, |reader| reader.object(&mut |reader, _| reader.skip())).unwrap_err();
        assert_eq!(error.to_string(), told, "{}", text.escape_ascii());
    }
}

#[test]
fn messages_say_what_is_wrong_and_where() {
    for (text, told) in [
        (&b"{"[..], "it ends too early at line 1, column 2"),
        (b"{\"a\":1", "it ends too early at line 1, column 7"),
        (b"{\"a\":\n \"b", "it ends too early at line 2, column 4"),
        (b"{} x", "it should end here at line 1, column 4"),
        (b"{a:1}", "expected a field's name in double quotes at line 1, column 2"),
        (b"{\"a\":1,}", "expected a field's name in double quotes at line 1, column 8"),
        (b"{\"a\" 1}", "a colon is missing at line 1, column 6"),
        ("{\"\u{e9}\":1 2}".as_bytes(), "a comma or } is missing at line 1, column 8"),
        (b"{\"a\":[1 2]}", "a comma or ] is missing at line 1, column 9"),
        (b"{\"a\":nul}", "expected {, [, a string in double quotes, a number, true, false or null at line 1, column 6"),
        (b"{\"a\":'b'}", "strings must be in double quotes at line 1, column 6"),
        (b"{\"a\":\"\n\"}", "control characters in a string must be escaped, as in \\n at line 1, column 7"),
        (b"{\"a\":\"\\x\"}", "this is not a JSON escape at line 1, column 7"),
        (b"{\"a\":\"\\ud800\"}", "this is not a JSON escape at line 1, column 7"),
        (b"{\"a\":01}", "a number can't begin with 0 at line 1, column 6"),
        (b"{\"a\":-}", "a digit is missing at line 1, column 7"),
        (b"{\"a\":1e400}", "this number is too large at line 1, column 11"),
        (b"{\"a\":1,\"a\":2}", "a key is given twice at line 1, column 11"),
        (b"{\"a\":\"\xff\"}", "it isn't UTF-8 at line 1, column 7"),
        (b"{\"a\":[[[[[[[[", "this is nested too deep at line 1, column 14"),
    ] {
        assert_eq!(read_all(text).unwrap_err().to_string(), told, "{}", text.escape_ascii());
    }
}

#[test]
fn depth_and_width_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(check(nested(MAX_DEPTH - 1).as_bytes()), Ok(()));
    assert!(check(nested(MAX_DEPTH).as_bytes()).is_err());
    assert!(check(nested(100_000).as_bytes()).is_err());

    let wide = |keys: usize| {
        let members: Vec<String> = (0..keys).map(|key| format!("\"{key}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert_eq!(check(wide(MAX_KEYS).as_bytes()), Ok(()));
    assert!(check(wide(MAX_KEYS + 1).as_bytes()).is_err());
}

#[test]
fn only_one_json_text_in_utf8_is_json() {
    for json in
        [&b"{} x"[..], b"{}{}", b"", b"{", b"{\"a\":\"\xff\"}", b"\xef\xbb\xbf{}", b"{'a':1}", b"{\"a\":1,}", b"NaN"]
    {
        assert!(read_all(json).is_err(), "{json:?}");
        assert!(check(json).is_err(), "{json:?} as a value");
    }
}

/// The same rules for another parser of JSON.
#[derive(Clone, Copy)]
struct Strict(usize);

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.0 < MAX_DEPTH { Ok(Self(self.0 + 1)) } else { Err(E::custom("nested deeper than 8")) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::Integer(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(i64::try_from(number).map_or(Number::Large(number), Number::Integer)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(Number::Fraction(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members: Vec<(Box<str>, Value)> = Vec::new();
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if members.iter().any(|(known, _)| **known == *key) {
                return Err(A::Error::custom("a key is given twice"));
            }
            if members.len() == MAX_KEYS {
                return Err(A::Error::custom("more than 128 keys in one object"));
            }
            members.push((key.into(), map.next_value_seed(inner)?));
        }
        Ok(Value::Object(members))
    }
}

fn agrees(json: &[u8]) {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return;
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let other = Strict(0).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let shown = json.escape_ascii();
    let ours = read_all(json);
    assert_eq!(parse(json, |reader| reader.skip()).err(), ours.as_ref().err().cloned(), "{shown}");
    match (ours, other) {
        (Ok(ours), Ok(theirs)) => assert!(is_same(&ours, &theirs), "{shown}: {ours:?}, not {theirs:?}"),
        (Err(_), Err(_)) => {}
        (ours, theirs) => panic!("{shown}: {ours:?}, not {theirs:?}"),
    }
}

/// Fractions may differ in their last bits.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(Number::Fraction(one)), Value::Number(Number::Fraction(other))) => {
            (one - other).abs() <= one.abs() * 1e-14
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(one, other)| one.0 == other.0 && is_same(&one.1, &other.1))
        }
        (one, other) => one == other,
    }
}

#[test]
fn reads_and_refuses_as_another_parser_does() {
    let text = r#"{"a" : 1, "b\"\u00e9\ud83d\ude00": [true, false ,null, {"c":-12.5e+3}, []],
        "ż": {"n":0, "m":-0,"x":{}}, "l":18446744073709551615,"k":"\n\t"}"#;
    agrees(text.as_bytes());
    for at in 0..text.len() {
        let (before, after) = text.as_bytes().split_at(at);
        agrees(before);
        agrees(&[before, &after[1..]].concat());
        for byte in *b"\"\\{}[]:, -+0.eEntfu\n\x1f\x7f\x80\xff" {
            agrees(&[before, &[byte], after].concat());
            agrees(&[before, &[byte], &after[1..]].concat());
        }
    }
}

#[test]
fn reads_numbers_as_another_parser_does() {
    for number in [
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "123456789012345678901234567890.5e-3",
        "0.12345678901234567890123456789",
        "999999999999999999",
        "1000000000000000000",
        "-999999999999999999",
        "1e308",
        "1.7976931348623157e308",
        "1e309",
        "-1e309",
        "1e-400",
        "1e-320",
        "0e999999999999",
        "1e-999999999999",
        "1700000000.25",
        "00",
        "-01",
        "-",
        "1.",
        "1.e1",
        ".5",
        "+1",
        "1e",
        "1e+",
        "1E-",
        "0x1",
        "NaN",
        "1_0",
    ] {
        agrees(format!("{{\"a\":{number}}}").as_bytes());
        agrees(format!("{{\"a\":[{number} ]}}").as_bytes());
        agrees(format!("{{\"a\":{number}").as_bytes());
    }
}

#[test]
fn counts_keys_as_another_parser_does() {
    for (count, escaped) in [(31, 200), (33, 200), (128, 200), (129, 200), (129, 3), (128, 3), (40, 35), (129, 128)] {
        let key = |key: usize| if key == escaped { "\\u0041".to_owned() } else { format!("k{key}") };
        let mut members: Vec<String> = (0..count).map(|number| format!("\"{}\":{number}", key(number))).collect();
        agrees(format!("{{{}}}", members.join(",")).as_bytes());
        members.truncate(120);
        for repeated in ["A", "\\u0041", "k0", "\\u006b3", "k35"] {
            agrees(format!("{{{},\"{repeated}\" :0}}", members.join(",")).as_bytes());
        }
    }
}

#[test]
fn keys_are_counted_whether_they_have_escapes_or_not() {
    let object = |escaped: usize, plain: usize| {
        let escaped = (0..escaped).map(|key| format!("\"\\u0065{key}\":0"));
        let members: Vec<String> = escaped.chain((0..plain).map(|key| format!("\"p{key}\":0"))).collect();
        format!("{{{}}}", members.join(","))
    };
    for (escaped, plain) in [(MAX_KEYS, 0), (MAX_KEYS - 1, 1), (MAX_KEYS - 40, 40), (0, MAX_KEYS)] {
        assert!(read_all(object(escaped, plain).as_bytes()).is_ok(), "{escaped} and {plain}");
        for text in [object(escaped + 1, plain), object(escaped, plain + 1)] {
            let error = read_all(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("more than 128 keys in one object"), "{escaped} and {plain}: {error}");
        }
    }
}
