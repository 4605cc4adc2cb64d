//! JSON, parsed strictly enough for signed claims.
//!
//! RFC 8259 leaves the meaning of a repeated key open, so two readers of one token may see two identities.
//! [`check`] refuses repeated keys at every depth, compared after unescaping, and bounds depth and width before
//! any typed parsing.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};

/// How deep objects and arrays may be nested.
pub const MAX_DEPTH: usize = 8;
/// How many keys one object may have.
pub const MAX_KEYS: usize = 128;

/// Not JSON, or JSON that readers could interpret in different ways.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

/// Parses `json`, which has to be an object, into `T` after [`check`].
///
/// # Errors
/// [`JsonError`], which quotes nothing from `json`: it may come from a token.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, JsonError> {
    begins_an_object(json)?;
    check(json)?;
    serde_json::from_slice(json).map(|Object(value)| value).map_err(|error| {
        let text = error.to_string();
        // Serde quotes a value that it refuses, but of a missing field only the name.
        if text.starts_with("missing field") {
            JsonError(text)
        } else {
            JsonError(format!("a value has the wrong type at line {} column {}", error.line(), error.column()))
        }
    })
}

/// Refuses a text that can't be an object, and says what its beginning looks like.
fn begins_an_object(json: &[u8]) -> Result<(), JsonError> {
    let begin = match json.trim_ascii_start() {
        [b'{', ..] => return Ok(()),
        [] => return Err(JsonError("it is empty".to_owned())),
        [0x1f, 0x8b, ..] => return Err(JsonError("it is compressed (gzip)".to_owned())),
        [b'<', ..] => "`<`",
        [b'[', ..] => "`[`",
        [b'"', ..] => "a quotation mark",
        [byte, ..] if byte.is_ascii_alphanumeric() => "a letter or a digit",
        [byte, ..] if byte.is_ascii_graphic() => "a punctuation mark",
        _ => "a byte that isn't visible ASCII",
    };
    Err(JsonError(format!("it must be a JSON object; it begins with {begin}")))
}

/// A struct that is read only from an object: what serde derives also accepts an array of the fields in order.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// For `deserialize_with`: an [`Object`] or null.
///
/// # Errors
/// The deserializer's.
pub fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(|Object(value)| value))
}

/// For `deserialize_with` and `default`: a value that may be missing, but not null.
///
/// # Errors
/// The deserializer's.
pub fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Checks that `json` is one JSON text in UTF-8 without repeated keys, at most [`MAX_DEPTH`] deep and with at most
/// [`MAX_KEYS`] keys an object.
///
/// # Errors
/// [`JsonError`] says what was found.
pub fn check(json: &[u8]) -> Result<(), JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Strict { depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| JsonError(error.to_string()))
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH {
            Ok(Self { depth: self.depth + 1 })
        } else {
            Err(E::custom(format!("nested deeper than {MAX_DEPTH}")))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys: Vec<Cow<'de, str>> = Vec::with_capacity(24);
        while let Some(key) = map.next_key_seed(Key)? {
            if keys.contains(&key) {
                return Err(A::Error::custom("a key is given twice"));
            }
            if keys.len() == MAX_KEYS {
                return Err(A::Error::custom(format!("more than {MAX_KEYS} keys in one object")));
            }
            keys.push(key);
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// A key, borrowed where it holds no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        #[derive(Debug, serde::Deserialize)]
        struct Number {
            #[expect(dead_code, reason = "only its type matters")]
            number: u8,
        }
        for json in
            [r#"{"number":"s3cret"}"#, r#"{"number":7331}"#, r#"{"s3cret":1,"s3cret":1}"#, r#"{"s3cret":1}"#, "s3cret"]
        {
            let error = parse::<Number>(json.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("s3cret") && !error.contains("7331"), "{json}: {error}");
        }
        assert_eq!(parse::<Number>(b"{}").unwrap_err().to_string(), "missing field `number` at line 1 column 2");
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
            let error = parse::<serde_json::Value>(text).unwrap_err();
            assert_eq!(error.to_string(), told, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn depth_and_width_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(MAX_DEPTH).as_bytes()), Ok(()));
        assert!(check(nested(MAX_DEPTH + 1).as_bytes()).is_err());
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
        for json in [
            &b"{} x"[..],
            b"{}{}",
            b"",
            b"{",
            b"{\"a\":\"\xff\"}",
            b"\xef\xbb\xbf{}",
            b"{'a':1}",
            b"{\"a\":1,}",
            b"NaN",
        ] {
            assert!(check(json).is_err(), "{json:?}");
        }
    }
}
