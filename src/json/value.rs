//! Values as a tree, where it isn't known beforehand what is read.

use super::Reader;

/// A value. The entries of arrays are checked, but not kept: nobody asks for them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(Box<str>),
    /// `[…]`.
    List,
    /// `{…}`, each key once.
    Object(Vec<(Box<str>, Self)>),
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A signed integer of 64 bits.
    Integer(i64),
    /// An integer beyond those, of 64 bits without a sign.
    Large(u64),
    /// Any other number.
    Fraction(f64),
}

impl Number {
    /// The nearest double.
    #[expect(clippy::cast_precision_loss, reason = "a double is what was asked for")]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Large(number) => number as f64,
            Self::Fraction(number) => number,
        }
    }
}

impl Value {
    /// The value of a key. `None`: it is absent, or this is no object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(known, _)| **known == *key).map(|(_, value)| value)
    }

    /// The number, if it is an integer of 64 bits.
    pub const fn as_i64(&self) -> Option<i64> {
        if let Self::Number(Number::Integer(number)) = self { Some(*number) } else { None }
    }

    /// The string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl Reader<'_> {
    /// Any value.
    pub fn value(&mut self) -> Option<Value> {
        Some(match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.object(&mut |reader, key| {
                    members.push((key.into(), reader.value()?));
                    Some(())
                })?;
                Value::Object(members)
            }
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            Some(b't' | b'f') => Value::Flag(self.flag()?),
            next => {
                self.skip()?;
                if next == Some(b'[') { Value::List } else { Value::Null }
            }
        })
    }
}
