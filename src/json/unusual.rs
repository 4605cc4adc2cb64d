//! What claims rarely hold: escapes, fractions, large numbers; and what is wrong with a text that isn't JSON.

use super::Reader;
use super::reader::WRONG_TYPE;
use super::value::Number;

const ENDS_IN_VALUE: &str = "EOF while parsing a value";
const ENDS_IN_STRING: &str = "EOF while parsing a string";
const NO_NUMBER: &str = "invalid number";
const OUT_OF_RANGE: &str = "number out of range";
const LONE_SURROGATE: &str = "lone leading surrogate in hex escape";

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte, which is read.
    fn pass(&mut self, ends: &'static str) -> Option<u8> {
        let Some(byte) = self.peek() else { return self.fail(ends, self.at) };
        self.at += 1;
        Some(byte)
    }

    /// Refuses the next byte, or the end of the text.
    #[cold]
    pub(super) fn unended<T>(&mut self, ends: &'static str, otherwise: &'static str) -> Option<T> {
        if self.at < self.bytes.len() { self.fail(otherwise, self.at + 1) } else { self.fail(ends, self.at) }
    }

    /// Refuses the next value because it has another type, or because it is none.
    #[cold]
    pub(super) fn other_type<T>(&mut self) -> Option<T> {
        let is_plain = !matches!(self.next(), Some(b'[' | b'{'));
        let begin = self.at;
        self.skip()?;
        self.fail(WRONG_TYPE, if is_plain { self.at } else { begin })
    }

    #[cold]
    pub(super) fn unusual_integer(&mut self) -> Option<i64> {
        match self.number_of_type()? {
            Number::Integer(number) => Some(number),
            Number::Large(_) | Number::Fraction(_) => self.fail(WRONG_TYPE, self.at),
        }
    }

    #[cold]
    pub(super) fn unusual_time(&mut self) -> Option<u64> {
        match self.number_of_type()? {
            Number::Integer(time @ 0..) => Some(time.cast_unsigned()),
            Number::Large(time) => Some(time),
            Number::Integer(_) | Number::Fraction(_) => self.fail(WRONG_TYPE, self.at),
        }
    }

    fn number_of_type(&mut self) -> Option<Number> {
        match self.next() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.other_type(),
        }
    }

    #[cold]
    pub(super) fn unusual_string(&mut self) -> Option<Box<str>> {
        if self.next() == Some(b'"') { self.escaped() } else { self.other_type() }
    }

    #[cold]
    pub(super) fn unusual_key(&mut self) -> Option<Box<str>> {
        match self.next() {
            Some(b'"') => self.escaped(),
            Some(b'}') => self.fail("trailing comma", self.at + 1),
            _ if self.follows(b',') => self.unended(ENDS_IN_VALUE, "key must be a string"),
            _ => self.unended("EOF while parsing an object", "key must be a string"),
        }
    }

    /// Whether this byte comes before, blanks aside.
    fn follows(&self, byte: u8) -> bool {
        let before = self.bytes.get(..self.at).unwrap_or_default();
        before.trim_ascii_end().last() == Some(&byte)
    }

    /// A string of any form, at its quotation mark.
    fn escaped(&mut self) -> Option<Box<str>> {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            match self.pass(ENDS_IN_STRING)? {
                b'"' => break,
                b'\\' => {
                    let letter = self.escape()?;
                    text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                ..b' ' => {
                    return self.fail("control character (\\u0000-\\u001F) found while parsing a string", self.at);
                }
                byte => text.push(byte),
            }
        }
        match String::from_utf8(text) {
            Ok(text) => Some(text.into()),
            Err(error) => {
                let after = error.as_bytes().len() - error.utf8_error().valid_up_to();
                self.fail("invalid unicode code point", self.at.saturating_sub(after))
            }
        }
    }

    /// An escape, after its backslash.
    fn escape(&mut self) -> Option<char> {
        Some(match self.pass(ENDS_IN_STRING)? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return self.fail("invalid escape", self.at),
        })
    }

    /// `XXXX` after `\u`, with a second escape if they are half of a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let high = self.unit()?;
        if let Some(letter) = char::from_u32(high) {
            return Some(letter);
        }
        if high >= 0xdc00 {
            return self.fail(LONE_SURROGATE, self.at);
        }
        for expected in *b"\\u" {
            if self.pass(ENDS_IN_STRING)? != expected {
                return self.fail("unexpected end of hex escape", self.at);
            }
        }
        let low = self.unit()?;
        if !(0xdc00..0xe000).contains(&low) {
            return self.fail(LONE_SURROGATE, self.at);
        }
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    fn unit(&mut self) -> Option<u32> {
        let Some(digits) = self.bytes.get(self.at..self.at + 4) else {
            self.at = self.bytes.len();
            return self.fail(ENDS_IN_STRING, self.at);
        };
        self.at += 4;
        let digit = |unit: u32, byte: &u8| Some(unit << 4 | char::from(*byte).to_digit(16)?);
        match digits.iter().try_fold(0, digit) {
            None => self.fail("invalid escape", self.at),
            unit => unit,
        }
    }

    /// A number of any form.
    #[cold]
    pub(super) fn number(&mut self) -> Option<Number> {
        let is_negative = match self.next() {
            Some(b'-') => {
                self.at += 1;
                true
            }
            Some(b'0'..=b'9') => false,
            _ => return self.no_value(),
        };
        let begin = self.at;
        let first = self.pass(ENDS_IN_VALUE)?;
        if !first.is_ascii_digit() {
            return self.fail(NO_NUMBER, self.at);
        }
        self.at = begin;
        let (mut digits, mut exponent) = (0_u64, 0_i32);
        self.digits(&mut digits, &mut exponent, 0);
        if first == b'0' && self.at > begin + 1 {
            return self.fail(NO_NUMBER, begin + 2);
        }
        if exponent == 0 && !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Some(whole(digits, is_negative));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            let begin = self.at;
            self.digits(&mut digits, &mut exponent, -1);
            if self.at == begin {
                return self.unended(ENDS_IN_VALUE, NO_NUMBER);
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            exponent = exponent.saturating_add(self.exponent(digits == 0)?);
        }
        let number = super::scaled(digits, exponent);
        if number.is_infinite() {
            return self.fail(OUT_OF_RANGE, self.at);
        }
        Some(Number::Fraction(if is_negative { -number } else { number }))
    }

    /// Adds the digits that come next. `step` is what each adds to the exponent; a digit that no longer fits counts as 0.
    fn digits(&mut self, digits: &mut u64, exponent: &mut i32, step: i32) {
        let mut is_full = false;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            let more = digits.checked_mul(10).and_then(|digits| digits.checked_add(u64::from(byte - b'0')));
            match more.filter(|_| !is_full) {
                Some(more) => {
                    *digits = more;
                    *exponent = exponent.saturating_add(step);
                }
                None => {
                    is_full = true;
                    *exponent = exponent.saturating_add(step + 1);
                }
            }
            self.at += 1;
        }
    }

    /// What comes after `e`.
    fn exponent(&mut self, is_zero: bool) -> Option<i32> {
        let is_negative = self.peek() == Some(b'-');
        if let Some(b'+' | b'-') = self.peek() {
            self.at += 1;
        }
        if !self.pass(ENDS_IN_VALUE)?.is_ascii_digit() {
            return self.fail(NO_NUMBER, self.at);
        }
        self.at -= 1;
        let mut exponent = 0_i32;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            self.at += 1;
            let more = exponent.checked_mul(10).and_then(|exponent| exponent.checked_add(i32::from(byte - b'0')));
            if more.is_none() && !is_negative && !is_zero {
                return self.fail(OUT_OF_RANGE, self.at);
            }
            exponent = more.unwrap_or(i32::MAX);
        }
        Some(if is_negative { -exponent } else { exponent })
    }

    /// Refuses what isn't a value.
    #[cold]
    fn no_value<T>(&mut self) -> Option<T> {
        let word: &[u8] = match self.next() {
            Some(b'n') => b"null",
            Some(b't') => b"true",
            Some(b'f') => b"false",
            Some(b']') if self.follows(b',') => return self.fail("trailing comma", self.at + 1),
            _ => return self.unended(ENDS_IN_VALUE, "expected value"),
        };
        for expected in word {
            if self.pass(ENDS_IN_VALUE)? != *expected {
                break;
            }
        }
        self.fail("expected ident", self.at)
    }
}

fn whole(digits: u64, is_negative: bool) -> Number {
    match (i64::try_from(digits), is_negative) {
        (Ok(0), true) => Number::Fraction(-0.0),
        (Ok(number), false) => Number::Integer(number),
        (Ok(number), true) => Number::Integer(-number),
        (Err(_), false) => Number::Large(digits),
        (Err(_), true) if digits == i64::MIN.unsigned_abs() => Number::Integer(i64::MIN),
        #[expect(clippy::cast_precision_loss, reason = "no integer of 64 bits")]
        (Err(_), true) => Number::Fraction(-(digits as f64)),
    }
}
